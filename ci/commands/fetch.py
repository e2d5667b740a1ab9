"""`./scripts/fetch`: put all downloads of a build on the shelf, for an offline build."""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Sequence
from pathlib import Path

from builders.cli import EXIT_CODES, Session, command_parser, main_of
from builders.docker import SHELF
from builders.headers import locked_wheel
from builders.matrix import load_matrix
from builders.native import HEADER_LICENCES, NativeRunner
from builders.plan import architecture
from builders.shelf import put, put_packages
from builders.sources import ORIGINS

REQUIREMENTS = Path(__file__).parents[2] / "builders/requirements.txt"

RECOMMENDED = load_matrix().recommended.version

EXAMPLES = f"""\
examples:
  fetch                              sources of TensorFlow {RECOMMENDED}, headers,
                                     packages
  fetch --python 3.12 --origin debian

Then, with the folder `shelf` and no network: ./scripts/build --runner docker --offline
(or docker build --network none --build-arg TFLITE_OFFLINE=1 ...). The base images must be
in the engine already.

{EXIT_CODES}"""


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; `main` prints any UserError."""
    options = _parser().parse_args(argv)
    matrix = load_matrix()
    tensorflow = matrix.tensorflow(options.tensorflow)
    arch = architecture(matrix, options.arch)
    wanted = {matrix.runtime(python).python for python in options.python}
    session = Session()
    reporter = session.reporter
    runner = NativeRunner(session.cache, reporter, session.logs, origin=options.origin)
    with reporter.showing():
        sources = runner.sources(tensorflow)
        headers = [
            locked_wheel(project, target)
            for target in matrix.targets()
            if (target.tensorflow, target.arch) == (tensorflow, arch)
            if not wanted or target.runtime.python in wanted
            for project in HEADER_LICENCES
        ]
        put((source.origin.fetch(runner.fetcher) for source in sources), SHELF)
        with reporter.step("headers"):
            put((archive.fetched(runner.fetcher) for archive in headers), SHELF)
        with reporter.step("packages"):
            log = runner.log("fetch packages")
            put_packages(REQUIREMENTS, matrix.builder.python, platform.machine(), SHELF, log)
    print(SHELF)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = command_parser(
        prog="fetch",
        description="Put everything that a build in images downloads into the folder `shelf`.",
        epilog=EXAMPLES,
    )
    parser.add_argument(
        "--tensorflow", metavar="V", default=RECOMMENDED, help=f"a version (default: {RECOMMENDED})"
    )
    parser.add_argument(
        "--python", metavar="X.Y", action="append", default=[], help="repeatable; default: all"
    )
    parser.add_argument("--arch", default=platform.machine(), help="x86_64 or aarch64 (arm64)")
    parser.add_argument("--origin", choices=("auto", *ORIGINS), default="auto")
    return parser


main = main_of(run)

if __name__ == "__main__":
    sys.exit(main())
