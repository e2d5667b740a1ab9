"""Transposed convolutions."""

from __future__ import annotations

from collections.abc import Iterator

import tensorflow as tf  # type: ignore[import-untyped]

from smoke_lambda.train.pattern import (
    FLOAT16,
    FLOAT32,
    WEIGHTED,
    Draw,
    Function,
    Pattern,
    Tensor,
    keras,
    pattern,
    x,
)


def transposed(
    kernel: tuple[int, int, int, int],
    output: tuple[int, int, int, int],
    strides: int | tuple[int, int],
    padding: str,
    *,
    bias: bool = True,
) -> Function:
    """A function of a transposed convolution; the kernel is height, width, to, from."""

    def function(k: Draw, y: Tensor) -> Tensor:
        y = tf.nn.conv2d_transpose(y, k.weights(*kernel), output, strides, padding)
        return tf.nn.relu(y + k.bias(kernel[2])) if bias else y

    return function


def three(k: Draw, y: Tensor) -> Tensor:
    """A three-dimensional one."""
    return tf.nn.conv3d_transpose(y, k.weights(2, 2, 2, 16, 8), (1, 4, 6, 6, 16), 2, "SAME")


def model(_k: Draw) -> tf.keras.Model:
    """As a Keras model has it: the batch is dynamic."""
    image = tf.keras.Input((4, 5, 8), name="x0")
    layer = tf.keras.layers.Conv2DTranspose(16, 3, 2, "same", activation="relu")
    return tf.keras.Model(image, layer(image))


def patterns() -> Iterator[Pattern]:
    """See the module."""
    wide = (3, 3, 16, 8)
    for name, function, shape in (
        ("same", transposed(wide, (1, 5, 5, 16), 1, "SAME"), (1, 5, 5, 8)),
        ("same-stride2", transposed(wide, (1, 8, 10, 16), 2, "SAME"), (1, 4, 5, 8)),
        ("valid-stride2", transposed(wide, (1, 9, 11, 16), 2, "VALID"), (1, 4, 5, 8)),
        ("2x2-stride2", transposed((2, 2, 16, 16), (1, 6, 6, 16), 2, "SAME"), (1, 3, 3, 16)),
        ("4x4-stride2", transposed((4, 4, 8, 8), (1, 6, 8, 8), 2, "SAME"), (1, 3, 4, 8)),
        ("strides-1x3", transposed(wide, (1, 3, 9, 16), (1, 3), "SAME"), (1, 3, 3, 8)),
        ("no-bias", transposed(wide, (2, 6, 6, 16), 2, "SAME", bias=False), (2, 3, 3, 8)),
    ):
        yield pattern(f"transpose-conv-{name}", function, x(*shape), flavours=WEIGHTED)
    yield keras("transpose-conv-batch-dynamic", model, x(None, 4, 5, 8), flavours=WEIGHTED)
    # The quantizer has no rule for it.
    yield pattern("conv3d-transpose", three, x(1, 2, 3, 3, 8), flavours=(FLOAT32, FLOAT16))
