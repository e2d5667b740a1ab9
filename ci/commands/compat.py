"""`./scripts/compat`: find out where a wheel works, by inspecting and running it."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from builders.cli import EXIT_CODES, Session, main_of, wheels_parser
from builders.errors import SmokeError, UsageError
from builders.progress import Step
from ci.proof.survey import OTHER_PYTHON, RAN, Row, Survey, own_models, survey, wheel_tags
from smoke_lambda.compat import OK

TABLE_WIDTH = 150

DESCRIPTION = """\
Try wheels of tflite_runtime, ours or anybody's: on which Lambda runtimes, with which NumPy
versions and models does each work? If this machine has the Python of a wheel, each model runs
with and without the default delegate; the report names what was not tried. The audit decides
whether a wheel loads on the runtime's own Linux: the Linux of this machine is newer."""

WARNING = (
    "compat installs each wheel and runs its code, with your rights; the audit alone runs "
    "nothing: ./scripts/audit WHEEL"
)

EXAMPLES = f"""\
examples:
  compat dist/*.whl                         our own
  compat tflite_runtime-2.14.0-cp311-*.whl  somebody else's
  compat --model mine.tflite some.whl       with a model of yours, too
  compat --json some.whl > compat.json      the same as data

The exit code is 0 if each wheel works everywhere that it is for, as far as that can be
tried here, and 10 if it does not, or nothing could be tried.

{EXIT_CODES}"""


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; `main` prints any UserError."""
    parser = wheels_parser("compat", DESCRIPTION, EXAMPLES)
    parser.add_argument(
        "--model", metavar="FILE", type=Path, action="append", default=[], help="repeatable"
    )
    options = parser.parse_args(argv)
    models = own_models()
    for path in options.model:
        if not path.is_file():
            raise UsageError(f"there is no model {path}")
        models[path.name] = path.absolute()
    for wheel in options.wheels:
        wheel_tags(wheel)
    print(WARNING, file=sys.stderr)
    session = Session()
    reporter, cache = session.reporter, session.cache
    logs = session.logs / "compat"
    surveys = []
    with reporter.showing():
        for wheel in options.wheels:
            with reporter.step(f"try {wheel.name}") as step:

                def tell(what: str, step: Step = step) -> None:
                    reporter.show(step, what)

                surveys.append(survey(wheel, session.matrix, models, cache, logs, tell))
    if options.json:
        print(json.dumps([found.as_json() for found in surveys], indent=2))
    else:
        console = Console() if sys.stdout.isatty() else Console(width=TABLE_WIDTH)
        for found in surveys:
            show(found, list(models), console)
        console.print(f"logs: {logs}", highlight=False, soft_wrap=True)
    return 0 if all(found.ok for found in surveys) else SmokeError.exit_code


def show(found: Survey, models: Sequence[str], console: Console) -> None:
    """Print a survey: a row per runtime and NumPy, a column per model, then the faults."""
    table = Table(title=escape(found.wheel), title_justify="left")
    for column in ("Lambda runtime", "its Linux", "NumPy", *models):
        table.add_column(column)
    for row in found.rows:
        if row.state != OTHER_PYTHON:
            table.add_row(*_cells(row, models))
    console.print(table)
    others = [row for row in found.rows if row.state == OTHER_PYTHON]
    if others:
        names = ", ".join(row.runtime for row in others)
        console.print(f"{others[0].detail} only, not: {names}", style="dim", highlight=False)
    for fault in found.faults:
        console.print(f"FAILED {fault}", style="red", markup=False, soft_wrap=True)
    if not found.ok and not found.faults:
        console.print("no combination could be tried here", style="red", soft_wrap=True)


def _cells(row: Row, models: Sequence[str]) -> list[str]:
    linux = f"{row.os}: {'loads' if row.lambda_ok else '[red]does not load[/]'}"
    if row.state != RAN:
        return [row.runtime, linux, row.numpy, f"{row.state}: {escape(row.detail)}"]
    numpy = row.numpy if row.numpy_on_lambda else f"{row.numpy} (too new for its Linux)"
    by_name = {cell.model: cell for cell in row.models}
    cells = []
    for name in models:
        cell = by_name[name]
        share = f", XNNPACK {cell.xnnpack:.0%}" if cell.xnnpack is not None else ""
        cells.append(f"ok{share}" if cell.outcome == OK else f"[red]{cell.outcome}[/]")
    return [row.runtime, linux, numpy, *cells]


main = main_of(run)

if __name__ == "__main__":
    sys.exit(main())
