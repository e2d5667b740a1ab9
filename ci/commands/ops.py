"""`./scripts/ops`: write, or check, the builtin operators of each TensorFlow version."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from builders.cache import write_atomically
from builders.cli import EXIT_CODES, Session, command_parser, main_of
from builders.errors import SmokeError
from ci.pages.ops_page import PAGE, operators_page
from ci.proof.ops import ask, differences
from smoke_lambda.ops import DATA, EMPTY, load_ops

DESCRIPTION = """\
Ask wheels which builtin operators they have, in which versions, and write that into
smoke_lambda/ops.toml and OPERATORS.md. Only the tables of the wheels' own TensorFlow versions
change. One wheel of a version is enough; several of one version must agree."""

EXAMPLES = f"""\
examples:
  ops dist/*cp311*x86_64.whl             write the tables of these wheels' TensorFlow versions
  ops --check wheels/*cp311*x86_64.whl   change nothing; fail if a wheel has other operators

A wheel for another machine, or for a Python that is not installed here, cannot be asked.

{EXIT_CODES}"""


def run(argv: Sequence[str] | None = None, data: Path = DATA, page: Path = PAGE) -> int:
    """Run the command and return its exit code; `main` prints any UserError.

    Args:
        data, page: the files to write.
    """
    options = _parser().parse_args(argv)
    session = Session()
    reporter, cache = session.reporter, session.cache
    with reporter.showing():
        asked = ask(options.wheels, cache, reporter)
    with cache.lock("ops"):
        old = load_ops(data) if data.exists() else EMPTY
        new = old
        for tensorflow, (codes, ops) in asked.items():
            new = new.with_wheel(tensorflow, codes, ops)
        found = [*differences(old, new)]
        if options.check and found:
            raise SmokeError(
                f"{data.name} is not what the wheels have: {'; '.join(found)}",
                remedy="./scripts/ops with the same wheels rewrites it",
            )
        if not options.check:
            for path, text in ((data, new.text()), (page, operators_page(new))):
                write_atomically(path, text.encode())
    print("\n".join(found or [f"{data.name} is what the wheels have"]))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = command_parser(
        prog="ops",
        description=DESCRIPTION,
        epilog=EXAMPLES,
    )
    parser.add_argument("wheels", metavar="WHEEL", nargs="+", type=Path, help="a wheel file")
    parser.add_argument("--check", action="store_true", help="compare, change nothing")
    return parser


main = main_of(run)

if __name__ == "__main__":
    sys.exit(main())
