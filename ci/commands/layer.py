"""`./scripts/layer`: make AWS Lambda layers of wheels with the NumPy that the runtime accepts."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from builders.audit.wheelfile import UNPACKED_LIMIT
from builders.cli import EXIT_CODES, Session, command_parser, main_of
from builders.matrix import load_matrix
from ci.layers.layer_plan import find_wheels, make, plan
from ci.layers.layer_zip import MEBIBYTE, ZIPPED_LIMIT, Layer

ROOT = Path(__file__).parents[2]
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


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; `main` prints any UserError."""
    options = _parser().parse_args(argv)
    folders = [options.wheels] if options.wheels else WHEELS
    wheels = find_wheels(options.targets, folders, load_matrix())
    plans = list(plan(wheels, multi=options.multi, pillow=options.pillow))
    session = Session()
    reporter, cache = session.reporter, session.cache
    with reporter.showing():
        layers = [
            make(item, options.out, cache, reporter, bytecode=options.bytecode) for item in plans
        ]
    if options.json:
        print(json.dumps([layer.as_json() for layer in layers], indent=2))
    else:
        show(layers, Console())
    return 0


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
    parser.add_argument(
        "--no-bytecode",
        dest="bytecode",
        action="store_false",
        help="leave out what saves each cold start the compilation of Python files; "
        "it needs the layer's own Python here",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser


main = main_of(run)

if __name__ == "__main__":
    sys.exit(main())
