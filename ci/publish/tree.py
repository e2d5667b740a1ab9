"""The folder of published files: changed as a whole, or not at all.

What changes is prepared in a folder beside it, which one rename declares to be ready;
from then on, whoever comes next finishes the move if it was interrupted.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

GONE = "gone"
FILES = "files"


class Tree:
    """Files by path below a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._new = folder.with_name(f".{folder.name}.new")
        self._ready = folder.with_name(f".{folder.name}.ready")

    @property
    def interrupted(self) -> bool:
        """True if a change is ready that was not finished."""
        return self._ready.is_dir()

    def paths(self) -> Iterator[str]:
        """Every file and link that is there."""
        for parent, folders, files in os.walk(self.folder):
            links = [name for name in folders if (Path(parent) / name).is_symlink()]
            for name in [*files, *links]:
                yield (Path(parent) / name).relative_to(self.folder).as_posix()

    def read(self, path: str) -> bytes | None:
        """A file's bytes; None if it is not there, or is no file of its own."""
        full = self.folder / path
        if full.is_symlink() or not full.is_file():
            return None
        return full.read_bytes()

    def change(self, files: Mapping[str, bytes], gone: Collection[str]) -> None:
        """Write and delete files, so that a kill leaves all to be done, or all that is ready."""
        self.finish()
        # Without its rename, whatever has this name was left by a killed run.
        shutil.rmtree(self._new, ignore_errors=True)
        for path, data in files.items():
            temporary = self._new / FILES / path
            temporary.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(data)
        self._new.mkdir(exist_ok=True)
        (self._new / GONE).write_text("\n".join(gone))
        self._new.rename(self._ready)
        self.finish()

    def finish(self) -> bool:
        """Carry out what is ready; whether there was something."""
        if not self.interrupted:
            return False
        prepared = self._ready / FILES
        # Wheels before the index that names them, and only then what it names no more.
        for path in sorted(_below(prepared), key=_rank):
            final = self.folder / path
            final.parent.mkdir(parents=True, exist_ok=True)
            (prepared / path).replace(final)
        for path in (self._ready / GONE).read_text().splitlines():
            (self.folder / path).unlink(missing_ok=True)
        # By a rename, so that a kill has the next run do all of this again, or nothing.
        shutil.rmtree(self._new, ignore_errors=True)
        self._ready.rename(self._new)
        shutil.rmtree(self._new)
        return True


def _below(folder: Path) -> Iterator[str]:
    for path in folder.rglob("*"):
        if path.is_file():
            yield path.relative_to(folder).as_posix()


def _rank(path: str) -> tuple[bool, str]:
    stored = path.startswith("provenance/") or path.endswith((".whl", ".metadata", ".provenance"))
    return not stored, path
