"""Branches and loops, whose graphs are of their own."""

from __future__ import annotations

from collections.abc import Iterator

import tensorflow as tf  # type: ignore[import-untyped]

from smoke_lambda.train.pattern import (
    FLOAT16,
    FLOAT32,
    FLOATING,
    Draw,
    Input,
    Pattern,
    Tensor,
    ints,
    pattern,
    x,
)

FLOATS = (FLOAT32, FLOAT16)


def branch(k: Draw, y: Tensor) -> Tensor:
    """Two ways, by a sum."""
    weights = k.weights(32, 32)
    return tf.cond(
        tf.reduce_sum(y) > 0,
        lambda: tf.nn.relu(tf.matmul(y, weights) - 0.25),
        lambda: tf.tanh(tf.matmul(y, weights) * 2),
    )


def nested(_k: Draw, flag: Tensor, y: Tensor) -> Tensor:
    """A branch in a branch."""
    return tf.cond(
        flag[0],
        lambda: tf.cond(flag[1], lambda: y + 1.5, lambda: y * 2),
        lambda: y - tf.reduce_max(y),
    )


def shapes(_k: Draw, flag: Tensor, y: Tensor) -> Tensor:
    """Branches whose answers differ in shape."""
    return tf.cond(flag, lambda: y[:, :2], lambda: tf.concat([y, y], 1))


def loop(_k: Draw, count: Tensor, y: Tensor) -> Tensor:
    """As often as is told."""
    return tf.while_loop(
        lambda i, _: i < count, lambda i, z: (i + 1, z * 0.75 + tf.cast(i, tf.float32)), (0, y)
    )[1]


def weighted(k: Draw, y: Tensor) -> Tensor:
    """A loop with a matrix product."""
    weights = k.weights(32, 32)
    return tf.while_loop(
        lambda i, _: i < 4, lambda i, z: (i + 1, tf.tanh(tf.matmul(z, weights))), (0, y)
    )[1]


def twice(_k: Draw, y: Tensor) -> Tensor:
    """A loop in a loop."""

    def outer(i: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        inner = tf.while_loop(
            lambda j, _: j <= i, lambda j, w: (j + 1, w + tf.cast(j, tf.float32) * 0.5), (0, z)
        )
        return i + 1, inner[1] * 0.5

    return tf.while_loop(lambda i, _: i < 3, outer, (0, y))[1]


def growing(_k: Draw, y: Tensor) -> Tensor:
    """A loop whose tensor grows."""
    return tf.while_loop(
        lambda i, _: i < 3,
        lambda i, z: (i + 1, tf.concat([z, z[:1] * 2], 0)),
        (0, y),
        shape_invariants=(tf.TensorShape([]), tf.TensorShape([None, 3])),
    )[1]


def collected(_k: Draw, y: Tensor) -> Tensor:
    """A loop over the rows of a tensor, which gathers what it makes of them."""
    array = tf.TensorArray(tf.float32, 4, element_shape=(3,))
    return tf.while_loop(
        lambda i, _: i < 4, lambda i, a: (i + 1, a.write(i, tf.sin(y[i]) + y[3 - i])), (0, array)
    )[1].stack()


def patterns() -> Iterator[Pattern]:
    """See the module."""
    flags = Input((), "bool", values=(True, False))
    pairs = Input((2,), "bool", values=([True, True], [True, False], [False, True]))
    yield pattern(
        "if",
        branch,
        x(2, 32),
        flavours=FLOATS,
        sizes=(1, 2, 3, 4),
    )
    yield pattern("if-nested", nested, pairs, x(2, 3), flavours=FLOATING, sizes=(1, 1, 1))
    yield pattern("if-shapes", shapes, flags, x(2, 3), flavours=FLOATING)
    yield pattern("while", loop, Input((), "int32", values=(3, 0)), x(2, 3), flavours=FLOATING)
    yield pattern("while-weights", weighted, x(2, 32), flavours=FLOATS, tolerance="deep")
    yield pattern("while-in-while", twice, x(2, 3), flavours=FLOATING)
    yield pattern("while-growing", growing, x(2, 3), flavours=FLOATING)
    yield pattern("while-collected", collected, x(4, 3), flavours=FLOATING)
    yield pattern("while-batch-dynamic", weighted, x(None, 32), flavours=FLOATS, tolerance="deep")
    yield pattern(
        "while-int32",
        lambda _k, n: tf.while_loop(lambda v: tf.reduce_all(v < 50), lambda v: v * 2 + 1, (n,))[0],
        ints(3, low=1, high=9),
        flavours=FLOATING,
    )
