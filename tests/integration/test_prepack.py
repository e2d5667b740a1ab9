"""Packed weights: the same answers from every file, and from none that does not fit."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from support import script, wheels_folder

from builders.cache import Cache, default_root
from builders.interpreters import find_interpreter
from builders.matrix import load_matrix
from builders.wheelname import parse_own_name
from ci.bench.candidates import installed
from ci.commands.prepack import reads_packed_weights
from smoke_lambda import events
from smoke_lambda.conform.settings import CORPUS
from smoke_lambda.inside.conform.corpus import load, read_index
from smoke_lambda.inside.probing import READ_PACKED

pytestmark = pytest.mark.integration

SIDE = Path(__file__).with_name("prepacked_side.py")
DIGITS = events.MODELS / "digits-float32.tflite"
# Weights of bytes, whose scales are packed, too; weights that are shared; two subgraphs.
OTHERS = ("mobilenet-v3.int8", "transformer-block.dynamic", "while.float32", "conv2d-same.float16")
EMULATOR = "qemu-x86_64-static"
# The build's digest, in the head of a file.
BUILD = 24


@dataclass(frozen=True)
class Said:
    answers: list[str]
    mapped: bool
    lines: list[str]


@dataclass(frozen=True)
class Beside:
    """An environment with a wheel."""

    wheel: Path
    python: Path

    def side(
        self, model: Path, packed: Path | None, how: str = "once", before: tuple[str, ...] = ()
    ) -> Said:
        variables = {READ_PACKED: str(packed)} if packed else {}
        done = subprocess.run(
            [*before, self.python, "-s", "-B", SIDE, how, model],
            capture_output=True,
            text=True,
            check=False,
            env={"PATH": os.environ["PATH"], **variables},
        )
        assert done.returncode == 0, done.stderr
        # One line of stderr comes from the delegate; a warning of the emulator is ignored.
        lines = [line for line in done.stderr.splitlines() if line.startswith(("WARN", "ERR"))]
        return Said(**json.loads(done.stdout), lines=lines)


@pytest.fixture(scope="module")
def beside() -> Iterator[Beside]:
    matrix = load_matrix()
    for wheel in sorted(wheels_folder().glob("*.whl")):
        target = parse_own_name(wheel.name, matrix).target
        if target is None or target.arch != platform.machine():
            continue
        if not (find_interpreter(target.runtime.python) and reads_packed_weights(wheel)):
            continue
        log = default_root() / "logs" / "prepack-test.log"
        # Not in the environments of ./scripts/prepack, which waits for its own.
        with installed([wheel], target.runtime, Cache(default_root()), log) as (candidate,):
            yield Beside(wheel, candidate.python)
        return
    pytest.skip("no wheel reads packed weights: ./scripts/build makes one")


def prepacked(model: Path, wheel: Path) -> Path:
    done = script("prepack", model, "--wheel", wheel)
    assert done.returncode == 0, done.stderr
    return model.with_suffix(".packed")


@pytest.fixture(scope="module")
def digits(beside: Beside, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, with its file beside it."""
    model = tmp_path_factory.mktemp("digits") / "digits.tflite"
    shutil.copy(DIGITS, model)
    prepacked(model, beside.wheel)
    return model


def check_unused(said: Said, answers: list[str], words: str) -> None:
    """The answers of a process without a file, and one line that says why."""
    assert said.answers == answers
    assert not said.mapped
    (line,) = set(said.lines)
    assert words in line
    assert line.endswith("; all weights are packed in memory.")


@pytest.mark.parametrize("how", ["once", "content", "two", "threads", "fork", "resized"])
def test_answers_are_the_same_bit_for_bit(how: str, beside: Beside, digits: Path) -> None:
    packed = beside.side(digits, digits.with_suffix(".packed"), how)
    assert (packed.mapped, packed.lines) == (True, [])
    plain = beside.side(digits, None, how)
    assert not plain.mapped
    assert packed.answers == plain.answers


@pytest.mark.parametrize("name", OTHERS)
def test_so_are_those_of_other_models(name: str, beside: Beside, tmp_path: Path) -> None:
    models = {model.name: model for model in read_index(CORPUS).models}
    model = tmp_path / "model.tflite"
    model.write_bytes(load(CORPUS, models[name])[0])
    done = script("prepack", model, "--wheel", beside.wheel)
    if "XNNPACK packs no weights of this model" in done.stderr:
        assert name == "while.float32"
        return
    assert done.returncode == 0, done.stderr
    packed = beside.side(model, model.with_suffix(".packed"))
    assert (packed.mapped, packed.lines) == (True, [])
    assert packed.answers == beside.side(model, None).answers


