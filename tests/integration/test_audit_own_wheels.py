"""Our own wheels pass the audit, and each mutation of them fails the right check."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from support import wheels_folder

from builders.audit import audit
from builders.matrix import Target, load_matrix
from builders.wheelname import parse_name, parse_own_name

pytestmark = pytest.mark.integration


def wheels() -> list[Path]:
    folder = wheels_folder()
    found = sorted(folder.glob("*.whl"))
    assert found, f"no wheels in {folder}"
    return found


Members = dict[str, bytes]


def rewrite(wheel: Path, target: Path, change: Callable[[Members], Members]) -> Path:
    """Copy a wheel with other members, and a RECORD that agrees with them."""
    with zipfile.ZipFile(wheel) as file:
        infos = {info.filename: info for info in file.infolist()}
        members = change({name: file.read(name) for name in infos})
    stamp = next(iter(infos.values())).date_time
    record = next(name for name in members if name.endswith(".dist-info/RECORD"))
    lines = [f"{record},,"]
    for name, data in members.items():
        if name != record:
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=")
            lines.append(f"{name},sha256={digest.decode()},{len(data)}")
    members[record] = "\n".join(lines).encode() + b"\n"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as file:
        for name in sorted(members):
            info = zipfile.ZipInfo(name, stamp)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o100644 << 16
            file.writestr(info, members[name])
    return target


def extension_of(members: Iterable[str]) -> str:
    return next(name for name in members if name.endswith(".so"))


def newest() -> list[tuple[Path, Target, bytes]]:
    """Return each wheel of the newest build, with its target and its extension."""
    matrix = load_matrix()
    found = []
    for wheel in wheels():
        target = parse_own_name(wheel.name, matrix).target
        assert target is not None
        if parse_name(wheel.name).build == (target.tensorflow.build, ""):
            with zipfile.ZipFile(wheel) as file:
                found.append((wheel, target, file.read(extension_of(file.namelist()))))
    assert found, "no wheel of the newest build"
    return found


def test_kernels_in_assembly_leave_the_registers_of_avx_clean() -> None:
    # XNNPACK's kernels end by taking rsi and rdi from the stack, which under Linux's calling
    # convention no compiler saves there. Then comes vzeroupper (C5 F8 77), and `ret` (C3).
    for wheel, target, extension in newest():
        assert b"\x5e\x5f\xc3" not in extension, wheel.name
        has_kernels = target.arch == "x86_64" and target.tensorflow is load_matrix().recommended
        assert (b"\x5e\x5f\xc5\xf8\x77\xc3" in extension) is has_kernels, wheel.name


def test_no_wheel_links_the_streams_and_locales_of_libcxx() -> None:
    # They are a twentieth of a wheel, and one use of std::cerr links them all.
    assert [wheel.name for wheel, _, extension in newest() if b"ios_base" in extension] == []


def test_every_wheel_passes() -> None:
    for wheel in wheels():
        report = audit(wheel, load_matrix())
        assert [check for check in report.checks if not check.ok] == [], wheel.name
        assert [v.runtime for v in report.runtimes if v.ok], wheel.name


def test_a_rewritten_wheel_passes(tmp_path: Path) -> None:
    # Otherwise, the mutations below could fail because of the rewriting alone.
    wheel = wheels()[0]
    assert audit(rewrite(wheel, tmp_path / wheel.name, lambda m: m), load_matrix()).ok


def test_a_flipped_byte(tmp_path: Path) -> None:
    wheel = wheels()[0]
    data = bytearray(wheel.read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / wheel.name).write_bytes(data)
    assert "archive" in audit(tmp_path / wheel.name, load_matrix()).failed


def test_a_truncated_wheel(tmp_path: Path) -> None:
    wheel = wheels()[0]
    data = wheel.read_bytes()
    (tmp_path / wheel.name).write_bytes(data[: len(data) * 2 // 3])
    assert "archive" in audit(tmp_path / wheel.name, load_matrix()).failed


def test_an_extra_file(tmp_path: Path) -> None:
    wheel = wheels()[0]
    bad = rewrite(wheel, tmp_path / wheel.name, lambda m: {**m, "tflite_runtime/extra.py": b"x"})
    assert audit(bad, load_matrix()).failed == ("files",)


def test_a_flipped_byte_that_the_archive_agrees_with(tmp_path: Path) -> None:
    wheel = wheels()[0]
    with zipfile.ZipFile(wheel) as file:
        record = file.read(next(n for n in file.namelist() if n.endswith("/RECORD")))

    def flip(members: Members) -> Members:
        name = extension_of(members)
        data = bytearray(members[name])
        data[len(data) // 2] ^= 1
        return {**members, name: bytes(data)}

    bad = rewrite(wheel, tmp_path / wheel.name, flip)
    # Restore the RECORD of the unchanged wheel.
    with zipfile.ZipFile(bad) as file:
        members = [(info, file.read(info)) for info in file.infolist()]
    with zipfile.ZipFile(bad, "w") as file:
        for info, data in members:
            file.writestr(info, record if info.filename.endswith("/RECORD") else data)
    assert "record" in audit(bad, load_matrix()).failed


def test_a_wheel_renamed_to_another_python(tmp_path: Path) -> None:
    wheel = wheels()[0]
    own = wheel.name.split("-")[-3]
    other = "cp311" if own != "cp311" else "cp310"

    def retag(members: Members) -> Members:
        name = extension_of(members)
        renamed = name.replace(f"cpython-{own[2:]}-", f"cpython-{other[2:]}-")
        changed = {renamed if n == name else n: data for n, data in members.items()}
        info = next(n for n in changed if n.endswith("/WHEEL"))
        changed[info] = changed[info].replace(own.encode(), other.encode())
        return changed

    bad = rewrite(wheel, tmp_path / wheel.name.replace(own, other), retag)
    assert "python" in audit(bad, load_matrix()).failed


def test_an_extension_swapped_with_another_python(tmp_path: Path) -> None:
    first = wheels()[0]
    platform = first.stem.split("-")[-1]
    others = [w for w in wheels() if w != first and w.stem.endswith(platform)]
    if not others:
        pytest.skip("one wheel alone: build two Pythons of one architecture")
    with zipfile.ZipFile(others[0]) as file:
        foreign = file.read(extension_of(dict.fromkeys(file.namelist(), b"")))
    bad = rewrite(first, tmp_path / first.name, lambda m: {**m, extension_of(m): foreign})
    assert audit(bad, load_matrix()).failed == ("python",)
