"""`./scripts/compare`: compare runtimes for a function, with the same network in each."""

from __future__ import annotations

import argparse
import io
import json
import platform
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console

from builders.architecture import ARCHITECTURES, own_name
from builders.cache import write_atomically
from builders.cli import EXIT_CODES, Session, command_parser, main_of
from builders.errors import SmokeError, UsageError
from builders.matrix import Runtime
from builders.progress import table_console
from ci.bench.report import Machine
from ci.compare.contenders import Contender, Registry, own_wheels
from ci.compare.document import DOCUMENT, document, measured_in
from ci.compare.measure import Bench, Row, processors, works
from ci.compare.models import LOCK, Given, Subject, check_given, own_models, own_names, subject_of
from ci.compare.page import page
from ci.compare.places import NativePlaces, NotInstalledError, Place, Places, docker_places
from ci.compare.report import Report
from ci.compare.settings import load_price, load_settings
from ci.compare.show import show
from ci.proof.hunter import train_python
from ci.proof.runners import RUNNERS, Wanted, base_images
from smoke_lambda.limits import open_to_all
from smoke_lambda.rie import emulator

DEFAULT_PYTHON = "3.12"
SO_FAR = "compare.json"
"""The file in the run's folder of logs with the output of --json for the models that are done."""

DESCRIPTION = """\
Run a model in every runtime that a Lambda function could have: our wheels, and the newest of each
other one that pip finds for that Python and its Linux. All run the same network in turns, in the
same base image, under the same limits, and what they answer is compared with TensorFlow's
reference kernels. A .tflite is converted to ONNX, a Keras model to both. A runtime that cannot be
installed, or does not run, is in the table with its reason."""

