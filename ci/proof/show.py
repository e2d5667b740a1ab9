"""Print the reports of ./scripts/smoke as tables for people."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from smoke_lambda.limits import MEMORY_MB

MEGABYTE = 1_000_000

Row = dict[str, Callable[[dict[str, Any]], str]]


def show_smoke(report: dict[str, Any], console: Console) -> None:
    """Print a SmokeReport: a column per NumPy version, the measurements, then the failures."""
    title = f"{report['wheel']}\n{report['place']}"
    console.print(title, soft_wrap=True, highlight=False, markup=False)
    table = _table("", *(f"NumPy {run['numpy']}" for run in report["runs"]))
    rows: Row = {
        "checks": lambda r: f"{sum(c['ok'] for c in r['checks'])}/{len(r['checks'])} passed",
        "XNNPACK": lambda r: "\n".join(f"{m}: {s:.0%}" for m, s in r["xnnpack"].items()),
        "init, ms": lambda r: "\n".join(f"{m}: {t:.0f}" for m, t in r["init_ms"].items()),
        "import, ms": lambda r: _number(r["import_ms"]),
        "first inference, ms": lambda r: _number(r["first_inference_ms"]),
    }
    for name, cell in rows.items():
        table.add_row(name, *(cell(run) for run in report["runs"]))
    console.print(table)
    for run in report["runs"]:
        if run["measures"]:
            _show_measures(run, console)
    for run in report["runs"]:
        for check in run["checks"]:
            if not check["ok"]:
                _fail(f"with NumPy {run['numpy']}: {check['name']}: {check['detail']}", console)
    console.print(f"log: {report['log']}", soft_wrap=True, highlight=False)


def show_model(report: dict[str, Any], console: Console) -> None:
    """Print a ModelReport."""
    title = f"{report['model']} on {report['wheel']}, NumPy {report['numpy']}, {report['place']}"
    console.print(title, soft_wrap=True, highlight=False, markup=False)
    for lack in report["missing"]:
        _fail(f"this runtime lacks {lack['text']}", console)
    if report["error"]:
        _fail(report["error"], console)
        _show_open(report, console)
        console.print(f"log: {report['log']}", soft_wrap=True, highlight=False)
        return
    table = _table("operator", "in the model", "taken by XNNPACK")
    for name, (count, taken) in report["operators"].items():
        table.add_row(name, str(count), str(taken))
    if report["xnnpack"] is not None:
        table.add_row("all", "", f"{report['xnnpack']:.0%}")
    console.print(table)
    if report["reasons"]:
        why = _table("not taken by XNNPACK", "nodes", "because")
        for reason in report["reasons"]:
            why.add_row(reason["operator"], str(reason["count"]), escape(reason["reason"]))
        console.print(why)
    for kind in ("inputs", "outputs"):
        shapes = ", ".join(f"{t['name']} {t['dtype']}{t['shape']}" for t in report[kind])
        console.print(f"{kind}: {shapes}", soft_wrap=True, highlight=False, markup=False)
    _show_open(report, console)
    millis = [f"{name} {report[f'{name}_ms']:.3g}" for name in ("load", "first", "warm")]
    console.print(f"ms: {', '.join(millis)}", highlight=False)
    console.print(f"memory: {_bytes(report['resident_bytes'])} resident", highlight=False)
    if report["advised_mb"] is not None:
        console.print(
            f"Lambda memory: runs alone in {report['least_mb'] or '?'} MB; choose "
            f"{report['advised_mb']} MB or more (1,769 MB is one whole vCPU)",
            highlight=False,
            soft_wrap=True,
        )


def _show_open(report: dict[str, Any], console: Console) -> None:
    """Print the shape that was tried for each input whose shape the model leaves open."""
    for tensor in report["inputs"]:
        if "open" in tensor:
            console.print(
                f"{tensor['name']} has the open shape {tensor['open']} and was tried as "
                f"{tensor['shape']}; --input X.npy tries another",
                soft_wrap=True,
                highlight=False,
                markup=False,
            )


def _show_measures(run: dict[str, Any], console: Console) -> None:
    measures = run["measures"]
    table = _table(
        f"NumPy {run['numpy']}", *(f"{at['vcpus']} vCPU, 512 MB" for at in measures["at"])
    )
    rows: Row = {
        "init, ms": lambda at: _number(at["init_ms"]),
        "first request, ms": lambda at: _number(at["first_ms"]),
        "warm request, ms": lambda at: f"{at['warm_ms']:.1f}",
        "peak memory, cgroup": lambda at: _bytes(at["peak_bytes"]),
        "peak memory, resident": lambda at: _bytes(at["resident_bytes"]),
    }
    for name, cell in rows.items():
        table.add_row(name, *(cell(at) for at in measures["at"]))
    console.print(table)
    least = measures["least_mb"]
    console.print(
        f"image {measures['image']}: {_bytes(measures['image_bytes'])}; least memory "
        f"{f'more than {MEMORY_MB} MB' if least is None else f'{least} MB'}",
        soft_wrap=True,
        highlight=False,
    )


def _table(*columns: str) -> Table:
    table = Table()
    for column in columns:
        table.add_column(column)
    return table


def _fail(line: str, console: Console) -> None:
    console.print(f"FAILED {line}", style="red", markup=False, soft_wrap=True)


def _number(value: float | None) -> str:
    return "?" if value is None else f"{value:.0f}"


def _bytes(value: int | None) -> str:
    return "?" if value is None else f"{value / MEGABYTE:.0f} MB"
