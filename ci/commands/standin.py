"""`./scripts/standin`: make stand-ins for AWS's base images, and say how they differ."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial

from builders.cli import EXIT_CODES, Session, command_parser, main_of
from builders.docker_engine import find_engine
from builders.matrix import load_matrix
from builders.plan import architecture
from ci.images.standin.make import DIFFERS, Maker

DESCRIPTION = f"""\
Make local images with the contract of AWS's Lambda base images (Python in /var/lang, the
emulator, the entry point), for machines that cannot pull those. Note: {DIFFERS}."""

EXAMPLES = f"""\
examples:
  standin                                every Python of the matrix
  standin --python 3.12 --python 3.13    two of them

They are named tflite-lambda-standin:3.X, and made again only when what they are made
from has changed. Debian's mmdebstrap is needed (apt install mmdebstrap).

{EXIT_CODES}"""


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; `main` prints any UserError."""
    options = _parser().parse_args(argv)
    matrix = load_matrix()
    runtimes = [matrix.runtime(python) for python in options.python] or list(matrix.runtimes)
    engine = find_engine()
    arch = architecture(matrix, options.arch or engine.arch)
    session = Session()
    reporter, cache = session.reporter, session.cache
    names = []
    with reporter.showing():
        for runtime in runtimes:
            with reporter.step(f"stand-in {runtime.tag}-{arch}") as step:
                maker = Maker(
                    engine=engine,
                    cache=cache,
                    fetcher=session.fetcher,
                    log=session.logs / f"standin-{runtime.tag}-{arch}.log",
                    on_step=partial(reporter.show, step),
                )
                names.append(maker.make(runtime, arch))
    print("\n".join(names))
    print(f"note: {DIFFERS}", file=sys.stderr)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = command_parser(
        prog="standin",
        description=DESCRIPTION,
        epilog=EXAMPLES,
    )
    parser.add_argument(
        "--python", metavar="X.Y", action="append", default=[], help="repeatable; default: all"
    )
    parser.add_argument("--arch", metavar="ARCH", help="default: the engine's")
    return parser


main = main_of(run)

if __name__ == "__main__":
    sys.exit(main())
