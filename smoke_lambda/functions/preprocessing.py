"""Finds how to scale pictures for a network: by its name in Keras, by a mode, or by a range."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from builders.errors import UsageError
from builders.tables import Row, read_toml

DATA = Path(__file__).with_name("preprocessing.toml")
WHITE = 255.0
NUMBER = r"-?\d+(?:\.\d+)?"
RANGE = re.compile(rf"({NUMBER})\.\.({NUMBER})")

Per = float | tuple[float, ...]
"""One number for all colours, or one number for each colour."""


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """The scaling (pixels / divisor - mean) / std of pixels from 0 to 255.

    It is computed in float32 and in that order.
    """

    divisor: float = 1.0
    mean: Per = 0.0
    std: Per = 1.0
    bgr: bool = False

    @property
    def by_colour(self) -> bool:
        """True if the scaling treats red, green and blue differently."""
        return self.bgr or isinstance(self.mean, tuple) or isinstance(self.std, tuple)

    @property
    def is_nothing(self) -> bool:
        """True if the scaling leaves pixels as they are."""
        return self == Scaling()

    @property
    def limits(self) -> tuple[float, float]:
        """The least and the highest value that black and white become."""
        found = [
            (pixel / self.divisor - mean) / std
            for pixel in (0.0, WHITE)
            for mean, std in zip(_each(self.mean), _each(self.std), strict=True)
        ]
        return min(found), max(found)

    def as_json(self) -> dict[str, Any]:
        """Return the fields in types that JSON and Jinja know."""
        mean, std = (list(v) if isinstance(v, tuple) else v for v in (self.mean, self.std))
        return {"divisor": self.divisor, "mean": mean, "std": std, "bgr": self.bgr}


def _each(value: Per) -> tuple[float, ...]:
    return value if isinstance(value, tuple) else (value,) * 3


@cache
def scalings(path: Path = DATA) -> Mapping[str, Scaling]:
    """Return every scaling by name: the modes, and the networks of keras.applications.

    Raises:
        UsageError: the file is malformed; the message names the place.
    """
    top = Row(path.name, read_toml(path))
    modes = {name: _mode(name, row) for name, row in top.take("mode", dict).items()}
    networks = top.take("networks", dict)
    top.done()
    named = {network: modes[mode] for mode, rows in networks.items() for network in rows}
    return modes | dict(sorted(named.items()))


def _mode(name: str, data: Mapping[str, Any]) -> Scaling:
    row = Row(f"mode {name}", data)
    return Scaling(
        divisor=row.take("divisor", float, default=1.0),
        mean=_per(data.get("mean", 0.0)),
        std=_per(data.get("std", 1.0)),
        bgr=row.take("bgr", bool, default=False),
    )


def _per(value: float | list[float]) -> Per:
    return tuple(value) if isinstance(value, list) else value


def scaling_of(text: str) -> Scaling:
    """Return the scaling that a user asks for by name, or by a range such as `0..1` or `-1..1`.

    Raises:
        UsageError: there is no such scaling.
    """
    if found := RANGE.fullmatch(text):
        low, high = float(found[1]), float(found[2])
        if low < high:
            divisor = WHITE / (high - low)
            return Scaling(divisor=divisor, mean=-low)
    if text in scalings():
        return scalings()[text]
    raise UsageError(
        f"there is no preprocessing {text!r}",
        remedy=f"choose a range such as 0..1, or one of {', '.join(_names())}",
    )


def _names() -> Iterator[str]:
    yield from scalings()
