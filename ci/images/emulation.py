"""Can programs of another architecture run here? Linux's binfmt_misc says so."""

from __future__ import annotations

import re
from pathlib import Path

BINFMT = Path("/proc/sys/fs/binfmt_misc")

REMEDY = (
    "install an emulator (Debian: apt install qemu-user-static binfmt-support; in Docker: "
    "docker run --privileged tonistiigi/binfmt --install arm64)"
)


def emulates(arch: str) -> bool:
    """True if an emulator of that architecture is registered for containers, too.

    Its flag F has the kernel open the emulator when it is registered, so that a
    container finds it (https://docs.kernel.org/admin-guide/binfmt-misc.html).
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
        # qemu-aarch64-static; Debian's link to it is aarch64-binfmt-P. Not qemu-aarch64_be.
        and arch in re.split(r"[-.]", program)
        and "F" in fields.get("flags:", "")
    )
