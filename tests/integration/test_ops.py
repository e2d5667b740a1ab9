"""The table of operators against published wheels, and a model that is too new for one."""

from __future__ import annotations

import json
import platform
import struct
from pathlib import Path

import pytest
from support import ROOT, script

from builders.interpreters import find_interpreter
from builders.wheelname import name_of
from ci.proof.smoker import wheel_runtime
from smoke_lambda import events
from smoke_lambda.inside.flatbuffer import (
    CODE_BUILTIN,
    CODE_VERSION,
    field_position,
    model_of,
    operator_codes,
)
from smoke_lambda.ops import load_ops

pytestmark = pytest.mark.integration


def wheels() -> dict[str, Path]:
    """Return, by TensorFlow version with a table, a published wheel that runs here."""
    found: dict[str, Path] = {}
    for wheel in sorted((ROOT / "wheels").glob("*.whl")):
        runs = find_interpreter(wheel_runtime(wheel).python) is not None
        if name_of(wheel).arch == platform.machine() and runs:
            found.setdefault(str(name_of(wheel).version), wheel)
    published = {version: found[version] for version in load_ops().tensorflows if version in found}
    if not published:
        pytest.skip("no published wheel is for a Python of this machine: install one with pyenv")
    return published


def test_published_wheels_have_what_the_table_says() -> None:
    done = script("ops", "--check", *wheels().values())
    assert done.returncode == 0, done.stderr
    assert done.stdout == "ops.toml is what the wheels have\n"


def test_a_model_that_is_too_new(tmp_path: Path) -> None:
    version, wheel = next(iter(wheels().items()))
    table = load_ops()
    highest = table.versions(version, "CONV_2D")[-1]
    unknown = max(table.codes.values()) + 1
    model, data = tmp_path / "new.tflite", bytearray()
    data += (events.MODELS / "digits-int8.tflite").read_bytes()
    conv, depthwise, *_ = operator_codes(data)
    assert (conv.builtin, depthwise.builtin) == (table.codes["CONV_2D"], 4)
    place = field_position(data, conv.position, CODE_VERSION)
    struct.pack_into("<i", data, place, highest + 1)
    place = field_position(data, depthwise.position, CODE_BUILTIN)
    struct.pack_into("<i", data, place, unknown)
    model.write_bytes(data)

    done = script("smoke", "--runner", "native", "--model", model, wheel)
    assert done.returncode == 10, done.stderr
    first = table.first("CONV_2D", highest + 1)
    where = f"the first here that has it is {first}" if first else "none here has it"
    lines = done.stdout.splitlines()[1:3]
    assert lines == [
        f"FAILED this runtime lacks CONV_2D version {highest + 1} "
        f"(TensorFlow {version} has 1 to {highest}; {where})",
        f"FAILED this runtime lacks operator {unknown} version {depthwise.version} "
        f"(TensorFlow {version} has none; none here has it)",
    ]


def test_an_operator_of_a_newer_schema_is_named(tmp_path: Path) -> None:
    # An operator that the last table knows by number, and the first wheel does not.
    table, published = load_ops(), wheels()
    old, new = next(iter(table.tensorflows)), list(table.tensorflows)[-1]
    if old == new or old not in published:
        pytest.skip(f"no newer TensorFlow than {old} has a table: ./scripts/ops with its wheel")
    name = [*table.tensorflows[new]][-1]  # in the order of their numbers
    assert name not in table.tensorflows[old]
    model = tmp_path / "new.tflite"
    model.write_bytes(model_of(table.codes[name], table.versions(new, name)[0]))
    done = script("smoke", "--runner", "native", "--json", "--model", model, published[old])
    (report,) = json.loads(done.stdout)
    (lack,) = report["missing"]
    assert (lack["name"], lack["first"]) == (name, table.first(name, lack["version"]))
    assert lack["first"] != ""