EXAMPLES = f"""\
examples:
  compare my.tflite                          all runtimes of Python {DEFAULT_PYTHON}
  compare my.keras --python 3.13             converted to TensorFlow Lite and to ONNX
  compare my.tflite --onnx my.onnx           with an ONNX file of your own
  compare my.tflite --picture x.jpg          with that picture as its input
  compare my.tflite --only onnxruntime       our wheels and those with that word in their names
  compare my.tflite --wheel dist/some.whl    with that wheel instead of the published ones
  compare my.tflite --python 3.11 --arch arm64
                                             on another machine: what installs there, and its size
  compare my.tflite --html out.html          a page with a plot
  compare --document                         the repository's own networks, for docs/compare.md

A ratio is a runtime's time by that of the first row, and the middle half of all turns' ratios;
where that has 1 in it, neither is faster. With one vCPU, times are CPU time, and with two, wall
time. Memory and image are measured in Docker alone.

{EXIT_CODES}"""


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; `main` prints any UserError."""
    options = _parser().parse_args(argv)
    if options.kept:
        _tell(options, _read_kept(options.kept))
        return 0
    if bool(options.model) == options.document:
        raise UsageError("give one model", remedy="a .tflite or .keras; or --document alone")
    given = [] if options.document else [_given(options)]
    for each in given:
        check_given(each)
    session = Session()
    with session.reporter.showing():
        report = _report(options, given, session, argv)
    _tell(options, report.as_json())
    return 0 if report.ok else SmokeError.exit_code


def _read_kept(path: Path) -> dict[str, Any]:
    """Return the data that an earlier run has kept.

    Raises:
        UsageError: the file has no such data.
    """
    try:
        data: dict[str, Any] = json.loads(path.read_text())
        show(data, Console(file=io.StringIO()))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{path} is nothing that a comparison kept: {error!r}"[:200],
            remedy=f"name a run's {SO_FAR}, or what --json printed",
        ) from error
    return data


def _tell(options: argparse.Namespace, data: dict[str, Any]) -> None:
    if options.document:
        text = document(data, [name for name in own_names() if name not in measured_in(data)])
        write_atomically(DOCUMENT, text.encode())
    if options.html:
        write_atomically(options.html, page(data).encode())
    if options.json:
        print(json.dumps(data, indent=2))
    else:
        show(data, table_console())


def _given(options: argparse.Namespace) -> Given:
    model: Path = options.model
    return Given(name=model.name, model=model, onnx=options.onnx, picture=options.picture)


def _report(
    options: argparse.Namespace,
    given: Sequence[Given],
    session: Session,
    argv: Sequence[str] | None,
) -> Report:
    settings, reporter, cache = load_settings(), session.reporter, session.cache
    runtime, arch = session.matrix.runtime(options.python), own_name(options.arch)
    machine, log = Machine.here(), session.own_logs() / "compare.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    registry = Registry(runtime=runtime, arch=arch, cache=cache, fetcher=session.fetcher, log=log)
    with reporter.step(f"what pip installs for Python {runtime.python}, {arch}") as step:
        wheels = options.wheel or own_wheels(runtime, arch)
        contenders = registry.contenders(wheels, settings, options.only)
        for number, each in enumerate(contenders):
            reporter.show(step, each.name)
            contenders[number] = registry.fetched(each) if not each.reason else each
    report = Report(
        machine=machine,
        where="no place: it is for another machine than this one",
        command=shlex.join(["./scripts/compare", *(sys.argv[1:] if argv is None else argv)]),
        runtime=runtime,
        arch=arch,
        price=load_price(arch),
        settings=settings,
        contenders=contenders,
        image_bytes={},
        models={},
    )
    if arch != platform.machine():
        reporter.say(f"{arch} does not run here: what installs, and how large it is")
        return report
    with TemporaryDirectory(prefix="tflite-compare-") as work, cache.lock("compare"):
        files = Path(work) / "files"
        files.mkdir(parents=True)
        with reporter.step("models") as step:
            reporter.show(step, "the environment that converts: a minute, the first time")
            python = train_python(cache, log, LOCK)
            asked = given or own_models(session, files, log)
            subjects = []
            for model in asked:
                reporter.show(step, f"{model.name}: ONNX, and the reference kernels' answers")
                subjects.append(_shown(subject_of(model, python, cache, log), files))
        with _places(options, runtime, arch, session, files, log) as places:
            report = replace(report, where=places.what)
            installed, contenders = _installed(places, registry, contenders, subjects[0], session)
            models: dict[str, Sequence[Row]] = {}
            for subject in subjects:
                with reporter.step(f"measure {subject.name}") as step:
                    bench = Bench(
                        settings=settings,
                        cpus=processors(),
                        work=Path(work) / "tasks",
                        log=log,
                        tell=partial(reporter.show, step),
                    )
                    models[subject.name] = bench.measure(subject, installed)
                # A run takes long: keep each result, however the run ends.
                so_far = replace(report, contenders=contenders, models=models).as_json()
                write_atomically(log.with_name(SO_FAR), json.dumps(so_far).encode())
            images = {place.name: place.image_bytes for place in installed}
    return replace(report, contenders=contenders, models=models, image_bytes=images)


def _shown(subject: Subject, files: Path) -> Subject:
    """Return a model with its files copied into a folder that containers see."""
    folder = files / subject.name
    folder.mkdir(parents=True, exist_ok=True)

    def copied(path: Path) -> Path:
        target = folder / path.name
        if path.is_file():
            target.write_bytes(path.read_bytes())
        return target

    variants = tuple(
        replace(each, model=copied(each.model), cases=copied(each.cases))
        for each in subject.variants
    )
    found = replace(subject, variants=variants, answers=copied(subject.answers))
    open_to_all(files)
    return found


def _installed(
    places: Places,
    registry: Registry,
    contenders: Sequence[Contender],
    subject: Subject,
    session: Session,
) -> tuple[list[Place], list[Contender]]:
    """Return the contenders that run a model, and all contenders, the others with a reason."""
    installed: list[Place] = []
    found: list[Contender] = []
    for each in contenders:
        contender = each
        if not contender.reason:
            with session.reporter.step(f"install {contender.name}"):
                place, contender = installed_one(places, registry, contender, subject)
            installed += [place] if place else []
        found.append(contender)
    return installed, found


def installed_one(
    places: Places, registry: Registry, contender: Contender, subject: Subject
) -> tuple[Place | None, Contender]:
    """Return a contender that runs a model, with the NumPy that it needs; or with a reason."""
    variant = next((each for each in subject.of(contender.format) if not each.error), None)
    reason, candidate = "", contender
    for is_last in (contender.numpy.startswith("1."), True):
        try:
            place = places.install(candidate)
        except NotInstalledError as error:
            fault = str(error)
        else:
            # If there is no variant to try, the other models will show if the runtime works.
            fault = works(place, subject, variant, registry.log) if variant else ""
            if not fault:
                return place, candidate
        reason = reason or " ".join(fault.split())[:200]
        if is_last:
            break
        candidate = registry.with_old_numpy(contender)
        if candidate.reason:
            break
    return None, replace(contender, reason=reason)


@contextmanager
def _places(
    options: argparse.Namespace,
    runtime: Runtime,
    arch: str,
    session: Session,
    files: Path,
    log: Path,
) -> Iterator[Places]:
    wanted = Wanted(runner=options.runner, base=options.base)
    bases = base_images(
        wanted, lambda _engine: [(runtime, arch)], session.cache, session.reporter, session.logs
    )
    if bases is None:
        yield NativePlaces(
            runtime=runtime,
            cache=session.cache,
            work=files.parent / "native",
            rie=partial(emulator, arch, session.cache.root / "rie", session.fetcher),
            log=log,
        )
        return
    base = bases.get(runtime, arch)
    with docker_places(runtime, bases.engine, base, arch, files, log) as places:
        yield places


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("compare", DESCRIPTION, EXAMPLES)
    parser.add_argument("model", metavar="MODEL", nargs="?", type=Path, help=".tflite or .keras")
    parser.add_argument("--onnx", metavar="FILE.onnx", type=Path, help="of the same network")
    parser.add_argument("--picture", metavar="FILE", type=Path, help="its input")
    parser.add_argument(
        "--python", metavar="X.Y", default=DEFAULT_PYTHON, help="default: %(default)s"
    )
    parser.add_argument(
        "--arch",
        choices=[
            name for each in ARCHITECTURES.values() for name in dict.fromkeys((each.name, each.aws))
        ],
        default=platform.machine(),
        help="default: this machine's",
    )
    parser.add_argument("--only", nargs="+", default=[], metavar="WORD", help="of runtimes' names")
    parser.add_argument(
        "--wheel", nargs="+", type=Path, metavar="WHEEL", help="ours (default: the published ones)"
    )
    parser.add_argument("--runner", choices=RUNNERS, default="auto", help="default: auto")
    parser.add_argument("--base", metavar="IMAGE", default="", help="{python} in it is X.Y")
    parser.add_argument("--document", action="store_true", help="write docs/compare.md")
    parser.add_argument(
        "--from",
        dest="kept",
        metavar="FILE.json",
        type=Path,
        help=f"measure nothing: show what a run has kept as {SO_FAR} in its folder of logs",
    )
    parser.add_argument("--html", metavar="FILE", type=Path, help="write a page with a plot")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    return parser


main = main_of(run)

if __name__ == "__main__":
    sys.exit(main())
