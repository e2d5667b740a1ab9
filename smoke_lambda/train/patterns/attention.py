"""Attention, and the blocks of transformers."""

from __future__ import annotations

from collections.abc import Iterator

import tensorflow as tf  # type: ignore[import-untyped]

from smoke_lambda.train.pattern import (
    PLAIN,
    WEIGHTED,
    Draw,
    Function,
    Pattern,
    Tensor,
    ints,
    keras,
    pattern,
    x,
)


def dot_product(_k: Draw, q: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Scaled dot-product attention."""
    weights = tf.nn.softmax(tf.matmul(q, key, transpose_b=True) * 0.35)
    return tf.matmul(weights, value)


def causal(_k: Draw, q: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention to what came before."""
    mask = tf.linalg.band_part(tf.ones((5, 5)), -1, 0)
    scores = tf.matmul(q, key, transpose_b=True) * 0.35 + (mask - 1) * 30
    return tf.matmul(tf.nn.softmax(scores), value)


def heads(batch: int | None) -> Function:
    """A Keras model of attention with several heads."""

    def make(_k: Draw) -> tf.keras.Model:
        inputs = tf.keras.Input((5, 32), batch_size=batch, name="x0")
        return tf.keras.Model(inputs, tf.keras.layers.MultiHeadAttention(4, 8)(inputs, inputs))

    return make


def block(batch: int | None) -> Function:
    """A Keras model of a transformer's block."""

    def make(_k: Draw) -> tf.keras.Model:
        layers = tf.keras.layers
        inputs = tf.keras.Input((4, 32), batch_size=batch, name="x0")
        y = layers.LayerNormalization(epsilon=0.01)(inputs)
        y = layers.Add()([inputs, layers.MultiHeadAttention(2, 16)(y, y)])
        z = layers.LayerNormalization(epsilon=0.01)(y)
        z = layers.Dense(40, activation="gelu")(z)
        return tf.keras.Model(inputs, layers.Add()([y, layers.Dense(32)(z)]))

    return make


def tokens(_k: Draw) -> tf.keras.Model:
    """Embedded tokens and their mean, as in text classification."""
    layers = tf.keras.layers
    inputs = tf.keras.Input((6,), dtype="int32", name="x0")
    y = layers.Embedding(80, 16)(inputs)
    y = layers.GlobalAveragePooling1D()(y)
    return tf.keras.Model(inputs, layers.Dense(66, activation="softmax")(y))


def patterns() -> Iterator[Pattern]:
    """See the module."""
    three = [x(1, 5, 8)] * 3
    yield pattern("dot-product", dot_product, *three, flavours=PLAIN, tolerance="deep")
    yield pattern(
        "dot-product-heads", dot_product, *[x(1, 2, 5, 8)] * 3, flavours=PLAIN, tolerance="deep"
    )
    yield pattern("dot-product-batch-dynamic", dot_product, *[x(None, 4, 8)] * 3, tolerance="deep")
    yield pattern("causal", causal, *three, flavours=PLAIN, tolerance="deep")
    for name, make, shape in (
        ("multi-head", heads(1), (1, 5, 32)),
        ("multi-head-batch-dynamic", heads(None), (None, 5, 32)),
        ("transformer-block", block(1), (1, 4, 32)),
        ("transformer-block-batch-dynamic", block(None), (None, 4, 32)),
    ):
        yield keras(name, make, x(*shape), flavours=WEIGHTED, tolerance="deep")
    yield keras(
        "tokens-batch-dynamic", tokens, ints(None, 6, low=0, high=80), flavours=WEIGHTED[:3]
    )
