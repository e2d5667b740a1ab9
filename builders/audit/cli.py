"""The command `audit`: inspects wheels and prints the reports."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from builders.audit import AuditReport, audit
from builders.audit.modules_check import FILE, accepted, known_modules, text_of
from builders.audit.packaging_checks import Wheel
from builders.audit.wheelfile import read_archive
from builders.audit.zip_layout import DamagedWheelError
from builders.cli import main_of, wheels_parser
from builders.errors import AuditError, UsageError, printable
from builders.matrix import Matrix, load_matrix
from builders.wheelname import parse_own_name

DESCRIPTION = """\
Inspect tflite_runtime wheels without running them: archive, metadata, extension, and on
which Lambda runtimes they install and load."""

EXAMPLES = """\
examples:
  audit wheels/*.whl                      a table per wheel
  audit --json some.whl > report.json     the same as JSON, one report per wheel
  audit --accept dist/*.whl               after a change of their Python files
  audit some.whl && echo fit for Lambda   the exit code is 0 if every check passed

exit codes: 0 all passed, 2 no such file or wrong usage, 9 a check failed
"""


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code.

    Raises:
        UserError: the command cannot run; `main` catches the error and prints it.
    """
    parser = wheels_parser("audit", DESCRIPTION, EXAMPLES)
    parser.add_argument(
        "--accept",
        action="store_true",
        help="the wheels are ours: add the digests of their Python files to modules.toml",
    )
    options = parser.parse_args(argv)
    matrix = load_matrix()
    if options.accept:
        accept(options.wheels, matrix)
    reports = [audit(wheel, matrix) for wheel in options.wheels]
    if options.json:
        print(json.dumps([report.as_dict() for report in reports], indent=2))
    else:
        console = Console()
        for report in reports:
            show(report, console)
    return 0 if all(report.ok for report in reports) else AuditError.exit_code


def accept(wheels: Sequence[Path], matrix: Matrix) -> None:
    """Add the digests of the wheels' Python files to modules.toml.

    Raises:
        UsageError: a wheel cannot be read, or its name is not that of a wheel of ours. Then
            modules.toml stays as it is.
    """
    known = known_modules()
    for path in wheels:
        try:
            name = parse_own_name(path.name, matrix)
            known = accepted(known, Wheel(name=name, archive=read_archive(path), matrix=matrix))
        except (DamagedWheelError, ValueError) as error:
            raise UsageError(
                f"{path.name}: {error}", remedy="name a wheel that you built"
            ) from error
    FILE.write_text(text_of(known))


def show(report: AuditReport, console: Console) -> None:
    """Print one report: a table of the checks, then one line per runtime."""
    table = Table(title=escape(printable(report.file)), title_justify="left", expand=False)
    table.add_column("check", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("found", overflow="fold")
    for check in report.checks:
        table.add_row(
            check.name, "[green]ok[/]" if check.ok else "[red bold]FAIL[/]", escape(check.detail)
        )
    console.print(table)
    for verdict in report.runtimes:
        console.print(escape(str(verdict)), style="" if verdict.ok else "dim", soft_wrap=True)
    answer = "passed" if report.ok else f"FAILED: {', '.join(report.failed)}"
    console.print(f"sha256 {report.sha256}  {answer}", soft_wrap=True, highlight=False)


main = main_of(run)

if __name__ == "__main__":
    sys.exit(main())
