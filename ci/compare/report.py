"""The result of a comparison as data, from which tables, page and document are made."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from builders.matrix import Runtime
from ci.bench.report import Machine
from ci.compare.contenders import Contender
from ci.compare.judge import fastest, million_cost, ratio
from ci.compare.measure import MEGABYTE, THREADS, Row
from ci.compare.settings import Price, Settings

INT8_NOTE = (
    "An ONNX file that was converted from an int8 model is not what ONNX Runtime's own "
    "quantization makes of the network."
)


@dataclass(frozen=True, kw_only=True)
class Report:
    """The result of a comparison.

    Attributes:
        where: the base image, or this machine.
        command: the command that was run.
        arch: the architecture that functions run on.
        contenders: all contenders, also those that cannot be installed.
        image_bytes: the size of each contender's image less that of its base image, by name.
        models: the rows of each model, by the model's name.
    """

    machine: Machine
    where: str
    command: str
    runtime: Runtime
    arch: str
    price: Price
    settings: Settings
    contenders: Sequence[Contender]
    image_bytes: dict[str, int | None]
    models: dict[str, Sequence[Row]]

    @property
    def ok(self) -> bool:
        """True if every wheel of ours ran every model."""
        ours = [row for rows in self.models.values() for row in rows if row.place.contender.own]
        return not any(row.error for row in ours) and not any(
            each.own and each.reason for each in self.contenders
        )

    def as_json(self) -> dict[str, Any]:
        """Return plain data: times in milliseconds, sizes in bytes, costs in US dollars."""
        now = datetime.datetime.now(tz=datetime.UTC)
        return {
            "date": f"{now:%Y-%m-%d}",
            "machine": asdict(self.machine),
            "where": self.where,
            "command": self.command,
            "python": self.runtime.python,
            "glibc": self.runtime.glibc,
            "arch": self.arch,
            "price": asdict(self.price) | {"date": self.price.date.isoformat()},
            "turns": self.settings.turns,
            "spread": self.settings.spread,
            "runtimes": [self._contender(each) for each in self.contenders],
            "models": [
                {"model": name, "rows": [*rows_of(rows, self.price, self.settings)]}
                | {"fastest": [title(row) for row in fastest(rows, self.settings.spread)]}
                for name, rows in self.models.items()
            ],
        }

    def _contender(self, contender: Contender) -> dict[str, Any]:
        found: dict[str, Any] = {
            "name": contender.name,
            "own": contender.own,
            "reason": contender.reason,
            "note": contender.note,
        }
        if not contender.wheels:
            return found
        return found | {
            "numpy": contender.numpy,
            "packages": {each.name: each.version for each in contender.packages},
            "download_bytes": contender.download_bytes,
            "installed_bytes": contender.installed_bytes,
            "image_bytes": self.image_bytes.get(contender.name),
        }


def title(row: Row) -> str:
    """Return the title of a row: the runtime, and how its model file was made."""
    label = f" ({row.variant.label})" if row.variant.label else ""
    return f"{row.place.name}{label}"


def rows_of(rows: Sequence[Row], price: Price, settings: Settings) -> list[dict[str, Any]]:
    """Return the rows of a model as data; ratios are to the first row that has times."""
    base = next((row for row in rows if not row.error and row.cpu_ms), None)
    return [_row(row, base, price, settings) for row in rows]


def _row(row: Row, base: Row | None, price: Price, settings: Settings) -> dict[str, Any]:
    found: dict[str, Any] = {"runtime": title(row), "own": row.place.contender.own}
    if row.error:
        return found | {"error": row.error}
    warm = {threads: row.warm_ms(threads) for threads in THREADS}
    for threads in THREADS:
        times = (row.cpu_ms if threads == 1 else row.wall_ms).get(threads, [])
        theirs = (base.cpu_ms if threads == 1 else base.wall_ms).get(threads, []) if base else []
        by = ratio(times, theirs, settings.spread) if row is not base else None
        found[f"warm_{threads}"] = {
            "ms": warm[threads],
            "least_ms": min(times, default=None),
            "ratio": asdict(by) | {"verdict": by.verdict} if by else None,
        }
    needed = row.least_mb or (row.peak_bytes or 0) / MEGABYTE
    return found | {
        "init_ms": row.init_ms,
        "first_ms": row.first_ms,
        "request_ms": row.request_ms,
        "function_first_ms": row.function_ms[0] if row.function_ms else None,
        "peak_bytes": row.peak_bytes,
        "least_mb": row.least_mb,
        "million_usd": million_cost(warm[1] or 0, needed, price),
        "nodes": list(row.nodes),
        "apart": row.apart,
        "starts": row.starts,
    }
