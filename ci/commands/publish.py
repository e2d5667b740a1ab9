"""`./scripts/publish`: put proven wheels into wheels/, and retire, yank or remove wheels there."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from builders.cache import Cache, default_root
from builders.cli import EXIT_CODES, command_parser, main_of
from builders.errors import UsageError
from builders.matrix import load_matrix
from ci.publish.finding import find_hosting
from ci.publish.manifest import State
from ci.publish.places import README, ROOT, WHEELS
from ci.publish.publisher import Decision, Plan, Publisher

EXAMPLES = f"""\
examples:
  publish                              all of dist/, as ./scripts/build left it
  publish dist/*cp313*.whl             some of it; records are in records/ beside a wheel
  publish --plan                       what would change
  publish --yank x.whl --reason "crashes on arm64"
                                       pip takes it only for who pins it (PEP 592)
  publish --refresh                    after the matrix, or where it is hosted, changed

A published file never changes. To publish a rebuild, raise `build` of its TensorFlow in
builders/matrix.toml; the wheel that it replaces is retired.

{EXIT_CODES}"""


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; `main` prints any UserError."""
    options = _parser().parse_args(argv)
    decisions = _decisions(options)
    wheels = _wheels(options, decisions)
    publisher = Publisher(WHEELS, README, load_matrix(), find_hosting())
    cache = Cache(default_root(), on_wait=_wait)
    with publisher.lock(cache):
        if publisher.tree.interrupted:
            if options.plan:
                print("finish  the publish that was interrupted")
            else:
                publisher.tree.finish()
                print("finished the publish that was interrupted")
        plan = publisher.plan(wheels, decisions)
        if not options.plan:
            publisher.publish(plan)
    _show(plan, planned=options.plan)
    return 0


def _wait(_line: str) -> None:
    print("another ./scripts/publish is at work; waiting for it", file=sys.stderr)


def _decisions(options: argparse.Namespace) -> list[Decision]:
    named = (
        (State.RETIRED, options.retire),
        (State.YANKED, options.yank),
        (State.REMOVED, options.remove),
    )
    decisions = [
        Decision(file=path.name, state=state, reason=options.reason)
        for state, paths in named
        for path in paths
    ]
    if options.reason and not decisions:
        raise UsageError("--reason is of --retire, --yank or --remove")
    return decisions


def _wheels(options: argparse.Namespace, decisions: Sequence[Decision]) -> list[Path]:
    """Return the wheels to publish: the named ones, or all if nothing else was asked for."""
    named: list[Path] = options.wheels
    if named or decisions or options.refresh:
        return named
    folder: Path = options.source
    found = sorted(folder.glob("*.whl"))
    if not found:
        raise UsageError(f"{folder} has no wheels", remedy="./scripts/build makes some in dist/")
    return found


def _show(plan: Plan, *, planned: bool) -> None:
    for line in plan.news:
        print(line)
    writes = [f"write   {WHEELS.name}/{path}" for path in plan.files]
    writes += [f"delete  {WHEELS.name}/{path}" for path in plan.gone]
    writes += [f"write   {path.name}" for path in plan.documents]
    if planned:
        print(*writes, sep="\n", end="\n" if writes else "")
    if plan.empty:
        print("nothing to do: all of this is published already")
    elif not planned:
        print(
            f"{len(writes)} files changed; {len(plan.manifest.current)} wheels are current. "
            "Look with `git status`, then commit"
        )


def _parser() -> argparse.ArgumentParser:
    parser = command_parser(
        prog="publish",
        description="Publish proven wheels into wheels/, with checksums, index and provenance.",
        epilog=EXAMPLES,
    )
    parser.add_argument(
        "wheels", metavar="WHEEL", nargs="*", type=Path, help="default: all wheels of --from"
    )
    parser.add_argument(
        "--from",
        dest="source",
        metavar="DIR",
        type=Path,
        default=ROOT / "dist",
        help="a folder of wheels with their records (default: dist/)",
    )
    for name, help_text in (
        ("retire", "keep it in the index, off the page and WHEELS.md; repeatable"),
        ("yank", "mark it as yanked; repeatable"),
        ("remove", "delete it for good; its name is never used again; repeatable"),
    ):
        parser.add_argument(
            f"--{name}", metavar="FILE", action="append", default=[], type=Path, help=help_text
        )
    parser.add_argument("--reason", metavar="R", default="", help="why; one line, for users")
    parser.add_argument(
        "--refresh", action="store_true", help="only write anew what is made from the manifest"
    )
    parser.add_argument("--plan", action="store_true", help="print what would change, and end")
    return parser


main = main_of(run)

if __name__ == "__main__":
    sys.exit(main())