def test_a_folder_has_files_of_several_models(beside: Beside, digits: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.tflite"
    shutil.copy(events.MODELS / "digits-int8.tflite", other)
    done = script("prepack", digits, other, "--wheel", beside.wheel, "--out", tmp_path / "packed")
    assert done.returncode == 0, done.stderr
    for model in (digits, other):
        said = beside.side(model, tmp_path / "packed")
        assert (said.mapped, said.lines) == (True, [])
        assert said.answers == beside.side(model, None).answers
    changed = tmp_path / "changed.tflite"
    changed.write_bytes(with_other_weights(digits))
    plain = beside.side(changed, None)
    check_unused(beside.side(changed, tmp_path / "packed"), plain.answers, "No such file")


def with_other_weights(model: Path) -> bytes:
    """Return a model of the same structure, with other weights."""
    content = bytearray(model.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 64] = bytes(64)
    assert content != model.read_bytes()
    return bytes(content)


def test_the_file_of_another_model_is_not_used(
    beside: Beside, digits: Path, tmp_path: Path
) -> None:
    changed = tmp_path / "changed.tflite"
    changed.write_bytes(with_other_weights(digits))
    plain = beside.side(changed, None)
    assert plain.answers != beside.side(digits, None).answers
    said = beside.side(changed, digits.with_suffix(".packed"))
    check_unused(said, plain.answers, "it is of another model")


def test_a_damaged_file_is_not_used(beside: Beside, digits: Path, tmp_path: Path) -> None:
    whole = digits.with_suffix(".packed").read_bytes()
    answers = beside.side(digits, None).answers
    file = tmp_path / "damaged.packed"

    def check(content: bytes, words: str) -> None:
        file.write_bytes(content)
        check_unused(beside.side(digits, file), answers, words)

    strange, damaged = "it is no file of packed weights", "it is damaged"
    for length in (0, 1, 8, 71):
        check(whole[:length], strange)
    for length in (72, 200, len(whole) // 2, len(whole) - 1):
        check(whole[:length], damaged)
    check(whole + b"\0", damaged)
    check(bytes(len(whole)), strange)
    for place, words in (
        (0, strange),
        (8, damaged),
        (BUILD, "it is of another build"),
        (40, "it is of another model"),
        (56, damaged),
        (64, damaged),
        (72, damaged),
        (len(whole) // 2, damaged),
        (len(whole) - 1, damaged),
    ):
        content = bytearray(whole)
        content[place] ^= 1
        check(bytes(content), words)


def test_what_is_no_file_is_not_used(beside: Beside, digits: Path, tmp_path: Path) -> None:
    answers = beside.side(digits, None).answers
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path, words in (
        (tmp_path / "gone", "No such file or directory"),
        (tmp_path, "No such file or directory"),
        (pipe, "it is no file of packed weights"),
        (Path("/dev/zero"), "it is no file of packed weights"),
    ):
        check_unused(beside.side(digits, path), answers, words)


def test_a_file_without_permission_is_not_used(
    beside: Beside, digits: Path, tmp_path: Path
) -> None:
    file = tmp_path / "my.packed"
    shutil.copy(digits.with_suffix(".packed"), file)
    file.chmod(0)
    drop = ("setpriv", "--inh-caps=-all", "--bounding-set=-all")
    if os.geteuid() == 0 and shutil.which(drop[0]) is None:
        pytest.skip("root may read every file, and there is no setpriv")
    before = drop if os.geteuid() == 0 else ()
    said = beside.side(digits, file, before=before)
    check_unused(said, beside.side(digits, None).answers, "Permission denied")


def test_many_processes_read_one_file_that_nobody_may_write(
    beside: Beside, digits: Path, tmp_path: Path
) -> None:
    file = tmp_path / "folder" / "my.packed"
    file.parent.mkdir()
    shutil.copy(digits.with_suffix(".packed"), file)
    before = file.read_bytes()
    file.chmod(0o444)
    file.parent.chmod(0o555)
    with ThreadPoolExecutor(8) as pool:
        said = list(pool.map(lambda _: beside.side(digits, file), range(8)))
    answers = beside.side(digits, None).answers
    assert all((each.answers, each.mapped, each.lines) == (answers, True, []) for each in said)
    assert file.read_bytes() == before
    assert [each.name for each in file.parent.iterdir()] == [file.name]


@pytest.mark.skipif(
    shutil.which(EMULATOR) is None or platform.machine() != "x86_64",
    reason=f"there is no {EMULATOR}: apt-get install qemu-user-static",
)
def test_the_file_of_another_kind_of_processor_is_not_used(
    beside: Beside, digits: Path, tmp_path: Path
) -> None:
    old = (EMULATOR, "-cpu", "Nehalem")
    there = beside.side(digits, None, before=old)
    said = beside.side(digits, digits.with_suffix(".packed"), before=old)
    check_unused(said, there.answers, "it is packed for another kind of processor")
    # The other way round, with a file that is made there.
    module = ("-m", "smoke_lambda.inside.prepacking", str(digits), str(tmp_path))
    made = subprocess.run(
        [*old, beside.python, "-s", "-B", *module],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    (file,) = tmp_path.glob("*.packed")
    assert '"error"' not in made.stdout, made.stdout
    used = beside.side(digits, file, before=old)
    assert (used.answers, used.mapped, used.lines) == (there.answers, True, [])
    here = beside.side(digits, None)
    said = beside.side(digits, file)
    check_unused(said, here.answers, "it is packed for another kind of processor")
