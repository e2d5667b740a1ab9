"""Pooling over windows, and over the whole image."""

from __future__ import annotations

from collections.abc import Iterator

import tensorflow as tf  # type: ignore[import-untyped]

from smoke_lambda.train.pattern import Draw, Function, Pattern, Tensor, keras, pattern, x


def pool(
    kind: str, size: int | tuple[int, int], strides: int | tuple[int, int], padding: str
) -> Function:
    """A function of a pooling."""
    function = tf.nn.max_pool2d if kind == "max" else tf.nn.avg_pool2d
    return lambda _k, y: function(y, size, strides, padding)


def then_relu6(_k: Draw, y: Tensor) -> Tensor:
    """An average whose activation is fused into it."""
    return tf.nn.relu6(tf.nn.avg_pool2d(y, 2, 1, "VALID") * 4)


def whole_image(kind: str, *, keepdims: bool) -> Function:
    """A Keras model of a pooling over the whole image."""
    layers = tf.keras.layers
    layer = layers.GlobalAveragePooling2D if kind == "average" else layers.GlobalMaxPooling2D

    def make(_k: Draw) -> tf.keras.Model:
        image = tf.keras.Input((7, 6, 12), name="x0")
        return tf.keras.Model(image, layer(keepdims=keepdims)(image))

    return make


def patterns() -> Iterator[Pattern]:
    """See the module."""
    for kind in ("max", "average"):
        for name, size, strides, padding, shape in (
            ("2x2-stride2-valid", 2, 2, "VALID", (1, 6, 7, 9)),
            ("3x3-stride2-same", 3, 2, "SAME", (1, 7, 8, 9)),
            ("3x3-stride1-same", 3, 1, "SAME", (1, 5, 5, 16)),
            ("1x3-strides-1x2", (1, 3), (1, 2), "VALID", (1, 3, 9, 5)),
            ("5x2-same", (5, 2), (3, 1), "SAME", (2, 7, 4, 5)),
            ("whole", (5, 4), (5, 4), "VALID", (1, 5, 4, 17)),
            ("stride-larger-than-window", 1, 2, "VALID", (1, 5, 5, 4)),
            ("large-window", 9, 4, "SAME", (1, 12, 11, 3)),
            ("batch-dynamic", 2, 2, "SAME", (None, 5, 5, 4)),
        ):
            yield pattern(f"{kind}-pool-{name}", pool(kind, size, strides, padding), x(*shape))
        for keepdims in (False, True):
            name = f"{kind}-pool-global{'-keepdims' * keepdims}-batch-dynamic"
            yield keras(name, whole_image(kind, keepdims=keepdims), x(None, 7, 6, 12))
    yield pattern("average-pool-relu6", then_relu6, x(1, 5, 5, 8))
