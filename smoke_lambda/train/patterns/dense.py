"""Matrix products: fully connected layers, and products of two tensors."""

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
    keras,
    pattern,
    x,
)


def dense(rows: int, columns: int, activation: str = "", *, bias: bool = True) -> Function:
    """A function of a fully connected layer."""

    def function(k: Draw, y: Tensor) -> Tensor:
        y = tf.matmul(y, k.weights(rows, columns))
        y = y + k.bias(columns) if bias else y
        return getattr(tf.nn, activation)(y) if activation else y

    return function


def batch_matmul(*, adjoint_a: bool = False, adjoint_b: bool = False) -> Function:
    """A function of a product of two tensors."""
    return lambda _k, a, b: tf.matmul(a, b, transpose_a=adjoint_a, transpose_b=adjoint_b)


def einsum(equation: str, *kernel: int) -> Function:
    """A function of a sum of products with weights."""
    return lambda k, y: tf.einsum(equation, y, k.weights(*kernel))


def embedding(k: Draw, y: Tensor) -> Tensor:
    """Two layers whose second has the first one's answer in four dimensions."""
    y = tf.nn.relu(tf.matmul(y, k.weights(32, 36)) + k.bias(36))
    y = tf.reshape(y, (-1, 2, 18))
    return tf.tensordot(y, k.weights(18, 60), 1)


def sequence(_k: Draw) -> tf.keras.Model:
    """Keras' Dense over each step of a sequence, with a dynamic batch."""
    steps = tf.keras.Input((5, 24), name="x0")
    return tf.keras.Model(steps, tf.keras.layers.Dense(48, activation="relu")(steps))


def patterns() -> Iterator[Pattern]:
    """See the module."""
    for name, function, shape in (
        ("plain", dense(32, 40), (1, 32)),
        ("no-bias", dense(32, 40, bias=False), (1, 32)),
        ("relu", dense(32, 33, "relu"), (3, 32)),
        ("relu6", dense(48, 24, "relu6"), (1, 48)),
        ("tanh", dense(48, 24, "tanh"), (2, 48)),
        ("softmax", dense(128, 10, "softmax"), (2, 128)),
        ("to-one", dense(1031, 1), (2, 1031)),
        ("from-one", dense(1, 1025), (2, 1)),
        ("rank3", dense(32, 36), (2, 3, 32)),
        ("rank4", dense(32, 36), (1, 2, 3, 32)),
        ("batch-dynamic", dense(32, 40, "relu"), (None, 32)),
        ("twice", embedding, (2, 32)),
        ("einsum-two-axes", einsum("bij,ijk->bk", 6, 8, 24), (2, 6, 8)),
        ("einsum-heads", einsum("btd,dhk->bthk", 32, 4, 9), (1, 4, 32)),
    ):
        yield pattern(f"dense-{name}", function, x(*shape), flavours=WEIGHTED)
    yield keras("dense-sequence-batch-dynamic", sequence, x(None, 5, 24), flavours=WEIGHTED)
    for name, function, first, second in (
        ("rank3", batch_matmul(), (2, 5, 8), (2, 8, 6)),
        ("rank4", batch_matmul(), (1, 3, 5, 8), (1, 3, 8, 6)),
        ("adjoint-a", batch_matmul(adjoint_a=True), (2, 8, 5), (2, 8, 6)),
        ("adjoint-b", batch_matmul(adjoint_b=True), (2, 5, 8), (2, 6, 8)),
        ("broadcast", batch_matmul(), (1, 3, 5, 8), (2, 1, 8, 6)),
        ("batch-dynamic", batch_matmul(adjoint_b=True), (None, 4, 8), (None, 6, 8)),
    ):
        yield pattern(f"matmul-{name}", function, x(*first), x(*second), flavours=PLAIN)
