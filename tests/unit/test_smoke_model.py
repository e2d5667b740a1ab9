"""A user's own model: reading it, trying it, and the report about it."""

from __future__ import annotations

import json
import os
import struct
import tracemalloc
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from smoke_samples import RUNTIME, Nowhere, site_of

from builders.errors import SmokeError, UsageError
from ci.proof.show import show_model
from smoke_lambda import events, model
from smoke_lambda.inside.flatbuffer import (
    CODE_VERSION,
    NotAModelError,
    OperatorCode,
    field_position,
    make_plain,
    model_of,
    operator_codes,
)
from smoke_lambda.inside.probing import NO_VARIABLES, judged
from smoke_lambda.limits import Limits
from smoke_lambda.ops import OpsTable, load_ops, parsed
from smoke_lambda.reasons import EXPLAIN, Reason

INT8 = events.MODELS / "digits-int8.tflite"
WHEEL = Path("tflite_runtime-2.5.0-cp312-cp312-manylinux_2_17_x86_64.whl")
CONV_2D, SOFTMAX = 3, 25  # BuiltinOperator of schema.fbs
FOUND = {
    "stage": "run",
    "operators": [["CONV_2D", True], ["CONV_2D", True], ["SOFTMAX", False]],
    "inputs": [{"name": "in", "shape": [1, 8], "dtype": "int8"}],
    "outputs": [{"name": "out", "shape": [1, 2], "dtype": "int8"}],
    "load_ms": 1.0,
    "first_ms": 2.0,
    "warm_ms": 0.5,
    "resident_bytes": 300 << 20,
    "peak_bytes": 100 << 20,
}


def test_the_operators_of_a_model() -> None:
    codes = operator_codes(INT8.read_bytes())
    assert len(codes) == 6
    assert {CONV_2D, SOFTMAX} < {code.builtin for code in codes}
    assert all(code.version >= 1 and code.custom == "" for code in codes)


def test_a_model_made_plain() -> None:
    data = bytearray(INT8.read_bytes())
    first, *others = operator_codes(data)
    for other in others:
        make_plain(data, other)
    assert operator_codes(data)[0] == first
    assert {(code.builtin, code.version) for code in operator_codes(data)[1:]} == {(0, 1)}


@pytest.mark.parametrize(("builtin", "version"), [(0, 1), (127, 9), (128, 64), (999, 2)])
def test_a_model_of_one_operator(builtin: int, version: int) -> None:
    (code,) = operator_codes(model_of(builtin, version))
    assert (code.builtin, code.version, code.custom) == (builtin, version, "")


def table(fields: list[bytes]) -> tuple[bytes, int]:
    """Return a table after its vtable, with fields of four bytes each; and the table's offset."""
    offsets = [4 + 4 * number for number in range(len(fields))]
    vtable = struct.pack(f"<HH{len(fields)}H", 4 + 2 * len(fields), 4 + 4 * len(fields), *offsets)
    vtable += b"\0" * (-len(vtable) % 4)
    return vtable + struct.pack("<i", len(vtable)) + b"".join(fields), len(vtable)


def test_a_custom_operator() -> None:
    # Model{version, operator_codes}; its vector; OperatorCode{32, "Sinh", 1, 32}.
    code, code_start = table([b"\x20\0\0\0", struct.pack("<I", 12), b"\1\0\0\0", b"\x20\0\0\0"])
    text = struct.pack("<I", 4) + b"Sinh\0\0\0\0"
    top, start = table([struct.pack("<I", 3), struct.pack("<I", 4)])
    vector = struct.pack("<II", 1, 4 + code_start)
    data = struct.pack("<I", 8 + start) + b"TFL3" + top + vector + code + text
    (found,) = operator_codes(data)
    assert (found.builtin, found.version, found.custom) == (32, 1, "Sinh")


@pytest.mark.parametrize(
    "data", [b"", b"<!DOCTYPE html>", b"\x1c\0\0\0TFL3", b"\xff\xff\xff\x7fTFL3" + bytes(40)]
)
def test_no_model(data: bytes) -> None:
    with pytest.raises(NotAModelError):
        operator_codes(data)


