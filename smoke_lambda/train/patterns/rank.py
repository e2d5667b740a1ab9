"""Scalars, tensors of one to five ranks, and tensors without elements."""

from __future__ import annotations

from collections.abc import Iterator

import tensorflow as tf  # type: ignore[import-untyped]

from smoke_lambda.train.pattern import (
    FLOATING,
    PLAIN,
    Draw,
    Input,
    Pattern,
    Tensor,
    ints,
    pattern,
    x,
)

SHAPES: tuple[tuple[int, ...], ...] = ((), (5,), (2, 5), (2, 3, 5), (1, 2, 3, 5), (1, 2, 2, 3, 5))


def mixed(_k: Draw, y: Tensor) -> Tensor:
    """A few operators of any rank."""
    return tf.nn.relu(y * 1.5 - 0.25) + tf.tanh(y)


def empty(_k: Draw, y: Tensor) -> Tensor:
    """Without elements where the batch is none; the sum is of none, too."""
    z = tf.nn.relu(y) * 2
    return tf.concat([z, z], 0), tf.reduce_sum(z) + 1


def patterns() -> Iterator[Pattern]:
    """See the module."""
    for shape in SHAPES:
        rank = len(shape)
        given = x(*shape, low=0.5) if not rank else x(*shape)
        yield pattern(f"mixed-rank{rank}", mixed, given, flavours=PLAIN)
        yield pattern(f"add-rank{rank}", lambda _k, a, b: a + b, given, given, flavours=PLAIN)
        yield pattern(
            f"mul-scalar-rank{rank}", lambda _k, a, b: a * b, given, x(low=0.5), flavours=FLOATING
        )
        number = ints(*shape, low=1)
        yield pattern(f"add-int32-rank{rank}", lambda _k, a: a + 3, number, flavours=FLOATING)
        if rank:
            yield pattern(f"sigmoid-rank{rank}", lambda _k, y: tf.sigmoid(y), given, flavours=PLAIN)
            yield pattern(
                f"sum-last-rank{rank}",
                lambda _k, y: tf.reduce_sum(y, -1),
                x(*shape, low=0.5),
                flavours=FLOATING,
            )
    yield pattern(
        "empty", empty, x(None, 3), flavours=FLOATING, sizes=(0, 2), constant=True, own=True
    )
    yield pattern(
        "empty-then-dense",
        lambda k, y: tf.matmul(y, k.weights(8, 5)) + k.bias(5),
        x(None, 8),
        flavours=FLOATING,
        sizes=(0, 1, 3),
    )
    yield pattern(
        "pack-scalars",
        lambda _k, a, b: tf.stack([a, b, a + b]),
        x(low=0.5),
        x(low=0.5),
        flavours=FLOATING,
    )
    yield pattern("several-outputs", lambda _k, a: (a + 1, tf.nn.relu(a), a[:1]), x(2, 3))
    yield pattern("several-inputs", lambda _k, a, b, c, d: a + b * c - d, *[x(2, 3)] * 4)
    yield pattern(
        "an-input-is-an-output",
        lambda _k, a, b: (tf.identity(a), a + b),
        x(2, 3),
        x(2, 3),
        flavours=FLOATING,
    )
    yield pattern("constant-output", lambda k, a: (k.weights(2, 3), a + 1), x(2), flavours=FLOATING)
    yield pattern(
        "scalar-bool",
        lambda _k, a: tf.logical_not(a),
        Input((), "bool", values=(True, False)),
        flavours=FLOATING,
        constant=True,
    )
