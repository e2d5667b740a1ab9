"""`./scripts/conform` and the proof: which models run where, and what voids a proof."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path

import pytest
from conform_samples import entry
from imports import needed_by

from builders.errors import UsageError
from builders.matrix import Runtime, load_matrix
from ci.commands import conform
from ci.proof.conformer import Subject, numpy_of, parts_of, subject_of
from ci.proof.prove import AUDITED_BY, BUILDERS, COMPARED_BY, SMOKE, SMOKED_BY
from ci.proof.show_conform import notes
from smoke_lambda.conform import delegated, settings
from smoke_lambda.conform.report import Failure, summed_up
from smoke_lambda.conform.run import all_models
from smoke_lambda.conform.settings import load_settings, part_of
from smoke_lambda.inside.conform.corpus import Model

MATRIX = load_matrix()
OURS = Path("tflite_runtime-2.14.1-1-cp311-cp311-manylinux_2_17_x86_64.whl")
LITERT = Path("ai_edge_litert-2.3.0-cp311-cp311-manylinux_2_27_x86_64.whl")
MODELS = [entry(f"pattern{number}.float32").model for number in range(25)]


def test_the_parts_of_all_numbers_are_the_whole() -> None:
    parts = [part_of(MODELS, 10, number) for number in range(10)]
    assert sorted(model.name for part in parts for model in part) == sorted(
        model.name for model in MODELS
    )
    assert {len(part) for part in parts} == {2, 3}
    assert part_of(MODELS, 10, 13) == parts[3]
    assert part_of(MODELS, 1) == MODELS
    assert part_of(MODELS[::-1], 10, 1) == parts[1][::-1]


def test_each_python_has_another_part() -> None:
    numbers = {settings.part_number(runtime.python) % 10 for runtime in MATRIX.runtimes}
    assert len(numbers) == len(MATRIX.runtimes)


def test_an_unknown_part() -> None:
    with pytest.raises(UsageError, match="there is no part 'some' of the corpus"):
        settings.one_in("some")


@pytest.mark.parametrize(
    ("pythons", "main"),
    [
        ([runtime.python for runtime in MATRIX.runtimes], "3.11"),
        (["3.8", "3.12"], "3.8"),
        (["3.12"], "3.12"),
    ],
)
def test_one_python_of_a_core_runs_the_whole_corpus(pythons: list[str], main: str) -> None:
    targets = [target for target in MATRIX.targets() if target.runtime.python in pythons]
    parts = parts_of(targets, lambda _runtime, _arch: True)
    for target in targets:
        part = "whole" if target.runtime.python == main else "sample"
        here = target.arch == platform.machine()
        assert parts[target.identifier] == (part if here else settings.EMULATED[part])


def test_what_cannot_run_here_has_no_part() -> None:
    def can_run(runtime: Runtime, arch: str) -> bool:
        return runtime.python != "3.11" and arch == platform.machine()

    parts = parts_of([*MATRIX.targets()], can_run)
    assert not any("-cp311-" in identifier for identifier in parts)
    assert [*parts.values()].count("whole") == len(MATRIX.tensorflows)


def test_parts_and_peers_are_those_that_the_code_names() -> None:
    found = load_settings()
    assert set(found.parts) == {"whole", "sample", *settings.EMULATED.values()}
    assert found.parts["whole"] == 1
    assert settings.OWN in found.peers


def test_what_a_wheel_is_of() -> None:
    ours = subject_of(OURS)
    assert (ours.module, ours.expectations) == ("tflite_runtime.interpreter", "2.14.1")
    litert = subject_of(LITERT)
    assert litert.module == "ai_edge_litert.interpreter"
    assert (litert.tensorflow, litert.expectations) == ("", "ai-edge-litert-2.3.0")
    with pytest.raises(UsageError, match="numpy is not known here; wheels of ai-edge-litert and"):
        subject_of(Path("numpy-2.0.0-cp311-cp311-manylinux_2_17_x86_64.whl"))


def test_the_numpy_that_a_wheel_runs_with() -> None:
    runtime = MATRIX.runtime("3.11")
    assert numpy_of(OURS, runtime, peer=False) == runtime.numpy.on_lambda
    assert numpy_of(OURS, runtime, peer=True) == runtime.numpy.floor
    assert numpy_of(LITERT, runtime, peer=True) == runtime.numpy.newest


def kind(name: str, version: int, since: str = "") -> Model:
    return entry().model._replace(operators=((name, version),), since=since)


@pytest.mark.parametrize(
    ("tensorflow", "model", "runs"),
    [
        ("2.14.1", kind("ADD", 1), True),
        ("2.14.1", kind("ADD", 99), False),
        ("2.14.1", kind("ADD", 1, "2.16"), False),
        ("2.22.0.dev20260518", kind("ADD", 1, "2.22"), True),
        ("9.9", kind("ADD", 99), True),
    ],
)
def test_a_model_that_a_tensorflow_is_too_old_for(
    tensorflow: str, model: Model, runs: bool
) -> None:
    assert Subject.of(settings.OWN, tensorflow).runs(model) is runs


def test_what_was_delegated_is_written_and_read(tmp_path: Path) -> None:
    assert delegated.read("2.14.1", tmp_path) == {}
    path = delegated.write("2.14.1", {"b": (1, 2), "a": (0, 3)}, tmp_path)
    assert path.read_text() == '{\n "a": [0, 3],\n "b": [1, 2]\n}\n'
    assert delegated.read("2.14.1", tmp_path) == {"a": (0, 3), "b": (1, 2)}
    path.write_text('{"a": 1}')
    with pytest.raises(UsageError, match=r"2\.14\.1\.json is malformed: .*--write-delegated"):
        delegated.read("2.14.1", tmp_path)


def test_failures_in_one_line() -> None:
    assert summed_up([]) == "no model was run"
    failures = [
        vars(Failure(model=f"m{n}", pattern="m", flavour="int8", what="crash", detail="d"))
        for n in range(7)
    ]
    assert summed_up(failures, most=1) == "7 models fail (7 crash): m0: crash: d; and 6 more"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--write-delegated", "--models", "x"], "--write-delegated needs every model"),
        (["--write-delegated", "--share", "2"], "--write-delegated needs every model"),
    ],
)
def test_wrong_usage(tmp_path: Path, arguments: list[str], message: str) -> None:
    wheel = tmp_path / OURS
    wheel.write_bytes(b"")
    with pytest.raises(UsageError, match=message):
        conform.run([*arguments, str(wheel)])


def test_a_strangers_wheel_is_a_peer(tmp_path: Path) -> None:
    wheel = tmp_path / LITERT
    wheel.write_bytes(b"")
    with pytest.raises(UsageError, match="is not ours; add --peer"):
        conform.run([str(wheel)])


def is_read(path: Path, given: Sequence[Path]) -> bool:
    """Return True if a key includes a file, by itself or in a folder."""
    return any(path.is_relative_to(each) for each in given)


def test_the_key_of_an_audit_has_every_module_that_it_reads() -> None:
    # The command prints what the checks find.
    checks = [path for path in (BUILDERS / "audit").glob("*.py") if path.name != "cli.py"]
    read = {path for path in needed_by(*checks) if path.name != "__init__.py"}
    assert BUILDERS / "matrix.py" in read
    assert all(is_read(path, AUDITED_BY) for path in read)


SMOKE_TEST = [SMOKE / name for name in ("native.py", "docker.py", "app.py")]


def read_of_smoke(*begin: Path) -> set[Path]:
    """Return the modules of smoke_lambda that the given modules need."""
    return {path for path in needed_by(*begin) if path.is_relative_to(SMOKE)}


def test_the_key_of_a_smoke_test_has_every_module_that_it_reads() -> None:
    read = read_of_smoke(*SMOKE_TEST, *(SMOKE / "inside").glob("*.py"))
    assert [path for path in read if not is_read(path, SMOKED_BY)] == []


def test_the_key_of_a_comparison_has_every_module_that_it_reads() -> None:
    read = read_of_smoke(SMOKE / "conform/run.py", *(SMOKE / "inside").rglob("*.py"))
    assert [path for path in read if not is_read(path, (*SMOKED_BY, *COMPARED_BY))] == []


def test_a_proof_does_not_read_what_makes_models() -> None:
    for key in (SMOKED_BY, COMPARED_BY):
        assert not is_read(SMOKE / "train/making.py", key)
    assert not is_read(SMOKE / "conform/run.py", SMOKED_BY)


def test_the_corpus_and_what_is_expected_of_it_are_there() -> None:
    assert all(path.exists() for path in (*SMOKED_BY, *COMPARED_BY))
    assert all_models()


def test_a_note_of_many_models_is_one_line() -> None:
    found = [f"sum{number}.int8: wrong" for number in range(5)] + ["if.float16: lost"]
    assert [*notes(found)] == [
        "sum0.int8, sum1.int8, sum2.int8 and 2 more: wrong",
        "if.float16: lost",
    ]
