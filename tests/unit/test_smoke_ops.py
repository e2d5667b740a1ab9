"""Which TensorFlow version has which operator: the table, and the probe that asks a wheel."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from builders.errors import SmokeError, UsageError
from builders.matrix import load_matrix
from smoke_lambda.inside.flatbuffer import operator_codes
from smoke_lambda.ops import DATA, EMPTY, found_by_probe, load_ops, shown

HEAD = "[codes]\nADD = 0\nMUL = 18\n"
TABLE = EMPTY.with_wheel("2.5.0", {"ADD": 0, "CALL": 31}, {"ADD": range(1, 6)})
Probe = Callable[[Callable[[int, int], str]], ModuleType]


def probed(*operators: object) -> tuple[int, str]:
    return 0, f"INFO: a log's line\nfound: {json.dumps({'operators': operators})}\n"


def test_every_tensorflow_that_is_verified_has_a_table() -> None:
    tables = load_ops().tensorflows
    for target in load_matrix().targets():
        if target.verified:
            version = target.tensorflow.version
            assert version in tables, f"run ./scripts/ops with a wheel of {version}"


def test_the_table_is_what_its_file_says(tmp_path: Path) -> None:
    path = tmp_path / "ops.toml"
    path.write_text(TABLE.text())
    assert load_ops(path) == TABLE
    assert load_ops().text() == DATA.read_text()


def test_another_version_replaces_only_its_own_table() -> None:
    codes = {"ADD": 0, "NEW": 200}
    both = TABLE.with_wheel("2.10.0", codes, {"NEW": range(2, 4), "ADD": range(1, 5)})
    assert list(both.tensorflows) == ["2.5.0", "2.10.0"]
    assert list(both.tensorflows["2.10.0"]) == ["ADD", "NEW"]
    assert both.tensorflows["2.5.0"] == TABLE.tensorflows["2.5.0"]
    assert both.codes == {"ADD": 0, "CALL": 31, "NEW": 200}
    again = both.with_wheel("2.10.0", codes, {"ADD": range(1, 2)})
    assert again.tensorflows == {**TABLE.tensorflows, "2.10.0": {"ADD": range(1, 2)}}


def test_a_number_never_means_another_operator() -> None:
    with pytest.raises(UsageError, match="0 is the number of ADD and of SUB"):
        TABLE.with_wheel("2.10.0", {"SUB": 0}, {"SUB": range(1, 2)})


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[codes", "is not TOML"),
        ("[codes]\n", "'tensorflow' is missing"),
        (f'{HEAD}[tensorflow."2.5"]\nADD = 1\n', "2.5: 'ADD' must be a list"),
        (f'{HEAD}[tensorflow."2.5"]\nADD = [1]\n', "2.5: 'ADD' has the unusable value"),
        (f'{HEAD}[tensorflow."2.5"]\nADD = [2, 1]\n', "2.5: 'ADD' has the unusable value"),
        (f'{HEAD}[tensorflow."2.5"]\nADD = ["a", 1]\n', "2.5: 'ADD' has the unusable value"),
        (f'{HEAD}[tensorflow."2.5"]\nSUB = [1, 1]\n', "2.5 has SUB, which has no number"),
        (f"{HEAD}[tensorflow.newest]\nADD = [1, 1]\n", "'newest' is no version"),
        ("[codes]\nADD = true\n[tensorflow]\n", "ADD has the number True"),
        (f"{HEAD}[tensorflow]\n[more]\n", "unknown key 'more'"),
    ],
)
def test_a_malformed_table_is_refused(tmp_path: Path, text: str, fault: str) -> None:
    path = tmp_path / "ops.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match="ops") as caught:
        load_ops(path)
    assert fault in str(caught.value)


def test_what_a_probe_found() -> None:
    found = probed([0, "ADD", [1, 2, 3]], [51, "DELEGATE", []], [151, "BROADCAST_TO", [2]])
    codes, ops = found_by_probe(*found)
    assert codes == {"ADD": 0, "DELEGATE": 51, "BROADCAST_TO": 151}
    assert ops == {"ADD": range(1, 4), "BROADCAST_TO": range(2, 3)}
    assert [shown(ops.get(name, range(0))) for name in codes] == ["1 to 3", "none", "2"]


def test_a_gap_in_versions_is_an_error() -> None:
    with pytest.raises(SmokeError, match="with a gap"):
        found_by_probe(*probed([0, "ADD", [1, 3]]))


def test_a_probe_that_fails_is_an_error() -> None:
    with pytest.raises(SmokeError, match=r"does not say .*ValueError: operator 3"):
        found_by_probe(1, "Traceback\nValueError: operator 3")


@pytest.fixture
def probe(monkeypatch: pytest.MonkeyPatch) -> Probe:
    """Return a function that imports the probe with a runtime whose errors it chooses."""

    def imported(says: Callable[[int, int], str]) -> ModuleType:
        def load(*, model_content: bytes) -> None:
            (code,) = operator_codes(model_content)
            raise ValueError(says(code.builtin, code.version))

        runtime = ModuleType("tflite_runtime.interpreter")
        monkeypatch.setattr(runtime, "Interpreter", load, raising=False)
        monkeypatch.setitem(sys.modules, "tflite_runtime", ModuleType("tflite_runtime"))
        monkeypatch.setitem(sys.modules, "tflite_runtime.interpreter", runtime)
        monkeypatch.delitem(sys.modules, "smoke_lambda.inside.ops_probe", raising=False)
        return importlib.import_module("smoke_lambda.inside.ops_probe")

    return imported


def runtime(code: int, version: int) -> str:
    """Stand for a runtime with operators 0 to 40: versions 2 and 3 of all but 31, and 1 of 0."""
    if code == 32:
        return "Operator with CUSTOM builtin_code has no custom_code."
    if code > 40:
        return f"Op builtin_code out of range: {code}. Are you using old TFLite binary"
    if (code == 0 or version > 1) and 1 <= version <= 3 and code != 31:
        return "No subgraph in the model."
    return f"Didn't find op for builtin opcode 'OP_{code}' version '{version}'. An older"


def test_the_probe_finds_every_operator(probe: Probe) -> None:
    found = {code: (name, versions) for code, name, versions in probe(runtime).operators()}
    assert list(found) == [*range(32), *range(33, 41)]
    assert found[0] == ("OP_0", [1, 2, 3])
    assert found[1] == ("OP_1", [2, 3])
    assert found[31] == ("OP_31", [])


@pytest.mark.parametrize(
    "odd",
    [
        lambda code, version: "no such file" if (code, version) == (7, 64) else "",
        lambda code, version: "no such file" if (code, version) == (7, 5) else "",
        lambda code, version: runtime(0, 1) if (code, version) == (7, 64) else "",
        lambda code, _version: runtime(1, 99) if code > 40 else "",
    ],
    ids=["no name", "an unknown answer", "a version beyond all", "no end of codes"],
)
def test_the_probe_refuses_what_it_does_not_know(
    probe: Probe, odd: Callable[[int, int], str]
) -> None:
    found = probe(lambda code, version: odd(code, version) or runtime(code, version)).operators()
    with pytest.raises(ValueError, match=r"operator 7 version|knows operator 999"):
        list(found)
