"""Arithmetic of two tensors, broadcast along each axis, and with constants."""

from __future__ import annotations

from collections.abc import Iterator

import tensorflow as tf  # type: ignore[import-untyped]

from smoke_lambda.train.pattern import (
    FLOATING,
    PLAIN,
    Draw,
    Function,
    Pattern,
    Tensor,
    ints,
    pattern,
    x,
)

KINDS = {
    "add": tf.add,
    "sub": tf.subtract,
    "mul": tf.multiply,
    "div": tf.divide,
    "maximum": tf.maximum,
    "minimum": tf.minimum,
    "squared-difference": tf.math.squared_difference,
}
QUANTIZED = ("add", "sub", "mul", "maximum", "minimum")
# What each kernel sees: equal shapes, each axis alone, both sides at once, more ranks.
SHAPES = (
    ((2, 3, 4, 5), (2, 3, 4, 5)),
    ((2, 3, 4, 5), (1, 1, 1, 5)),
    ((2, 3, 4, 5), (2, 1, 1, 5)),
    ((2, 3, 4, 5), (1, 3, 4, 1)),
    ((1, 3, 1, 5), (2, 1, 4, 1)),
    ((5,), (2, 3, 4, 5)),
    ((1,), (3, 4)),
    ((2, 1, 3, 2, 2), (2, 4, 1, 2, 2)),
)


def two(kind: str) -> Function:
    """A function of two tensors."""
    return lambda _k, a, b: KINDS[kind](a, b)


def constant(kind: str, *, first: bool, shape: tuple[int, ...]) -> Function:
    """A function of a tensor and a constant."""

    def function(k: Draw, y: Tensor) -> Tensor:
        other = k.positive(*shape)
        return KINDS[kind](other, y) if first else KINDS[kind](y, other)

    return function


def patterns() -> Iterator[Pattern]:
    """See the module."""
    for kind in KINDS:
        flavours = PLAIN if kind in QUANTIZED else FLOATING
        low = 0.5 if kind == "div" else -2
        for number, (first, second) in enumerate(SHAPES):
            name = f"{kind}-{'x'.join(map(str, first))}-{'x'.join(map(str, second))}"
            inputs = x(*first), x(*second, low=low)
            some = flavours if number in (0, 1, 4, 7) else FLOATING
            yield pattern(name, two(kind), *inputs, flavours=some, sizes=(1,))
        for shape in ((), (4,)):
            name = f"{kind}-constant-{'scalar' if shape == () else 'channels'}"
            function = constant(kind, first=False, shape=shape)
            yield pattern(name, function, x(2, 3, 4), flavours=flavours)
        name = f"{kind}-constant-first"
        function = constant(kind, first=True, shape=(4,))
        yield pattern(name, function, x(2, 3, 4, low=low), flavours=flavours)
    for kind in ("add", "mul"):
        inputs = x(None, 3, 4), x(None, 1, 4)
        yield pattern(f"{kind}-batch-dynamic", two(kind), *inputs)
        inputs = x(None, None), x(1, None)
        # The quantizer prepares the graph before it has resized all inputs.
        yield pattern(f"{kind}-all-dynamic", two(kind), *inputs, sizes=(2, 5), flavours=FLOATING)
    for kind in ("add", "sub", "mul", "maximum", "minimum"):
        for dtype in ("int32", "int64"):
            inputs = ints(2, 3, 4, dtype=dtype), ints(3, 1, dtype=dtype)
            yield pattern(f"{kind}-{dtype}", two(kind), *inputs, flavours=FLOATING)
    for name, function in (
        ("add-relu", lambda _k, a, b: tf.nn.relu(a + b)),
        ("add-relu6", lambda _k, a, b: tf.nn.relu6((a + b) * 3)),
        ("sub-relu", lambda _k, a, b: tf.nn.relu(a - b)),
        ("mul-relu-n1-to-1", lambda _k, a, b: tf.clip_by_value(a * b, -1.0, 1.0)),
        ("mul-relu6", lambda _k, a, b: tf.nn.relu6(a * b)),
    ):
        yield pattern(name, function, x(2, 3, 4), x(2, 3, 4))
    yield pattern(
        "add-n", lambda _k, a, b, c: tf.add_n([a, b, c]), *[x(2, 3)] * 3, flavours=FLOATING
    )
    yield pattern("add-itself", lambda _k, y: y + y, x(1, 2, 3, 4))
    yield pattern("mul-itself", lambda _k, y: y * y, x(1, 2, 3, 4))
