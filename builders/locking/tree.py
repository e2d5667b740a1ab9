"""The locks that no one has committed: made from a version's own tree, which is fetched."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from builders.cache import Cache, key_of, recipe
from builders.fetch import Fetcher
from builders.locking.generate import generate, lock_text, upstream_tarball
from builders.matrix import TensorFlow
from builders.sources import Lock, Origin, load_lock

HERE = Path(__file__).parent

Progress = Callable[[int, int | None], None]


def made_lock(tensorflow: TensorFlow, cache: Cache, fetcher: Fetcher, progress: Progress) -> Lock:
    """The lock of a version whose tarball alone is known, by the matrix's checksum.

    Args:
        progress: is called with the bytes of the tarball that are unpacked, and its size.

    Raises:
        FetchError: the tarball cannot be had.
        ChecksumError, ArchiveError: it is another one, or damaged, or does not pin all
            components by checksum.
    """

    def make(folder: Path) -> None:
        origin = upstream_tarball(tensorflow)
        tree = unpacked(origin, cache, fetcher, progress)
        (folder / f"{tensorflow.version}.toml").write_text(
            lock_text(generate(tensorflow, tree, None, {}))
        )

    return load_lock(tensorflow.version, cache.product("lock", _key(tensorflow), make))


def is_made(tensorflow: TensorFlow, cache: Cache) -> bool:
    """Whether `made_lock` has nothing to do."""
    return cache.has("lock", _key(tensorflow))


def unpacked(origin: Origin, cache: Cache, fetcher: Fetcher, progress: Progress) -> Path:
    """TensorFlow's tree as upstream has it; see made_lock."""

    def make(product: Path) -> None:
        (product / "tree").mkdir()
        origin.fetch(fetcher).unpack({origin.folder: product / "tree"}, progress)

    key = key_of([origin.archive.sha256, origin.folder])
    return cache.product("tensorflow", key, make) / "tree"


def _key(tensorflow: TensorFlow) -> str:
    return key_of([tensorflow.version, tensorflow.sha256, recipe(HERE)])
