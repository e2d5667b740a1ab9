"""The audit on wheels that were made to deceive it, or to cost it time or memory."""

from __future__ import annotations

import hashlib
import re
import resource
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from test_audit_samples import PAGE, Elf, WheelSample, record_of

from builders.audit import AuditReport, audit, modules_check
from builders.audit.cli import main
from builders.audit.elf import DamagedElfError, read_elf
from builders.audit.wheelfile import read_archive
from builders.audit.zip_layout import DamagedWheelError
from builders.errors import printable
from builders.matrix import load_matrix

MATRIX = load_matrix()
Bytes = Callable[[bytearray], bytes | bytearray]


def inspect(path: Path) -> AuditReport:
    return audit(path, MATRIX)


def with_elf(folder: Path, data: bytes) -> AuditReport:
    sample = WheelSample()
    sample.files[sample.extension] = data
    return inspect(sample.write(folder))


def with_bytes(folder: Path, change: Bytes) -> AuditReport:
    path = WheelSample().write(folder)
    path.write_bytes(change(bytearray(path.read_bytes())))
    return inspect(path)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"tags": ((0x7FFFFFFD, 1),)}, "DT_AUXILIARY"),
        ({"tags": ((0x7FFFFFFF, 1),)}, "DT_FILTER"),
        ({"tags": ((0x6FFFFEFC, 1),)}, "DT_AUDIT"),
        ({"tags": ((14, 1),)}, "DT_SONAME"),
        ({"tags": ((12, 0),)}, "DT_INIT"),
        ({"tags": ((32, 0),)}, "DT_PREINIT_ARRAY"),
        ({"tags": ((30, 8),)}, "DT_FLAGS more than once"),
        ({"tags": ((0x6FFFFFFB, 0x400),)}, "DT_FLAGS_1 is 0x400"),
        ({"bind_now": False}, "binds lazily"),
        ({"code_flags": 7}, "writable and executable"),
        ({"constructors": (0, 0, 0)}, "3 constructors, more than 2"),
        ({"constructors": (1 << 20,)}, "a constructor is not of its own code"),
        ({"relocations": (37,)}, "relocations of the types 37"),  # R_X86_64_IRELATIVE
        ({"payload": b"#!/bin/sh\n"}, "10 bytes follow the image"),
        ({"payload": bytes(100)}, "100 bytes follow the image"),
        ({"more_sections": (".payload",)}, "section .payload is not loaded"),
    ],
)
def test_what_the_loader_is_asked_for_besides(
    tmp_path: Path, changes: dict[str, object], says: str
) -> None:
    sample = WheelSample()
    sample.change_elf(**changes)
    report = inspect(sample.write(tmp_path))
    assert "loader" in report.failed
    assert says in report.check("loader").detail
    # A tool that reads section headers is not asked about a file that deceives it.
    assert "auditwheel" in report.failed


def segment(data: bytearray, kind: int) -> int:
    """Return the offset of the program header of a kind."""
    count = struct.unpack_from("<H", data, 56)[0]
    headers = range(64, 64 + 56 * count, 56)
    return next(p for p in headers if struct.unpack_from("<I", data, p)[0] == kind)


def section(data: bytearray, name: str) -> int:
    """Return the offset of the section header with a name."""
    start, count = struct.unpack_from("<Q", data, 40)[0], struct.unpack_from("<H", data, 60)[0]
    headers = range(start, start + 64 * count, 64)
    names = struct.unpack_from("<Q", data, headers[-1] + 24)[0]
    for header in headers:
        at = names + struct.unpack_from("<I", data, header)[0]
        if data[at : data.index(0, at)] == name.encode():
            return header
    raise AssertionError(name)


def test_an_empty_relro_is_none(tmp_path: Path) -> None:
    data = bytearray(Elf().build())
    struct.pack_into("<QQ", data, segment(data, 0x6474E552) + 32, 0, 0)
    detail = with_elf(tmp_path, bytes(data)).check("elf").detail
    assert detail == "read-only relocations (RELRO) leave out the dynamic segment"


