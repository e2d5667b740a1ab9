"""Finds out from Linux's binfmt_misc if programs of another architecture can run here."""

from __future__ import annotations

import re
from pathlib import Path

BINFMT = Path("/proc/sys/fs/binfmt_misc")

REMEDY = (
    "install an emulator (Debian: apt install qemu-user-static binfmt-support; in Docker: "
    "docker run --privileged tonistiigi/binfmt --install arm64)"
)


def emulates(arch: str) -> bool:
    """True if an emulator of an architecture is registered, also for containers.

    With its flag F, the kernel opens the emulator when it is registered, so that it also works in
    a container (https://docs.kernel.org/admin-guide/binfmt-misc.html).
    """
    return any(_fits(entry.read_text(), arch) for entry in BINFMT.glob("*") if _is_entry(entry))


def _is_entry(path: Path) -> bool:
    return path.name not in ("register", "status")


def _fits(entry: str, arch: str) -> bool:
    state, *lines = entry.splitlines()
    fields = dict(line.partition(" ")[::2] for line in lines)
    program = Path(fields.get("interpreter", "")).name
    return (
        state == "enabled"
        # Matches qemu-aarch64-static and Debian's link to it, aarch64-binfmt-P, but not
        # qemu-aarch64_be.
        and arch in re.split(r"[-.]", program)
        and "F" in fields.get("flags:", "")
    )
