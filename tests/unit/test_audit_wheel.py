"""The audit of archive, name, metadata, RECORD, file list, SBOM and reproducibility."""

from __future__ import annotations

import json
import random
import stat
import struct
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from test_audit_samples import WheelSample

from builders.audit import AuditReport, audit
from builders.errors import UsageError
from builders.matrix import load_matrix

SBOM = "sboms/tflite_runtime.cdx.json"


def inspect(path: Path) -> AuditReport:
    return audit(path, load_matrix())


def fails(sample: WheelSample, folder: Path, check: str, says: str, *also: str) -> None:
    report = inspect(sample.write(folder))
    assert set(report.failed) == {check, *also}
    assert says in report.check(check).detail
    assert not report.ok


@pytest.mark.parametrize("keep", [0, 1, 100, -1, -30])
def test_a_truncated_file_is_a_failing_archive(tmp_path: Path, keep: int) -> None:
    path = WheelSample().write(tmp_path)
    path.write_bytes(path.read_bytes()[:keep])
    report = inspect(path)
    assert "archive" in report.failed
    assert {verdict.ok for verdict in report.runtimes} == {False}


def test_a_file_that_is_no_zip(tmp_path: Path) -> None:
    path = tmp_path / WheelSample().name
    path.write_text("<html>404</html>")
    assert "not a readable zip" in inspect(path).check("archive").detail


@pytest.mark.parametrize("name", ["absent.whl", "."])
def test_a_path_that_is_no_file_is_a_wrong_usage(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="name a wheel file"):
        inspect(tmp_path / name)


def test_any_flipped_byte_is_noticed_or_harmless(tmp_path: Path) -> None:
    path = WheelSample().write(tmp_path)
    good = path.read_bytes()
    choose = random.Random(2)
    for _ in range(150):
        bad = bytearray(good)
        bad[choose.randrange(len(bad))] ^= 1 << choose.randrange(8)
        path.write_bytes(bad)
        report = inspect(path)
        # A few bits of a zip say nothing, such as the version that made it.
        assert not report.ok or contents(path) == contents(path, good)


def contents(path: Path, data: bytes | None = None) -> list[bytes]:
    if data is not None:
        path.write_bytes(data)
    with zipfile.ZipFile(path) as file:
        return [file.read(name) for name in file.namelist()]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("/etc/passwd", "leads outside"),
        ("../up", "leads outside"),
        ("tflite_runtime/../../up", "leads outside"),
        ("C:\\up", "leads outside"),
        ("tflite_runtime//x", "normalized"),
        (".", "normalized"),
    ],
)
def test_a_member_that_leads_elsewhere(tmp_path: Path, name: str, says: str) -> None:
    sample = WheelSample(files={name: b"x"})
    report = inspect(sample.write(tmp_path))
    assert says in report.check("archive").detail


def test_a_symbolic_link(tmp_path: Path) -> None:
    def link(info: zipfile.ZipInfo) -> None:
        info.external_attr = (stat.S_IFLNK | 0o777) << 16

    report = inspect(WheelSample(info=link).write(tmp_path))
    assert "neither a file nor a folder" in report.check("archive").detail


def test_a_member_there_twice(tmp_path: Path) -> None:
    path = WheelSample().write(tmp_path)
    with zipfile.ZipFile(path, "a") as file, pytest.warns(UserWarning, match="Duplicate"):
        file.writestr("tflite_runtime/__init__.py", "again")
    assert "is there 2 times" in inspect(path).check("archive").detail


def test_bytes_before_the_archive(tmp_path: Path) -> None:
    path = WheelSample().write(tmp_path)
    path.write_bytes(b"#!/bin/sh\n" + path.read_bytes())
    assert "besides the archive's members" in inspect(path).check("archive").detail


def test_an_archive_that_unpacks_to_too_much(tmp_path: Path) -> None:
    path = WheelSample().write(tmp_path)
    data = bytearray(path.read_bytes())
    # The unpacked size is at offset 24 of an entry of the central directory.
    struct.pack_into("<I", data, data.index(b"PK\x01\x02") + 24, 300 * 1024 * 1024)
    path.write_bytes(data)
    assert "more than Lambda's" in inspect(path).check("archive").detail


