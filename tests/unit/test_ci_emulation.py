"""Whether this machine's kernel runs programs of another architecture."""

from __future__ import annotations

from pathlib import Path

import pytest

from ci.images import emulation
from ci.images.emulation import emulates

ENTRY = """\
enabled
interpreter /usr/bin/qemu-aarch64-static
flags: {flags}
offset 0
magic 7f454c46
"""


@pytest.fixture
def binfmt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(emulation, "BINFMT", tmp_path)
    (tmp_path / "status").write_text("enabled\n")
    # The kernel lets nobody read this one.
    (tmp_path / "register").mkdir()
    return tmp_path


@pytest.mark.parametrize("flags", ["F", "OCF", "POCF"])
def test_an_emulator_that_containers_find_is_one(binfmt: Path, flags: str) -> None:
    (binfmt / "qemu-aarch64").write_text(ENTRY.format(flags=flags))
    assert emulates("aarch64")
    assert not emulates("x86_64")


@pytest.mark.parametrize(
    ("program", "right"),
    [
        ("/usr/bin/qemu-aarch64", True),
        # Debian's, because its package makes the kernel keep argv[0].
        ("/usr/libexec/qemu-binfmt/aarch64-binfmt-P", True),
        ("/usr/bin/qemu-aarch64_be", False),
        ("/usr/bin/qemu-arm-static", False),
    ],
)
def test_the_program_names_the_architecture(binfmt: Path, program: str, right: bool) -> None:
    entry = ENTRY.format(flags="PF").replace("/usr/bin/qemu-aarch64-static", program)
    (binfmt / "qemu-aarch64").write_text(entry)
    assert emulates("aarch64") is right


def test_its_entry_may_have_any_name(binfmt: Path) -> None:
    (binfmt / "arm").write_text(ENTRY.format(flags="F"))
    assert emulates("aarch64")


@pytest.mark.parametrize(
    "text", [ENTRY.format(flags="OC"), ENTRY.format(flags="F").replace("enabled", "disabled")]
)
def test_one_that_containers_do_not_find_or_that_is_off_is_none(binfmt: Path, text: str) -> None:
    (binfmt / "qemu-aarch64").write_text(text)
    assert not emulates("aarch64")


def test_a_kernel_without_binfmt_misc_emulates_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(emulation, "BINFMT", tmp_path / "none")
    assert not emulates("aarch64")
