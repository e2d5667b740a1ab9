"""Layers whose answers are all zero, as those of a ReLU that died in training.

Quantized, such an answer has a scale of almost nothing, beside those of the layer's input and
weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import tensorflow as tf  # type: ignore[import-untyped]

from smoke_lambda.train.pattern import INT8, Draw, Function, Pattern, Tensor, pattern, x

DEAD_BIAS = -64.0
"""Below each sum that the layers here can have."""


def dead(layer: Callable[[Draw, Tensor], Tensor]) -> Function:
    """A function of that layer, alive, and the same with other weights, dead: their sum.

    TensorFlow Lite's own kernels answer with any int8 in a layer of such a scale, which is no more
    than a millionth.
    """

    def function(k: Draw, y: Tensor) -> Tensor:
        alive, answer = layer(k, y), layer(k, y)
        bias = tf.constant(DEAD_BIAS, shape=answer.shape[-1:])
        return alive + tf.nn.relu(tf.nn.bias_add(answer, bias))

    return function


def patterns() -> Iterator[Pattern]:
    """See the module."""
    image = (1, 6, 6, 8)
    for name, layer, shape in (
        ("conv2d", lambda k, y: tf.nn.conv2d(y, k.weights(3, 3, 8, 16), 1, "SAME"), image),
        (
            "depthwise",
            lambda k, y: tf.nn.depthwise_conv2d(y, k.weights(3, 3, 8, 16), [1] * 4, "SAME"),
            image,
        ),
        (
            "transpose-conv",
            lambda k, y: tf.nn.conv2d_transpose(
                y, k.weights(3, 3, 16, 8), (1, 12, 12, 16), 2, "SAME"
            ),
            image,
        ),
        ("dense", lambda k, y: tf.matmul(y, k.weights(32, 40)), (3, 32)),
    ):
        yield pattern(f"dead-{name}", dead(layer), x(*shape), flavours=(INT8,))