def custom_operator(kinds: int, name: bytes) -> bytes:
    """Return a model whose list of kinds names one custom operator `kinds` times."""
    vector = 32  # after the root, the identifier, the model's vtable, and the model
    code = vector + 4 + 4 * kinds + 12
    offsets = [code - (vector + 4 + 4 * number) for number in range(kinds)]
    return b"".join(
        (
            struct.pack("<I4s", 20, b"TFL3"),
            struct.pack("<4H4x", 8, 12, 4, 8),  # the vtable: version and kinds
            struct.pack("<iiI", 12, 3, vector - 28),
            struct.pack(f"<I{kinds}I", kinds, *offsets),
            struct.pack("<6H", 12, 16, 4, 8, 12, 0),  # the kind's vtable: byte, name, version
            struct.pack("<ib3xIi", 12, 32, 8, 1),
            struct.pack("<I", len(name)) + name,
        )
    )


def test_what_a_file_claims_is_bounded() -> None:
    (found,) = operator_codes(custom_operator(1, b"Mine"))
    assert (found.builtin, found.custom, found.version) == (32, "Mine", 1)
    with pytest.raises(NotAModelError, match="1001 bytes"):
        operator_codes(custom_operator(1, b"x" * 1001))
    with pytest.raises(NotAModelError, match="5001 kinds"):
        operator_codes(custom_operator(5001, b"Mine"))


def test_a_file_is_checked_before_anything_is_made(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.tflite"
    with pytest.raises(UsageError, match="there is no file"):
        model.check_model(wrong, None)
    wrong.write_bytes(b"version https://git-lfs")
    with pytest.raises(UsageError, match=r"is not a TensorFlow Lite model: .*Git LFS") as caught:
        model.check_model(wrong, None)
    assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="is not a NumPy array"):
        model.check_model(INT8, wrong)
    assert model.check_model(INT8, None) == operator_codes(INT8.read_bytes())
    wrong.write_bytes(b"")
    with pytest.raises(UsageError, match="is not a TensorFlow Lite model"):
        model.check_model(wrong, None)


def test_of_a_large_file_only_the_tables_are_read(tmp_path: Path) -> None:
    large = tmp_path / "large.tflite"
    large.write_bytes(INT8.read_bytes())
    os.truncate(large, 40 << 30)
    tracemalloc.start()
    try:
        codes = model.check_model(large, None)
        with pytest.raises(UsageError, match="is not a NumPy array"):
            model.check_model(INT8, large)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert codes == operator_codes(INT8.read_bytes())
    assert peak < 1 << 20


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["Didn't find op for builtin opcode 'CONV_2D' version '99'. An older"], ["CONV_2D 99"]),
        (
            [
                "Didn't find op for builtin opcode 'A' version '2'.",
                "Didn't find op for builtin opcode 'B' version '1'.",
                "Didn't find op for builtin opcode 'A' version '2'.",
            ],
            ["A 2", "B 1"],
        ),
        (["Encountered unresolved custom op: Sinh. See x Node number 0"], ["Sinh (custom)"]),
        (["Encountered unresolved custom op: my.Op.\nNode"], ["my.Op (custom)"]),
        (
            ["Select TensorFlow op(s), included in, is(are) not. Node number 0 (FlexDouble) fail"],
            ["FlexDouble (custom)"],
        ),
        (["Op builtin_code out of range: 300. Are you"], ["NEW 2", "NEW 3"]),
        (["Op builtin_code out of range: 301. Are you"], ["operator 301 1"]),
        (["input->dims->size != 4"], []),
    ],
)
def test_what_a_runtime_lacks_is_named(words: list[str], names: list[str]) -> None:
    kinds = [
        OperatorCode(builtin=builtin, version=version, custom="", position=0)
        for builtin, version in ((300, 2), (0, 1), (300, 3), (301, 1))
    ]
    table = OpsTable(codes={"NEW": 300}, tensorflows={})
    found = model.lacking(words, kinds=kinds, wheel=WHEEL, table=table)
    assert [lack.text.split(" (none here")[0].replace(" version", "") for lack in found] == names


