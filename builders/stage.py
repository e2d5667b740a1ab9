r"""A step of the native runner in an image: each is a stage of builders/Dockerfile.

    python3 -m builders.stage core --tensorflow V --arch ARCH --out DIR
    python3 -m builders.stage wheel --core DIR --python X.Y --python-headers DIR \
        --arch ARCH --out DIR

The products go to a folder that the stage's layer keeps. The runner's cache is a mount: no
layer has it, and it serves later builds.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from builders.cache import Cache, default_root
from builders.cli import main_of
from builders.core import load_core
from builders.errors import UsageError
from builders.handover import known_cores, unpack_core
from builders.image import SHELF, is_offline, network_variables
from builders.matrix import Target, load_matrix
from builders.native import NativeRunner
from builders.plan import architecture
from builders.progress import Reporter
from builders.sources import ORIGINS

CORES = Path("/cores")
"""The folder of the image with cores that were made elsewhere, as `core pack` wrote them."""

# BuildKit shows each line when it is printed. This often is enough to see that a stage goes on.
INTERVAL_SECONDS = 2.0


def run(argv: Sequence[str] | None = None) -> int:
    """Run one stage; raise the UserError that `main` prints."""
    options = _parser().parse_args(argv)
    os.environ.update(network_variables())
    with tempfile.TemporaryDirectory() as logs:
        runner = NativeRunner(
            Cache(default_root()),
            Reporter(Console(stderr=True), interval=INTERVAL_SECONDS),
            Path(logs),
            origin=options.origin,
            jobs=options.jobs,
            shelf=SHELF if SHELF.is_dir() else None,
            offline=is_offline(os.environ),
            python_headers=options.python_headers,
            upstream_warnings=options.upstream_warnings,
        )
        options.make(runner, options)
    return 0


def make_core(runner: NativeRunner, options: argparse.Namespace) -> None:
    """Make the core, and write it to a folder named by its key."""
    matrix = load_matrix()
    tensorflow = matrix.tensorflow(options.tensorflow)
    known = dict(known_cores(matrix, runner.toolchain))
    for file in sorted(CORES.glob("*.tar")):
        print(f"{known[unpack_core(file, known, runner.cache).path.name]} is handed in", flush=True)
    core = runner.core(tensorflow, architecture(matrix, options.arch))
    shutil.copytree(core.path, options.out / core.path.name)


def make_wheel(runner: NativeRunner, options: argparse.Namespace) -> None:
    """Make the wheel of a Python from the core that the earlier stage made."""
    matrix = load_matrix()
    cores = list(options.core.iterdir())
    if len(cores) != 1:
        raise UsageError(f"{options.core} holds {len(cores)} cores, and not one")
    core = load_core(cores[0])
    target = Target(
        tensorflow=matrix.tensorflow(core.record["inputs"]["tensorflow"]),
        runtime=matrix.runtime(options.python),
        arch=architecture(matrix, options.arch),
    )
    wheel = runner.wheel_from(target, core)
    options.out.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(wheel, options.out / wheel.name)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 -m builders.stage")
    stages = parser.add_subparsers(required=True)
    core = stages.add_parser("core")
    core.add_argument("--tensorflow", required=True)
    core.add_argument("--origin", choices=("auto", *ORIGINS), default="auto")
    core.set_defaults(make=make_core, python_headers=None, upstream_warnings=False)
    wheel = stages.add_parser("wheel")
    wheel.add_argument("--core", type=Path, required=True)
    wheel.add_argument("--python", required=True)
    wheel.add_argument("--python-headers", type=Path, required=True)
    wheel.add_argument("--upstream-warnings", type=lambda text: bool(int(text)), default=False)
    wheel.set_defaults(make=make_wheel, origin="auto")
    for stage in (core, wheel):
        stage.add_argument("--arch", required=True)
        stage.add_argument("--out", type=Path, required=True)
        stage.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    return parser


main = main_of(run)

if __name__ == "__main__":
    sys.exit(main())
