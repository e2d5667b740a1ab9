"""What is tried on a wheel: models that are cut or changed, as an interrupted download leaves them.

A model that no converter wrote must be an error when it is loaded, and not the end of the process.
Where it loads all the same and ends the process later, that is counted and no finding: the
operators trust what a model says of its tensors.
"""

from __future__ import annotations

import base64
import functools
import select
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from builders.cache import Cache, default_root
from builders.errors import UsageError
from builders.fetch import Fetcher
from builders.process import die_with_parent
from ci.fuzz.campaign import Case, Target
from ci.proof.smoker import NativeSmoker, wheel_runtime
from smoke_lambda.conform.settings import CORPUS
from smoke_lambda.inside.conform.corpus import load, read_index
from smoke_lambda.native import Environment

WORKER = Path(__file__).with_name("model_worker.py")
SECONDS = 20  # for a case; a model takes a few milliseconds
NAMES = (
    "conv2d-same.float32",
    "conv2d-same.int8",
    "hash-tables.float32",
    "while.float32",
    "mobilenet-v3.int8",
    "transformer-block.dynamic",
)
"""Models of the corpus: weights and none, strings, two subgraphs, quantized, many operators."""
LOADING = ("load by content", "load by path")
# Sizes and offsets where sums and products of them go wrong.
ODD = (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x40000000, 0xFFFF, 0x10000)


def chosen(folder: Path = CORPUS) -> Mapping[str, bytes]:
    """The models' files, by name."""
    models = {model.name: model for model in read_index(folder).models}
    return {name: load(folder, models[name])[0] for name in NAMES if name in models}


def edits() -> SearchStrategy[list[Any]]:
    """A change: where, in millionths of the file, and what is written there."""
    where = st.integers(0, 999_999)
    byte = st.binary(min_size=1, max_size=1)
    word = st.sampled_from(ODD).map(lambda number: number.to_bytes(4, "little"))
    near = st.integers(0, 5000)  # the tables are before the weights
    what = st.one_of(byte, byte, word).map(bytes.hex)
    return st.tuples(st.one_of(where, near), what).map(list)


def cases(names: list[str]) -> SearchStrategy[Case]:
    """A model, where it is cut, and what is changed in it."""
    return st.fixed_dictionaries(
        {
            "model": st.sampled_from(names),
            "keep": st.one_of(st.none(), st.none(), st.integers(0, 1_000_000)),
            "edits": st.lists(edits(), max_size=4),
        }
    )


def damaged(content: bytes, case: Case) -> bytes:
    """The model of a case."""
    data = bytearray(content)
    for where, text in case["edits"]:
        change = bytes.fromhex(text)
        place = where * len(data) // 1_000_000
        data[place : place + len(change)] = change
    keep = case["keep"]
    return bytes(data if keep is None else data[: keep * len(data) // 1_000_000])


class Models:
    """A wheel in a process of its own, which is started again when it ends.

    Attributes:
        python: of an environment with the wheel.
        ended: how often it ended, by stage and signal.
    """

    def __init__(self, python: Path, contents: Mapping[str, bytes]) -> None:
        self.python = python
        self.contents = contents
        self.ended: Counter[str] = Counter()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def cases(self) -> SearchStrategy[Case]:
        """See Target."""
        return _cases(tuple(self.contents))

    @property
    def told(self) -> str:
        """What was counted, in one line; empty where there is nothing."""
        return ", ".join(f"{what} ({count} times)" for what, count in sorted(self.ended.items()))

    def fault(self, case: Case) -> str:
        """See Target."""
        return self.judge(damaged(self.contents[case["model"]], case))

    def judge(self, content: bytes) -> str:
        """Try one model; gives what is wrong, in one sentence, or nothing."""
        process = self._running()
        assert process.stdin is not None
        process.stdin.write(base64.b64encode(content) + b"\n")
        stage = ""
        while stage != "done":
            stage, before = self._line(process), stage
            if not stage:
                status = self.close()
                what = f"{before or 'start'}: status {status}"
                if before in LOADING:
                    return f"the process ends as it loads a model: {what}"
                self.ended[what] += 1
                return ""
        return ""

    def close(self) -> int:
        """End the process; gives its status."""
        if self._process is None:
            return 0
        process, self._process = self._process, None
        assert process.stdin is not None
        process.stdin.close()  # one that waits for a model ends
        try:
            status: int | None = process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            status = None
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
        return process.returncode if status is None else status

    def _line(self, process: subprocess.Popen[bytes]) -> str:
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], 3 * SECONDS)
        return process.stdout.readline().decode().strip() if ready else ""

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            self._process = subprocess.Popen(
                [self.python, "-s", "-B", WORKER, str(SECONDS)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,  # select sees what readline has not read
                preexec_fn=die_with_parent,
            )
        return self._process


@functools.cache
def _cases(names: tuple[str, ...]) -> SearchStrategy[Case]:
    return cases([*names])


@contextmanager
def target(wheel: Path | None) -> Iterator[Target]:
    """A wheel in an environment of this machine, until the block ends.

    Raises:
        UsageError: there is no wheel, or it does not run an undamaged model.
        SmokeError: it cannot run here.
    """
    if wheel is None or not wheel.is_file():
        raise UsageError("there is no wheel to try models on", remedy="name it by --wheel")
    cache = Cache(default_root())
    runtime = wheel_runtime(wheel)
    smoker = NativeSmoker(cache, Fetcher(cache))
    log = cache.root / "logs" / "fuzz-models.log"
    with (
        smoker.site(wheel, runtime, log=log) as site,
        site.installed(failure=UsageError) as place,
    ):
        assert isinstance(place, Environment)
        models = Models(place.python, chosen())
        try:
            for name, content in models.contents.items():
                if fault := models.judge(content) or models.told:
                    raise UsageError(f"{wheel.name} does not run {name} as it is: {fault}")
            yield models
        finally:
            models.close()
