"""`./scripts/matrix`: print what a CI service must build, from the repository's matrix."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from builders.cli import Session, command_parser, main_of
from builders.errors import UsageError
from builders.handover import known_cores
from builders.matrix import load_matrix
from builders.toolchain import Toolchain
from ci.jobs.changes import changed_files, needed, old_matrix
from ci.jobs.plan import EVENTS, PULL_REQUEST, PUSH, github_output, plan, published
from ci.jobs.rules import load_rules

ROOT = Path(__file__).parents[2]
WHEELS = ROOT / "wheels"

EXAMPLES = """\
examples:
  matrix                                        everything, as for a push
  matrix --changed README.md                    a pull request that changed that file
  matrix --changed-since origin/main            a pull request of this checkout
  matrix --event pull_request --changed-since HEAD^1 --github >> "$GITHUB_OUTPUT"

exit codes: 0 done, 2 wrong usage, or no such revision
"""


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; `main` prints any UserError."""
    options = _parser().parse_args(argv)
    matrix, rules = load_matrix(), load_rules(load_matrix())
    asked = options.changed is not None or options.changed_since is not None
    event = options.event or (PULL_REQUEST if asked else PUSH)
    targets = [t for t in matrix.targets() if options.declared or t.verified]
    if event == PULL_REQUEST:
        if not asked:
            raise UsageError(
                "a pull request needs what it changed", remedy="add --changed-since or --changed"
            )
        before = None
        changed = [*(options.changed or ())]
        if options.changed_since is not None:
            changed += changed_files(options.changed_since)
            before = old_matrix(options.changed_since)
        targets = needed(targets, rules, changed, before)
    locked: dict[tuple[str, str], tuple[str, str]] = {}
    for key, name in known_cores(matrix, Toolchain(Session().cache)):
        # The preferred origin comes first, and a CI service can reach it.
        locked.setdefault((name.tensorflow, name.arch), (key, name.origin))
    found = plan(targets, rules.runners, locked, event, published(WHEELS))
    print(github_output(found) if options.github else json.dumps(found, indent=2))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = command_parser(
        prog="matrix",
        description="Print as JSON the cores and wheels that a CI service is to make. A pull "
        "request gets those that ci/jobs/rules.toml chooses by what it changed.",
        epilog=EXAMPLES,
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--changed-since", metavar="REVISION", help="the files that git says differ")
    what.add_argument("--changed", metavar="FILE", nargs="+", help="these files")
    parser.add_argument(
        "--event",
        choices=EVENTS,
        help="default: pull_request with --changed or --changed-since, else push",
    )
    parser.add_argument(
        "--declared", action="store_true", help="also targets that are not verified yet"
    )
    parser.add_argument("--github", action="store_true", help="print as outputs of a step")
    return parser


main = main_of(run)

if __name__ == "__main__":
    sys.exit(main())
