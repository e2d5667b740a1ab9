"""Compare a runtime's answers with TensorFlow's, on any Python from 3.8 on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

WRONG = "wrong answer"
NOT_FINITE = "NaN or infinity"
QUANTIZED = ("int8", "uint8", "int16")
"""The integer types that stand for real numbers; other integers must be equal."""


def difference(found: Any, expected: Any, tolerance: Mapping[str, float]) -> dict[str, str]:  # noqa: ANN401
    """Return what is wrong with an output: nothing, or `what` and a `detail` for people.

    Args:
        found, expected: arrays; strings are in arrays of objects.
        tolerance: `absolute` and `relative` (to the largest expected magnitude) for floats,
            `steps` for quantized integers; a missing entry is zero.
    """
    found, expected = np.asarray(found), np.asarray(expected)
    if found.shape != expected.shape:
        return _wrong(f"expected shape {[*expected.shape]}, found {[*found.shape]}")
    if expected.dtype.kind not in "OSU" and found.dtype != expected.dtype:
        return _wrong(f"expected {expected.dtype}, found {found.dtype}")
    if not expected.size:
        return {}
    if expected.dtype.kind in "fc":
        return _floats(found, expected, tolerance)
    if expected.dtype.kind in "iu":
        # uint64 has no common integer type with int64; objects are Python's integers.
        gaps = np.abs(found.astype(object) - expected.astype(object)).astype(np.float64)
        steps = tolerance.get("steps", 0) if expected.dtype.name in QUANTIZED else 0
        return _judged(found, expected, gaps, float(steps))
    gaps = (found != expected).astype(np.float64)
    return _judged(found, expected, gaps, 0.0)


def _floats(found: Any, expected: Any, tolerance: Mapping[str, float]) -> dict[str, str]:  # noqa: ANN401
    finite = np.isfinite(expected)
    same = (found == expected) | (np.isnan(found) & np.isnan(expected))
    odd = np.where(finite, ~np.isfinite(found), ~same)
    if odd.any():
        place = np.argwhere(odd)[0]
        return {"what": NOT_FINITE, "detail": _at(found, expected, place, int(odd.sum()))}
    wide = np.complex128 if expected.dtype.kind == "c" else np.float64
    gaps = np.zeros(expected.shape, np.float64)
    gaps[finite] = np.abs(found[finite].astype(wide) - expected[finite].astype(wide))
    largest = float(np.abs(expected[finite].astype(wide)).max()) if finite.any() else 0.0
    allowed = tolerance.get("absolute", 0.0) + tolerance.get("relative", 0.0) * largest
    return _judged(found, expected, gaps, float(allowed))


def _judged(found: Any, expected: Any, gaps: Any, allowed: float) -> dict[str, str]:  # noqa: ANN401
    wrong = gaps > allowed
    if not wrong.any():
        return {}
    place = np.argwhere(gaps == gaps.max())[0]
    text = _at(found, expected, place, int(wrong.sum()))
    return _wrong(f"{text}; the largest difference is {gaps.max():.6g}, allowed {allowed:.6g}")


def _at(found: Any, expected: Any, place: Any, wrong: int) -> str:  # noqa: ANN401
    where = tuple(int(i) for i in place)
    values = f"expected {_shown(expected[where])}, found {_shown(found[where])}"
    return f"at {[*where]} {values} ({wrong} of {expected.size} elements differ)"


def _shown(value: Any) -> str:  # noqa: ANN401
    return f"{value:.7g}" if isinstance(value, np.floating) else str(value)


def _wrong(detail: str) -> dict[str, str]:
    return {"what": WRONG, "detail": detail}