def test_the_dynamic_segment_counts_and_not_the_section(tmp_path: Path) -> None:
    # The section header shows a clean copy behind the image; the loader sees a run path.
    clean, data = Elf(), bytearray(Elf(runpath="/tmp/x").build())
    header = section(data, ".dynamic")
    copy = bytearray(clean.build())
    place, size = struct.unpack_from("<QQ", copy, section(copy, ".dynamic") + 24)
    struct.pack_into("<QQ", data, header + 24, len(data), size)
    data += copy[place : place + size]
    report = with_elf(tmp_path, bytes(data))
    assert report.check("libraries").detail == "has a run path: /tmp/x"
    assert "section .dynamic is not what is loaded there" in report.check("loader").detail


@pytest.mark.parametrize("name", [".text", ".dynsym", ".rela.dyn", ".gnu.version_r", ".dynstr"])
def test_a_section_that_shows_other_bytes(tmp_path: Path, name: str) -> None:
    data = bytearray(Elf(constructors=(0,)).build())
    header = section(data, name)
    place, size = struct.unpack_from("<QQ", data, header + 24)
    struct.pack_into("<Q", data, header + 24, len(data))
    data += data[place : place + size]
    assert f"the section {name} is not" in with_elf(tmp_path, bytes(data)).check("loader").detail


def test_a_compressed_section_is_not_unpacked() -> None:
    data = bytearray(Elf().build())
    header = section(data, ".rodata")
    bomb = struct.pack("<IIQQ", 1, 0, 8 << 30, 8) + zlib.compress(bytes(1 << 20), 9)
    struct.pack_into("<QQQQ", data, header + 8, 2 | 0x800, 0, len(data), len(bomb))
    with pytest.raises(DamagedElfError, match=r"\.rodata is compressed"):
        read_elf(bytes(data) + bomb)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (".rodata", 1 << 40),
        (".dynsym", 1 << 60),
        (".rela.dyn", 1 << 40),
        (".dynamic", 1 << 40),
    ],
)
def test_a_size_beyond_the_file(place: str, value: int) -> None:
    data = bytearray(Elf(constructors=(0,)).build())
    struct.pack_into("<Q", data, section(data, place) + 32, value)
    with pytest.raises(DamagedElfError, match="beyond the end of the file"):
        read_elf(bytes(data))


def test_headers_that_are_counted_by_the_thousand() -> None:
    data = bytearray(Elf().build())
    struct.pack_into("<H", data, 60, 65_000)
    with pytest.raises(DamagedElfError, match="65000 section headers"):
        read_elf(bytes(data))


def test_a_dynamic_segment_without_an_end() -> None:
    data = bytearray(Elf().build())
    place, size = struct.unpack_from("<Q16xQ", data, segment(data, 2) + 8)
    struct.pack_into("<Q", data, place + size - 16, 0x6FFFFEF5 + 0)
    with pytest.raises(DamagedElfError):
        read_elf(bytes(data))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: d + b"trailing", "at its end"),
        (lambda d: b"#!/bin/sh\n" + d, "its end lies"),
        (lambda d: d[:-2] + b"\4\0evil", "at its end"),
        (lambda d: d[:-14] + b"\xff\xff\xff\xff" + d[-10:], "has 65,535 members, more than 10,000"),
        (
            lambda d: d[:-14] + b"\x01\0\x01\0" + d[-10:],
            "the directory has 14 members, its end says 1",
        ),
        (lambda d: hidden(d), "before the directory are no member's"),
        (lambda d: renamed(d), "local header of tflite_runtime/py.typed differs"),
    ],
)
def test_what_two_readers_of_a_zip_see_differently(
    tmp_path: Path, change: Bytes, says: str
) -> None:
    report = with_bytes(tmp_path, change)
    assert "archive" in report.failed
    with pytest.raises(DamagedWheelError, match=re.escape(says)):
        read_archive(tmp_path / WheelSample().name)
    assert says in report.check("archive").detail


