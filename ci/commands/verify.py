"""`./scripts/verify`: checks every file of wheels/, and that wheels can be rebuilt."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from builders.cache import CACHE_VARIABLE
from builders.cli import EXIT_CODES, Session, command_parser, main_of
from builders.engines.engine import Engine
from builders.engines.options import add_options, chosen, processors
from builders.errors import PublishError
from builders.matrix import Matrix, Target, load_matrix
from builders.native import NativeRunner
from ci.publish.hosting import read_hosting
from ci.publish.manifest import Manifest, read_manifest
from ci.publish.places import README, WHEELS
from ci.publish.rebuild import rebuild
from ci.publish.tree import Tree
from ci.publish.verify import document_faults, faults

EXAMPLES = f"""\
examples:
  verify              checksums, index, metadata and provenance of every file
  verify --rebuild    the same; and every current wheel is built and compared
  verify --rebuild --engine bazel
                      the same by Bazel, whose bytes are to be no others

A rebuild takes from the cache what is there already; to compile all of it, set
{CACHE_VARIABLE} to an empty folder.

{EXIT_CODES}"""


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command; raises UserError where `main` prints."""
    options = _parser().parse_args(argv)
    hosting = read_hosting(WHEELS)
    found = faults(WHEELS, hosting)
    if not found:
        found = document_faults(README, read_manifest(WHEELS), hosting)
    if found:
        raise PublishError("\n  ".join([f"{WHEELS.name}/ is not what was published:", *found]))
    manifest = read_manifest(WHEELS)
    print(
        f"{len(list(Tree(WHEELS).paths()))} files are what was published: "
        f"{len(manifest.current)} current wheels, {len(manifest.present)} in the index"
    )
    if options.rebuild:
        session = Session()
        engine = chosen(options, session.reporter.say)
        rebuild_all(manifest, load_matrix(), session, engine, options.jobs or processors())
    return 0


def rebuild_all(
    manifest: Manifest, matrix: Matrix, session: Session, engine: Engine, jobs: int
) -> None:
    """Build and compare every current wheel; raises PublishError where one differs."""
    reporter, cache, logs = session.reporter, session.cache, session.own_logs()

    def build(target: Target, origin: str) -> Path:
        runner = NativeRunner(cache, reporter, logs, origin=origin, jobs=jobs, engine=engine)
        return runner.wheel(target)

    if not manifest.current:
        print("there is no current wheel to rebuild")
    differ = []
    with reporter.showing():
        for wheel in manifest.current:
            rebuilt = rebuild(wheel, WHEELS, matrix, build)
            print(f"{rebuilt.file}: {rebuilt.detail}")
            if not rebuilt.ok:
                differ.append(f"{rebuilt.file}: {rebuilt.detail}")
    if differ:
        raise PublishError("\n  ".join(["a rebuild gave other wheels:", *differ]))


def _parser() -> argparse.ArgumentParser:
    parser = command_parser(
        prog="verify",
        description="Check every file of wheels/ against the manifest and SHA256SUMS.",
        epilog=EXAMPLES,
    )
    parser.add_argument(
        "--rebuild",
        action="store_true",
        help="also build every current wheel from source, and compare the bytes",
    )
    add_options(parser.add_argument_group("how to rebuild"))
    return parser


main = main_of(run)

if __name__ == "__main__":
    sys.exit(main())
