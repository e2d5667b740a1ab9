"""What TensorFlow's CMake modules pin, as CMake itself reads them."""

from __future__ import annotations

import itertools
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from builders.errors import ArchiveError

MODULES = "tensorflow/lite/tools/cmake/modules"
SCRIPT = Path(__file__).with_name("cmake") / "pins.cmake"
SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class Pin:
    """A content that CMake would fetch: by its Git commit or tag, or by checksum."""

    name: str
    commit: str = ""
    sha256: str = ""

    @property
    def version(self) -> str:
        """The commit, or the release whose tag it is; empty of what is pinned by checksum."""
        return self.commit.removeprefix("v")


def read_pins(tree: Path) -> dict[str, Pin]:
    """The contents that a TensorFlow tree declares, by name.

    Raises:
        ArchiveError: there are none, or CMake cannot read one.
    """
    modules = sorted((tree / MODULES).glob("*.cmake"))
    if not modules:
        raise ArchiveError(f"{tree} is no tree of TensorFlow: it has no {MODULES}")
    programs = Path(sys.executable).parent
    found: dict[str, Pin] = {}
    for module in modules:
        if "OverridableFetchContent_Declare(" not in module.read_text(encoding="utf-8"):
            continue
        done = subprocess.run(
            [programs / "cmake", f"-DMODULE={module}", "-P", SCRIPT],
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
        )
        if done.returncode:
            raise ArchiveError(f"CMake cannot read {module.name}: {done.stderr.strip()}")
        for line in done.stderr.splitlines():
            pin = _pin(line)
            found.setdefault(pin.name, pin)
    return found


def _pin(line: str) -> Pin:
    name, *words = line.split(";")
    given = dict(itertools.pairwise(words))
    kind, _, checksum = given.get("URL_HASH", "").partition("=")
    return Pin(
        name=name,
        commit=given.get("GIT_TAG", ""),
        sha256=checksum if kind == "SHA256" else "",
    )
