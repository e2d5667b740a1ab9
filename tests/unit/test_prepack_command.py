"""./scripts/prepack: what it refuses, and that a file is put in place whole or not at all."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import pytest

from builders.errors import SmokeError, UsageError
from ci.commands import prepack
from smoke_lambda import events
from smoke_lambda.inside.probing import MARK, READ_PACKED
from smoke_lambda.site import Place

MODEL = events.MODELS / "digits-float32.tflite"
NAME = "0123456789abcdef0123456789abcdef.packed"
PLATFORM = "cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"


class Runtime:
    """A Place whose runtime writes a file, and reports what the test asks for."""

    def __init__(self, status: int | None, found: Mapping[str, object]) -> None:
        self.status = status
        self.found = found

    def look(
        self,
        _module: str,
        _model: str,
        folder: str,
        timeout: float,
    ) -> tuple[int | None, str]:
        assert timeout > 0
        (Path(folder) / NAME).write_bytes(b"packed")
        return self.status, f"INFO: something\n{MARK}{json.dumps(self.found)}\n"


def place(status: int | None = 0, found: Mapping[str, object] | None = None) -> Place:
    return cast("Place", Runtime(status, found or {}))


def made() -> Place:
    found = {
        "file": NAME,
        "bytes": 2_500_000,
        "with": {"cpu_ms": 1.24, "peak_bytes": 40_000_000},
        "without": {"cpu_ms": 4.5, "peak_bytes": 45_600_000},
    }
    return place(found=found)


def wheel(folder: Path, content: bytes, version: str) -> Path:
    path = folder / f"tflite_runtime-{version}-3-{PLATFORM}"
    with zipfile.ZipFile(path, "w") as members:
        members.writestr("tflite_runtime/_pywrap.so", content)
    return path


def failed(*arguments: str | Path, capsys: pytest.CaptureFixture[str]) -> str:
    assert prepack.main([str(each) for each in arguments]) == UsageError.exit_code
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return said


def test_what_is_no_model_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / "x.tflite"
    broken.write_bytes(b"nothing")
    assert "is not a TensorFlow Lite model" in failed(MODEL, broken, capsys=capsys)
    gone = tmp_path / "gone.tflite"
    assert f"there is no file {gone}" in failed(gone, capsys=capsys)


def test_a_wheel_that_reads_no_such_file_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = wheel(tmp_path, b"\0TFLITE_XNNPACK_EXPLAIN\0", "2.14.1")
    said = failed(MODEL, "--wheel", old, capsys=capsys)
    assert f"{old.name} reads no packed weights; name a wheel of TensorFlow 2.22" in said
    gone = tmp_path / "gone.whl"
    assert f"there is no {gone}" in failed(MODEL, "--wheel", gone, capsys=capsys)
    broken = tmp_path / "broken.whl"
    broken.write_bytes(b"PK")
    assert "broken.whl is not a wheel" in failed(MODEL, "--wheel", broken, capsys=capsys)


def test_a_wheel_is_known_by_its_extension(tmp_path: Path) -> None:
    new = wheel(tmp_path, b"\0" + READ_PACKED.encode() + b"\0", "2.22.0.dev20260518")
    assert prepack.reads_packed_weights(new)
    assert prepack.chosen(new) == new


def test_the_file_is_beside_its_model(tmp_path: Path) -> None:
    model = tmp_path / "my.tflite"
    model.write_bytes(MODEL.read_bytes())
    said = prepack.packed(made(), model, None)
    assert (tmp_path / "my.packed").read_bytes() == b"packed"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["my.packed", "my.tflite"]
    assert said == (
        f"{tmp_path}/my.packed: 2.5 MB; to allocate and run once takes 1.2 ms of CPU time, "
        "not 4.5, and 40 MB of memory, not 46"
    )


def test_in_a_folder_it_has_the_name_by_which_the_runtime_finds_it(tmp_path: Path) -> None:
    out = tmp_path / "a" / "packed"
    prepack.packed(made(), MODEL, out)
    assert [each.name for each in out.iterdir()] == [NAME]


@pytest.mark.parametrize(
    ("runtime", "words"),
    [
        (
            place(found={"error": "XNNPACK packs no weights of this model"}),
            "XNNPACK packs no weights",
        ),
        (place(-11), "SIGSEGV"),
        (place(None), "none in time"),
    ],
)
def test_what_fails_changes_nothing(runtime: Place, words: str, tmp_path: Path) -> None:
    model = tmp_path / "my.tflite"
    model.write_bytes(MODEL.read_bytes())
    before = tmp_path / "my.packed"
    before.write_bytes(b"of last week")
    with pytest.raises(SmokeError, match=r"my\.tflite cannot be packed: .*" + words):
        prepack.packed(runtime, model, None)
    assert before.read_bytes() == b"of last week"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["my.packed", "my.tflite"]
