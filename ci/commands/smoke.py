"""`./scripts/smoke`: run wheels as Lambda functions, or a model on wheels."""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from builders.cli import EXIT_CODES, Session, command_parser, main_of
from builders.errors import SmokeError, UsageError
from builders.matrix import Runtime, load_matrix
from builders.progress import table_console
from ci.proof.runners import RUNNERS, Wanted, choose_smoker
from ci.proof.show import show_model, show_smoke
from ci.proof.smoker import Smoker, images_of
from smoke_lambda.bench import smoke
from smoke_lambda.model import check_model, try_model
from smoke_lambda.onnx.smoke import smoke as smoke_onnx

DESCRIPTION = """\
Install each wheel with --no-deps beside its oldest and newest NumPy, and invoke it under Lambda's
own emulator with every event form, good and bad. In Docker, it runs in an image made of the base
image of its Python, under what Lambda enforces: a read-only root, an unprivileged user, no
capabilities, 512 MB, no list of processors, no network; and what it costs is measured."""

EXAMPLES = f"""\
examples:
  smoke dist/*.whl                               every wheel
  smoke --json some.whl                          what was found, as data
  smoke --runner docker some.whl                 in Docker; a stand-in is made where AWS's base
                                                 image cannot be pulled (see ./scripts/standin)
  smoke --base my/python:3.12 some.whl           in an image made of that one
  smoke --model my.tflite dist/*.whl             does my model run on each wheel, and what does
                                                 it need?
  smoke --model my.tflite --input x.npy some.whl with that as its first input
  smoke --onnx 3.12 3.13                         the function for ONNX Runtime of these Pythons

The default runner is docker where there are an engine and every base image: stand-ins that were
made before, or AWS's; else native.

{EXIT_CODES}"""


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; `main` prints any UserError."""
    options = _parser().parse_args(argv)
    if bool(options.wheels) == bool(options.onnx):
        raise UsageError("give wheels, or --onnx with Pythons", remedy="see --help")
    runtimes = [load_matrix().runtime(python) for python in options.onnx]
    images = images_of(options.wheels) or [(each, platform.machine()) for each in runtimes]
    if options.input and not options.model:
        raise UsageError("--input is the input of a --model")
    if options.model:
        check_model(options.model, options.input)
    wanted = Wanted(runner=options.runner, base=options.base)
    session = Session()
    reports = []
    with session.reporter.showing():
        smoker = choose_smoker(wanted, images, session.cache, session.reporter)
        for runtime in runtimes:
            reports.append(_onnx_report(smoker, runtime, session))
        for wheel, (runtime, _) in zip(options.wheels, images, strict=not runtimes):
            reports.append(_report(smoker, wheel, runtime, options, session))
    if options.json:
        print(json.dumps(reports, indent=2))
    else:
        console = table_console()
        for report in reports:
            (show_model if options.model else show_smoke)(report, console)
    return 0 if all(report["ok"] for report in reports) else SmokeError.exit_code


def _report(
    smoker: Smoker,
    wheel: Path,
    runtime: Runtime,
    options: argparse.Namespace,
    session: Session,
) -> dict[str, Any]:
    log = session.logs / f"smoke-by-hand-{runtime.tag}.log"
    what = f"{options.model.name} on {wheel.name}" if options.model else f"smoke {wheel.name}"
    with session.reporter.step(what) as step, smoker.site(wheel, runtime, log=log) as site:
        tell = partial(session.reporter.show, step)
        if options.model:
            return try_model(site, options.model, options.input, on_step=tell).as_json()
        return smoke(site, on_step=tell).as_json()


def _onnx_report(smoker: Smoker, runtime: Runtime, session: Session) -> dict[str, Any]:
    log = session.logs / f"smoke-onnx-{runtime.tag}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        session.reporter.step(f"smoke the function for ONNX Runtime, {runtime.python}") as step,
        smoker.onnx(runtime, log=log) as place,
    ):
        tell = partial(session.reporter.show, step)
        where = smoker.place(runtime, platform.machine())
        return smoke_onnx(place, runtime, where, log, tell).as_json()


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("smoke", DESCRIPTION, EXAMPLES)
    parser.add_argument("wheels", metavar="WHEEL", nargs="*", type=Path, help="a wheel file")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument(
        "--onnx", metavar="X.Y", nargs="+", default=[], help="Pythons of smoke_lambda/onnx"
    )
    parser.add_argument("--runner", choices=RUNNERS, default="auto", help="default: auto")
    parser.add_argument(
        "--base", metavar="IMAGE", default="", help="a base image; {python} in it is X.Y"
    )
    model = parser.add_argument_group("your own model")
    model.add_argument("--model", metavar="FILE.tflite", type=Path, help="run it on each wheel")
    model.add_argument(
        "--input", metavar="X.npy", type=Path, help="its first input (default: made up)"
    )
    return parser


main = main_of(run)

if __name__ == "__main__":
    sys.exit(main())
