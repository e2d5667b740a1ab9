"""Functions of each element, and of two elements, that are no activations."""

from __future__ import annotations

from collections.abc import Iterator

import tensorflow as tf  # type: ignore[import-untyped]

from smoke_lambda.train.pattern import (
    FLOATING,
    PLAIN,
    Input,
    Pattern,
    ints,
    pattern,
    x,
)


def patterns() -> Iterator[Pattern]:
    """See the module."""
    for name, function, low, flavours in (
        ("abs", tf.abs, -2, PLAIN),
        ("ceil", lambda y: tf.math.ceil(y * 1.7), -2, FLOATING),
        ("cos", tf.cos, -2, FLOATING),
        ("exp", tf.exp, -2, PLAIN),
        ("floor", lambda y: tf.floor(y * 1.7), -2, FLOATING),
        ("log", tf.math.log, 0.25, FLOATING),
        ("neg", tf.negative, -2, FLOATING),
        ("round", lambda y: tf.round(y * 4), -2, FLOATING),
        ("rsqrt", tf.math.rsqrt, 0.25, PLAIN),
        ("sign", tf.sign, -2, FLOATING),
        ("sin", tf.sin, -2, FLOATING),
        ("sqrt", tf.sqrt, 0, FLOATING),
        ("square", tf.square, -2, FLOATING),
        ("zeros-like", lambda y: tf.zeros_like(y) + tf.reduce_max(y), -2, FLOATING),
        ("log1p", tf.math.log1p, 0, FLOATING),
        ("expm1", tf.math.expm1, -2, FLOATING),
        ("reciprocal", tf.math.reciprocal, 0.25, FLOATING),
    ):
        yield pattern(
            name,
            lambda _k, y, f=function: f(y),
            x(2, 3, 7, low=low),
            flavours=flavours,
            constant=name == "zeros-like",
        )
    for name, function, low in (
        ("atan2", tf.atan2, 0.25),
        ("floor-div", lambda a, b: tf.math.floordiv(a * 3.1, b), 0.25),
        ("floor-mod", lambda a, b: tf.math.floormod(a * 3.1, b), 0.25),
        ("pow", lambda a, b: tf.pow(a, b), 0.25),
    ):
        # The converter knows an arc tangent of two equal shapes alone.
        inputs = x(2, 3, 4, low=low), x(*((2, 3, 4) if name == "atan2" else (3, 4)), low=low)
        yield pattern(name, lambda _k, a, b, f=function: f(a, b), *inputs, flavours=FLOATING)
    for name, function in (
        ("floor-div", tf.math.floordiv),
        ("floor-mod", tf.math.floormod),
        ("div", lambda a, b: tf.cast(tf.truncatediv(a, b), tf.int32)),
        ("pow", lambda a, b: tf.pow(a, b // 3)),
        ("squared-difference", tf.math.squared_difference),
        ("right-shift", lambda a, b: tf.bitwise.right_shift(a, b // 3)),
        ("bitwise-xor", tf.bitwise.bitwise_xor),
    ):
        inputs = ints(2, 3, 4, low=-40, high=40), ints(3, 1, low=1, high=9)
        yield pattern(
            f"{name}-int32", lambda _k, a, b, f=function: f(a, b), *inputs, flavours=FLOATING
        )
    for name, function in (
        ("abs", tf.abs),
        ("neg", tf.negative),
        ("sign", tf.sign),
        ("square", tf.square),
    ):
        yield pattern(
            f"{name}-int32", lambda _k, y, f=function: f(y), ints(2, 3, 4), flavours=FLOATING
        )
    for name, function in (
        ("real", tf.math.real),
        ("imag", tf.math.imag),
        ("complex-abs", tf.abs),
        ("mul", lambda y: y * y),
    ):
        yield pattern(
            f"{name}-complex64",
            lambda _k, y, f=function: f(y),
            Input((2, 3, 4), "complex64"),
            flavours=FLOATING,
        )
