"""`./scripts/serve`: run a model as a server with TensorFlow Serving's interface."""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from builders.cache import Cache
from builders.cli import EXIT_CODES, Session, command_parser, main_of
from builders.errors import SmokeError, UsageError
from builders.interpreters import Interpreter, find_interpreter
from builders.matrix import Runtime, load_matrix
from builders.progress import table_console
from ci.compare.models import own_models
from ci.pages.load_page import COLUMNS, DOCUMENT, Loaded, write_document
from ci.publish.choice import newest
from ci.publish.manifest import read_manifest
from ci.publish.places import ROOT, WHEELS
from smoke_lambda.loopback import free_port
from smoke_lambda.model import check_model
from smoke_lambda.serving import image
from smoke_lambda.serving.lock import runtimes
from smoke_lambda.serving.native import lay_out, running, serving_python

RUNNERS = ("native", "docker", "podman")
NAME = re.compile(r"[\w.-]+")
READY_SECONDS = 60.0
LOAD_SECONDS = 60.0
LOADED = ("digits.float32", "mobilenetv2.float32", "xception.float32")
"""The models of docs/compare.md whose server docs/kubernetes.md describes."""

DESCRIPTION = """\
Run a model as a server with TensorFlow Serving's interface, gRPC and REST, until Ctrl-C: with the
published wheel, on this machine or in the image that docs/kubernetes.md deploys, under the limits
that its manifests set."""

EXAMPLES = f"""\
examples:
  serve --model my.tflite                        as the model `my`
  serve --model my.tflite --name clothes         as another
  serve --model my.tflite --load 30              measure it for 30 seconds, and end
  serve --document                               the repository's own, for docs/kubernetes.md
  serve --model my.tflite --runner podman        in a container
  serve --model my.tflite --wheel dist/some.whl  with another wheel

{EXIT_CODES}"""


@dataclass(frozen=True)
class Served:
    """A running server.

    Attributes:
        grpc: the port of gRPC.
        rest: the port of REST.
        ended: returns True once the server has ended.
    """

    grpc: int
    rest: int
    ended: Callable[[], bool]


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; `main` prints any UserError."""
    options = _parser().parse_args(argv)
    if bool(options.model) == options.document:
        raise UsageError("give one model", remedy="--model my.tflite; or --document alone")
    if options.document and options.copies:
        raise UsageError(
            "--document measures one copy, and one per processor", remedy="leave out --copies"
        )
    session = Session()
    if options.document:
        write_document(_own_loads(options, session))
        return 0
    check_model(options.model, None)
    name = options.name or options.model.stem
    if not NAME.fullmatch(name):
        raise UsageError(f"{name} is no name of a model", remedy="choose letters with --name")
    with _serving(options, name, session) as (served, log):
        print(f"gRPC localhost:{served.grpc}, REST http://localhost:{served.rest}", end="")
        print(f"/v1/models/{name}; log: {log}", flush=True)
        if options.load:
            show(measured(options, name, served.grpc, session, log), table_console())
            return 0
        while not served.ended():
            time.sleep(0.2)
    raise SmokeError("the server has ended", remedy=f"see {log}")


@contextmanager
def _serving(
    options: argparse.Namespace, name: str, session: Session
) -> Iterator[tuple[Served, Path]]:
    """Run a server that is ready, until the block ends; give its log, too."""
    log = session.logs / f"serve-{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.unlink(missing_ok=True)
    serve = _native if options.runner == "native" else _contained
    with serve(options, name, session, log) as served:
        until_ready(served, log)
        yield served, log


def _own_loads(options: argparse.Namespace, session: Session) -> Iterator[Loaded]:
    """Measure the repository's own models with one copy, and with one per processor."""
    log = session.logs / "serve-models.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="tflite-serve-") as folder:
        with session.reporter.showing():
            made = own_models(session, Path(folder), log)
            models = {each.name: each.model for each in made if each.name in LOADED}
        for name, model in models.items():
            for copies in sorted({1, len(os.sched_getaffinity(0))}):
                chosen = {"model": model, "copies": copies, "load": options.load or LOAD_SECONDS}
                own = argparse.Namespace(**vars(options) | chosen)
                with _serving(own, name, session) as (served, server_log):
                    rows = measured(own, name, served.grpc, session, server_log)
                yield Loaded(name=name, copies=copies, rows=rows)


def chosen(wheel: Path | None, python: str) -> tuple[Path, Runtime]:
    """Return the named wheel, or the published one of a Python, and the wheel's runtime.

    Raises:
        UsageError: the file is not there, or is for no Python that the server runs on.
    """
    able = {runtime.tag: runtime for runtime in runtimes(load_matrix())}
    if wheel is None:
        runtime = load_matrix().runtime(python)
        return _published(runtime.python), runtime
    if not wheel.is_file():
        raise UsageError(f"there is no {wheel}")
    for tag, runtime in able.items():
        if f"-{tag}-" in wheel.name:
            return wheel, runtime
    raise UsageError(f"{wheel.name} is of none of the server's Pythons: {', '.join(able)}")


