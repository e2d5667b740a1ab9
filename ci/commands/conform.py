"""`./scripts/conform`: compare the answers of wheels with those of TensorFlow."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from builders.cli import EXIT_CODES, Session, main_of, positive, wheels_parser
from builders.errors import ConformError, UsageError
from builders.matrix import Runtime
from builders.progress import table_console
from ci.proof.conformer import Subject, compare, corpus_of, subject_of
from ci.proof.hunter import hunt_on, making
from ci.proof.networks import networks_corpus
from ci.proof.runners import RUNNERS, Image, Wanted, choose_smoker
from ci.proof.show_conform import show_conform
from ci.proof.smoker import NativeSmoker, Smoker, images_of
from smoke_lambda.conform import delegated
from smoke_lambda.conform.networks import load_networks
from smoke_lambda.conform.settings import CORPUS, OWN, WHOLE, load_settings

QUICK = "quick"
HUNTED_FROM = 1000

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
  conform --networks quick some.whl       networks of MediaPipe, basic-pitch, Keras and others
  conform --hunt 600 some.whl             random graphs for ten minutes; those that fail are made
                                          small and kept
  conform --peer ai_edge_litert-*.whl     a runtime that is not ours: how many nodes it delegates
                                          is told and not judged
  conform --write-delegated some.whl      write how many nodes of each model XNNPACK takes, which
                                          every wheel of that TensorFlow must then reach

{EXIT_CODES}"""


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; `main` prints any UserError."""
    options = _parser().parse_args(argv)
    if options.write_delegated and (options.models or options.share or options.networks):
        raise UsageError(
            "--write-delegated needs every model of the corpus",
            remedy="leave out --models, --share and --networks",
        )
    images = images_of(options.wheels)
    for wheel in options.wheels:
        if subject_of(wheel).project != OWN and not options.peer:
            raise UsageError(f"{wheel.name} is not ours", remedy="add --peer")
    session = Session()
    reports = []
    with session.reporter.showing():
        smoker = _smoker(options, images, session)
        if options.hunt:
            return _hunt(smoker, images, options, session)
        folder = _networks(options.networks, session) if options.networks else CORPUS
        for wheel, (runtime, _) in zip(options.wheels, images, strict=True):
            reports.append(_report(smoker, wheel, runtime, folder, options, session))
    if options.json:
        print(json.dumps(reports, indent=2))
    else:
        console = table_console()
        for report in reports:
            show_conform(report, console)
    return 0 if all(report["ok"] for report in reports) else ConformError.exit_code


def _smoker(options: argparse.Namespace, images: Sequence[Image], session: Session) -> Smoker:
    if options.peer:
        return NativeSmoker(session.cache, session.fetcher, dependencies=True)
    wanted = Wanted(runner=options.runner, base=options.base)
    return choose_smoker(wanted, images, session.cache, session.reporter)


def _report(
    smoker: Smoker,
    wheel: Path,
    runtime: Runtime,
    folder: Path,
    options: argparse.Namespace,
    session: Session,
) -> dict[str, Any]:
    subject = subject_of(wheel)
    corpus = corpus_of(
        subject,
        f"1 in {options.share}" if options.share else WHOLE,
        runtime,
        judge_delegation=not (options.peer or options.write_delegated or options.networks),
        folder=folder,
        pattern=options.models,
    )
    with session.reporter.step(f"conform {wheel.name}") as step:
        report, nodes = compare(
            smoker,
            wheel,
            runtime,
            corpus,
            peer=options.peer,
            log=_log(session, subject, runtime),
            on_step=partial(session.reporter.show, step),
        )
    if options.write_delegated and report.ok:
        path = delegated.write(subject.expectations, nodes)
        session.reporter.say(f"{path.name}: {len(nodes)} models")
    return report.as_json()


def _networks(choice: str, session: Session) -> Path:
    """Return the corpus of real networks; make it if it is not in the cache."""
    networks = load_networks()
    chosen = networks.quick() if choice == QUICK else networks
    return networks_corpus(chosen, session, session.logs / "conform-networks.log")


def _hunt(
    smoker: Smoker,
    images: Sequence[Image],
    options: argparse.Namespace,
    session: Session,
) -> int:
    """Try random graphs on each wheel, and print those that fail; return the exit code."""
    failed = False
    for wheel, (runtime, _) in zip(options.wheels, images, strict=True):
        subject = subject_of(wheel)
        log, keep = (
            _log(session, subject, runtime),
            session.cache.root / "hunts" / subject.expectations,
        )
        with (
            session.reporter.step(f"hunt {wheel.name}") as step,
            making(session.cache, log) as maker,
        ):
            found = hunt_on(
                smoker,
                wheel,
                runtime,
                subject,
                maker,
                seconds=options.hunt,
                first_seed=options.seed,
                keep=keep,
                log=log,
                on_step=partial(session.reporter.show, step),
            )
        last = found.first_seed + found.seeds - 1
        print(
            f"{wheel.name}: {found.seeds} graphs, seeds {found.first_seed} to {last}; "
            f"{maker.unfit} that TensorFlow cannot make; {len(found.failures)} fail"
        )
        for failure in found.failures:
            kept = keep / f"graph{failure.graph.seed:04}"
            size = f"{len(failure.graph.nodes)} of {failure.drawn} operators"
            print(f"graph{failure.graph.seed:04} ({size}): {failure.said}\n  kept in {kept}")
        failed = failed or bool(found.failures)
    return ConformError.exit_code if failed else 0


def _log(session: Session, subject: Subject, runtime: Runtime) -> Path:
    return session.logs / f"conform-{subject.expectations}-{runtime.tag}.log"


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
        "--share", metavar="N", type=positive, default=0, help="each N-th model (default: all)"
    )
    parser.add_argument(
        "--networks",
        choices=(QUICK, "all"),
        help="real networks instead of the corpus; they are fetched or built the first time",
    )
    parser.add_argument(
        "--hunt",
        metavar="SECONDS",
        type=positive,
        default=0,
        help="random graphs instead of the corpus, for so long",
    )
    parser.add_argument(
        "--seed",
        metavar="N",
        type=positive,
        default=HUNTED_FROM,
        help=f"the first graph of a hunt (default: {HUNTED_FROM}, beyond those of the corpus)",
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


main = main_of(run)

if __name__ == "__main__":
    sys.exit(main())
