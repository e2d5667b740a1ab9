"""`./scripts/conform`: compare what wheels compute with what TensorFlow computes."""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from builders.cache import Cache, default_root
from builders.cli import EXIT_CODES, guarded, wheels_parser
from builders.errors import ConformError, UsageError
from builders.fetch import Fetcher
from builders.matrix import Runtime
from builders.progress import Reporter, table_console
from ci.conformer import compare, corpus_of, subject_of
from ci.runners import RUNNERS
from ci.show_conform import show_conform
from ci.smoke import choose
from ci.smoker import NativeSmoker, Smoker, wheel_arch, wheel_runtime
from smoke_lambda.conform import delegated
from smoke_lambda.conform.settings import OWN, WHOLE, load_settings

DESCRIPTION = """\
Run the models of smoke_lambda/conform/corpus on each wheel and compare its answers with those of
TensorFlow's reference kernels: with 1, 2 and 4 threads, twice, after a resize and back, without
XNNPACK, and with the wheel's own reference kernels, while the C library checks the heap. A crash, a
wrong answer, a NaN, memory that grows, a node that XNNPACK should take and does not: each fails
with the name of the model."""

EXAMPLES = f"""\
examples:
  conform dist/*.whl                      every model on each wheel
  conform --share 10 dist/*.whl           each tenth model
  conform --models conv2d some.whl        models with conv2d in their names
  conform --runner docker some.whl        in an image made of the base image of its Python
  conform --json some.whl                 what was found, as data
  conform --peer ai_edge_litert-*.whl     a runtime that is not ours: how many nodes it delegates
                                          is told and not judged
  conform --write-delegated some.whl      write how many nodes of each model XNNPACK takes, which
                                          every wheel of that TensorFlow must then reach

{EXIT_CODES}"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return guarded(lambda: run(argv))


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command; raises UserError where `main` prints."""
    options = _parser().parse_args(argv)
    if options.write_delegated and (options.models or options.share):
        raise UsageError(
            "--write-delegated needs every model", remedy="leave out --models, --share"
        )
    runtimes = [wheel_runtime(wheel) for wheel in options.wheels]
    for wheel in options.wheels:
        if subject_of(wheel).project != OWN and not options.peer:
            raise UsageError(f"{wheel.name} is not ours", remedy="add --peer")
    reporter = Reporter(Console(stderr=True))
    cache = Cache(default_root(), on_wait=lambda line: reporter.say(f"[yellow]![/] {line}"))
    reports = []
    with reporter.showing():
        smoker = _smoker(options, runtimes, cache, reporter)
        for wheel, runtime in zip(options.wheels, runtimes, strict=True):
            reports.append(_report(smoker, wheel, runtime, options, cache, reporter))
    if options.json:
        print(json.dumps(reports, indent=2))
    else:
        console = table_console()
        for report in reports:
            show_conform(report, console)
    return 0 if all(report["ok"] for report in reports) else ConformError.exit_code


def _smoker(
    options: argparse.Namespace, runtimes: Sequence[Runtime], cache: Cache, reporter: Reporter
) -> Smoker:
    if options.peer:
        return NativeSmoker(cache, Fetcher(cache), dependencies=True)
    arches = [wheel_arch(wheel) or platform.machine() for wheel in options.wheels]
    targets = list(zip(runtimes, arches, strict=True))
    return choose(options.runner, options.base, targets, cache, reporter)


def _report(
    smoker: Smoker,
    wheel: Path,
    runtime: Runtime,
    options: argparse.Namespace,
    cache: Cache,
    reporter: Reporter,
) -> dict[str, Any]:
    subject = subject_of(wheel)
    corpus = corpus_of(
        subject,
        f"1 in {options.share}" if options.share else WHOLE,
        runtime,
        judge_delegation=not (options.peer or options.write_delegated),
        pattern=options.models,
    )
    with reporter.step(f"conform {wheel.name}") as step:
        report, nodes = compare(
            smoker,
            wheel,
            runtime,
            corpus,
            peer=options.peer,
            log=cache.root / "logs" / f"conform-{subject.expectations}-{runtime.tag}.log",
            on_step=partial(reporter.show, step),
        )
    if options.write_delegated and report.ok:
        path = delegated.write(subject.expectations, nodes)
        reporter.say(f"{path.name}: {len(nodes)} models")
    return report.as_json()


def _parser() -> argparse.ArgumentParser:
    parser = wheels_parser("conform", DESCRIPTION, EXAMPLES)
    parser.add_argument("--runner", choices=RUNNERS, default="auto", help="default: auto")
    parser.add_argument(
        "--base", metavar="IMAGE", default="", help="a base image; {python} in it is X.Y"
    )
    parser.add_argument(
        "--models", metavar="PATTERN", default="", help="a part of the models' names"
    )
    parser.add_argument(
        "--share", metavar="N", type=_positive, default=0, help="each N-th model (default: all)"
    )
    peers = ", ".join(sorted(load_settings().peers))
    parser.add_argument(
        "--peer", action="store_true", help=f"wheels that are not ours ({peers}), run natively"
    )
    parser.add_argument(
        "--write-delegated",
        action="store_true",
        help="write delegated/VERSION.json if all else is right",
    )
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


if __name__ == "__main__":
    sys.exit(main())
