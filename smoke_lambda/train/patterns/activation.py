"""Activations that stand alone, and normalizations along the last axis."""

from __future__ import annotations

from collections.abc import Iterator

import tensorflow as tf  # type: ignore[import-untyped]

from smoke_lambda.train.pattern import (
    FLOATING,
    PLAIN,
    Draw,
    Pattern,
    Tensor,
    keras,
    pattern,
    x,
)


def prelu(_k: Draw) -> tf.keras.Model:
    """With a slope for each channel."""
    image = tf.keras.Input((4, 5, 8), batch_size=1, name="x0")
    return tf.keras.Model(image, tf.keras.layers.PReLU(shared_axes=[1, 2])(image))


def normalized(k: Draw, y: Tensor) -> Tensor:
    """A layer normalization, as transformers have it."""
    mean = tf.reduce_mean(y, -1, keepdims=True)
    variance = tf.reduce_mean(tf.math.squared_difference(y, mean), -1, keepdims=True)
    return (y - mean) * tf.math.rsqrt(variance + 0.01) * k.positive(16) + k.bias(16)


def patterns() -> Iterator[Pattern]:
    """See the module."""
    for name, function, flavours in (
        ("relu", tf.nn.relu, PLAIN),
        ("relu6", lambda y: tf.nn.relu6(tf.concat([y * 4, y], 1)), PLAIN),
        ("relu-n1-to-1", lambda y: tf.minimum(tf.maximum(y, -1.0), 1.0), FLOATING),
        ("relu-0-to-1", lambda y: tf.clip_by_value(y, 0.0, 1.0), FLOATING),
        ("sigmoid", lambda y: tf.sigmoid(y * 3), PLAIN),
        ("tanh", lambda y: tf.tanh(y * 2), PLAIN),
        ("elu", tf.nn.elu, PLAIN),
        ("selu", tf.nn.selu, FLOATING),
        ("gelu", lambda y: tf.nn.gelu(y, approximate=False), PLAIN),
        ("gelu-approximate", lambda y: tf.nn.gelu(y, approximate=True), PLAIN),
        ("leaky-relu", lambda y: tf.nn.leaky_relu(y, 0.3), PLAIN),
        ("swish", tf.nn.swish, PLAIN),
        ("hard-swish", lambda y: y * tf.nn.relu6(y * 2 + 3) / 6, PLAIN),
        ("hard-swish-exact", lambda y: y * (tf.nn.relu6(y + 3) * (1 / 6)), PLAIN),
        ("hard-sigmoid", tf.keras.activations.hard_sigmoid, FLOATING),
        ("softplus", tf.nn.softplus, FLOATING),
        ("mish", lambda y: y * tf.tanh(tf.nn.softplus(y)), FLOATING),
        ("softmax", tf.nn.softmax, PLAIN),
        ("log-softmax", tf.nn.log_softmax, PLAIN),
    ):
        deep = "deep" if name in ("swish", "hard-sigmoid", "mish") else ""
        yield pattern(
            name,
            lambda _k, y, f=function: f(y),
            x(1, 5, 4, 8),
            flavours=flavours,
            tolerance=deep,
        )
        if name in ("relu", "sigmoid", "tanh", "softmax", "hard-swish-exact", "leaky-relu", "elu"):
            yield pattern(f"{name}-dynamic", lambda _k, y, f=function: f(y), x(None, 12))
    for name, shape in (("rank1", (11,)), ("rank2", (3, 11)), ("rank3", (2, 3, 11))):
        yield pattern(f"softmax-{name}", lambda _k, y: tf.nn.softmax(y), x(*shape))
    yield pattern("softmax-beta", lambda _k, y: tf.nn.softmax(y * 3), x(2, 9))
    yield pattern("softmax-axis1", lambda _k, y: tf.nn.softmax(y, 1), x(2, 5, 3))
    yield keras("prelu", prelu, x(1, 4, 5, 8))
    yield pattern("l2-normalize", lambda _k, y: tf.math.l2_normalize(y, -1), x(2, 3, 9))
    yield pattern(
        "local-response-normalization",
        lambda _k, y: tf.nn.local_response_normalization(y, 2, 1.0, 0.1, 0.5),
        x(1, 3, 3, 9),
        flavours=FLOATING,
        optimized=True,  # the reference kernel leaves out the last channel of the window
    )
    yield pattern("layer-normalization", normalized, x(2, 5, 16), tolerance="deep")
