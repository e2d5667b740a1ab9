"""What upstream's sources need to be compiled here, by TensorFlow version: breakages.toml."""

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
# The folder of the patches that no tree, and so no core, has.
PYTHON = "python"


@dataclass(frozen=True, kw_only=True)
class Breakage:
    """One thing that is wrong or missing upstream; see the head of breakages.toml."""

    name: str
    source: str
    since: str
    before: str
    patches: tuple[str, ...]
    definitions: tuple[str, ...]
    warning: bool
    host_flatc: bool

    def concerns(self, tensorflow: str) -> bool:
        """Whether a TensorFlow version has it."""
        version = Version(tensorflow)
        return (not self.since or version >= Version(self.since)) and (
            not self.before or version < Version(self.before)
        )


@functools.cache
def load_breakages(path: Path = BREAKAGES) -> tuple[Breakage, ...]:
    """All that is known.

    Raises:
        UsageError: the file is malformed; the message names the row.
    """
    top = Row(path.name, read_toml(path))
    found = tuple(_breakage(row) for row in top.rows("breakage", "name"))
    top.done()
    return found


def breakages_of(tensorflow: str) -> tuple[Breakage, ...]:
    """Those of a TensorFlow version, in the order of the file."""
    return tuple(breakage for breakage in load_breakages() if breakage.concerns(tensorflow))


def patches_of(tensorflow: str, component: str) -> list[Path]:
    """Our patches of a component for one TensorFlow version, in order."""
    return [
        PATCHES / patch
        for breakage in breakages_of(tensorflow)
        for patch in breakage.patches
        if patch.partition("/")[0] == component
    ]


def definitions_of(tensorflow: str) -> tuple[str, ...]:
    """The macros that core and extension are compiled with, as NAME or NAME=VALUE."""
    version = Version(tensorflow)
    suffix = own_spelling(version).removeprefix(version.base_version)
    fields = {"major": version.major, "minor": version.minor, "patch": version.micro}
    return tuple(
        definition.format(suffix=suffix, **fields)
        for breakage in breakages_of(tensorflow)
        for definition in breakage.definitions
    )


def python_patches_of(tensorflow: str, *, upstream_warnings: bool = False) -> list[Path]:
    """Our patches of upstream's Python files, for the wheels of a TensorFlow version, in order.

    Args:
        upstream_warnings: leave out those that take away a warning.
    """
    return [
        PATCHES / patch
        for breakage in breakages_of(tensorflow)
        if not (breakage.warning and upstream_warnings)
        for patch in breakage.patches
        if patch.partition("/")[0] == PYTHON
    ]


def needs_host_flatc(tensorflow: str) -> bool:
    """Whether upstream's build runs FlatBuffers' compiler, on the machine that builds."""
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
