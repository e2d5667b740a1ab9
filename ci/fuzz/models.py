"""Fuzzes a wheel with models that are cut or changed, as an interrupted download leaves them.

A damaged model must give an error when it is loaded, and must not end the process. If it loads
and ends the process later, this is counted, but it is no finding: operators trust what a model
says about its tensors.
"""

from __future__ import annotations

import base64
import functools
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from builders.cache import Cache, default_root
from builders.child import Child
from builders.errors import UsageError
from builders.fetch import Fetcher
from ci.fuzz.campaign import Case, Target
from ci.proof.smoker import NativeSmoker, wheel_runtime
from smoke_lambda.conform.settings import CORPUS
from smoke_lambda.inside.conform.corpus import load, read_index
from smoke_lambda.native import Environment

WORKER = Path(__file__).with_name("model_worker.py")
SECONDS = 20  # the limit of a case; a model takes a few milliseconds
NAMES = (
    "conv2d-same.float32",
    "conv2d-same.int8",
    "hash-tables.float32",
    "while.float32",
    "mobilenet-v3.int8",
    "transformer-block.dynamic",
)
"""Models of the corpus: with and without weights, strings, two subgraphs, quantized, many ops."""
LOADING = ("load by content", "load by path")
# Sizes and offsets whose sums and products tend to go wrong.
ODD = (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x40000000, 0xFFFF, 0x10000)


def chosen(folder: Path = CORPUS) -> Mapping[str, bytes]:
    """Return the models' files, by name."""
    models = {model.name: model for model in read_index(folder).models}
    return {name: load(folder, models[name])[0] for name in NAMES if name in models}


def edits() -> SearchStrategy[list[Any]]:
    """Return changes: a place, in millionths of the file, and the bytes to write there."""
    where = st.integers(0, 999_999)
    byte = st.binary(min_size=1, max_size=1)
    word = st.sampled_from(ODD).map(lambda number: number.to_bytes(4, "little"))
    near = st.integers(0, 5000)  # a model's tables come before its weights
    what = st.one_of(byte, byte, word).map(bytes.hex)
    return st.tuples(st.one_of(where, near), what).map(list)


def cases(names: list[str]) -> SearchStrategy[Case]:
    """Return cases: a model, the place where it is cut, and the changes in it."""
    return st.fixed_dictionaries(
        {
            "model": st.sampled_from(names),
            "keep": st.one_of(st.none(), st.none(), st.integers(0, 1_000_000)),
            "edits": st.lists(edits(), max_size=4),
        }
    )


def damaged(content: bytes, case: Case) -> bytes:
    """Return the damaged model of a case."""
    data = bytearray(content)
    for where, text in case["edits"]:
        change = bytes.fromhex(text)
        place = where * len(data) // 1_000_000
        data[place : place + len(change)] = change[: len(data) - place]  # the length stays
    keep = case["keep"]
    return bytes(data if keep is None else data[: keep * len(data) // 1_000_000])


class Models:
    """A wheel in a separate process, which is started again after it ends.

    Attributes:
        ended: the number of times that the process ended, by stage and status.
    """

    def __init__(self, python: Path, contents: Mapping[str, bytes]) -> None:
        self.contents = contents
        self.ended: Counter[str] = Counter()
        self._child = Child([python, "-s", "-B", WORKER, str(SECONDS)])

    @property
    def cases(self) -> SearchStrategy[Case]:
        """See Target."""
        return _cases(tuple(self.contents))

    @property
    def told(self) -> str:
        """A line of how often the process ended; empty if it never did."""
        return ", ".join(f"{what} ({count} times)" for what, count in sorted(self.ended.items()))

    def fault(self, case: Case) -> str:
        """See Target."""
        return self.judge(damaged(self.contents[case["model"]], case))

    def judge(self, content: bytes) -> str:
        """Try one model; return the fault in one sentence, or an empty text."""
        self._child.send(base64.b64encode(content))
        stage = ""
        while stage != "done":
            line = self._child.line(3 * SECONDS)
            stage, before = (line or b"").decode().strip(), stage
            if not stage:
                what = f"{before or 'start'}: status {self._child.close()}"
                if before in LOADING:
                    return f"the process ends as it loads a model: {what}"
                self.ended[what] += 1
                return ""
        return ""

    def close(self) -> None:
        """End the process."""
        self._child.close()


@functools.cache
def _cases(names: tuple[str, ...]) -> SearchStrategy[Case]:
    return cases([*names])


@contextmanager
def target(wheel: Path | None) -> Iterator[Target]:
    """Give a wheel in an environment of this machine as a target, until the block ends.

    Raises:
        UsageError: there is no wheel, or it does not run an undamaged model.
        SmokeError: the wheel cannot run here.
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
