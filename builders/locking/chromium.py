"""What a Chromium tree says of the sources that it carries: their commits, and days.

Its DEPS has the commit of what is checked out from elsewhere; a README.chromium has that of
what is in the tree itself, and the day of it. The second is written by hand, and at times older
than the first.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from builders.errors import ArchiveError
from builders.locking.coherence import TENSORFLOW, is_same_version
from builders.sources import Component, Lock, Origin

README = "README.chromium"
_FIELD = re.compile(r"^(Version|Revision|Date): *(\S+)", re.MULTILINE)
_DEPENDENCY = r"^  '(?:src/)?{folder}':[^@]*@' *\+ *'([0-9a-f]{{40}})'"


@dataclass(frozen=True, kw_only=True)
class Carried:
    """What Chromium says of one folder.

    Attributes:
        version: a commit, else a release.
        date: the day of it, where it is told.
    """

    version: str
    date: datetime.date | None


def carried(tree: Path, folder: str) -> Carried:
    """What a tree says of a folder of it, such as `third_party/ruy/src`.

    Raises:
        ArchiveError: it names no version, or writes it in another way than before.
    """
    fields = _readme(tree, folder)
    written = fields.get("Revision", fields.get("Version", "")).replace("/", "-")
    deps = tree / "DEPS"
    pattern = re.compile(_DEPENDENCY.format(folder=re.escape(folder)), re.MULTILINE)
    found = pattern.search(deps.read_text(encoding="utf-8")) if deps.is_file() else None
    version = found[1] if found else written
    if not version:
        raise ArchiveError(f"{tree.name} has no {folder} in DEPS and {README}")
    try:
        date = datetime.date.fromisoformat(fields["Date"].replace("/", "-"))
    except (KeyError, ValueError):
        date = None
    return Carried(version=version, date=date if is_same_version(version, written) else None)


def with_dates(lock: Lock, tree: Path) -> Lock:
    """The lock with the days of what comes from this Chromium.

    Args:
        tree: the folder of the archive's top folder's name.

    Raises:
        ArchiveError: Chromium says that it carries another version than the lock does.
    """

    def dated(component: Component, origin: Origin) -> Origin:
        top, _, folder = origin.folder.partition("/")
        if top != tree.name:
            return origin
        found = carried(tree, folder)
        # TensorFlow's is the version that its tree says, and Chromium's the commit.
        if component.name != TENSORFLOW and not is_same_version(origin.version, found.version):
            raise ArchiveError(
                f"{tree.name} carries {component.name} {found.version}; the lock of TensorFlow "
                f"{lock.tensorflow} says {origin.version}",
                remedy="correct `version` of that origin",
            )
        return replace(origin, date=found.date)

    return replace(
        lock,
        components=tuple(
            replace(c, origins={name: dated(c, o) for name, o in c.origins.items()})
            for c in lock.components
        ),
    )


def _readme(tree: Path, folder: str) -> Mapping[str, str]:
    for place in (tree / folder, (tree / folder).parent):
        if (place / README).is_file():
            return dict(_FIELD.findall((place / README).read_text(encoding="utf-8")))
    return {}
