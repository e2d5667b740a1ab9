"""`./scripts/lock`: write the lock of a TensorFlow version, or check it against a source tree."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from builders.cache import write_atomically
from builders.cli import EXIT_CODES, Session, command_parser, main_of
from builders.errors import ArchiveError
from builders.fetch import Fetcher, Progress
from builders.locking.chromium import with_dates
from builders.locking.coherence import lines
from builders.locking.excerpts import with_excerpts
from builders.locking.generate import (
    changes,
    cmake_pins_of,
    differing,
    generate,
    lock_text,
    upstream_tarball,
)
from builders.locking.tree import unpacked
from builders.matrix import TensorFlow, load_matrix
from builders.progress import describe
from builders.sources import SOURCES, Lock, fetch_sources, is_locked, load_lock

DESCRIPTION = """\
Write builders/sources/<version>.toml, the lock of a TensorFlow version, from what its own
source tree pins. It says where TensorFlow's Bazel and CMake files differ, and takes Bazel's
pin, which has a checksum. Origins other than upstream are kept as they are.

For each component and origin it prints how it belongs to that TensorFlow: pinned by its tree,
shipped together with it in one archive, or substituted, and for what."""

MATRIX = load_matrix()
# The newest version that is not built here; its sources are locked once it is built.
DECLARED = [row.version for row in MATRIX.tensorflows if not row.verified][-1]
VERIFIED = next(row.version for row in MATRIX.tensorflows if row.verified)

EXAMPLES = f"""\
examples:
  lock {DECLARED}                  fetch its tarball, whose checksum the matrix has, and lock it
  lock {VERIFIED} --check          change nothing; fail if the tree calls for another lock
  lock {VERIFIED} --tree ~/tf      from an unpacked tree
  lock {VERIFIED} --excerpts      after a change of Debian's archives or their folders
  lock {VERIFIED} --chromium ~/chromium-120.0.6099.224
                               and compare what comes from that Chromium with what this
                               says of it; it also tells the days of those versions

{EXIT_CODES}"""


def run(argv: Sequence[str] | None = None, sources: Path = SOURCES) -> int:
    """Run the command and return its exit code; `main` prints any UserError.

    Args:
        sources: the folder of locks.
    """
    options = _parser().parse_args(argv)
    tensorflow = load_matrix().tensorflow(options.version)
    there = is_locked(tensorflow.version, sources)
    kept = load_lock(tensorflow.version, sources) if there else None
    tree = options.tree or _fetched_tree(tensorflow, kept)
    pins = cmake_pins_of(tree)
    lock = generate(tensorflow, tree, kept, pins)
    if options.chromium is not None:
        lock = with_dates(lock, options.chromium.resolve())
    if options.excerpts:
        lock = _with_excerpts(lock)
    for line in differing(lock, pins):
        print(f"note: {line}", file=sys.stderr)
    print("\n".join(lines(lock)))
    path = sources / f"{tensorflow.version}.toml"
    text = lock_text(lock)
    if there and path.read_text(encoding="utf-8") == text:
        print(f"{path.name} is what the tree calls for")
        return 0
    differences = [*changes(kept, lock)] if kept else [f"there is no {path.name}"]
    if options.check:
        raise ArchiveError(
            f"{path.name} is not what the tree calls for: "
            f"{'; '.join(differences) or 'its text differs'}",
            remedy=f"look at both; ./scripts/lock {tensorflow.version} rewrites it",
        )
    write_atomically(path, text.encode())
    print("\n".join([*differences, f"wrote {path.name}"]))
    return 0


def _fetched_tree(tensorflow: TensorFlow, kept: Lock | None) -> Path:
    """Return a version's tree without our patches: from its lock's origins, else from upstream."""
    session = Session()
    reporter, cache = session.reporter, session.cache
    with reporter.showing(), reporter.step(f"tensorflow {tensorflow.version}") as step:

        def progress(done: int, total: int | None) -> None:
            reporter.show(step, describe(done, total, "bytes", step.seconds))

        fetcher = Fetcher(cache, progress=lambda _name: progress)
        if kept is None:
            origin = upstream_tarball(tensorflow)
        else:
            own = tuple(c for c in kept.components if c.name == "tensorflow")
            alone = Lock(tensorflow=tensorflow.version, components=own)
            passed: list[str] = []
            (source,) = fetch_sources(alone, "auto", fetcher, passed)
            for line in passed:
                session.warn(line)
            origin = source.origin
        return unpacked(origin, cache, fetcher, progress)


def _with_excerpts(lock: Lock) -> Lock:
    """Return the lock with new excerpts, from the archives of Debian's mirror."""
    session = Session()
    reporter = session.reporter
    with reporter.showing(), reporter.step("excerpts") as step:

        def progress(name: str) -> Progress:
            return lambda done, total: reporter.show(
                step, f"{name}: {describe(done, total, 'bytes', step.seconds)}"
            )

        return with_excerpts(lock, Fetcher(session.cache, progress=progress), progress)


def _parser() -> argparse.ArgumentParser:
    parser = command_parser(
        prog="lock",
        description=DESCRIPTION,
        epilog=EXAMPLES,
    )
    parser.add_argument("version", metavar="VERSION", help="a TensorFlow version of the matrix")
    parser.add_argument("--tree", type=Path, metavar="DIR", help="default: fetched")
    parser.add_argument(
        "--chromium",
        type=Path,
        metavar="DIR",
        help="an unpacked Chromium, of its archive's top folder's name",
    )
    parser.add_argument(
        "--excerpts",
        action="store_true",
        help="say anew which blocks of Debian's archives hold what is compiled; the archives "
        "are fetched whole, and reading Chromium's takes minutes",
    )
    parser.add_argument("--check", action="store_true", help="write nothing; fail if it differs")
    return parser


main = main_of(run)

if __name__ == "__main__":
    sys.exit(main())
