"""`./scripts/smoke`: run wheels as Lambda functions, and show what was found."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from rich.console import Console
from rich.table import Table

from builders.cache import Cache, default_root
from builders.cli import EXIT_CODES, guarded, wheels_parser
from builders.errors import SmokeError, UsageError
from builders.fetch import Fetcher
from builders.matrix import Runtime, load_matrix
from builders.progress import Reporter
from ci.smoker import NativeSmoker

DESCRIPTION = """\
Install each wheel with --no-deps in a fresh environment, and invoke it under Lambda's own
emulator with every event form, good and bad."""

EXAMPLES = f"""\
examples:
  smoke dist/*.whl          every wheel, with the oldest and newest NumPy of its Python
  smoke --json some.whl     what was found, as data

{EXIT_CODES}"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return guarded(lambda: run(argv))


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command; raises UserError where `main` prints."""
    options = wheels_parser("smoke", DESCRIPTION, EXAMPLES).parse_args(argv)
    runtimes = [_runtime(wheel) for wheel in options.wheels]
    reporter = Reporter(Console(stderr=True))
    cache = Cache(default_root())
    reports = []
    with reporter.showing():
        for wheel, runtime in zip(options.wheels, runtimes, strict=True):
            reports.append(smoke_wheel(wheel, runtime, cache, reporter))
    if options.json:
        print(json.dumps(reports, indent=2))
    else:
        for report in reports:
            show(report, Console())
    return 0 if all(report["ok"] for report in reports) else SmokeError.exit_code


def smoke_wheel(wheel: Path, runtime: Runtime, cache: Cache, reporter: Reporter) -> dict[str, Any]:
    """Smoke-test one wheel on this machine; gives its report.

    Raises:
        SmokeError: it cannot be run here.
    """
    log = cache.root / "logs" / f"smoke-by-hand-{runtime.tag}.log"
    with reporter.step(f"smoke {wheel.name}") as step:
        return NativeSmoker(cache, Fetcher(cache)).smoke(
            wheel, runtime, log=log, on_step=lambda what: reporter.show(step, what)
        )


def show(report: dict[str, Any], console: Console) -> None:
    """Print a report: a column per NumPy, then what failed."""
    table = Table(title=report["wheel"], title_justify="left")
    table.add_column("")
    for run in report["runs"]:
        table.add_column(f"NumPy {run['numpy']}")
    rows: dict[str, Callable[[dict[str, Any]], str]] = {
        "checks": lambda r: f"{sum(c['ok'] for c in r['checks'])}/{len(r['checks'])} passed",
        "XNNPACK": lambda r: "\n".join(f"{m}: {s:.0%}" for m, s in r["xnnpack"].items()),
        "init, ms": lambda r: "\n".join(f"{m}: {t:.0f}" for m, t in r["init_ms"].items()),
        "import, ms": lambda r: _millis(r["import_ms"]),
        "first inference, ms": lambda r: _millis(r["first_inference_ms"]),
    }
    for name, cell in rows.items():
        table.add_row(name, *(cell(run) for run in report["runs"]))
    console.print(table)
    for run in report["runs"]:
        for check in run["checks"]:
            if not check["ok"]:
                console.print(
                    f"FAILED with NumPy {run['numpy']}: {check['name']}: {check['detail']}",
                    style="red",
                    markup=False,
                    soft_wrap=True,
                )
    console.print(f"log: {report['log']}", soft_wrap=True, highlight=False)


def _millis(value: float | None) -> str:
    return "?" if value is None else f"{value:.0f}"


def _runtime(wheel: Path) -> Runtime:
    if not wheel.is_file():
        raise UsageError(f"there is no wheel {wheel}", remedy="./scripts/build makes some in dist/")
    try:
        tags = parse_wheel_filename(wheel.name)[3]
    except InvalidWheelFilename as error:
        raise UsageError(str(error)) from error
    return load_matrix().runtime(next(iter(tags)).interpreter)


if __name__ == "__main__":
    sys.exit(main())
