"""A rebuilt wheel is compared byte by byte, and member by member where bytes differ."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from publish_samples import CP312, HOSTING, MATRIX, later, wheel_of, write_wheel

from builders.matrix import Target
from ci.publish.intake import take_in
from ci.publish.manifest import Wheel
from ci.publish.rebuild import Rebuilt, compare, rebuild

NAME, DATA = wheel_of(CP312)
Edit = Callable[[zipfile.ZipInfo, bytes], bytes]


def repacked(path: Path, edit: Edit | None = None, *, level: int = 9) -> Path:
    """Copy a wheel, with each member edited and compressed at another level."""
    other = path.with_name("other") / path.name
    other.parent.mkdir()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(other, "w", compresslevel=level) as new:
        for info in old.infolist():
            data = old.read(info)
            new.writestr(info, edit(info, data) if edit else data, compresslevel=level)
    return other


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    return write_wheel(tmp_path, CP312)


def test_the_same_bytes_are_the_same(wheel: Path, tmp_path: Path) -> None:
    (tmp_path / "copy").write_bytes(DATA)
    assert compare(wheel, tmp_path / "copy") == Rebuilt(file=NAME, ok=True, detail="same bytes")


def test_another_compression_of_the_same_members_is_told(wheel: Path) -> None:
    other = repacked(wheel, level=1)
    assert other.read_bytes() != DATA
    found = compare(wheel, other)
    assert found == Rebuilt(file=NAME, ok=False, detail="only the compression differs")


def change_text(info: zipfile.ZipInfo, data: bytes) -> bytes:
    return data + b"\n" if info.filename.endswith("METADATA") else data


def change_time(info: zipfile.ZipInfo, data: bytes) -> bytes:
    if info.filename.endswith(".so"):
        info.date_time = (2020, 1, 1, 0, 0, 0)
    return data


def change_mode(info: zipfile.ZipInfo, data: bytes) -> bytes:
    if info.filename.endswith(".so"):
        info.external_attr |= 0o777 << 16
    return data


@pytest.mark.parametrize(
    ("edit", "member"),
    [(change_text, "METADATA"), (change_time, ".so"), (change_mode, ".so")],
)
def test_a_member_that_differs_is_named(wheel: Path, edit: Edit, member: str) -> None:
    found = compare(wheel, repacked(wheel, edit))
    assert not found.ok
    assert found.detail.startswith("differs in tflite_runtime")
    assert found.detail.endswith(member)
    assert "," not in found.detail


def test_members_that_are_missing_or_in_another_order_are_told(wheel: Path) -> None:
    other = repacked(wheel)
    with zipfile.ZipFile(other, "a") as archive:
        archive.writestr("tflite_runtime/more.py", b"")
    found = compare(wheel, other)
    assert (found.ok, found.detail) == (False, "members: tflite_runtime/more.py")
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(other, "w") as new:
        for info in reversed(old.infolist()):
            new.writestr(info, old.read(info))
    found = compare(wheel, other)
    assert (found.ok, found.detail) == (False, "members: their order")


def entry(wheel: Path) -> Wheel:
    return take_in(wheel, MATRIX, HOSTING).wheel


def test_it_is_rebuilt_from_the_origin_that_its_sbom_names(tmp_path: Path) -> None:
    wheel = write_wheel(tmp_path, MATRIX.target(CP312.identifier))
    asked = []

    def build(target: Target, origin: str) -> Path:
        asked.append((target.identifier, origin))
        return wheel

    assert rebuild(entry(wheel), wheel.parent, MATRIX, build).ok
    assert asked == [(CP312.identifier, "debian")]


def test_what_the_matrix_no_longer_makes_cannot_be_compared(tmp_path: Path) -> None:
    def build(_target: Target, _origin: str) -> Path:
        raise AssertionError("another wheel is built")

    old = write_wheel(tmp_path, later(CP312, 7))
    found = rebuild(entry(old), tmp_path, MATRIX, build)
    assert not found.ok
    assert "check out the commit that its provenance names" in found.detail
