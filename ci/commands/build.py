"""`./scripts/build`: build wheels, audit and smoke-test them, compare them with TensorFlow."""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from builders.cache import CACHE_VARIABLE
from builders.cli import EXIT_CODES, Session, command_parser, fail, main_of
from builders.engines.options import add_options, chosen, processors
from builders.headers import runs_here
from builders.matrix import Matrix, load_matrix
from builders.plan import Selection, plan, select
from builders.progress import duration, table_console
from builders.sources import ORIGINS
from ci.proof.build import Build
from ci.proof.prove import Proof, Prover
from ci.proof.runners import RUNNERS, Wanted, choose

ROOT = Path(__file__).parents[2]

RECOMMENDED = load_matrix().recommended.version

EXAMPLES = f"""\
examples:
  build                                   TensorFlow {RECOMMENDED}, every Python that
                                          runs here
  build --python 3.12 --python 3.13       two Pythons
  build --only tf2.14.1-cp314-x86_64      one target, by its name in --list
  build --tensorflow 2.14.1               another TensorFlow version
  build --arch arm64 --python 3.12        cross-compiled; audited, not smoke-tested here
  build --runner docker                   in images: every Python that has, or may have, one
  build --engine bazel --remote-cache http://cache:8080
                                          what any machine compiled before comes from there
  build --plan                            what would run, and what is there already
  build --json > build.json               the results as data; progress goes to stderr

Everything that was made is kept below ${CACHE_VARIABLE} (default ~/.cache/
tflite-lambda-wheels) and may be deleted at any time.

{EXIT_CODES}"""


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; `main` prints any UserError."""
    options = _parser().parse_args(argv)
    matrix = load_matrix()
    if options.list:
        table_console().print(list_targets(matrix))
        return 0
    selection = Selection(
        tensorflow=tuple(options.tensorflow),
        python=tuple(options.python),
        arch=tuple(options.arch),
        only=tuple(options.only),
    )
    # Report mistakes in the arguments before an engine is asked for anything.
    machine = platform.machine()
    every = select(matrix, selection, machine=machine, runs_here=lambda _runtime, _arch: True)
    named = bool(options.python or options.only)
    own = [target for target in every if named or runs_here(target.runtime, target.arch)]
    session = Session()
    reporter, cache = session.reporter, session.cache
    wanted = Wanted(
        runner=options.runner,
        base=options.base,
        origin=options.origin,
        jobs=options.jobs or processors(),
        compiler=chosen(options, reporter.say),
        offline=options.offline,
        upstream_warnings=options.upstream_warnings,
    )
    runner, smoker = choose(wanted, matrix, own, cache, reporter, session.own_logs())
    targets = select(matrix, selection, machine=machine, runs_here=smoker.can_run)
    prover = Prover(runner, smoker, matrix, targets)
    if options.plan:
        for step in plan(targets, is_cached=prover.is_cached, runs_here=smoker.can_run):
            print(f"{'done' if step.cached else 'run '}  {step.name}")
        return 0
    build = Build(prover, targets, options.out, keep_going=options.keep_going)
    started = time.monotonic()
    with reporter.showing():
        failures = build.run()
    if options.json:
        print(json.dumps([proof.as_json() for proof in build.proofs], indent=2))
    else:
        show(build, table_console(), time.monotonic() - started)
    for failure in failures:
        fail(failure)
    return failures[0].exit_code if failures else 0


def show(build: Build, console: Console, seconds: float) -> None:
    """Print the table of wheels, their paths and the times."""
    table = Table(title="Wheels", title_justify="left")
    for column in Proof.COLUMNS:
        table.add_column(column, no_wrap=True)
    for proof in build.proofs:
        table.add_row(*proof.row())
    console.print(table)
    for proof in build.proofs:
        print(build.out / proof.wheel.name)
    console.print(times(build.runner.reporter.seconds, seconds), highlight=False)
    console.print(f"logs: {build.runner.logs}", highlight=False, soft_wrap=True)


def times(steps: dict[str, float], whole: float) -> str:
    """Return the line of times: of fetching and the core, of wheels, of proofs, and of all."""
    parts = [
        f"{name} {duration(seconds)}"
        for name, seconds in steps.items()
        if name.startswith(("fetch", "sources", "core"))
    ]
    wheels = [seconds for name, seconds in steps.items() if name.startswith("wheel")]
    if wheels:
        parts.append(f"each wheel at most {duration(max(wheels))}")
    proofs = [seconds for name, seconds in steps.items() if name.startswith("prove")]
    if proofs:
        parts.append(f"proof of each at most {duration(max(proofs))}")
    return ", ".join([*parts, f"all in {duration(whole)}"])


def list_targets(matrix: Matrix) -> Table:
    """Return a table of every target of the matrix with its state."""
    today = datetime.datetime.now(tz=datetime.UTC).date()
    table = Table(title="Targets", title_justify="left")
    for column in ("target", "state", "Lambda runtime", "OS", "runtime is", "NumPy"):
        table.add_column(column)
    for target in matrix.targets():
        runtime = target.runtime
        table.add_row(
            target.identifier,
            "verified" if target.verified else "declared",
            runtime.name,
            f"{runtime.os}, glibc {runtime.glibc}",
            runtime.state(today),
            runtime.numpy.requirement.removeprefix("numpy"),
        )
    return table


def _parser() -> argparse.ArgumentParser:
    parser = command_parser(
        prog="build",
        description="Build tflite_runtime wheels from source: fetch, core, wheels, audit, smoke, "
        "conform.",
        epilog=EXAMPLES,
    )
    what = parser.add_argument_group("what to build")
    what.add_argument("--tensorflow", metavar="V", action="append", default=[], help="a version")
    what.add_argument(
        "--python",
        metavar="X.Y",
        action="append",
        default=[],
        help="repeatable; default: all that this machine can run, and so smoke-test",
    )
    what.add_argument(
        "--arch", metavar="ARCH", action="append", default=[], help="x86_64 or aarch64 (arm64)"
    )
    what.add_argument(
        "--only", metavar="TARGET", action="append", default=[], help="repeatable; see --list"
    )
    what.add_argument("--list", action="store_true", help="print the targets, and end")
    what.add_argument("--plan", action="store_true", help="print the steps, and end")
    where = parser.add_argument_group("where")
    where.add_argument(
        "--runner",
        choices=RUNNERS,
        default="auto",
        help="docker: in AWS's base images, or stand-ins where those cannot be pulled; native: on "
        "this machine; auto: docker where it has every image: stand-ins that are there, or AWS's; "
        "else native (default)",
    )
    where.add_argument(
        "--base",
        metavar="IMAGE",
        default="",
        help="a base image instead of AWS's; {python} in it stands for X.Y",
    )
    where.add_argument(
        "--offline",
        action="store_true",
        help="use no network: the cache, and in images the folder that ./scripts/fetch fills",
    )
    how = parser.add_argument_group("how")
    how.add_argument(
        "--origin",
        choices=("auto", *ORIGINS),
        default="auto",
        help="where sources come from; auto: upstream, else Debian (default)",
    )
    add_options(how)
    how.add_argument(
        "--upstream-warnings",
        action="store_true",
        help="leave alone the warning of TensorFlow 2.18 and later, for each Interpreter, that it "
        "moves to another package; wheels hide it otherwise",
    )
    how.add_argument(
        "--keep-going", action="store_true", help="a target that fails does not stop the others"
    )
    how.add_argument(
        "--out", metavar="DIR", type=Path, default=ROOT / "dist", help="default: dist/"
    )
    how.add_argument("--json", action="store_true", help="print the results as JSON")
    return parser


main = main_of(run)

if __name__ == "__main__":
    sys.exit(main())
