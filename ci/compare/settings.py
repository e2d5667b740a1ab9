"""The settings of a comparison, from runtimes.toml: runtimes and measuring; Lambda's prices."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from packaging.requirements import Requirement

from builders.architecture import aws_name
from builders.tables import Row, read_toml
from smoke_lambda.functions.prices import load_prices

HERE = Path(__file__).parent
DATA = HERE / "runtimes.toml"
TFLITE, ONNX = "tflite", "onnx"
OWN_MODULE = "tflite_runtime.interpreter"


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """A runtime of another project; see runtimes.toml."""

    requirement: str
    module: str
    format: str

    @property
    def project(self) -> str:
        """The runtime's name on PyPI."""
        return Requirement(self.requirement).name


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of runtimes.toml.

    Attributes:
        turn_seconds: the length of one runtime's turn, in seconds.
        starts: the number of new processes of each runtime.
        spread: the middle part of the turns' ratios that counts, 0 to 1.
    """

    turns: int
    turn_seconds: float
    starts: int
    spread: float
    runtimes: tuple[Runtime, ...]


@cache
def load_settings(path: Path = DATA) -> Settings:
    """Read and validate runtimes.toml.

    Raises:
        UsageError: the file is malformed; the message names the place.
    """
    row = Row(path.name, read_toml(path))
    settings = Settings(
        turns=row.take("turns", int, lambda n: n >= 2),
        turn_seconds=row.take("turn_seconds", float, lambda s: s > 0),
        starts=row.take("starts", int, lambda n: n >= 1),
        spread=row.take("spread", float, lambda part: 0 < part < 1),
        runtimes=tuple(map(_runtime, row.rows("runtime", "requirement"))),
    )
    row.done()
    return settings


def _runtime(row: Row) -> Runtime:
    runtime = Runtime(
        requirement=row.take("requirement", str, bool),
        module=row.take("module", str, bool),
        format=row.take("format", str, {TFLITE, ONNX}.__contains__),
    )
    row.done()
    return runtime


@dataclass(frozen=True, kw_only=True)
class Price:
    """AWS's prices for functions of one architecture.

    Attributes:
        gb_second: the price of a GB-second, in US dollars.
        million_requests: the price of a million requests, in US dollars.
    """

    gb_second: float
    million_requests: float
    source: str
    date: datetime.date
    region: str


def load_price(arch: str) -> Price:
    """Return the price of an architecture, from smoke_lambda/functions/prices.toml."""
    prices = load_prices()
    return Price(
        gb_second=prices.gb_second[aws_name(arch)],
        million_requests=prices.million_requests,
        source=prices.source,
        date=prices.read,
        region=prices.region,
    )
