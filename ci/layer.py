"""`./scripts/layer`: AWS Lambda layers of wheels with the NumPy that their runtime can have."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from builders.audit.wheelfile import UNPACKED_LIMIT, parse_name
from builders.cache import Cache, default_root
from builders.cli import EXIT_CODES, command_parser, guarded
from builders.errors import UsageError
from builders.matrix import Matrix, Runtime, Target, load_matrix
from builders.progress import Reporter, describe
from ci.layer_content import locked_wheel, site_packages
from ci.layer_zip import MEBIBYTE, ZIPPED_LIMIT, Layer, folder_of, write_layer

ROOT = Path(__file__).parent.parent
OUT = ROOT / "dist" / "layers"
WHEELS = (ROOT / "wheels", ROOT / "dist")

RECOMMENDED = load_matrix().recommended.version

EXAMPLES = f"""\
examples:
  layer tf{RECOMMENDED}-cp312-x86_64 --pillow
                                  the runtime with NumPy, and a layer of Pillow
  layer tf{RECOMMENDED}-cp312-aarch64
                                  for arm64, made on any machine
  layer some/tflite_runtime-….whl of a wheel of one's own
  layer --multi tf{RECOMMENDED}-cp312-x86_64 tf{RECOMMENDED}-cp313-x86_64
                                  one layer for two Pythons
  layer tf{RECOMMENDED}-cp312-x86_64 --json
                                  what was made, as data

