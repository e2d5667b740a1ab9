"""Casts, and graphs of other types of numbers."""

from __future__ import annotations

from collections.abc import Iterator

import tensorflow as tf  # type: ignore[import-untyped]

from smoke_lambda.train.pattern import FLOATING, INT8, Draw, Input, Pattern, Tensor, pattern, x

INTEGERS = ("int8", "uint8", "int16", "int32", "int64")


def fake(_k: Draw, y: Tensor) -> Tensor:
    """What training for int8 leaves in a graph."""
    return tf.quantization.fake_quant_with_min_max_args(y, -1.5, 2.0, 8)


def patterns() -> Iterator[Pattern]:
    """See the module."""
    for dtype in INTEGERS:
        given = Input((2, 3, 4), dtype, 0 if dtype == "uint8" else -50, 100)
        yield pattern(
            f"{dtype}-to-float32", lambda _k, y: tf.cast(y, tf.float32), given, flavours=FLOATING
        )
        yield pattern(
            f"float32-to-{dtype}",
            lambda _k, y, d=dtype: tf.cast(y, d),
            x(2, 3, 4, low=0 if dtype == "uint8" else -50, high=100),
            flavours=FLOATING,
        )
    for first, second in (
        ("bool", "float32"),
        ("bool", "int32"),
        ("int32", "int64"),
        ("int64", "int32"),
        ("int32", "bool"),
        ("uint8", "int32"),
        ("int32", "int16"),
    ):
        name = f"{first}-to-{second}"
        given = Input((2, 3, 4), first, 0 if first == "uint8" else -2, 3)
        yield pattern(name, lambda _k, y, d=second: tf.cast(y, d), given, flavours=FLOATING)
    yield pattern(
        "float32-to-bool",
        lambda _k, y: tf.cast(tf.floor(tf.abs(y)), tf.bool),
        x(2, 3, 4),
        flavours=FLOATING,
    )
    yield pattern(
        "float32-to-float16-and-back",
        lambda _k, y: tf.cast(tf.cast(y, tf.float16), tf.float32) * 3,
        x(2, 3),
        flavours=FLOATING,
    )
    yield pattern(
        "float32-to-complex64", lambda _k, y: tf.cast(y, tf.complex64), x(2, 3), flavours=FLOATING
    )
    yield pattern(
        "bitcast", lambda _k, y: tf.bitcast(y, tf.int32), x(2, 3, low=0.5), flavours=FLOATING
    )
    yield pattern(
        "bitcast-to-bytes",
        lambda _k, y: tf.bitcast(y, tf.uint8),
        Input((2, 3), "int32", -999, 999),
        flavours=FLOATING,
    )
    yield pattern(
        "float64-to-float32",
        lambda _k, y: tf.cast(y, tf.float32) + 1,
        Input((2, 3), "float64"),
        flavours=FLOATING,
    )
    yield pattern(
        "int8-and-float32",
        lambda _k, y: tf.nn.relu(y) * 2,
        x(2, 3, 4),
        flavours=(INT8,),
        float_io=True,
    )
    yield pattern("fake-quant", fake, x(2, 3, 4), flavours=FLOATING)