def test_the_size_limit(tmp_path: Path) -> None:
    path = WheelSample().write(tmp_path)
    matrix = load_matrix()
    limit = path.stat().st_size
    for smaller, failed in ((0, ()), (1, ("size",))):
        rows = [replace(row, size_limit=limit - smaller) for row in matrix.tensorflows]
        assert audit(path, replace(matrix, tensorflows=tuple(rows))).failed == failed


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nonsense.whl", "nonsense"),
        ("other-2.14.1-1-cp312-cp312-manylinux_2_17_x86_64.whl", "project is other"),
        ("tflite_runtime-2.14.2-1-cp312-cp312-manylinux_2_17_x86_64.whl", "no TensorFlow"),
        ("tflite_runtime-2.14.1+x-1-cp312-cp312-manylinux_2_17_x86_64.whl", "no TensorFlow"),
        ("tflite_runtime-2.14.1-1-cp37-cp37m-manylinux_2_17_x86_64.whl", "not one Python"),
        ("tflite_runtime-2.14.1-1-cp312-abi3-manylinux_2_17_x86_64.whl", "not one Python"),
        ("tflite_runtime-2.14.1-1-cp311.cp312-cp312-manylinux_2_17_x86_64.whl", "not one Python"),
        ("tflite_runtime-2.14.1-1-cp312-cp312-linux_x86_64.whl", "not manylinux"),
        ("tflite_runtime-2.14.1-1-cp312-cp312-manylinux_2_17_i686.whl", "not manylinux"),
        (
            "tflite_runtime-2.14.1-1-cp312-cp312-manylinux_2_17_x86_64.manylinux_2_17_aarch64.whl",
            "not manylinux",
        ),
        ("tflite_runtime-2.14.1-1-cp312-cp312-manylinux_2_28_x86_64.whl", "not the file name's"),
        ("tflite_runtime-2.14.1-2-cp312-cp312-manylinux_2_17_x86_64.whl", "Build is 1"),
        ("tflite_runtime-2.14.1-cp312-cp312-manylinux_2_17_x86_64.whl", "file name's is None"),
    ],
)
def test_a_wrong_file_name(tmp_path: Path, name: str, says: str) -> None:
    report = inspect(WheelSample(name=name).write(tmp_path))
    assert says in report.check("name").detail
    assert not report.check("name").ok


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("cp312-cp312", "cp311-cp311", "not the file name's"),
        ("Tag: ", "Tag: malformed-", "malformed"),
        ("Purelib: false", "Purelib: true", "Root-Is-Purelib"),
        ("Wheel-Version: 1.0", "Wheel-Version: 2.0", "Wheel-Version"),
    ],
)
def test_a_wrong_wheel_file(tmp_path: Path, old: str, new: str, says: str) -> None:
    sample = WheelSample()
    sample.replace("WHEEL", old, new)
    fails(sample, tmp_path, "name", says)


