"""Writes a comparison's report as one page of HTML, with a plot of the ratios as SVG."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ci.compare.settings import HERE
from ci.compare.show import (
    MODEL_COLUMNS,
    RUNTIME_COLUMNS,
    heading,
    milliseconds,
    model_cells,
    ratio_text,
    runtime_cells,
)

TEMPLATES = HERE / "templates"
LABEL_WIDTH, PLOT_WIDTH, ROW_HEIGHT, MARGIN = 330, 420, 24, 28


def page(data: Mapping[str, Any]) -> str:
    """Return the page of a report's data."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html").render(
        heading=heading(data),
        runtime_columns=RUNTIME_COLUMNS,
        runtimes=[runtime_cells(each) for each in data["runtimes"]],
        model_columns=MODEL_COLUMNS,
        models=[_model(each) for each in data["models"]],
        price=data["price"],
    )


def _model(model: Mapping[str, Any]) -> dict[str, Any]:
    timed = [row for row in model["rows"] if "error" not in row]
    return {
        "name": model["model"],
        "fastest": model["fastest"],
        "rows": [model_cells(row) for row in timed],
        "failed": [row for row in model["rows"] if "error" in row],
        "plot": plot(timed),
    }


def plot(rows: list[Mapping[str, Any]]) -> dict[str, Any]:
    """Return bars of the ratios at one virtual CPU, with their spread, in pixels.

    The scale begins at zero: the length of a bar is its value.
    """
    ratios = [row["warm_1"]["ratio"] or {"value": 1.0, "low": 1.0, "high": 1.0} for row in rows]
    most: float = max([1.0, *(each["high"] for each in ratios)])

    def x(value: float) -> float:
        return float(round(LABEL_WIDTH + PLOT_WIDTH * value / most, 1))

    bars = [
        {
            "label": row["runtime"],
            "own": row["own"],
            "y": MARGIN + number * ROW_HEIGHT,
            "x": x(0),
            "width": round(x(each["value"]) - x(0), 1),
            "low": x(each["low"]),
            "high": x(each["high"]),
            "text": f"{milliseconds(row['warm_1']['ms'])} ms, {ratio_text(row['warm_1']['ratio'])}",
        }
        for number, (row, each) in enumerate(zip(rows, ratios, strict=True))
    ]
    return {
        "bars": bars,
        "one": x(1),
        "width": LABEL_WIDTH + PLOT_WIDTH + 210,
        "height": MARGIN + len(rows) * ROW_HEIGHT + 8,
        "bar_height": ROW_HEIGHT - 8,
        "top": MARGIN,
    }
