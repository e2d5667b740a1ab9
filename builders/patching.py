"""Applying a patch wherever in a file its lines are, if they match exactly and only once.

The same patch serves many versions of a file, in which its lines are at different places.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import patch_ng

from builders.errors import ArchiveError

NO_FILE = os.devnull.encode()
"""What a patch has as the source of a file that it adds."""


def apply_patch(patch: Path, tree: Path, what: str) -> None:
    """Apply a patch to the files of a tree.

    Args:
        patch: a unified diff, whose paths have a leading folder (`a/`, `b/`).
        what: the tree in words, for errors.

    Raises:
        ArchiveError: a file does not have the patch's lines, or has them in more than one
            place; or a hunk's head counts fewer lines than the hunk has. No file is changed then,
            except for files that come earlier in the patch.
    """
    # Be strict: a patch that fits only in part is a patch of other sources.
    patch_set = read_patch(patch)
    if not patch_set or not all(_move(item, tree) for item in patch_set.items):
        raise ArchiveError(f"patch {patch.name} does not apply to {what}")
    added = [item for item in patch_set.items if item.source == NO_FILE]
    patch_set.items = [item for item in patch_set.items if item.source != NO_FILE]
    if patch_set.items and not patch_set.apply(strip=1, root=str(tree), fuzz=False):
        raise ArchiveError(f"patch {patch.name} does not apply to {what}")
    # patch_ng puts these elsewhere: it takes a leading folder from their names twice.
    for item in added:
        lines = (line[1:] for hunk in item.hunks for line in hunk.text)
        _target(item, tree).write_bytes(b"".join(lines))


def read_patch(patch: Path) -> Any:  # noqa: ANN401 - patch_ng has no types
    """Return the `patch_ng.PatchSet` of a patch; None if not all of the patch can be read."""
    text = patch.read_bytes()
    patch_set = patch_ng.PatchSet(io.BytesIO(text))
    whole = patch_set.items and not patch_set.errors and _has_all_changes(patch_set, text)
    return patch_set if whole else None


def _has_all_changes(patch_set: Any, text: bytes) -> bool:  # noqa: ANN401 - patch_ng has no types
    """Return False if a line that a patch adds or removes is in none of the hunks.

    patch_ng leaves out, with a mere warning, what follows the lines that a hunk's head counts.
    """
    heads = 2 * len(patch_set.items)
    hunks = [hunk.text for item in patch_set.items for hunk in item.hunks]
    return _changes(text.splitlines()) == heads + sum(map(_changes, hunks))


def _changes(lines: Sequence[bytes]) -> int:
    return sum(line[:1] in (b"+", b"-") for line in lines)


def _move(item: Any, tree: Path) -> bool:  # noqa: ANN401 - patch_ng has no types
    """Move a file's hunks to where their lines are; return False if a hunk has not one place.

    A file that the patch adds must not be there.
    """
    if item.source == NO_FILE:
        return not _target(item, tree).exists()
    file = tree / patch_ng.pathstrip(item.source, 1).decode()
    if not file.is_file():
        return False
    lines = [line.rstrip(b"\r\n") for line in file.read_bytes().split(b"\n")]
    for hunk in item.hunks:
        wanted = [line[1:].rstrip(b"\r\n") for line in hunk.text if line[:1] in (b" ", b"-")]
        places = _places(wanted, lines)
        if len(places) != 1:
            return False
        moved = places[0] + 1 - hunk.startsrc
        hunk.startsrc += moved
        hunk.starttgt += moved
    return True


def _target(item: Any, tree: Path) -> Path:  # noqa: ANN401 - patch_ng has no types
    name: bytes = patch_ng.pathstrip(item.target, 1)
    return tree / name.decode()


def _places(wanted: Sequence[bytes], lines: Sequence[bytes]) -> list[int]:
    last = len(lines) - len(wanted)
    return [at for at in range(last + 1) if lines[at : at + len(wanted)] == wanted]