def test_a_wheel_of_another_python_retagged(tmp_path: Path) -> None:
    sample = WheelSample(name="tflite_runtime-2.14.1-1-cp311-cp311-manylinux_2_17_x86_64.whl")
    sample.replace("WHEEL", "cp312", "cp311")
    report = inspect(sample.write(tmp_path))
    assert set(report.failed) == {"files", "python"}
    assert "compiled for 3.12, expected 3.11" in report.check("python").detail


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("Name: tflite_runtime", "Name: other", "Name is other"),
        ("Version: 2.14.1", "Version: 2.14.0", "Version is 2.14.0"),
        ("Python: >=3.8", "Python: >=3.9", "Requires-Python is >=3.9, expected >=3.8"),
        ("Python: >=3.8", "Python: >=3.8,<3.13", "Requires-Python is <3.13,>=3.8"),
        ("Requires-Python: >=3.8\n", "", "Requires-Python is None"),
        ("numpy<3,>=1.26.0;", "numpy;", 'lacks numpy<3,>=1.26.0; python_version == "3.12"'),
        ("numpy<3,>=1.26.0; ", "numpy<3,>=1.26.0, !=2.0; ", "unexpected numpy!=2.0,"),
        ('python_version == "3.12"', 'python_version >= "3.12"', "Requires-Dist: unexpected"),
        (
            "Requires-Dist: numpy<3,>=1.21",
            "Requires-Dist: protobuf\nRequires-Dist: numpy<3,>=1.21",
            "unexpected protobuf",
        ),
        ("Classifier: Programming Language :: Python :: 3.9\n", "", "the classifiers"),
        ("License-File: tensorflow/LICENSE\n", "", "no License-File"),
        ("LICENSE\n", "NOTICE\n", "not in the wheel: tensorflow/NOTICE"),
        ("License-Expression: Apache-2.0 AND MIT\n", "", "no License-Expression"),
        ("Apache-2.0 AND MIT", "Apache 2", "license"),
        ("Summary:", "Sumary:", "unexpected field Sumary"),
        ("Summary:", "summary:", "summary is spelt Summary"),
        ("Requires-Python:", "requires-python:", "requires-python is spelt Requires-Python"),
        ("Summary:", "Dynamic: version\nSummary:", "unexpected field Dynamic"),
        ("Summary: ", "Summary: " + "x" * 1_001, "longer than 1000 characters: Summary"),
        ("Summary: ", "Keywords: a\n" * 151 + "Summary: ", "fields > 150"),
        ("Text.", "Text. " * 4_000, "bytes > 16,384"),
    ],
)
def test_wrong_metadata(tmp_path: Path, old: str, new: str, says: str) -> None:
    sample = WheelSample()
    sample.replace("METADATA", old, new)
    fails(sample, tmp_path, "metadata", says)


def test_equivalent_metadata_passes(tmp_path: Path) -> None:
    sample = WheelSample()
    sample.replace("METADATA", "numpy<3,>=1.26.0;", "numpy (>=1.26.0,<3) ;")
    sample.replace("METADATA", 'python_version == "3.12"', "python_version=='3.12'")
    assert inspect(sample.write(tmp_path)).ok


@pytest.mark.parametrize("file", ["METADATA", "WHEEL"])
def test_missing_metadata_files(tmp_path: Path, file: str) -> None:
    sample = WheelSample()
    del sample.files[f"{sample.dist_info}/{file}"]
    check = {"METADATA": "metadata", "WHEEL": "name"}[file]
    fails(sample, tmp_path, check, f"no {file} file", "files")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda text: text.replace("sha256=", "sha256=x", 1), "hash or size differs"),
        (
            lambda text: text.replace(",0\n", ",1\n"),
            "hash or size differs: tflite_runtime/__init__",
        ),
        (lambda text: text + "ghost.py,sha256=x,1\n", "absent: ghost.py"),
        (lambda text: text + text.splitlines()[1] + "\n", "listed twice"),
        (lambda text: "\n".join(text.splitlines()[:-1]), "not listed: "),
        (lambda text: text.replace(",,", ",sha256=x,1"), "hash or size differs"),
        (lambda text: text + "one field\n", "three fields"),
        (lambda text: text + '"', "hash or size|three fields|CSV"),
    ],
)
def test_a_wrong_record(tmp_path: Path, change: Callable[[str], str], says: str) -> None:
    sample = WheelSample()
    with zipfile.ZipFile(sample.write(tmp_path)) as file:
        record = file.read(f"{sample.dist_info}/RECORD").decode()
    sample.record = change(record).encode()
    report = inspect(sample.write(tmp_path))
    assert report.failed == ("record",)
    assert any(part in report.check("record").detail for part in says.split("|"))


def test_an_extra_file_is_named(tmp_path: Path) -> None:
    sample = WheelSample(files={"tflite_runtime/extra.py": b"x"})
    fails(sample, tmp_path, "files", "not expected: tflite_runtime/extra.py")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    sample = WheelSample()
    del sample.files["tflite_runtime/interpreter.py"]
    fails(sample, tmp_path, "files", "missing: tflite_runtime/interpreter.py", "types")


