"""The folder of published files: a change is made as a whole, or not at all.

A change is prepared in a folder beside it. One rename declares the change ready. From then on, if
the change is interrupted, the next run finishes it.
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
        """True if a change is ready but not finished."""
        return self._ready.is_dir()

    def paths(self) -> Iterator[str]:
        """Give the path of every file and link in the folder."""
        for parent, folders, files in os.walk(self.folder):
            links = [name for name in folders if (Path(parent) / name).is_symlink()]
            for name in [*files, *links]:
                yield (Path(parent) / name).relative_to(self.folder).as_posix()

    def read(self, path: str) -> bytes | None:
        """Return a file's bytes; None if it does not exist, or is a link or a folder."""
        full = self.folder / path
        if full.is_symlink() or not full.is_file():
            return None
        return full.read_bytes()

    def change(self, files: Mapping[str, bytes], gone: Collection[str]) -> None:
        """Write and delete files; a kill leaves either no change, or a ready one to finish."""
        self.finish()
        # A folder of this name was not renamed yet: a killed run left it.
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
        """Carry out a change that is ready; return True if there was one."""
        if not self.interrupted:
            return False
        prepared = self._ready / FILES
        # Write wheels before the index that names them; delete files after the index is written.
        for path in sorted(_below(prepared), key=_rank):
            final = self.folder / path
            final.parent.mkdir(parents=True, exist_ok=True)
            (prepared / path).replace(final)
        for path in (self._ready / GONE).read_text().splitlines():
            (self.folder / path).unlink(missing_ok=True)
        # Rename, so that after a kill the next run does all of this again, or nothing.
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
