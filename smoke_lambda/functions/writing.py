"""Writes the folder of a function: either all of it or nothing."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from builders.errors import UsageError
from smoke_lambda.functions.render import files, render


def check_free(out: Path) -> None:
    """Refuse a folder that exists, or whose parent folder does not.

    Raises:
        UsageError: the folder exists, or its parent folder does not.
    """
    if out.exists() or out.is_symlink():
        raise UsageError(f"{out} is there already", remedy="name another with --out, or move it")
    if not out.absolute().parent.is_dir():
        raise UsageError(f"there is no folder {out.absolute().parent}", remedy="make it first")


@contextmanager
def handed_over(out: Path) -> Iterator[Path]:
    """Yield a new folder beside `out`; rename it to `out` when the block ends without an error.

    After an error, the new folder is removed.

    Raises:
        UsageError: `out` came to exist in the meantime.
    """
    parent = out.absolute().parent
    with tempfile.TemporaryDirectory(dir=parent, prefix=f".{out.name}-") as outer:
        folder = Path(outer) / out.name
        folder.mkdir()
        yield folder
        check_free(out)
        folder.rename(out.absolute())


def write_function(folder: Path, context: Mapping[str, Any]) -> None:
    """Render every template into the folder."""
    for name in files():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(render(name, context), encoding="utf-8")


def add(folder: Path, *sources: Path) -> None:
    """Copy files into a folder of the function; make the copies readable for everybody."""
    folder.mkdir(parents=True, exist_ok=True)
    for source in sources:
        shutil.copyfile(source, folder / source.name)
        (folder / source.name).chmod(0o644)
