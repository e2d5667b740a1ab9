"""Draws plots of a run of the benchmark, as SVG inside a page."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

WIDTH, ROW = 760, 20
NAMES, VALUES = 250, 60
"""The width of the names at the left and of the numbers at the right, in pixels."""
TICKS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
NARROWEST = (0.5, 2.0)
"""The smallest range of ratios that an axis shows."""


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A ratio with its name.

    Attributes:
        most: the largest permitted ratio; None if there is no limit.
    """

    name: str
    ratio: float
    most: float | None

    @property
    def kind(self) -> str:
        """The style of the bar: `faster`, `slower`, or `over` if it is above its limit."""
        if self.most is not None and self.ratio > self.most:
            return "over"
        return "faster" if self.ratio <= 1 else "slower"


def ratios(title: str, bars: Sequence[Bar]) -> Markup:
    """Draw bars from 1 to each ratio, on a logarithmic axis: 0.5 is as far from 1 as 2 is."""
    found = [bar.ratio for bar in bars]
    low = math.log(min(NARROWEST[0], *found) / 1.1)
    high = math.log(max(NARROWEST[1], *found) * 1.1)
    room = WIDTH - NAMES - VALUES

    def place(ratio: float) -> float:
        return NAMES + room * (math.log(ratio) - low) / (high - low)

    parts = []
    for tick in TICKS:
        if low <= math.log(tick) <= high:
            x, kind = place(tick), "one" if tick == 1 else "tick"
            parts.append(_line(x, 0, x, ROW * len(bars), kind))
            parts.append(_text(x, ROW * len(bars) + 14, f"{tick:g}", "middle"))
    for number, bar in enumerate(bars):
        top, ends = ROW * number + 4, sorted((place(1), place(bar.ratio)))
        parts.append(_text(NAMES - 8, top + 10, bar.name, "end"))
        parts.append(_rect(ends[0], top, ends[1] - ends[0], ROW - 8, bar.kind))
        parts.append(_text(WIDTH, top + 10, f"{bar.ratio:.2f}", "end"))
    return _svg(title, ROW * len(bars) + 20, parts)


def stacks(title: str, rows: Sequence[tuple[str, Sequence[float]]]) -> Markup:
    """Draw the numbers of each row one after another, all rows in one scale.

    Args:
        rows: a name and numbers for each; all rows have equally many numbers.
    """
    longest = max(sum(numbers) for _, numbers in rows)
    room = WIDTH - NAMES - VALUES
    parts = []
    for number, (name, numbers) in enumerate(rows):
        top, x = ROW * number + 4, float(NAMES)
        parts.append(_text(NAMES - 8, top + 10, name, "end"))
        for part, value in enumerate(numbers):
            width = room * value / longest
            parts.append(_rect(x, top, width, ROW - 8, f"part{part}"))
            x += width
        parts.append(_text(WIDTH, top + 10, f"{sum(numbers):.0f} ms", "end"))
    return _svg(title, ROW * len(rows) + 4, parts)


def _svg(title: str, height: int, parts: Sequence[Markup]) -> Markup:
    return Markup(
        '<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        'aria-label="{title}">{parts}</svg>'
    ).format(width=WIDTH, height=height, title=title, parts=Markup("").join(_lines(parts)))


def _lines(parts: Sequence[Markup]) -> Iterator[Markup]:
    for part in parts:
        yield part + "\n"


def _text(x: float, y: float, text: str, anchor: str) -> Markup:
    return Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(
        x, y, anchor, escape(text)
    )


def _rect(x: float, y: float, width: float, height: float, kind: str) -> Markup:
    return Markup('<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{}" class="{}"/>').format(
        x, y, width, height, kind
    )


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    return Markup('<line x1="{:.1f}" y1="{}" x2="{:.1f}" y2="{}" class="{}"/>').format(
        x1, y1, x2, y2, kind
    )
