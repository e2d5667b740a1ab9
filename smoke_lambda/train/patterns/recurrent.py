"""Recurrent networks: fused, unrolled, as a loop, in both directions."""

from __future__ import annotations

from collections.abc import Iterator

import tensorflow as tf  # type: ignore[import-untyped]

from smoke_lambda.train.pattern import (
    DYNAMIC,
    FLOAT16,
    FLOAT32,
    FLOATING,
    INT8,
    PLAIN,
    WEIGHTED,
    Draw,
    Function,
    Pattern,
    keras,
    x,
)

FLOATS = (FLOAT32, FLOAT16)
FUSED = (FLOAT32, DYNAMIC, INT8)


def recurrent(
    kind: str, units: int, *, batch: int | None = 1, steps: int = 5, size: int = 12, **options: bool
) -> Function:
    """A Keras model of one recurrent layer."""

    def make(_k: Draw) -> tf.keras.Model:
        inputs = tf.keras.Input((steps, size), batch_size=batch, name="x0")
        layer = getattr(tf.keras.layers, kind)(units, **options)
        return tf.keras.Model(inputs, layer(inputs))

    return make


def both_ways(kind: str, units: int, *, sequences: bool) -> Function:
    """A Keras model of a layer in both directions."""

    def make(_k: Draw) -> tf.keras.Model:
        layers = tf.keras.layers
        inputs = tf.keras.Input((4, 10), batch_size=1, name="x0")
        inner = getattr(layers, kind)(units, return_sequences=sequences)
        return tf.keras.Model(inputs, layers.Bidirectional(inner)(inputs))

    return make


def stacked(_k: Draw) -> tf.keras.Model:
    """Two layers and a head."""
    layers = tf.keras.layers
    inputs = tf.keras.Input((4, 12), batch_size=1, name="x0")
    y = layers.LSTM(16, return_sequences=True)(inputs)
    y = layers.LSTM(16)(y)
    return tf.keras.Model(inputs, layers.Dense(5, activation="softmax")(y))


def patterns() -> Iterator[Pattern]:
    """See the module."""
    # With a dynamic batch, the converter wants TensorFlow's operators, too; with float16
    # weights, it does not come to an end at a fused layer.
    for name, make, shape, flavours in (
        ("lstm", recurrent("LSTM", 16), (1, 5, 12), PLAIN),
        ("lstm-wide", recurrent("LSTM", 36, steps=3, size=30), (1, 3, 30), FUSED),
        ("lstm-sequences", recurrent("LSTM", 16, return_sequences=True), (1, 5, 12), PLAIN),
        ("lstm-batch3", recurrent("LSTM", 16, batch=3), (3, 5, 12), PLAIN),
        ("lstm-backwards", recurrent("LSTM", 16, go_backwards=True), (1, 5, 12), FLOATING),
        (
            "lstm-time-major",
            recurrent("LSTM", 16, batch=5, steps=2, time_major=True),
            (5, 2, 12),
            FLOATING,
        ),
        ("lstm-unrolled", recurrent("LSTM", 16, unroll=True, steps=3), (1, 3, 12), PLAIN),
        ("gru", recurrent("GRU", 16), (1, 5, 12), FLOATS),
        ("gru-unrolled", recurrent("GRU", 16, unroll=True, steps=3, size=24), (1, 3, 24), WEIGHTED),
        ("rnn", recurrent("SimpleRNN", 32, size=34), (1, 5, 34), FLOATS),
        ("rnn-unrolled", recurrent("SimpleRNN", 32, size=34, unroll=True), (1, 5, 34), WEIGHTED),
        ("lstm-both-ways", both_ways("LSTM", 12, sequences=True), (1, 4, 10), FLOATING),
        ("lstm-both-ways-last", both_ways("LSTM", 12, sequences=False), (1, 4, 10), FLOATING),
        ("gru-both-ways", both_ways("GRU", 12, sequences=True), (1, 4, 10), FLOATING),
        ("lstm-stacked", stacked, (1, 4, 12), PLAIN),
    ):
        yield keras(name, make, x(*shape), flavours=flavours, tolerance="deep", float_io=True)
