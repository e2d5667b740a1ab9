"""`./scripts/function`: make a Lambda function from a model, and try it, in one command."""

from __future__ import annotations

import argparse
import json
import platform
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from builders.architecture import ARCHITECTURES
from builders.audit.wheelfile import UNPACKED_LIMIT
from builders.cache import sha256_of
from builders.cli import EXIT_CODES, Session, command_parser, main_of, positive
from builders.errors import SmokeError, UsageError
from builders.interpreters import find_interpreter
from builders.wheelname import parse_name
from ci.layers.layer_plan import find_wheels, make, plan
from ci.layers.layer_zip import MEBIBYTE
from ci.proof.converter import ENDINGS, FLAVOURS, Conversion, convert, examples, requirements_of
from ci.proof.runners import RUNNERS, Wanted, choose_smoker
from ci.proof.smoker import NativeSmoker, Smoker, wheel_runtime
from ci.publish.choice import example
from ci.publish.functions import Target, published
from ci.publish.manifest import read_manifest
from ci.publish.places import WHEELS
from smoke_lambda.functions.context import PACKAGES, RESIZES, Made, Wheel, function_context
from smoke_lambda.functions.facts import Facts
from smoke_lambda.functions.kubernetes import FOLDER, manifests
from smoke_lambda.functions.looking import delegated, look_at
from smoke_lambda.functions.plan import KINDS, Choice, make_plan
from smoke_lambda.functions.preprocessing import Scaling, scaling_of
from smoke_lambda.functions.prices import load_prices
from smoke_lambda.functions.samples import sample_of
from smoke_lambda.functions.trial import DIRECT, Trial, try_function
from smoke_lambda.functions.writing import add, check_free, handed_over, write_function
from smoke_lambda.measure import LEAST_MB
from smoke_lambda.model import MOST_MB, check_model
from smoke_lambda.site import Host

MODEL = "model.tflite"
LABELS = "labels.txt"
# Names that an ECR repository, a function and a role may all have.
NAME = re.compile(r"[a-z0-9]+(?:[-_][a-z0-9]+)*")
LONGEST_NAME = 64
SHOWN = 500  # the number of characters of an answer that are shown

DESCRIPTION = """\
Make a Lambda function of a model: a folder with handler, model, requirements with hashes,
Dockerfile, SAM template, events, tests and the commands that deploy it. It is tried before it is
handed over: in the image of its Python under Lambda's limits, or on this machine. It is yours
then; docs/functions.md has more."""

