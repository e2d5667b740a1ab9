"""Trees: the unpacked and patched sources of all components, side by side."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from builders.breakages import patches_of
from builders.cache import Cache, digest_files, key_of
from builders.excerpt import Fetched
from builders.fetch import Fetcher
from builders.patching import apply_patch
from builders.sources import Source

Progress = Callable[[int, int | None], None]


def trees_inputs(tensorflow: str, sources: Sequence[Source]) -> dict[str, Any]:
    """Return everything that the trees depend on."""
    return {
        source.component.name: {
            "sha256": source.origin.archive.sha256,
            "folder": source.origin.folder,
            "patches": [digest_files(p) for p in patches_of(tensorflow, source.component.name)],
        }
        for source in sources
    }


def trees_key(tensorflow: str, sources: Sequence[Source]) -> str:
    """Return the key of the trees in the cache."""
    return key_of(trees_inputs(tensorflow, sources))


def make_trees(
    tensorflow: str,
    sources: Sequence[Source],
    cache: Cache,
    fetcher: Fetcher,
    progress: Callable[[str], Progress],
) -> Path:
    """Unpack and patch every component.

    Args:
        progress: returns the progress callback of an archive, given its name.

    Returns:
        A folder with one tree per component, named by the component.

    Raises:
        ChecksumError: an archive in the cache is not the one that was fetched.
        ArchiveError: an archive is damaged, or a patch does not apply.
    """

    def make(folder: Path) -> None:
        wanted: dict[Fetched, dict[str, Path]] = defaultdict(dict)
        for source in sources:
            tree = folder / source.component.name
            tree.mkdir()
            wanted[source.origin.fetch(fetcher)][source.origin.folder] = tree
        for fetched, folders in wanted.items():
            fetched.unpack(folders, progress(fetched.name))
        for source in sources:
            name = source.component.name
            for patch in patches_of(tensorflow, name):
                origin = source.origin
                apply_patch(
                    patch, folder / name, f"{name} {origin.version} of origin {origin.name}"
                )

    return cache.product("trees", trees_key(tensorflow, sources), make)
