"""Networks of kinds that keras.applications lacks; networks.toml names them.

They have the layers and the proportions of networks that people deploy, and drawn weights.
Runs in the environment of requirements/train.txt.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import tensorflow as tf  # type: ignore[import-untyped]

from smoke_lambda.train.pattern import Input, Tensor, x

CLASSES = 10


def mlp() -> tf.keras.Model:
    """Dense layers alone, as for tables of features."""
    layers = tf.keras.layers
    inputs = tf.keras.Input((256,), batch_size=1, name="x0")
    y = inputs
    for units in (512, 512, 256, 128):
        y = layers.Dense(units, activation="relu")(y)
    return tf.keras.Model(inputs, layers.Dense(CLASSES)(y))


def lstm() -> tf.keras.Model:
    """Two recurrent layers over a window of measurements."""
    layers = tf.keras.layers
    inputs = tf.keras.Input((32, 64), batch_size=1, name="x0")
    y = layers.LSTM(128, return_sequences=True)(inputs)
    y = layers.LSTM(64)(y)
    return tf.keras.Model(inputs, layers.Dense(CLASSES)(y))


def gru() -> tf.keras.Model:
    """A recurrent layer without a fused kernel: a graph of its steps, one after another."""
    layers = tf.keras.layers
    inputs = tf.keras.Input((16, 64), batch_size=1, name="x0")
    y = layers.GRU(128, unroll=True)(inputs)
    return tf.keras.Model(inputs, layers.Dense(CLASSES)(y))


def unet() -> tf.keras.Model:
    """An image to an image of classes, at several scales (Ronneberger and others, 2015)."""
    layers = tf.keras.layers
    inputs = tf.keras.Input((64, 64, 3), batch_size=1, name="x0")
    y, kept = inputs, []
    for filters in (16, 32):
        y = _twice(y, filters)
        kept.append(y)
        y = layers.MaxPooling2D()(y)
    y = _twice(y, 64)
    for filters in (32, 16):
        y = layers.Conv2DTranspose(filters, 2, strides=2)(y)
        y = _twice(layers.Concatenate()([kept.pop(), y]), filters)
    return tf.keras.Model(inputs, layers.Conv2D(CLASSES, 1)(y))


def _twice(y: Tensor, filters: int) -> Tensor:
    for _ in range(2):
        y = tf.keras.layers.Conv2D(filters, 3, padding="same", activation="relu")(y)
    return y


def transformer() -> tf.keras.Model:
    """Two blocks of an encoder over embedded tokens, normalized first."""
    layers = tf.keras.layers
    inputs = tf.keras.Input((32, 64), batch_size=1, name="x0")
    y = inputs
    for _ in range(2):
        z = layers.LayerNormalization(epsilon=0.01)(y)
        y = layers.Add()([y, layers.MultiHeadAttention(4, 16)(z, z)])
        z = layers.LayerNormalization(epsilon=0.01)(y)
        z = layers.Dense(128, activation="relu")(z)
        y = layers.Add()([y, layers.Dense(64)(z)])
    y = layers.GlobalAveragePooling1D()(y)
    return tf.keras.Model(inputs, layers.Dense(CLASSES)(y))


ARCHITECTURES: Mapping[str, tuple[Callable[[], tf.keras.Model], Input]] = {
    "mlp": (mlp, x(1, 256)),
    "lstm": (lstm, x(1, 32, 64)),
    "gru": (gru, x(1, 16, 64)),
    "unet": (unet, x(1, 64, 64, 3)),
    "transformer": (transformer, x(1, 32, 64)),
}
"""By name, what makes the model, and its input."""
