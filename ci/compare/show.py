"""Prints a comparison's report as tables; page and document use the same cells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ci.compare.judge import SAME

RUNTIME_COLUMNS = ("runtime", "NumPy", "download, MB", "installed, MB", "image, MB", "")
MODEL_COLUMNS = (
    "runtime",
    "1 vCPU, ms",
    "ratio",
    "2 vCPUs, ms",
    "ratio",
    "init, ms",
    "first, ms",
    "peak, MB",
    "least, MB",
    "$ / million",
    "XNNPACK",
    "apart",
)
NONE = ""


def runtime_cells(found: Mapping[str, Any]) -> list[str]:
    """Return a runtime's cells, in the order of RUNTIME_COLUMNS."""
    if "numpy" not in found:
        return [found["name"], NONE, NONE, NONE, NONE, found["reason"]]
    image = found["image_bytes"]
    return [
        found["name"],
        found["numpy"] or NONE,
        f"{found['download_bytes'] / 1e6:.1f}",
        f"{found['installed_bytes'] / 1e6:.0f}",
        f"{image / 1e6:.0f}" if image is not None else NONE,
        found["reason"] or found["note"],
    ]


def model_cells(found: Mapping[str, Any]) -> list[str]:
    """Return a row's cells, in the order of MODEL_COLUMNS; a failed row has only name and error."""
    if "error" in found:
        return [found["runtime"], found["error"]]
    taken, total = found["nodes"]
    peak, apart = found["peak_bytes"], found["apart"]
    return [
        found["runtime"],
        milliseconds(found["warm_1"]["ms"]),
        ratio_text(found["warm_1"]["ratio"]),
        milliseconds(found["warm_2"]["ms"]),
        ratio_text(found["warm_2"]["ratio"]),
        milliseconds(found["init_ms"]),
        milliseconds(found["first_ms"]),
        f"{peak / 1e6:.0f}" if peak else NONE,
        str(found["least_mb"] or NONE),
        f"{found['million_usd']:.2f}",
        f"{taken / total:.0%}" if total else NONE,
        f"{apart:.1g}" if apart is not None else NONE,
    ]


def milliseconds(value: float | None) -> str:
    """Return a time in milliseconds with about three digits; an empty text for None."""
    if value is None:
        return NONE
    return f"{value:.3f}" if value < 1 else f"{value:.2f}" if value < 100 else f"{value:.0f}"


def ratio_text(found: Mapping[str, Any] | None) -> str:
    """Return a ratio with its spread, or `same` with the spread if the turns do not agree."""
    if found is None:
        return "1"
    if found["verdict"] == SAME:
        return f"same ({found['low']:.2f}-{found['high']:.2f})"
    value, low, high = (digits(found[name]) for name in ("value", "low", "high"))
    return f"{value} ({low}-{high})"


def digits(ratio: float) -> str:
    """Return a ratio with two digits after the point, or with none if it is 10 or more."""
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}"


def heading(data: Mapping[str, Any]) -> str:
    """Return a line about the measurement: Python, architecture, place, machine and date."""
    machine = data["machine"]
    return (
        f"Python {data['python']} for {data['arch']} in {data['where']}; {machine['processor']}, "
        f"{machine['cpus']} CPUs, load {machine['load']:.1f} when it began; {data['date']}"
    )


def show(data: Mapping[str, Any], console: Console) -> None:
    """Print a report."""
    console.print(heading(data), highlight=False)
    table = Table(title="what pip installs there")
    for number, column in enumerate(RUNTIME_COLUMNS):
        table.add_column(column, justify="right" if 1 < number < 5 else "left")
    for each in data["runtimes"]:
        table.add_row(*map(escape, runtime_cells(each)))
    console.print(table)
    for model in data["models"]:
        console.print(_model(model))
        if model["fastest"]:
            first, *others = model["fastest"]
            words = f"; no slower: {', '.join(others)}" if others else ""
            console.print(f"fastest at 1 vCPU: {first}{words}", highlight=False, markup=False)


def _model(model: Mapping[str, Any]) -> Table:
    table = Table(title=escape(model["model"]))
    for number, column in enumerate(MODEL_COLUMNS):
        table.add_column(column, justify="right" if number else "left")
    for row in model["rows"]:
        if "error" not in row:
            table.add_row(*map(escape, model_cells(row)))
    failed = [row for row in model["rows"] if "error" in row]
    if failed:
        table.caption = escape("\n".join(": ".join(model_cells(row)) for row in failed))
    return table
