"""The breakages of upstream's sources, and how we mend each, by TensorFlow version.

The data is in breakages.toml.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

from packaging.version import Version

from builders.errors import UsageError
from builders.matrix import own_spelling
from builders.tables import Row, is_version, read_toml

BREAKAGES = Path(__file__).with_name("breakages.toml")
PATCHES = Path(__file__).with_name("patches")
# The folder of patches of upstream's Python files. A wheel gets them, but no tree or core does.
PYTHON = "python"


@dataclass(frozen=True, kw_only=True)
class Breakage:
    """A fault or omission in upstream's sources; the head of breakages.toml explains the fields."""

    name: str
    source: str
    since: str
    before: str
    patches: tuple[str, ...]
    definitions: tuple[str, ...]
    warning: bool
    host_flatc: bool

    def concerns(self, tensorflow: str) -> bool:
        """True if a TensorFlow version has this breakage."""
        version = Version(tensorflow)
        return (not self.since or version >= Version(self.since)) and (
            not self.before or version < Version(self.before)
        )


@functools.cache
def load_breakages(path: Path = BREAKAGES) -> tuple[Breakage, ...]:
    """Return all known breakages.

    Raises:
        UsageError: the file is malformed; the message names the row.
    """
    top = Row(path.name, read_toml(path))
    found = tuple(_breakage(row) for row in top.rows("breakage", "name"))
    top.done()
    return found


def breakages_of(tensorflow: str) -> tuple[Breakage, ...]:
    """Return the breakages of a TensorFlow version, in file order."""
    return tuple(breakage for breakage in load_breakages() if breakage.concerns(tensorflow))


def patches_of(tensorflow: str, component: str) -> list[Path]:
    """Return our patches of a component for one TensorFlow version, in order."""
    return [
        PATCHES / patch
        for breakage in breakages_of(tensorflow)
        for patch in breakage.patches
        if patch.partition("/")[0] == component
    ]


def definitions_of(tensorflow: str) -> tuple[str, ...]:
    """Return the macros for compiling the core and the extension, as NAME or NAME=VALUE."""
    version = Version(tensorflow)
    suffix = own_spelling(version).removeprefix(version.base_version)
    fields = {"major": version.major, "minor": version.minor, "patch": version.micro}
    return tuple(
        definition.format(suffix=suffix, **fields)
        for breakage in breakages_of(tensorflow)
        for definition in breakage.definitions
    )


def python_patches_of(tensorflow: str, *, upstream_warnings: bool = False) -> list[Path]:
    """Return our patches of upstream's Python files for a TensorFlow version's wheels, in order.

    Args:
        upstream_warnings: leave out the patches that remove a warning.
    """
    return [
        PATCHES / patch
        for breakage in breakages_of(tensorflow)
        if not (breakage.warning and upstream_warnings)
        for patch in breakage.patches
        if patch.partition("/")[0] == PYTHON
    ]


def needs_host_flatc(tensorflow: str) -> bool:
    """True if upstream's build runs FlatBuffers' compiler on the machine that builds."""
    return any(breakage.host_flatc for breakage in breakages_of(tensorflow))


def _breakage(row: Row) -> Breakage:
    found = Breakage(
        name=row.take("name", str),
        source=row.take("source", str, lambda text: text.startswith("https://")),
        since=row.take("since", str, is_version, default=""),
        before=row.take("before", str, is_version, default=""),
        patches=row.strings("patches") if row.has("patches") else (),
        definitions=row.strings("definitions") if row.has("definitions") else (),
        warning=row.take("warning", bool, default=False),
        host_flatc=row.take("host_flatc", bool, default=False),
    )
    row.done()
    if not (found.patches or found.definitions or found.host_flatc):
        raise UsageError(f"{row.name}: does nothing")
    for patch in found.patches:
        if not (PATCHES / patch).is_file():
            raise UsageError(f"{row.name}: there is no patch {patch}")
    return found