@pytest.mark.parametrize(
    ("name", "version", "first", "why"),
    [
        ("ADD", 7, "2.9.0", "TensorFlow 2.5.0 has 1 to 5; the first here that has it is 2.9.0"),
        ("ADD", 8, "2.10.0", "TensorFlow 2.5.0 has 1 to 5; the first here that has it is 2.10.0"),
        ("ADD", 9, "", "TensorFlow 2.5.0 has 1 to 5; none here has it"),
        ("NEW", 2, "2.10.0", "TensorFlow 2.5.0 has none; the first here that has it is 2.10.0"),
    ],
)
def test_which_tensorflow_has_what_a_runtime_lacks(
    name: str, version: int, first: str, why: str
) -> None:
    table = parsed(
        {"ADD": 0, "NEW": 300},
        {
            "2.10.0": {"ADD": range(1, 9), "NEW": range(2, 3)},
            "2.9.0": {"ADD": range(1, 8)},
            "2.5.0": {"ADD": range(1, 6)},
        },
    )
    said = [f"Didn't find op for builtin opcode '{name}' version '{version}'."]
    (found,) = model.lacking(said, kinds=[], wheel=WHEEL, table=table)
    assert found == model.Lack(
        name=name, version=version, first=first, text=f"{name} version {version} ({why})"
    )
    elsewhere = WHEEL.with_name(WHEEL.name.replace("2.5.0", "2.4.0"))
    (found,) = model.lacking(said, kinds=[], wheel=elsewhere, table=table)
    assert found.text == f"{name} version {version} ({why.split('; ')[1]})"


def test_the_table_that_is_committed_is_the_default() -> None:
    said = ["Didn't find op for builtin opcode 'CONV_2D' version '1'."]
    (found,) = model.lacking(said, kinds=[], wheel=WHEEL)
    assert found.first == next(iter(load_ops().tensorflows))


@pytest.mark.parametrize(
    ("least", "resident_mb", "size"),
    [(128, 40, 128), (128, 150, 192), (400, 300, 512), (9000, 9000, 10_240)],
)
def test_the_memory_to_choose(least: int, resident_mb: int, size: int) -> None:
    assert model.advised(least, resident_mb << 20) == size


class Place(Nowhere):
    """A place where a probe finds the same each time, if it has enough memory."""

    def __init__(
        self,
        found: dict[str, Any],
        *,
        needed_mb: int = 0,
        limited: bool = True,
        install: str = "",
    ) -> None:
        self.found, self.needed_mb, self.is_limited, self.fault = found, needed_mb, limited, install
        self.looked: list[tuple[str, ...]] = []

    def install(self, _wheel: Path) -> str:
        return self.fault

    def shown(self, file: Path) -> str:
        return f"/there/{file.name}"

    def look(
        self,
        module: str,
        *arguments: str,
        limits: Limits | None = None,
        timeout: float = 0,
        variables: Mapping[str, str] = NO_VARIABLES,
    ) -> tuple[int | None, str]:
        assert limits is not None
        assert timeout > 0
        assert variables == EXPLAIN
        self.looked.append((module, *arguments))
        if limits.memory_mb < self.needed_mb:
            return 137, "Killed"
        said = "unsupported type INT8 in tensor #3 in node #2\n"
        return 0, f"{said}found: {json.dumps(self.found)}"


def try_model(place: Place, folder: Path, sample: Path | None = None) -> model.ModelReport:
    def at(numpy: str) -> Place:
        assert numpy == RUNTIME.numpy.on_lambda
        return place

    return model.try_model(site_of(folder, at), INT8, sample)


def shown(report: model.ModelReport) -> str:
    console = Console(width=200, record=True, file=Path("/dev/null").open("w"))  # noqa: SIM115
    show_model(report.as_json(), console)
    return console.export_text()


def test_a_model_that_runs(tmp_path: Path) -> None:
    report = try_model(Place(FOUND, needed_mb=300), tmp_path)
    assert report.ok
    assert report.operators == {"CONV_2D": (2, 2), "SOFTMAX": (1, 0)}
    assert report.xnnpack == pytest.approx(2 / 3)
    assert report.reasons == (
        Reason(operator="SOFTMAX", reason="unsupported type INT8 in a tensor", count=1),
    )
    assert report.least_mb == 304
    assert report.advised_mb == 384
    assert json.loads(json.dumps(report.as_json()))["ok"] is True
    text = shown(report)
    for words in (
        "CONV_2D",
        "67%",
        "in int8[1, 8]",
        "warm 0.5",
        "315 MB",
        "choose 384 MB",
        "INT8 in a",
    ):
        assert words in text


