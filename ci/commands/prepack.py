"""`./scripts/prepack`: pack a model's weights into a file, so that no start packs them."""

from __future__ import annotations

import argparse
import platform
import sys
import zipfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from builders.cli import EXIT_CODES, Session, command_parser, main_of
from builders.errors import SmokeError, UsageError
from builders.fetch import Fetcher
from builders.headers import runs_here
from builders.matrix import load_matrix
from ci.proof.smoker import NativeSmoker, wheel_runtime
from ci.publish.choice import newest
from ci.publish.manifest import read_manifest
from ci.publish.places import WHEELS
from smoke_lambda.inside.probing import READ_PACKED, judged
from smoke_lambda.model import check_model
from smoke_lambda.site import Place

MODULE = "smoke_lambda.inside.prepacking"
ENDING = ".packed"
SECONDS = 600.0
MEGABYTE = 1_000_000
RECOMMENDED = load_matrix().recommended.version

DESCRIPTION = f"""\
Pack the weights of models as XNNPACK reads them, each into a file. Where {READ_PACKED}
names the file, an interpreter maps it and packs nothing: a large model starts faster, and processes
share the memory. The file fits one model, to the last byte, one build of the wheel, and processors
that pack alike. Where it does not fit, the runtime prints one line that says why, and packs in
memory as it always does. The file is tried before it is put in place: the answers with it are those
without it, bit for bit."""

EXAMPLES = f"""\
examples:
  prepack my.tflite                        my{ENDING}, beside the model
  prepack my.tflite --wheel dist/some.whl  for a wheel that is not published
  prepack one.tflite two.tflite --out packed
                                           a folder for {READ_PACKED} to name:
                                           each file has its model's digest for a name

docs/lambda.md shows how an image and a layer use it.

{EXIT_CODES}"""


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; `main` prints any UserError."""
    options = _parser().parse_args(argv)
    for model in options.models:
        check_model(model, None)
    wheel = chosen(options.wheel)
    session = Session()
    log = session.logs / "prepack.log"
    smoker = NativeSmoker(session.cache, Fetcher(session.cache))
    reporter = session.reporter
    lines = []
    with reporter.showing(), ExitStack() as stack:
        with reporter.step("environment"):
            site = stack.enter_context(smoker.site(wheel, wheel_runtime(wheel), log=log))
            place = stack.enter_context(site.installed(failure=UsageError))
        for model in options.models:
            with reporter.step(f"pack {model.name}"):
                lines.append(packed(place, model, options.out))
    print("\n".join(lines))
    return 0


def chosen(wheel: Path | None) -> Path:
    """Return the wheel that will read the file: the named one, or a published one.

    All wheels of a build read the same files, for any Python.

    Raises:
        UsageError: there is no wheel, or it does not read such files.
    """
    found = _published() if wheel is None else wheel
    if not found.is_file():
        raise UsageError(f"there is no {found}")
    if not reads_packed_weights(found):
        raise UsageError(
            f"{found.name} reads no packed weights",
            remedy=f"name a wheel of TensorFlow {RECOMMENDED} that was built from this repository",
        )
    return found


def reads_packed_weights(wheel: Path) -> bool:
    """True if the extension of a wheel knows the variable READ_PACKED.

    Raises:
        UsageError: the file is not a wheel.
    """
    try:
        with zipfile.ZipFile(wheel) as members:
            names = [name for name in members.namelist() if name.endswith(".so")]
            return any(READ_PACKED.encode() in members.read(name) for name in names)
    except zipfile.BadZipFile as error:
        raise UsageError(f"{wheel.name} is not a wheel") from error


def _published() -> Path:
    matrix, arch = load_matrix(), platform.machine()
    manifest = read_manifest(WHEELS)
    for runtime in matrix.runtimes:
        found = newest(manifest, matrix, runtime.python, arch)
        if found is not None and runs_here(runtime, arch):
            return WHEELS / found.file
    raise UsageError(
        f"this machine has no Python of a published wheel for {arch}",
        remedy="run ./scripts/build, and name a wheel with --wheel",
    )


def packed(place: Place, model: Path, out: Path | None) -> str:
    """Make the file of a model; return a line that says what it saves.

    Raises:
        SmokeError: the file cannot be made, or may not be used.
    """
    folder = model.parent if out is None else out
    folder.mkdir(parents=True, exist_ok=True)
    # Work in the same file system, so that the file appears as a whole or not at all.
    with TemporaryDirectory(prefix=".prepack-", dir=folder) as work:
        arguments = (str(model.absolute()), str(Path(work).absolute()))
        status, output = place.look(MODULE, *arguments, timeout=SECONDS)
        fault, found = judged(status, output)
        if fault or "error" in found:
            raise SmokeError(f"{model.name} cannot be packed: {fault or found['error']}")
        made = folder / (found["file"] if out else model.with_suffix(ENDING).name)
        (Path(work) / found["file"]).replace(made)
    return line(made, found)


def line(made: Path, found: dict[str, Any]) -> str:
    """Return a line for people about what a file saves at a start."""
    after, before = found["with"], found["without"]
    peaks = (each["peak_bytes"] / MEGABYTE for each in (after, before))
    return (
        f"{made}: {found['bytes'] / MEGABYTE:.1f} MB; to allocate and run once takes "
        "{:.1f} ms of CPU time, not {:.1f}, ".format(after["cpu_ms"], before["cpu_ms"])
        + "and {:.0f} MB of memory, not {:.0f}".format(*peaks)
    )


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("prepack", DESCRIPTION, EXAMPLES)
    parser.add_argument("models", metavar="MODEL.tflite", nargs="+", type=Path)
    parser.add_argument("--wheel", type=Path, help="that reads the file (a published one)")
    parser.add_argument("--out", metavar="DIR", type=Path, help="a folder of several models' files")
    return parser


main = main_of(run)

if __name__ == "__main__":
    sys.exit(main())
