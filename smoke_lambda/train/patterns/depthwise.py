"""Depthwise and separable convolutions."""

from __future__ import annotations

from collections.abc import Iterator

import tensorflow as tf  # type: ignore[import-untyped]

from smoke_lambda.train.pattern import (
    DYNAMIC,
    FLOAT32,
    INT8,
    WEIGHTED,
    Draw,
    Function,
    Pattern,
    Tensor,
    pattern,
    x,
)


def depthwise(
    kernel: tuple[int, int, int, int],
    strides: int = 1,
    padding: str = "SAME",
    dilations: int = 1,
    *,
    relu6: bool = False,
) -> Function:
    """A function of a depthwise convolution and its bias."""

    def function(k: Draw, y: Tensor) -> Tensor:
        step, wide = [1, strides, strides, 1], [dilations, dilations]
        y = tf.nn.depthwise_conv2d(y, k.weights(*kernel), step, padding, dilations=wide)
        y += k.bias(kernel[2] * kernel[3])
        return tf.nn.relu6(y) if relu6 else y

    return function


def separable(k: Draw, y: Tensor) -> Tensor:
    """A depthwise and a pointwise convolution, each with its activation."""
    y = tf.nn.depthwise_conv2d(y, k.weights(3, 3, 120, 1), [1, 2, 2, 1], "SAME")
    y = tf.nn.relu6(y + k.bias(120))
    return tf.nn.conv2d(y, k.weights(1, 1, 120, 12), 1, "SAME") + k.bias(12)


def patterns() -> Iterator[Pattern]:
    """See the module."""
    # 1024 weights and more: fewer are not quantized.
    for name, function, shape in (
        ("same", depthwise((3, 3, 120, 1)), (1, 4, 4, 120)),
        ("valid-stride2", depthwise((3, 3, 120, 1), 2, "VALID"), (1, 5, 6, 120)),
        ("same-stride2-relu6", depthwise((3, 3, 117, 1), 2, relu6=True), (1, 5, 5, 117)),
        ("5x5", depthwise((5, 5, 44, 1)), (1, 5, 5, 44)),
        ("5x5-stride2", depthwise((5, 5, 44, 1), 2), (1, 6, 7, 44)),
        ("7x7", depthwise((7, 7, 24, 1)), (1, 7, 7, 24)),
        ("1x1", depthwise((1, 1, 1030, 1)), (1, 1, 2, 1030)),
        ("3x1", depthwise((3, 1, 350, 1)), (1, 3, 2, 350)),
        ("2x2-valid", depthwise((2, 2, 260, 1), 1, "VALID"), (1, 3, 3, 260)),
        ("dilation2", depthwise((3, 3, 120, 1), 1, "SAME", 2), (1, 5, 5, 120)),
        ("multiplier2", depthwise((3, 3, 60, 2)), (1, 4, 4, 60)),
        ("multiplier8-one-channel", depthwise((9, 15, 1, 8), 2), (1, 10, 16, 1)),
        ("batch3", depthwise((3, 3, 115, 1)), (3, 2, 3, 115)),
        ("batch-dynamic", depthwise((3, 3, 115, 1)), (None, 3, 3, 115)),
        ("then-pointwise", separable, (1, 5, 5, 120)),
    ):
        sizes = (1, 3) if None in shape else (1,)
        # Weights are most of these models; conv has each edge in half precision, too.
        flavours = WEIGHTED if name == "same" else (FLOAT32, DYNAMIC, INT8)
        yield pattern(f"depthwise-{name}", function, x(*shape), flavours=flavours, sizes=sizes)