def test_no_extension(tmp_path: Path) -> None:
    sample = WheelSample()
    sample.extension = "tflite_runtime/data.bin"
    report = inspect(sample.write(tmp_path))
    assert set(report.failed) == {"files", "elf"}
    assert "no readable extension" in next(v.reason for v in report.runtimes if "3.12" in v.runtime)


def test_an_extension_that_another_python_would_find(tmp_path: Path) -> None:
    sample = WheelSample()
    sample.extension = "tflite_runtime/_pywrap_tensorflow_interpreter_wrapper.so"
    fails(sample, tmp_path, "files", "cpython-312-x86_64-linux-gnu.so")


def test_no_sbom(tmp_path: Path) -> None:
    sample = WheelSample()
    del sample.files[f"{sample.dist_info}/{SBOM}"]
    fails(sample, tmp_path, "sbom", "0 SBOMs", "files")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"bomFormat": "CycloneDX"', '"bomFormat": "SPDX"', "bomFormat"),
        ('"specVersion": "1.6"', '"specVersion": "9.9"', "not CycloneDX"),
        ("XNNPACK", "other", "does not name xnnpack"),
        ("SHA-256", "MD5", "no sha256: pybind11, tensorflow, xnnpack"),
        ('"licenses": [{"license": {"id": "MIT"}}], ', "", "no licence"),
        ('"version": "1", ', "", "no version: xnnpack"),
        ('"version": "2.14.1"', '"version": "2.14.0"', "TensorFlow is 2.14.0"),
        ('"components": [', '"components": [3, ', "not CycloneDX"),
        ("{", "", "not CycloneDX"),
    ],
)
def test_a_wrong_sbom(tmp_path: Path, old: str, new: str, says: str) -> None:
    sample = WheelSample()
    sample.replace(SBOM, old, new)
    fails(sample, tmp_path, "sbom", says)


def an_hour_later(info: zipfile.ZipInfo) -> None:
    if info.filename.endswith("WHEEL"):
        info.date_time = (2020, 1, 1, 1, 0, 0)


def with_owner(info: zipfile.ZipInfo) -> None:
    info.extra = b"ux\x0b\x00\x01\x04\xe8\x03\x00\x00\x04\xe8\x03\x00\x00"


def writable_by_all(info: zipfile.ZipInfo) -> None:
    info.external_attr = 0o100666 << 16


def stored(info: zipfile.ZipInfo) -> None:
    info.compress_type = zipfile.ZIP_STORED


@pytest.mark.parametrize(
    ("info", "says"),
    [
        (an_hour_later, "2 different times"),
        (with_owner, "extra field"),
        (writable_by_all, "mode 0644, 0664"),
        (stored, "deflated"),
    ],
)
def test_an_archive_that_tells_of_its_making(
    tmp_path: Path, info: Callable[[zipfile.ZipInfo], None], says: str
) -> None:
    fails(WheelSample(info=info), tmp_path, "reproducible", says)


def test_unsorted_members(tmp_path: Path) -> None:
    path = WheelSample().write(tmp_path)
    with zipfile.ZipFile(path) as file:
        members = [(info, file.read(info)) for info in reversed(file.infolist())]
    with zipfile.ZipFile(path, "w") as file:
        for info, data in members:
            file.writestr(info, data)
    assert inspect(path).failed == ("reproducible",)


def test_the_report_is_plain_data_and_always_the_same(tmp_path: Path) -> None:
    path = WheelSample().write(tmp_path)
    first, second = inspect(path).to_json(), inspect(path).to_json()
    assert first == second
    data = json.loads(first)
    assert list(data)[:5] == ["file", "ok", "sha256", "size", "target"]
    assert data["ok"] is True
    assert data["checks"][0] == {
        "name": "archive",
        "ok": True,
        "detail": "14 members, all readable, and nothing else",
    }
