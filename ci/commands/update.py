"""`./scripts/update`: rewrite every file of pins, and all text that the matrix gives."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from builders.matrix import load_matrix
from ci.pages.generated import write_generated
from ci.pages.pins import REQUIREMENTS, lock_requirements, write_headers_lock
from smoke_lambda.lock import main as lock_smoke_requirements


def main(argv: Sequence[str] | None = None) -> int:
    """Rewrite all of them."""
    options = _parser().parse_args(argv)
    matrix = load_matrix()
    if not options.text:
        for source in REQUIREMENTS:
            lock_requirements(source)
        write_headers_lock(matrix)
        lock_smoke_requirements()
    write_generated(matrix)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="update",
        description="Rewrite every file of pins, the only way that they change, and all text "
        "that the matrix gives (docs/runtimes.md, builders/docker-bake.json).",
    )
    parser.add_argument("--text", action="store_true", help="only the text; needs no network")
    return parser


if __name__ == "__main__":
    sys.exit(main())