def hidden(data: bytearray) -> bytes:
    """Add a member that is seen only if the archive is read from front to back."""
    end = data.rindex(b"PK\5\6")
    (directory,) = struct.unpack_from("<I", data, end + 16)
    content, name = b"import os\n", b"evil.pth"
    header = struct.pack(
        "<IHHHHHIIIHH",
        0x04034B50, 20, 0, 0, 0, 0x21, zlib.crc32(content),
        len(content), len(content), len(name), 0,
    )  # fmt: skip
    struct.pack_into("<I", data, end + 16, directory + len(header + name + content))
    return bytes(data[:directory] + header + name + content + data[directory:])


def renamed(data: bytearray) -> bytes:
    """Give a member another name in front of its data than in the directory."""
    return bytes(data).replace(b"tflite_runtime/py.typed", b"tflite_runtime/__evil.p", 1)


def test_a_stream_that_is_longer_than_its_size(tmp_path: Path) -> None:
    name, shown, all_of_it = "tflite_runtime/interpreter.py", b"# code\n", b"# code\nimport os\n"
    sample = WheelSample(files={name: all_of_it})
    shown_files = {sample.extension: sample.elf.build(), **sample.files, name: shown}
    sample.record = record_of(shown_files, f"{sample.dist_info}/RECORD")
    path = sample.write(tmp_path)
    data = bytearray(path.read_bytes())
    for size_at, name_at, header in ((22, 30, b"PK\3\4"), (24, 46, b"PK\1\2")):
        place = 0
        while not data[place + name_at :].startswith(name.encode()):
            place = data.index(header, place + 1)
        struct.pack_into("<I", data, place + size_at, len(shown))
        struct.pack_into("<I", data, place + size_at - 8, zlib.crc32(shown))
    path.write_bytes(data)
    assert "not of the 7 bytes that the archive says" in inspect(path).check("archive").detail


def test_a_text_of_megabytes(tmp_path: Path) -> None:
    licence = "tflite_runtime-2.14.1.dist-info/licenses/tensorflow/LICENSE"
    report = inspect(WheelSample(files={licence: bytes(5_000_000)}).write(tmp_path))
    assert "LICENSE unpacks to 5,000,000 bytes > 4,000,000" in report.check("archive").detail


def test_a_record_of_millions_of_lines(tmp_path: Path) -> None:
    sample = WheelSample()
    sample.record = b"x,,\n" * 900_000
    report = inspect(sample.write(tmp_path))
    assert "listed twice: x" in report.check("record").detail


def test_a_file_of_no_end_is_not_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sparse = tmp_path / WheelSample().name
    with sparse.open("wb") as file:
        file.truncate(1 << 40)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert main(["/dev/zero"]) == 2
    assert "/dev/zero: No such file" in capsys.readouterr().err
    assert main(["x" * 300]) == 2
    assert capsys.readouterr().err.count("\n") == 1

    with pytest.raises(DamagedWheelError, match="more than Lambda's"):
        read_archive(sparse)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


@pytest.mark.parametrize(
    ("file", "data", "check", "says"),
    [
        ("sboms/tflite_runtime.cdx.json", b"[" * 100_000, "sbom", "RecursionError"),
        ("sboms/tflite_runtime.cdx.json", b"[]" * 200_000, "sbom", "400,000 bytes"),
        (
            "sboms/tflite_runtime.cdx.json",
            b'{"x": [' + b"{}," * 300 + b"{}]}",
            "sbom",
            "a list of 301 items > 200",
        ),
        ("WHEEL", b"X: y\n" * 100_000, "name", "500,000 bytes"),
        ("WHEEL", b"Wheel-Version: 1.0\nTag: " + b"a." * 90 + b"b-c-d\n", "name", "16 tags"),
        ("licenses/x.so", b"\x7fELF\0", "metadata", "in licenses/, but no License-File: x.so"),
        ("licenses/tensorflow/LICENSE", b"\x7fELF\0", "metadata", "that is no text"),
    ],
)
def test_a_text_that_is_too_much(
    tmp_path: Path, file: str, data: bytes, check: str, says: str
) -> None:
    sample = WheelSample(files={f"tflite_runtime-2.14.1.dist-info/{file}": data})
    assert says in inspect(sample.write(tmp_path)).check(check).detail


