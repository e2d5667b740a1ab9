"""Operators that move elements, and change none."""

from __future__ import annotations

from collections.abc import Iterator

import tensorflow as tf  # type: ignore[import-untyped]
from tensorflow.compiler.tf2xla.python import xla  # type: ignore[import-untyped]

from smoke_lambda.train.pattern import (
    FLOATING,
    PLAIN,
    Draw,
    Function,
    Input,
    Pattern,
    Tensor,
    ints,
    pattern,
    x,
)

# Each: name, function, shape; they come in float32 and int8.
MOVES: tuple[tuple[str, Function, tuple[int | None, ...]], ...] = (
    ("reshape-flatten", lambda _k, y: tf.reshape(y, (2, -1)), (2, 3, 4)),
    ("reshape-rank5", lambda _k, y: tf.reshape(y, (1, 2, 3, 2, 2)), (2, 3, 4)),
    ("reshape-dynamic", lambda _k, y: tf.reshape(y, (-1, 12)), (None, 3, 4)),
    ("reshape-by-shape", lambda _k, y: tf.reshape(y, (tf.shape(y)[0], 2, 6)), (None, 3, 4)),
    ("squeeze", lambda _k, y: tf.squeeze(y, [1, 3]), (2, 1, 3, 1)),
    ("expand-dims", lambda _k, y: tf.expand_dims(tf.expand_dims(y, 1), -1), (2, 3)),
    ("slice", lambda _k, y: tf.slice(y, [0, 1, 2], [1, 2, -1]), (2, 4, 5)),
    ("slice-rank5", lambda _k, y: tf.slice(y, [0, 1, 0, 1, 0], [1, 1, 2, 2, 2]), (1, 2, 3, 3, 2)),
    ("strided-slice", lambda _k, y: y[:, 1:4:2, ::3], (2, 5, 7)),
    ("strided-slice-negative", lambda _k, y: y[..., ::-1], (2, 3, 7)),
    ("strided-slice-shrink", lambda _k, y: y[1, :, -1], (2, 3, 4)),
    ("strided-slice-ellipsis", lambda _k, y: y[..., tf.newaxis, 1:], (2, 3, 4)),
    ("strided-slice-dynamic", lambda _k, y: y[:, 1:3], (None, 4, 3)),
    ("gather", lambda _k, y: tf.gather(y, [2, 0, 2], axis=0), (3, 4)),
    ("gather-axis1", lambda _k, y: tf.gather(y, [[3, 0], [1, 1]], axis=1), (2, 4, 3)),
    ("gather-batch", lambda _k, y: tf.gather(y, [[1, 0], [2, 2]], axis=1, batch_dims=1), (2, 3, 4)),
    ("gather-nd", lambda _k, y: tf.gather_nd(y, [[0, 1], [1, 2]]), (2, 3, 4)),
    ("pad", lambda _k, y: tf.pad(y, [[0, 0], [1, 2], [0, 1], [2, 0]]), (1, 3, 4, 2)),
    ("pad-value", lambda _k, y: tf.pad(y, [[0, 1], [2, 0]], constant_values=1.5), (3, 4)),
    (
        "pad-rank5",
        lambda _k, y: tf.pad(y, [[0, 0], [0, 1], [1, 0], [0, 0], [1, 1]]),
        (1, 2, 2, 3, 2),
    ),
    ("mirror-pad-reflect", lambda _k, y: tf.pad(y, [[0, 0], [2, 1], [1, 2]], "REFLECT"), (2, 4, 5)),
    ("mirror-pad-symmetric", lambda _k, y: tf.pad(y, [[1, 2], [2, 2]], "SYMMETRIC"), (3, 4)),
    ("concat-axis0", lambda _k, y: tf.concat([y, y[:1]], 0), (2, 3)),
    ("concat-last", lambda _k, y: tf.concat([y, y[..., 1:], y], -1), (1, 2, 3, 4)),
    ("concat-axis1", lambda _k, y: tf.concat([y, y[:, :2], y, y, y], 1), (1, 3, 2, 4)),
    ("split", lambda _k, y: tf.split(y, 3, 2), (1, 2, 6)),
    ("split-sizes", lambda _k, y: tf.split(y, [1, 4, 2], 1), (2, 7, 3)),
    ("split-then-add", lambda _k, y: tf.add(*tf.split(y, 2, -1)), (1, 3, 8)),
    ("transpose-2d", lambda _k, y: tf.transpose(y), (3, 5)),
    ("transpose-nchw", lambda _k, y: tf.transpose(y, (0, 3, 1, 2)), (2, 3, 4, 5)),
    ("transpose-0213", lambda _k, y: tf.transpose(y, (0, 2, 1, 3)), (1, 3, 4, 8)),
    ("transpose-rank5", lambda _k, y: tf.transpose(y, (0, 4, 2, 1, 3)), (1, 2, 3, 2, 4)),
    ("tile", lambda _k, y: tf.tile(y, (2, 1, 3)), (1, 3, 2)),
    ("pack", lambda _k, y: tf.stack([y, y[::-1], y], 1), (2, 3)),
    ("unpack", lambda _k, y: tf.unstack(y, axis=1), (2, 3, 4)),
    ("space-to-depth", lambda _k, y: tf.nn.space_to_depth(y, 2), (1, 4, 6, 3)),
    ("depth-to-space", lambda _k, y: tf.nn.depth_to_space(y, 2), (1, 2, 3, 12)),
    ("space-to-batch", lambda _k, y: tf.space_to_batch(y, [2, 2], [[0, 0], [1, 1]]), (1, 4, 4, 3)),
    ("batch-to-space", lambda _k, y: tf.batch_to_space(y, [2, 2], [[0, 1], [1, 0]]), (4, 2, 3, 3)),
    ("reverse", lambda _k, y: tf.reverse(y, [1]), (2, 3, 4)),
    ("broadcast-to", lambda _k, y: tf.broadcast_to(y, (2, 3, 4)), (3, 1)),
    ("roll", lambda _k, y: tf.roll(y, 2, 1), (2, 5)),
)
DTYPES = ("int32", "int64", "bool", "uint8", "int8", "int16")
FLOAT_MOVES = ("reverse", "broadcast-to", "roll", "gather-batch", "strided-slice-negative")


