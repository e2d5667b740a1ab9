"""`./scripts/fuzz`: try hostile inputs on the code that must withstand them."""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from builders.cli import command_parser, main_of
from builders.errors import UsageError
from ci.fuzz import audit, handler, models, unpack
from ci.fuzz.campaign import Campaign, Finding, Target, loaded, run

FOUND = 1
OUT = Path("dist/fuzz")

# The targets by name; each is opened with the options of the command.
TARGETS: Mapping[str, Callable[[argparse.Namespace], AbstractContextManager[Target]]] = {
    "audit": lambda options: audit.target(options.wheel),
    "handler": lambda options: handler.target(options.app),
    "models": lambda options: models.target(options.wheel),
    "unpack": lambda _options: unpack.target(),
}

DESCRIPTION = """\
Try inputs that hypothesis makes, until the time is over or one fails. Those for `handler` are
events, mutated images, URLs and hostile servers, on a copy of the handler that runs in a
process of its own and can connect to this machine's loopback alone. Those for `models` are
small models, cut and changed: a wheel must refuse them or run them, and never end the process as
it loads one. Those for `audit` are changes of a wheel, and for `unpack` archives: each
must be judged in bounded time and memory, with no other error than its own."""

EXAMPLES = f"""\
examples:
  fuzz handler --seconds 600           ten minutes, from a seed that is printed
  fuzz handler --seed 7                the same cases again, from that seed on
  fuzz handler --app my/app.py         your own copy of the handler
  fuzz models --wheel dist/some.whl    damaged models, on a wheel that runs on this machine
  fuzz audit --seconds 180             changed wheels, of the recommended one in wheels/
  fuzz unpack --seconds 180            archives
  fuzz handler --replay {OUT}/handler-….json   one case that failed

exit codes: 0 nothing found, {FOUND} a case failed, 2 wrong usage"""


def fuzz(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; `main` prints any UserError."""
    options = _parser().parse_args(argv)
    if options.replay:
        finding = loaded(options.replay)
        if finding.target != options.target:
            raise UsageError(
                f"{options.replay} is a case for {finding.target}",
                remedy=f"./scripts/fuzz {finding.target} --replay {options.replay}",
            )
        with TARGETS[options.target](options) as target:
            fault = target.fault(finding.case)
        print(fault or "the case does not fail any more")
        return FOUND if fault else 0
    first = random.SystemRandom().randrange(1_000_000) if options.seed is None else options.seed
    print(f"{options.target}: seed {first}", flush=True)
    with TARGETS[options.target](options) as target:
        campaign = run(
            options.target, target, seconds=options.seconds, first_seed=first, on_round=_tell
        )
        told = target.told
    print(
        f"{options.target}: {campaign.tried} cases, seeds {first} to {campaign.seeds[-1]}"
        if campaign.seeds
        else f"{options.target}: no case"
    )
    if told:
        print(f"ended the process later, which is no finding: {told}")
    if campaign.finding is None:
        return 0
    return _report(campaign.finding, options)


def _report(finding: Finding, options: argparse.Namespace) -> int:
    file = finding.saved(options.out)
    print(f"seed {finding.seed} failed: {finding.fault}")
    on = f" --app {options.app}" if options.app != handler.APP else ""
    on += f" --wheel {options.wheel}" if options.wheel else ""
    print(f"again: ./scripts/fuzz {finding.target}{on} --replay {file}")
    return FOUND


def _tell(campaign: Campaign) -> None:
    if sys.stderr.isatty():
        print(f"\r{campaign.tried} cases", end="\r", file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("fuzz", DESCRIPTION, EXAMPLES)
    parser.add_argument("target", choices=sorted(TARGETS), help="what is tried")
    parser.add_argument("--seconds", type=float, default=60.0, help="for how long (60)")
    parser.add_argument("--seed", type=int, help="of the first round of cases (a random one)")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="try one case that failed")
    parser.add_argument("--out", type=Path, default=OUT, help=f"folder for cases that fail ({OUT})")
    parser.add_argument(
        "--app", type=Path, default=handler.APP, help="the handler (smoke_lambda/app.py)"
    )
    parser.add_argument("--wheel", type=Path, help="the wheel that models are tried on, or changed")
    return parser


main = main_of(fuzz)

if __name__ == "__main__":
    sys.exit(main())
