"""What counts as another answer than TensorFlow's."""

from __future__ import annotations

import numpy as np
import pytest
from conform_samples import texts

from smoke_lambda.inside.conform.comparing import NOT_FINITE, WRONG, difference
from smoke_lambda.inside.conform.corpus import Array

TOLERANCE = {"absolute": 0.01, "relative": 0.1, "steps": 1}
INF, NAN = float("inf"), float("nan")


def floats(*values: float) -> Array:
    return np.array(values, np.float32)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (floats(1, 10), floats(1, 10)),
        (floats(2, 10), floats(1, 10)),  # a tenth of the largest
        (floats(0.005), floats(0)),
        (floats(NAN, INF, -INF), floats(NAN, INF, -INF)),
        (floats(), floats()),
        (np.float32(1), np.float32(1)),
        (np.array([1 + 1j], np.complex64), np.array([1 + 1.1j], np.complex64)),
        (np.array([-128, 5], np.int8), np.array([-127, 5], np.int8)),
        (np.array([2**64 - 1], np.uint64), np.array([2**64 - 1], np.uint64)),
        (np.array([True, False]), np.array([True, False])),
        (texts(b"a", b""), texts(b"a", b"")),
        (np.array([b"a", b"bc"]), texts(b"a", b"bc")),
    ],
)
def test_the_same(found: Array, expected: Array) -> None:
    assert difference(found, expected, TOLERANCE) == {}


@pytest.mark.parametrize(
    ("found", "expected", "what", "detail"),
    [
        (floats(1, 12), floats(1, 10), WRONG, "at [1] expected 10, found 12 (1 of 2 elements"),
        (floats(1, 12), floats(1, 10), WRONG, "the largest difference is 2, allowed 1.01"),
        (floats(NAN, 1), floats(2, 1), NOT_FINITE, "at [0] expected 2, found nan (1 of 2"),
        (floats(1), floats(NAN), NOT_FINITE, "expected nan, found 1"),
        (floats(-INF), floats(INF), NOT_FINITE, "expected inf, found -inf"),
        (floats(1), floats(1, 2), WRONG, "expected shape [2], found [1]"),
        (np.zeros(2, np.int8), np.zeros(2, np.uint8), WRONG, "expected uint8, found int8"),
        (np.array([-128], np.int8), np.array([127], np.int8), WRONG, "difference is 255"),
        (np.array([2], np.int32), np.array([1], np.int32), WRONG, "difference is 1, allowed 0"),
        (np.array([False]), np.array([True]), WRONG, "expected True, found False"),
        (texts(b"a", b"c"), texts(b"a", b"b"), WRONG, "at [1] expected b'b', found b'c'"),
    ],
)
def test_not_the_same(found: Array, expected: Array, what: str, detail: str) -> None:
    wrong = difference(found, expected, TOLERANCE)
    assert wrong["what"] == what
    assert detail in wrong["detail"]


def test_nothing_is_allowed_that_no_row_allows() -> None:
    assert difference(floats(1.0000001), floats(1), {})["what"] == WRONG
    assert difference(np.array([1], np.int8), np.array([2], np.int8), {})["what"] == WRONG
