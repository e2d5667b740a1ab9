"""`./scripts/gate`: check in a workflow's last job that every required job passed."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence

from builders.cli import command_parser, main_of
from builders.errors import UsageError, UserError
from ci.jobs.gate import failures

VARIABLE = "NEEDS"

EXAMPLES = f"""\
example, in the last job of a workflow, which needs all others and runs `if: always()`:
  env:
    {VARIABLE}: ${{{{ toJSON(needs) }}}}
  run: ./scripts/gate --when build=core,wheel --when publish=publish,deploy

exit codes: 0 all required jobs passed, 1 one did not, 2 wrong usage
"""


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; `main` prints any UserError."""
    options = _parser().parse_args(argv)
    conditions = dict(map(_condition, options.when))
    try:
        jobs = json.loads(os.environ.get(VARIABLE, ""))
    except ValueError as error:
        raise UsageError(f"${VARIABLE} is not JSON: {error}") from error
    found = failures(jobs, conditions)
    if found:
        raise UserError(f"not all required jobs passed: {'; '.join(found)}")
    print(f"all required jobs passed: {', '.join(sorted(jobs))}")
    return 0


def _condition(text: str) -> tuple[str, list[str]]:
    output, equals, names = text.partition("=")
    if not (output and equals and all(names.split(","))):
        raise UsageError(f"--when {text}: expected OUTPUT=JOB,JOB")
    return output, names.split(",")


def _parser() -> argparse.ArgumentParser:
    parser = command_parser(
        prog="gate",
        description=f"Say whether all jobs of a workflow passed, by the results in ${VARIABLE}.",
        epilog=EXAMPLES,
    )
    parser.add_argument(
        "--when",
        metavar="OUTPUT=JOB,JOB",
        action="append",
        default=[],
        help="these are to run where that output of the plan is true, and only then",
    )
    return parser


main = main_of(run)

if __name__ == "__main__":
    sys.exit(main())