def _published(python: str) -> Path:
    wheel = newest(read_manifest(WHEELS), load_matrix(), python, platform.machine())
    if wheel is None:
        raise UsageError(
            f"no published wheel of Python {python} for {platform.machine()}",
            remedy="run ./scripts/build, and name one with --wheel",
        )
    return WHEELS / wheel.file


def environment(options: argparse.Namespace, cache: Cache, log: Path) -> Path:
    """Return the Python of an environment with the wheel.

    Raises:
        SmokeError: the environment cannot be made here.
    """
    interpreter, wheel, runtime = with_interpreter(options.wheel)
    return serving_python(interpreter, runtime, wheel, cache, log)


def with_interpreter(wheel: Path | None) -> tuple[Interpreter, Path, Runtime]:
    """Return an interpreter of this machine, a wheel for it, and the wheel's runtime.

    Raises:
        SmokeError: this machine has no fitting Python.
    """
    for python in (image.default_python(), *(each.python for each in runtimes(load_matrix()))):
        path, runtime = chosen(wheel, python)
        found = find_interpreter(runtime.python)
        if found is not None:
            return found, path, runtime
        if wheel is not None:
            break
    raise SmokeError(
        f"this machine has no Python {runtime.python} to serve with",
        remedy=f"install it (pyenv install {runtime.python}), or choose --runner docker",
    )


@contextmanager
def _native(
    options: argparse.Namespace, name: str, session: Session, log: Path
) -> Iterator[Served]:
    reporter = session.reporter
    with reporter.showing(), reporter.step("environment of the server"):
        python = environment(options, session.cache, log)
    variables = {"MODEL_NAME": name} | settings(options)
    with tempfile.TemporaryDirectory(prefix="tflite-serve-") as folder:
        lay_out(options.model, name, Path(folder))
        variables["MODEL_BASE_PATH"] = folder
        with running("server", python=python, variables=variables, log=log) as program:
            grpc, rest = program.ports
            yield Served(grpc, rest, lambda: program.process.poll() is not None)


@contextmanager
def _contained(
    options: argparse.Namespace, name: str, session: Session, log: Path
) -> Iterator[Served]:
    reporter = session.reporter
    client = image.client_of(options.runner)
    wheel, _ = chosen(options.wheel, image.default_python())
    tag = f"{image.IMAGE}-{name.lower()}"
    with reporter.showing(), reporter.step("image of the server"):
        server = image.build(client, wheel, log, base=options.base)
        image.with_model(client, server, options.model.resolve(), name, log, tag)
    grpc, rest = free_port(), free_port()
    ports = {grpc: 8500, rest: 8501}
    with image.container(client, tag, settings(options), ports, log) as process:
        yield Served(grpc, rest, lambda: process.poll() is not None)


def settings(options: argparse.Namespace) -> dict[str, str]:
    """Return the server's variables; a server here stops at once, as no client waits for it."""
    copies = {"COPIES": str(options.copies)} if options.copies else {}
    return {"LAME_SECONDS": "0"} | copies


def until_ready(served: Served, log: Path) -> None:
    """Wait until the server answers.

    Raises:
        SmokeError: the server ended, or takes too long.
    """
    end = time.monotonic() + READY_SECONDS
    while time.monotonic() < end and not served.ended():
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{served.rest}/ready", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    said = log.read_text(errors="replace").strip().splitlines() or ["it said nothing"]
    raise SmokeError(f"the server does not become ready: {said[-1]}", remedy=f"see {log}")


def measured(
    options: argparse.Namespace, name: str, port: int, session: Session, log: Path
) -> list[dict[str, Any]]:
    """Measure the server under load; return a row for each number of clients.

    Raises:
        SmokeError: the server could not be measured.
    """
    python = environment(options, session.cache, log)
    load = ["smoke_lambda.serving.load", f"localhost:{port}", name, str(options.model)]
    reporter = session.reporter
    with reporter.showing(), reporter.step(f"measure {name} for {options.load:.0f} s"):
        done = subprocess.run(
            [str(python), "-s", "-m", *load, str(options.load)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["it said nothing"]
        raise SmokeError(f"the server cannot be measured: {said[-1]}", remedy=f"see {log}")
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return rows


def show(rows: Sequence[dict[str, Any]], console: Console) -> None:
    """Print the rows of a measurement."""
    table = Table(*COLUMNS.values())
    for row in rows:
        table.add_row(*(str(row[key]) for key in COLUMNS))
    console.print(table)


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("serve", DESCRIPTION, EXAMPLES)
    parser.add_argument("--model", metavar="FILE.tflite", type=Path)
    parser.add_argument("--name", help="what clients call it (default: the file's name)")
    parser.add_argument("--runner", choices=RUNNERS, default="native", help="default: native")
    parser.add_argument("--wheel", type=Path, help="default: the published one")
    parser.add_argument("--base", metavar="IMAGE", default="", help="of the image: a Python")
    parser.add_argument("--copies", type=int, default=0, help="default: one per CPU")
    parser.add_argument("--load", metavar="SECONDS", type=float, default=0, help="measure, and end")
    parser.add_argument(
        "--document", action="store_true", help=f"write measurements into {DOCUMENT.name}"
    )
    return parser


main = main_of(run)

if __name__ == "__main__":
    sys.exit(main())
