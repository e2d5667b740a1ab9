"""A zip file packed by libdeflate is an ordinary one, and smaller than zlib's."""

from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path

import pytest

from builders.deflated import DeflatedWheel, DeflatedZip
from builders.wheel import zip_entry

TEXT = b"".join(b"%d %d\n" % (number, number * number) for number in range(5000))


def packed(kind: type[zipfile.ZipFile], members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with kind(file, "w") as archive:
        for name, data in members.items():
            archive.writestr(zip_entry(name), data)
    return file.getvalue()


@pytest.mark.parametrize("data", [b"", b"x", bytes(100_000), TEXT])
def test_a_member_is_what_was_written(data: bytes) -> None:
    content = packed(DeflatedZip, {"a": data, "b/c": b"after it"})
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        assert archive.read("a") == data
        assert archive.read("b/c") == b"after it"
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_DEFLATED}
        assert [info.file_size for info in archive.infolist()] == [len(data), 8]


def test_local_headers_say_what_the_directory_says() -> None:
    members = {"a": TEXT, "b": b"short"}
    ours, zlibs = (packed(kind, members) for kind in (DeflatedZip, zipfile.ZipFile))
    with zipfile.ZipFile(io.BytesIO(ours)) as archive:
        for info in archive.infolist():
            start = info.header_offset
            header = info.FileHeader()
            assert ours[start : start + len(header)] == header
    assert len(ours) < len(zlibs)


def test_a_stored_member_stays_stored() -> None:
    file = io.BytesIO()
    with DeflatedZip(file, "w") as archive:
        archive.writestr(zipfile.ZipInfo("a"), TEXT)
    with zipfile.ZipFile(file) as archive:
        assert archive.getinfo("a").compress_type == zipfile.ZIP_STORED
        assert archive.read("a") == TEXT


def test_a_member_whose_writing_fails_is_left_out() -> None:
    file = io.BytesIO()
    with DeflatedZip(file, "w") as archive:
        archive.writestr(zip_entry("a"), TEXT)
        with pytest.raises(RuntimeError), archive.open(zip_entry("b"), "w"):
            raise RuntimeError
    with zipfile.ZipFile(file) as archive:
        assert archive.namelist() == ["a"]


def test_a_wheel_records_what_its_members_unpack_to(tmp_path: Path) -> None:
    path = tmp_path / "some-1-py3-none-any.whl"
    with DeflatedWheel(path, "w") as wheel:
        wheel.writestr(zip_entry("some/a.py"), TEXT)
    with zipfile.ZipFile(path) as archive:
        rows = {
            row[0]: row[1:]
            for row in csv.reader(archive.read("some-1.dist-info/RECORD").decode().splitlines())
        }
        assert archive.testzip() is None
    assert rows["some/a.py"][1] == str(len(TEXT))
    assert rows["some/a.py"][0].startswith("sha256=")