def test_a_requirement_that_no_parser_survives(tmp_path: Path) -> None:
    sample = WheelSample()
    nested = "(" * 400 + 'python_version > "3"' + ")" * 400
    sample.replace("METADATA", "Requires-Python:", f"Requires-Dist: x; {nested}\nRequires-Python:")
    assert "metadata" in inspect(sample.write(tmp_path)).failed


@pytest.mark.parametrize("value", ["\x1b]0;x\x07", "two\n lines"])
def test_a_field_that_changes_a_terminal(tmp_path: Path, value: str) -> None:
    sample = WheelSample()
    sample.replace("METADATA", "License-File:", f"Keywords: {value}\nLicense-File:")
    report = inspect(sample.write(tmp_path))
    assert report.check("metadata").detail == "a value that is no line of text: Keywords"


def test_a_check_that_ends_in_an_error_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> modules_check.Known:
        raise RecursionError("too deep")

    monkeypatch.setattr(modules_check, "known_modules", broken)
    report = inspect(WheelSample().write(tmp_path))
    assert report.check("modules").detail == "cannot be made: RecursionError: too deep"
    assert report.failed == ("modules",)


def test_a_module_that_no_build_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sample = WheelSample()
    known = {
        name.removeprefix("tflite_runtime/"): [hashlib.sha256(data).hexdigest()]
        for name, data in sample.files.items()
        if name.startswith("tflite_runtime/")
    }
    monkeypatch.setattr(modules_check, "known_modules", lambda: {"2.14.1": known})
    report = inspect(sample.write(tmp_path))
    assert report.ok
    assert report.check("modules").detail == "8 files, as a build here writes them"
    sample.files["tflite_runtime/__init__.py"] = b"import os\n"
    report = inspect(sample.write(tmp_path))
    assert report.failed == ("modules",)
    assert "__init__.py" in report.check("modules").detail


def test_modules_of_an_unknown_version_are_not_compared(tmp_path: Path) -> None:
    check = inspect(WheelSample().write(tmp_path)).check("modules")
    assert (check.ok, check.detail) == (
        True,
        "not compared: no digest is known of TensorFlow 2.14.1",
    )


def test_digests_are_taken_from_wheels_that_we_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "modules.toml"
    file.write_text("")
    monkeypatch.setattr("builders.audit.cli.FILE", file)
    monkeypatch.setattr("builders.audit.cli.known_modules", lambda: REAL(file))
    monkeypatch.setattr(modules_check, "known_modules", lambda: REAL(file))
    wheel = WheelSample().write(tmp_path)
    assert main(["--accept", str(wheel)]) == 0
    assert '"py.typed" = ["e3b0c442' in file.read_text()
    before = file.read_text()
    other = wheel.rename(tmp_path / "numpy-1-py3-none-any.whl")
    assert main(["--accept", str(other)]) == 2
    assert file.read_text() == before


def test_the_digests_in_this_repository_are_digests() -> None:
    text = modules_check.FILE.read_text()
    assert modules_check.text_of(REAL()) == text
    assert set(REAL()) >= {"2.14.1", "2.22.0.dev20260518"}


REAL = modules_check.known_modules


def test_a_terminal_gets_no_escape_sequence() -> None:
    assert printable("a\x1b]0;x\x07\udcff\nb é") == "a\\x1b]0;x\\x07\\udcff\\nb é"
    assert len(printable("x" * 5_000)) == 1_001


def test_the_sample_has_its_data_on_a_page_of_its_own() -> None:
    data = Elf().build()
    assert struct.unpack_from("<Q", data, 64 + 56 + 16)[0] % PAGE == 0


def test_a_zip_without_a_compressed_member_is_read(tmp_path: Path) -> None:
    def stored(info: zipfile.ZipInfo) -> None:
        info.compress_type = zipfile.ZIP_STORED

    report = inspect(WheelSample(info=stored).write(tmp_path))
    assert report.failed == ("reproducible",)