def update(_k: Draw, y: Tensor, part: Tensor) -> Tensor:
    """A part of a tensor written over, where it is told at run time."""
    return xla.dynamic_update_slice(y, part, tf.constant([1, 0]))


def fill(_k: Draw, y: Tensor) -> Tensor:
    """A tensor whose shape is told at run time."""
    return tf.fill(tf.shape(y)[:2], tf.reduce_max(y)) * y[..., 0]


def patterns() -> Iterator[Pattern]:
    """See the module."""
    for name, function, shape in MOVES:
        flavours = FLOATING if name in FLOAT_MOVES else PLAIN
        yield pattern(name, function, x(*shape), flavours=flavours)
    moves = {name: (function, shape) for name, function, shape in MOVES}
    for name, dtypes in (
        ("transpose-nchw", ("int32", "int64", "bool", "uint8", "int8")),
        ("concat-last", ("int32", "int64", "uint8", "int8", "int16")),
        ("gather-axis1", DTYPES),
        ("strided-slice", DTYPES),
        ("tile", ("int32", "int64", "bool")),
        ("pack", ("int32", "int64", "uint8", "int16")),
        ("reverse", ("int32", "int64", "bool", "uint8", "int16")),
        ("slice", ("int32", "int64", "bool", "uint8", "int8")),
        ("pad", ("int32", "int64")),
        ("split-sizes", ("int32", "uint8", "int16")),
        ("broadcast-to", ("int32", "int64", "bool")),
    ):
        function, shape = moves[name]
        for dtype in dtypes:
            given = Input(shape, dtype, 0 if dtype == "uint8" else -9, 99)
            yield pattern(f"{name}-{dtype}", function, given, flavours=FLOATING, sizes=(1,))
    yield pattern("shape-dynamic", lambda _k, y: tf.shape(y), x(None, None, 7), flavours=FLOATING)
    yield pattern(
        "rank-and-size",
        lambda _k, y: (tf.rank(y) + tf.shape(y)[1:], tf.size(y) + tf.range(3)),
        x(None, 2, 3),
        flavours=FLOATING,
    )
    yield pattern("fill-dynamic", fill, x(None, 3, 2), flavours=FLOATING)
    yield pattern("dynamic-update-slice", update, x(4, 3), x(2, 3), flavours=FLOATING)
    yield pattern(
        "range",
        lambda _k, n: tf.range(1, n[0], 2),
        Input((1,), "int32", values=([9], [14])),
        flavours=FLOATING,
    )
    yield pattern(
        "range-float",
        lambda _k, n: tf.range(0.5, n[0], 0.75),
        Input((1,), values=([3.2], [7.9])),
        flavours=FLOATING,
    )
    yield pattern(
        "broadcast-args",
        lambda _k, a, b: tf.raw_ops.BroadcastArgs(s0=a, s1=b),
        Input((3,), "int32", values=([2, 1, 3], [1, 5, 1])),
        Input((2,), "int32", values=([4, 1], [5, 7])),
        flavours=FLOATING,
    )
    yield pattern(
        "reverse-sequence",
        lambda _k, y, n: tf.reverse_sequence(y, n, 1, 0),
        x(3, 5, 2),
        Input((3,), "int32", values=([2, 5, 1], [4, 3, 5])),
        flavours=FLOATING,
    )
    yield pattern(
        "gather-at-run-time",
        lambda _k, y, i: tf.gather(y, i),
        x(5, 3),
        ints(2, 2, low=0, high=5),
    )
    yield pattern(
        "tile-at-run-time",
        lambda _k, y, n: tf.tile(y, n),
        x(2, 3),
        Input((2,), "int32", values=([2, 1], [1, 3])),
        flavours=FLOATING,
    )
    yield pattern(
        "slice-at-run-time",
        lambda _k, y, b: tf.slice(y, b, [2, 2]),
        x(5, 4),
        Input((2,), "int32", values=([1, 0], [3, 2])),
        flavours=FLOATING,
    )
    yield pattern(
        "pad-at-run-time",
        lambda _k, y, p: tf.pad(y, p),
        x(2, 3),
        Input((2, 2), "int32", values=([[1, 0], [0, 2]], [[0, 2], [1, 1]])),
        flavours=FLOATING,
    )
