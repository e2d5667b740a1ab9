"""The types of a wheel's modules, for type checkers and editors (PEP 561).

Upstream's interpreter.py has none. One file has those of every TensorFlow version: a line
that ends in a comment such as `# TensorFlow >=2.18.0.dev0` is of those versions alone.
"""

from __future__ import annotations

import re
from pathlib import Path

from packaging.specifiers import SpecifierSet

FOLDER = Path(__file__).parent
# Says that the package has types.
MARKER = "py.typed"
_VERSIONS = re.compile(r" *# TensorFlow ([<>=!~.,\w]+)$")


def typing_files(tensorflow: str) -> dict[str, bytes]:
    """The files of a wheel of that TensorFlow version, by name."""
    return {MARKER: b""} | {
        path.stem: _lines_of(path.read_text(encoding="utf-8"), tensorflow).encode()
        for path in sorted(FOLDER.glob("*.pyi.in"))
    }


def _lines_of(text: str, tensorflow: str) -> str:
    kept = []
    for line in text.splitlines():
        versions = _VERSIONS.search(line)
        if versions is None:
            kept.append(line)
        elif SpecifierSet(versions[1]).contains(tensorflow, prereleases=True):
            kept.append(line[: versions.start()])
    return "\n".join([*kept, ""])