EXAMPLES = f"""\
examples:
  function my.tflite --labels labels.txt --preprocess xception --python 3.13 --out my-function
  function my.keras --preprocess xception --out my-function        converts it first
  function my.keras --convert int8 --representative pictures/ --preprocess 0..1 --out small
  function my.tflite --preprocess 0..1 --sample cat.jpg --out cats tried with that picture
  function my.tflite --preprocess 0..1 --package zip --out cats    for SAM, with layers
  function prices.tflite --out prices                              numbers in, numbers out
  function words.tflite --input audio --rate 16000 --out words     WAV files in
  function my.tflite --input image=image --input mask=array --preprocess none --out masked

{EXIT_CODES}"""


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; `main` prints any UserError."""
    options = _parser().parse_args(argv)
    name = _checked_name(options)
    check_free(options.out)
    choice = _choice(options)
    conversion = _conversion(options, choice)
    if conversion is None:
        check_model(options.model, None)
    session = Session()
    target = _target(options, session)
    log = session.logs / f"function-{name}.log"
    wanted = Wanted(runner=options.runner, base=options.base)
    image = (target.runtime, target.wheel.arch)
    with session.reporter.showing(), tempfile.TemporaryDirectory(prefix="tflite-function-") as work:
        model = options.model
        if conversion is not None:
            model = Path(work) / MODEL
            with session.reporter.step(f"convert {options.model.name} ({conversion.flavour})"):
                convert(conversion, model, session.cache, log)
        smoker = choose_smoker(wanted, [image], session.cache, session.reporter)
        maker = Maker(session, smoker, target, log, options, name, choice, model)
        trial = maker.make()
    _show(options, trial)
    return 0


@dataclass(frozen=True)
class Maker:
    """Makes one function."""

    session: Session
    smoker: Smoker
    target: Target
    log: Path
    options: argparse.Namespace
    name: str
    choice: Choice
    model: Path

    def make(self) -> Trial | None:
        """Make the function and try it; return the trial, or None if it cannot run here."""
        if self.smoker.can_run(self.target.runtime, self.target.wheel.arch):
            with self._place(self.smoker, self.target) as place:
                return self._made(place, self._looked(place, self.target))
        # The target is for another machine. This machine's wheel gives the same facts of the model.
        own = published(self.target.tensorflow, self.target.runtime)
        if own.wheel.arch == self.target.wheel.arch:
            own = self.target  # the target's error says what is missing
        smoker = NativeSmoker(self.session.cache, self.session.fetcher)
        with self._place(smoker, own) as place:
            facts = self._looked(place, own)
        return self._made(None, facts)

    @contextmanager
    def _place(self, smoker: Smoker, target: Target) -> Iterator[Host]:
        with smoker.site(target.path, target.runtime, log=self.log) as site, site.installed() as it:
            assert isinstance(it, Host), "both smokers' places are"
            yield it

    def _looked(self, place: Host, target: Target) -> Facts:
        with self.session.reporter.step(f"look at {self.model.name}"):
            return look_at(place, self.model, check_model(self.model, None), target.path)

    def _made(self, place: Host | None, facts: Facts) -> Trial | None:
        reporter = self.session.reporter
        decided = make_plan(facts, self.choice)
        made = Made(
            name=self.name,
            plan=decided,
            sample=sample_of(decided, self.options.sample).as_json(),
            preprocess=self.options.preprocess or "none",
            scaling=self.choice.scaling or Scaling(),
            resize=self.options.resize,
            package=self.options.package,
        )
        if self.options.memory:
            made = replace(made, memory_mb=self.options.memory)
        with handed_over(self.options.out) as folder:
            add(folder, self.model)
            (folder / self.model.name).rename(folder / MODEL)
            if self.options.labels:
                (folder / LABELS).write_text("".join(f"{each}\n" for each in self.choice.labels))
            if not self.target.wheel.url:
                add(folder / "wheels", self.target.path)
            self._write(folder, made)
            if self.options.serving:
                (folder / FOLDER).mkdir()
                for name, text in manifests(decided, self.name).items():
                    (folder / FOLDER / name).write_text(text)
            if self.options.package == "zip":
                self._add_layers(folder, pillow=decided["has_pictures"])
            trial = None
            if place is not None:
                with reporter.step(f"try {self.name}") as step:
                    trial = self._tried(place, folder, partial(reporter.show, step))
                made = replace(
                    made,
                    memory_mb=trial.memory_mb,
                    timeout=trial.timeout,
                    measured=trial.lines(load_prices()),
                )
                self._write(folder, made)
                answer = json.dumps(trial.answer, indent=1) + "\n"
                (folder / "tests" / "answer.json").write_text(answer)
        return trial

    def _write(self, folder: Path, made: Made) -> None:
        target = self.target
        write_function(folder, function_context(made, target.tensorflow, target.wheel))

    def _tried(self, place: Host, folder: Path, on_step: Callable[[str], None]) -> Trial:
        try:
            return self._sent(place, folder, on_step)
        except SmokeError as error:
            raise SmokeError(error.what, remedy=f"see {self.log}") from error

    def _sent(self, place: Host, folder: Path, on_step: Callable[[str], None]) -> Trial:
        docker = not isinstance(self.smoker, NativeSmoker)
        return try_function(
            place,
            folder,
            name="in Docker under Lambda's limits, with one processor"
            if docker
            else "on this machine, without limits",
            arch=self.target.wheel.arch,
            xnnpack=delegated(place, folder / MODEL),
            memory_mb=self.options.memory,
            on_step=on_step,
        )

    def _add_layers(self, folder: Path, *, pillow: bool) -> None:
        session, runtime = self.session, self.target.runtime
        wheels = find_wheels([str(self.target.path)], [], session.matrix)
        bytecode = find_interpreter(runtime.python) is not None
        size = self.model.stat().st_size
        for item in plan(wheels, multi=False, pillow=pillow):
            layer = make(
                item, folder / "layers", session.cache, session.reporter, bytecode=bytecode
            )
            size += layer.unzipped
        if size > UNPACKED_LIMIT:
            raise UsageError(
                f"model and layers have {size // MEBIBYTE} MB, and Lambda unpacks at most "
                f"{UNPACKED_LIMIT // MEBIBYTE}",
                remedy="choose --package image",
            )


def _checked_name(options: argparse.Namespace) -> str:
    for path in (options.model, options.labels, options.sample):
        if path is not None and not path.is_file():
            raise UsageError(f"there is no file {path}")
    name = str(options.name or options.out.name).lower()
    if not NAME.fullmatch(name) or len(name) > LONGEST_NAME:
        raise UsageError(
            f"a function cannot be called {name!r}",
            remedy="choose lower-case letters, digits and hyphens with --name",
        )
    if options.memory and not LEAST_MB <= options.memory <= MOST_MB:
        raise UsageError(
            f"Lambda has no memory of {options.memory} MB",
            remedy=f"choose {LEAST_MB} to {MOST_MB} with --memory",
        )
    return name


def _choice(options: argparse.Namespace) -> Choice:
    kinds = dict(map(_named, options.input))
    for kind in kinds.values():
        if kind not in KINDS:
            raise UsageError(
                f"--input: there is no kind {kind!r}", remedy=f"choose {', '.join(KINDS)}"
            )
    return Choice(
        kinds=kinds,
        shapes={name: _shape(text) for name, text in map(_named, options.shape)},
        scaling=scaling_of(options.preprocess) if options.preprocess else None,
        labels=_labels(options.labels) if options.labels else (),
        top=options.top,
        softmax=options.softmax,
        signature=options.signature,
        output=options.output,
        rate=options.rate,
    )


def _named(text: str) -> tuple[str, str]:
    """Return the name and the value of `NAME=VALUE`, or an empty name for `VALUE`."""
    name, _, what = text.rpartition("=")
    return name, what


def _shape(text: str) -> tuple[int, ...]:
    sizes = text.split(",")
    if not all(size.isdecimal() and int(size) for size in sizes):
        raise UsageError(
            f"--shape: {text!r} is no shape", remedy="write it as 1,224,224,3, or NAME=1,224,224,3"
        )
    return tuple(map(int, sizes))


def _labels(path: Path) -> tuple[str, ...]:
    try:
        return tuple(path.read_text(encoding="utf-8-sig").rstrip("\r\n").splitlines())
    except UnicodeDecodeError:
        raise UsageError(f"{path} is no text in UTF-8", remedy="save it so") from None


def _conversion(options: argparse.Namespace, choice: Choice) -> Conversion | None:
    """Return how to convert the model; None if it is a .tflite file already."""
    if options.model.suffix not in ENDINGS:
        if options.convert != FLAVOURS[0] or options.representative:
            raise UsageError(
                f"{options.model} is not converted: it is no {' or '.join(ENDINGS)} file",
                remedy="leave --convert out, or name the model of Keras",
            )
        return None
    requirements_of(options.model)
    return Conversion(
        model=options.model,
        flavour=options.convert,
        representative=examples(options.representative, options.convert),
        shapes=choice.shapes,
        scaling=choice.scaling or Scaling(),
        resize=options.resize,
    )


def _target(options: argparse.Namespace, session: Session) -> Target:
    if options.wheel:
        if options.python or options.arch or options.tensorflow:
            raise UsageError(
                "--wheel says which Python, architecture and TensorFlow it is for",
                remedy="leave the other options out",
            )
        runtime = wheel_runtime(options.wheel)
        arch = parse_name(options.wheel.name).arch or platform.machine()
        digest = sha256_of(options.wheel)
        named = Wheel(file=options.wheel.name, sha256=digest, python=runtime.python, arch=arch)
        return Target(runtime, named, options.wheel)
    matrix = session.matrix
    version = options.tensorflow or matrix.recommended.version
    shown = example(read_manifest(WHEELS), matrix)
    python = options.python or (shown.python if shown else matrix.builder.python)
    runtime = matrix.runtime(python)
    return published(matrix.tensorflow(version).version, runtime, options.arch)


def _show(options: argparse.Namespace, trial: Trial | None) -> None:
    prices = load_prices()
    if options.json:
        found: dict[str, Any] = {"folder": str(options.out)}
        print(json.dumps(found | {"trial": trial and trial.as_json(prices)}, indent=2))
        return
    console = Console()
    if trial is None:
        console.print(f"{options.out} is made; it was not tried: this machine cannot run it")
        return
    answer = json.dumps(trial.answer)
    shown = answer if len(answer) <= SHOWN else f"{answer[:SHOWN]}…"
    console.print(f"the answer to {DIRECT}: {shown}", soft_wrap=True, highlight=False, markup=False)
    for line in trial.lines(prices):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    for arch, dollars in trial.costs(prices).items():
        console.print(
            f"  {arch}: ${dollars:.2f} per million requests of that time with {trial.memory_mb} MB",
            highlight=False,
        )
    console.print(f"{options.out} is made: see {options.out}/README.md", soft_wrap=True)


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("function", DESCRIPTION, EXAMPLES)
    parser.add_argument("model", metavar="MODEL", type=Path, help="a .tflite, .keras or .h5 file")
    parser.add_argument("--out", metavar="FOLDER", type=Path, required=True, help="is made")
    parser.add_argument("--name", help="of the function (default: the folder's)")
    parser.add_argument("--json", action="store_true", help="print what was found as data")
    _add_model_options(parser.add_argument_group("the model"))
    _add_place_options(parser.add_argument_group("where it runs"))
    return parser


def _add_model_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--input",
        metavar="[NAME=]KIND",
        action="append",
        default=[],
        help=f"how an input comes: {', '.join(KINDS)} (default: image where it can be one)",
    )
    group.add_argument(
        "--preprocess",
        metavar="NAME",
        default="",
        help="how pictures are scaled: a network's name in Keras, a range such as 0..1, or none",
    )
    group.add_argument(
        "--resize", choices=RESIZES, default=RESIZES[0], help="default: nearest, as Keras' load_img"
    )
    group.add_argument("--labels", metavar="FILE", type=Path, help="one line per class")
    group.add_argument("--top", type=positive, default=0, help="labels in an answer")
    group.add_argument(
        "--softmax",
        action=argparse.BooleanOptionalAction,
        help="default: if the model's last layer has none",
    )
    group.add_argument(
        "--shape",
        metavar="[NAME=]1,224,224,3",
        action="append",
        default=[],
        help="of an input with open dimensions",
    )
    group.add_argument("--signature", default="", help="of a model with several")
    group.add_argument("--output", default="", help="the only output that is answered")
    group.add_argument("--rate", type=positive, default=0, help="samples per second of sounds")
    group.add_argument(
        "--sample", metavar="FILE", type=Path, help="the request that it is tried with"
    )
    group.add_argument(
        "--convert", choices=FLAVOURS, default=FLAVOURS[0], help="of a model of Keras"
    )
    group.add_argument(
        "--representative", metavar="FOLDER", type=Path, help="pictures or .npy files, for int8"
    )


def _add_place_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--python", default="", help="such as 3.13 (default: the newest of Lambda)")
    group.add_argument(
        "--arch",
        choices=[each.aws for each in ARCHITECTURES.values()],
        default="",
        help="default: this machine's",
    )
    group.add_argument("--tensorflow", default="", help="default: the recommended version")
    group.add_argument("--wheel", type=Path, help="default: the published one")
    group.add_argument("--package", choices=PACKAGES, default=PACKAGES[0], help="default: image")
    group.add_argument("--serving", action="store_true", help="add a model server for Kubernetes")
    group.add_argument("--memory", metavar="MB", type=positive, default=0, help="default: measured")
    group.add_argument("--runner", choices=RUNNERS, default="auto", help="default: auto")
    group.add_argument(
        "--base", metavar="IMAGE", default="", help="a base image; {python} in it is X.Y"
    )


main = main_of(run)

if __name__ == "__main__":
    sys.exit(main())
