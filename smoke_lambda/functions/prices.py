"""Computes the price of a million requests from prices.toml, which names its source and day."""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from builders.tables import Row, read_toml

DATA = Path(__file__).with_name("prices.toml")
MILLION = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Prices:
    """AWS's prices of one region on one day, in US dollars.

    Attributes:
        million_requests: the price of a million requests, without their duration.
        gb_second: the price of a second with 1,024 MB, by AWS's name of the architecture.
    """

    region: str
    read: datetime.date
    source: str
    million_requests: float
    gb_second: Mapping[str, float]

    def million(self, arch: str, memory_mb: int, milliseconds: float) -> float:
        """Return the price of a million requests that each take `milliseconds`.

        AWS rounds the time up to whole milliseconds (see the page of `source`).
        """
        seconds = math.ceil(milliseconds) / 1000
        return self.million_requests + MILLION * seconds * memory_mb / 1024 * self.gb_second[arch]


@cache
def load_prices(path: Path = DATA) -> Prices:
    """Read and validate prices.toml.

    Raises:
        UsageError: the file is malformed.
    """
    row = Row(path.name, read_toml(path))
    seconds = Row(f"{path.name}: gb_second", row.take("gb_second", dict))
    prices = Prices(
        region=row.take("region", str, bool),
        read=row.take("read", datetime.date),
        source=row.take("source", str, lambda url: url.startswith("https://")),
        million_requests=row.take("million_requests", float),
        gb_second={arch: seconds.take(arch, float) for arch in ("x86_64", "arm64")},
    )
    seconds.done()
    row.done()
    return prices
