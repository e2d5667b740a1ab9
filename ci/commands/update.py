"""`./scripts/update`: rewrite every file of pins, and all text that is made from the matrix."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from builders.cli import command_parser, main_of
from builders.matrix import load_matrix
from ci.pages.generated import write_generated
from ci.pages.pins import (
    REQUIREMENTS,
    lock_requirements,
    write_emulator_lock,
    write_headers_lock,
)
from smoke_lambda.lock import main as lock_smoke_requirements
from smoke_lambda.onnx.lock import main as lock_onnx_requirements
from smoke_lambda.serving.lock import main as lock_serving_requirements

DESCRIPTION = """\
Rewrite every file of pins, the only way that they change, and all text that the matrix gives
(docs/runtimes.md, builders/docker-bake.json). A file that cannot be written anew stays as it is."""

EXAMPLES = """\
examples:
  update           newest versions, with hashes; look with `git diff`, then run ./scripts/test
  update --text    after a change of builders/matrix.toml

exit codes: 0 done, 2 wrong usage, 3 a package cannot be had, 130 interrupted"""


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; `main` prints any UserError."""
    options = _parser().parse_args(argv)
    matrix = load_matrix()
    if not options.text:
        for source in REQUIREMENTS:
            lock_requirements(source)
        write_headers_lock(matrix)
        write_emulator_lock()
        lock_smoke_requirements()
        lock_serving_requirements()
        lock_onnx_requirements()
    write_generated(matrix)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("update", DESCRIPTION, EXAMPLES)
    parser.add_argument("--text", action="store_true", help="only the text; needs no network")
    return parser


main = main_of(run)

if __name__ == "__main__":
    sys.exit(main())
