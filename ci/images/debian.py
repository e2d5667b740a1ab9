"""Makes root file systems of Debian with mmdebstrap, from the mirror that apt uses here."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from builders.errors import EngineError
from builders.fetch import debian_mirrors
from builders.headers import DEBIAN_ARCH
from builders.process import run


def make_root(
    tar: Path,
    suite: str,
    packages: Sequence[str],
    arch: str = platform.machine(),
    *,
    log: Path,
    on_line: Callable[[str], None],
    otherwise: str = "",
) -> None:
    """Write a root file system as a tar file; for another architecture, packages are only unpacked.

    Args:
        otherwise: the end of an error's remedy: what else a user can do.

    Raises:
        EngineError: there is no mirror or no mmdebstrap, or mmdebstrap failed.
    """
    mirrors = debian_mirrors()
    if not mirrors:
        raise EngineError(
            "Debian's packages come from the mirror that apt uses, and apt has none here",
            remedy=f"use a Debian machine{otherwise}",
        )
    if shutil.which("mmdebstrap") is None:
        raise EngineError(
            "a root file system of Debian is made with mmdebstrap, which is not installed",
            remedy=f"install it (apt install mmdebstrap){otherwise}",
        )
    run(
        [
            "mmdebstrap",
            f"--variant={'minbase' if arch == platform.machine() else 'extract'}",
            f"--architectures={DEBIAN_ARCH[arch]}",
            # Accept a frozen mirror, whose date has expired; its signature is still checked.
            '--aptopt=Acquire::Check-Valid-Until "false"',
            f"--include={','.join(packages)}",
            suite,
            tar,
            mirrors[0],
        ],
        log=log,
        failure=EngineError,
        what=f"making a root file system of Debian {suite} with mmdebstrap",
        on_line=on_line,
        # No lock is passed on: mmdebstrap gives dash the numbers of its open files, and dash
        # knows no number above 9. mmdebstrap only writes into a folder of this process.
    )
