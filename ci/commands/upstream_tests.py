"""`./scripts/upstream-tests`: run TensorFlow's own tests of the interpreter on our wheels."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rich.console import Console

from builders.cli import EXIT_CODES, Session, command_parser, main_of
from builders.errors import SmokeError, UsageError
from builders.interpreters import Interpreter, find_interpreter
from builders.matrix import load_matrix
from builders.native import NativeRunner
from builders.progress import table_console
from ci.upstream_tests.expected import load_version
from ci.upstream_tests.native.core_tests import run_on_core
from ci.upstream_tests.native.parts import ARCH
from ci.upstream_tests.native.plan import load_plan
from ci.upstream_tests.report import Report
from ci.upstream_tests.run import TESTS, run_tests
from ci.upstream_tests.show import show_report
from ci.upstream_tests.wheels import published, target_of
from smoke_lambda.lock import TRAIN_PYTHON

WHEELS = Path(__file__).parents[2] / "wheels"

RECOMMENDED = load_matrix().recommended.version

DESCRIPTION = f"""\
Run tensorflow/lite/python/interpreter_test.py of the fetched tree, byte for byte, against wheels:
what it imports as TensorFlow's interpreter is the wheel's, all else is the real TensorFlow, in an
environment of its own (Python {TRAIN_PYTHON}). What the tests load is made from the tree: models by
TensorFlow's converter, libraries by our compiler. ci/upstream_tests/expected.toml names the tests
that do not simply pass, each with its reason; anything else is an error.

With --native, TensorFlow's C++ tests of its kernels and of the XNNPACK delegate, compiled against
the core that wheels are linked from; ci/upstream_tests/native/tests.toml is what is known of
them."""

EXAMPLES = f"""\
examples:
  upstream-tests                     the published wheels of Python {TRAIN_PYTHON}
  upstream-tests dist/*-cp311-*.whl  those that you built
  upstream-tests --json              the same as data
  upstream-tests --native            the C++ tests that CI runs, against the default core
  upstream-tests --native --all --tensorflow {RECOMMENDED}

The exit code is 0 if every test did what is expected of it, and 10 if not.

{EXIT_CODES}"""


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; `main` prints any UserError."""
    options = _options(argv)
    session = Session()
    runner = NativeRunner(session.cache, session.reporter, session.logs)
    return run_native(options, runner) if options.native else run_wheels(options, runner)


def run_wheels(options: argparse.Namespace, runner: NativeRunner) -> int:
    """Run the tests of the interpreter against wheels; return the exit code."""
    reporter = runner.reporter
    matrix = load_matrix()
    wheels = options.wheels or published(WHEELS)
    wanted = [(wheel, target_of(wheel, matrix)) for wheel in wheels]
    versions = [load_version(target.tensorflow.version) for _, target in wanted]
    interpreter = _interpreter()
    reports = []
    with reporter.showing():
        for (wheel, target), version in zip(wanted, versions, strict=True):
            with reporter.step(f"upstream tests {target.identifier}") as step:
                reports.append(
                    run_tests(
                        wheel.absolute(),
                        target,
                        version,
                        matrix=matrix,
                        interpreter=interpreter,
                        runner=runner,
                        tell=partial(reporter.show, step),
                    )
                )
    if options.json:
        print(json.dumps([report.as_json() for report in reports], indent=2))
    else:
        for report in reports:
            show(report, table_console())
    return 0 if all(report.ok for report in reports) else SmokeError.exit_code


def run_native(options: argparse.Namespace, runner: NativeRunner) -> int:
    """Run the C++ tests of each wanted TensorFlow version; return the exit code."""
    if platform.machine() != ARCH:
        raise UsageError(f"the C++ tests are for {ARCH}", remedy="run them on such a machine")
    matrix = load_matrix()
    wanted = [matrix.tensorflow(v) for v in options.tensorflow or (matrix.recommended.version,)]
    plans = {tensorflow.version: load_plan(tensorflow.version) for tensorflow in wanted}
    runner.jobs = options.jobs or len(os.sched_getaffinity(0))
    with runner.reporter.showing():
        reports = [
            run_on_core(
                tensorflow,
                plans[tensorflow.version],
                runner,
                only=options.only,
                everything=options.all,
            )
            for tensorflow in wanted
        ]
    if options.json:
        print(json.dumps([report.as_json() for report in reports], indent=2))
    else:
        for report in reports:
            name = f"C++ tests of TensorFlow {report.version.tensorflow}"
            show_report(report, table_console(), name)
    return 0 if all(report.ok for report in reports) else SmokeError.exit_code


def show(report: Report, console: Console) -> None:
    """Print the report of a wheel."""
    version = report.version
    data = f", data of {version.testdata}" if version.testdata != version.tensorflow else ""
    show_report(report, console, f"{TESTS.name} of TensorFlow {version.tensorflow}{data}")


def _interpreter() -> Interpreter:
    found = find_interpreter(TRAIN_PYTHON)
    if found is None:
        raise UsageError(f"no Python {TRAIN_PYTHON} here", remedy="install it, such as with pyenv")
    return found


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = _parser()
    options = parser.parse_args(argv)
    if options.native and options.wheels:
        parser.error("--native tests cores, and no wheels")
    if not options.native and (options.all or options.only or options.tensorflow or options.jobs):
        parser.error("--all, --only, --tensorflow and --jobs go with --native")
    return options


def _parser() -> argparse.ArgumentParser:
    parser = command_parser(
        prog="upstream-tests",
        description=DESCRIPTION,
        epilog=EXAMPLES,
    )
    parser.add_argument(
        "wheels", metavar="WHEEL", nargs="*", type=Path, help="default: the published ones"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    native = parser.add_argument_group("the C++ tests")
    native.add_argument(
        "--native", action="store_true", help="of kernels and delegate, against a core"
    )
    native.add_argument("--all", action="store_true", help="all of them; default: CI's choice")
    native.add_argument(
        "--only",
        metavar="PATTERN",
        action="append",
        default=[],
        help="programs of that name, such as 'xnnpack/*mean_test'",
    )
    native.add_argument(
        "--tensorflow",
        metavar="VERSION",
        action="append",
        default=[],
        help=f"the core's, may be repeated; default: {RECOMMENDED}",
    )
    native.add_argument("--jobs", type=int, default=0, help="at once; default: the processors")
    return parser


main = main_of(run)

if __name__ == "__main__":
    sys.exit(main())