{EXIT_CODES}"""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A layer to be made.

    Attributes:
        wheels: for each runtime the wheel of ours, or None in a layer without it.
        projects: what else is in it, from the locks.
    """

    name: str
    arch: str
    wheels: Mapping[Runtime, Path | None]
    projects: tuple[str, ...]
    multi: bool


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return guarded(lambda: run(argv))


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command; raises UserError where `main` prints."""
    options = _parser().parse_args(argv)
    folders = [options.wheels] if options.wheels else WHEELS
    wheels = find_wheels(options.targets, folders, load_matrix())
    plans = list(plan(wheels, multi=options.multi, pillow=options.pillow))
    reporter = Reporter(Console(stderr=True))
    cache = Cache(default_root(), on_wait=lambda line: reporter.say(f"[yellow]![/] {line}"))
    with reporter.showing():
        layers = [make(item, options.out, cache, reporter) for item in plans]
    if options.json:
        print(json.dumps([layer.as_json() for layer in layers], indent=2))
    else:
        show(layers, Console())
    return 0


def find_wheels(
    arguments: Sequence[str], folders: Sequence[Path], matrix: Matrix
) -> dict[Target, Path]:
    """The wheel of each argument, which is a target's identifier or a wheel file.

    Raises:
        UsageError: there is no such target, or no wheel of it.
    """
    found: dict[Target, Path] = {}
    for argument in arguments:
        if argument.endswith(".whl"):
            name = parse_name(Path(argument).name, matrix)
            if name.target is None:
                raise UsageError(f"{argument}: {'; '.join(name.faults)}")
            if not Path(argument).is_file():
                raise UsageError(f"there is no wheel {argument}")
            found[name.target] = Path(argument)
        else:
            target = matrix.target(argument)
            found[target] = _newest(target, folders, matrix)
    return found


def _newest(target: Target, folders: Sequence[Path], matrix: Matrix) -> Path:
    """The wheel of the highest build in the first folder that has one."""
    for folder in folders:
        builds = {}
        for path in folder.rglob("*.whl"):
            name = parse_name(path.name, matrix)
            if name.target == target:
                builds[name.build] = path
        if builds:
            return builds[max(builds)]
    raise UsageError(
        f"no wheel of {target.identifier} in {' or '.join(str(folder) for folder in folders)}",
        remedy=f"./scripts/build --only {target.identifier} makes it, or name its folder "
        "with --wheels",
    )


def plan(wheels: Mapping[Target, Path], *, multi: bool, pillow: bool) -> Iterator[Plan]:
    """The layers of these wheels: one each, or one of all.

    Raises:
        UsageError: one layer cannot hold them: of two architectures or TensorFlow versions.
    """
    groups = [wheels] if multi else [{target: path} for target, path in wheels.items()]
    for group in groups:
        versions = {target.tensorflow.version for target in group}
        arches = {target.arch for target in group}
        if len(versions) > 1 or len(arches) > 1:
            raise UsageError(
                "one layer is of one TensorFlow version and one architecture, "
                f"not {', '.join(target.identifier for target in group)}",
                remedy="call it once for each",
            )
        (version,), (arch,) = versions, arches
        tags = "-".join(target.runtime.tag for target in group)
        yield Plan(
            name=f"layer-tf{version}-{tags}-{arch}.zip",
            arch=arch,
            wheels={target.runtime: path for target, path in group.items()},
            projects=("numpy",),
            multi=multi,
        )
        if pillow:
            yield Plan(
                name=f"layer-pillow-{tags}-{arch}.zip",
                arch=arch,
                wheels=dict.fromkeys(target.runtime for target in group),
                projects=("pillow",),
                multi=multi,
            )


def make(item: Plan, out: Path, cache: Cache, reporter: Reporter) -> Layer:
    """Fetch what a layer needs, and write it into a folder.

    Raises:
        FetchError: a locked wheel cannot be had.
        ArchiveError: a wheel is damaged.
        UsageError: the layer is larger than Lambda takes.
    """
    log = cache.root / "logs" / f"{item.name}.log"
    files: dict[str, bytes] = {}
    packages = {}
    with reporter.step(item.name) as step:
        for runtime, wheel in item.wheels.items():
            parts = [] if wheel is None else [wheel]
            for project in item.projects:
                reporter.show(step, f"{project} for {runtime.name}")
                parts.append(locked_wheel(project, runtime, item.arch, cache, log))
            folder = folder_of(runtime, multi=item.multi)
            for path, data in site_packages(parts).items():
                files[f"{folder}/{path}"] = data
            packages[runtime.python] = tuple(part.name for part in parts)
        packing = time.monotonic()
        return write_layer(
            out / item.name,
            files,
            arch=item.arch,
            packages=packages,
            progress=lambda done, total: reporter.show(
                step, describe(done, total, "bytes", time.monotonic() - packing)
            ),
        )


def show(layers: Sequence[Layer], console: Console) -> None:
    """Print the layers, their sizes against Lambda's limits, and their paths."""
    table = Table(title="Layers", title_justify="left")
    for column in ("runtimes", "arch", "holds"):
        table.add_column(column)
    for column, limit in (("zipped", ZIPPED_LIMIT), ("unzipped", UNPACKED_LIMIT)):
        table.add_column(f"{column}\n(≤ {limit // MEBIBYTE} MB)", justify="right")
    for layer in layers:
        data = layer.as_json()
        held = dict.fromkeys(
            " ".join(wheel.split("-")[:2]) for wheels in layer.packages.values() for wheel in wheels
        )
        table.add_row(
            "\n".join(data["CompatibleRuntimes"]),
            ", ".join(data["CompatibleArchitectures"]),
            "\n".join(held),
            f"{layer.zipped / MEBIBYTE:.1f} MB",
            f"{layer.unzipped / MEBIBYTE:.1f} MB",
        )
    console.print(table)
    for layer in layers:
        print(layer.path)


def _parser() -> argparse.ArgumentParser:
    parser = command_parser(
        prog="layer",
        description="Pack the runtime and NumPy as an AWS Lambda layer: a zip per target, "
        "the same bytes each time, within Lambda's limits.",
        epilog=EXAMPLES,
    )
    parser.add_argument(
        "targets",
        metavar="TARGET",
        nargs="+",
        help="a target of `./scripts/build --list`, or a wheel file",
    )
    parser.add_argument(
        "--wheels", metavar="DIR", type=Path, help="where the wheels are; default: wheels/ or dist/"
    )
    parser.add_argument(
        "--multi", action="store_true", help="one layer for all targets' Pythons, instead of each"
    )
    parser.add_argument(
        "--pillow", action="store_true", help="also a layer of Pillow, which the handler needs"
    )
    parser.add_argument(
        "--out", metavar="DIR", type=Path, default=OUT, help="default: dist/layers/"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser


if __name__ == "__main__":
    sys.exit(main())