def test_a_place_without_limits_advises_no_memory(tmp_path: Path) -> None:
    report = try_model(Place(FOUND, limited=False), tmp_path)
    assert report.ok
    assert report.least_mb is None
    assert "Lambda memory" not in shown(report)


def test_a_models_input_is_given_to_it(tmp_path: Path) -> None:
    sample = tmp_path / "x.npy"
    sample.write_bytes(b"\x93NUMPY\1\0")
    place = Place(FOUND, limited=False)
    try_model(place, tmp_path, sample)
    assert place.looked == [(model.PROBE, f"/there/{INT8.name}", "/there/x.npy")]


def test_a_model_that_a_runtime_lacks_operators_for(tmp_path: Path) -> None:
    lacks = "Didn't find op for builtin opcode '{}' version '9'. Are you using an old\nTFLite?"
    found = {
        "stage": "load",
        "error": lacks.format("A"),
        "missing": [lacks.format("A"), lacks.format("B")],
        "resident_bytes": 1,
        "peak_bytes": None,
    }
    report = try_model(Place(found), tmp_path)
    assert not report.ok
    assert [(lack.name, lack.version) for lack in report.missing] == [("A", 9), ("B", 9)]
    assert report.as_json()["missing"][1] == {
        "name": "B",
        "version": 9,
        "first": "",
        "text": "B version 9 (none here has it)",
    }
    assert report.error.startswith("load: Didn't find op")
    assert "\n" not in report.error
    text = shown(report)
    assert "this runtime lacks A version 9 (none here has it)" in text
    assert "this runtime lacks B version 9" in text
    assert str(tmp_path / "log") in text


def test_words_that_come_twice_are_said_once(tmp_path: Path) -> None:
    words = "unresolved custom op: X. Node 0 failed to prepare."
    report = try_model(Place({"stage": "allocate", "error": words * 2}), tmp_path)
    assert report.error == f"allocate: {words}"


def test_a_model_that_crashes_the_process(tmp_path: Path) -> None:
    report = try_model(Place(FOUND, needed_mb=20_000), tmp_path)
    assert not report.ok
    assert "137 (SIGKILL)" in report.error


def test_a_wheel_that_does_not_install(tmp_path: Path) -> None:
    with pytest.raises(SmokeError, match="expected a wheel"):
        try_model(Place(FOUND, install="expected a wheel that installs"), tmp_path)


def test_versions_can_be_raised_for_the_tests_that_do() -> None:
    data = bytearray(INT8.read_bytes())
    code = operator_codes(data)[0]
    struct.pack_into("<i", data, field_position(data, code.position, CODE_VERSION), 99)
    assert operator_codes(data)[0].version == 99


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (-11, r"-11 (SIGSEGV), a crash in the runtime: the model is damaged, or it meets a fault"),
        (134, r"134 (SIGABRT), a crash in the runtime"),
        (137, r"137 (SIGKILL), as of a process that takes more memory than there is"),
        (-15, r"-15 (SIGTERM): last words"),
        (1, r"found 1: last words"),
    ],
)
def test_what_ended_a_model_is_said_in_a_sentence(status: int, words: str) -> None:
    fault, found = judged(status, "first\nlast words\n")
    assert words in fault
    assert found == {}


def test_an_open_shape_asks_for_an_input(tmp_path: Path) -> None:
    inputs = [{"name": "in", "shape": [1, 8], "dtype": "int8", "open": [-1, 8]}]
    asked = "in has the open shape [-1, 8] and was tried as [1, 8]; --input X.npy tries another"
    fails = {"stage": "allocate", "error": "1 != 8", "inputs": inputs}
    for found in ({**FOUND, "inputs": inputs}, fails):
        assert asked in shown(try_model(Place(found, limited=False), tmp_path))
    assert "open shape" not in shown(try_model(Place(FOUND, limited=False), tmp_path))
