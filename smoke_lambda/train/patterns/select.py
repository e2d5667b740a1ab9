"""Operators that compare, choose, search, sort, count and scatter."""

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

COMPARISONS = {
    "equal": tf.equal,
    "not-equal": tf.not_equal,
    "less": tf.less,
    "less-equal": tf.less_equal,
    "greater": tf.greater,
    "greater-equal": tf.greater_equal,
}


def distinct(*shape: int, dtype: str = "float32") -> Input:
    """An input without ties."""
    return Input(shape, dtype, distinct=True)


def suppressed(_k: Draw, boxes: Tensor, scores: Tensor, *, soft: bool) -> Tensor:
    """Non-maximum suppression of boxes."""
    sides = tf.concat([boxes, boxes + 1.5], 1)
    if soft:
        return tf.image.non_max_suppression_with_scores(sides, scores, 5, 0.4, 0.1, 0.5)[:2]
    return tf.image.non_max_suppression_padded(
        sides, scores, 5, 0.4, 0.1, pad_to_max_output_size=True
    )


def patterns() -> Iterator[Pattern]:
    """See the module."""
    for name, function in COMPARISONS.items():
        compare = lambda _k, a, b, f=function: f(a, b)  # noqa: E731
        yield pattern(
            f"{name}-int32",
            compare,
            ints(2, 3, 4, low=-2, high=3),
            ints(3, 1, low=-1, high=2),
            flavours=FLOATING,
        )
        yield pattern(
            f"{name}-int64",
            compare,
            ints(3, 4, low=-2, high=3, dtype="int64"),
            ints(4, low=-1, high=2, dtype="int64"),
            flavours=FLOATING,
        )
        steps = x(2, 3, 4, low=-1, high=1)
        yield pattern(
            f"{name}-float32",
            lambda _k, a, b, f=function: f(tf.round(a * 2), tf.round(b * 2)),
            steps,
            steps,
            flavours=FLOATING,
        )
    bools = Input((2, 3, 4), "bool")
    for name, function in (("and", tf.logical_and), ("or", tf.logical_or)):
        yield pattern(
            f"logical-{name}",
            lambda _k, a, b, f=function: f(a, b),
            bools,
            Input((3, 1), "bool"),
            flavours=FLOATING,
        )
    yield pattern("logical-not", lambda _k, a: tf.logical_not(a), bools, flavours=FLOATING)
    yield pattern(
        "select",
        lambda _k, c, a, b: tf.where(c, a, b),
        bools,
        x(2, 3, 4),
        x(2, 3, 4),
        flavours=PLAIN,
    )
    yield pattern(
        "select-broadcast",
        lambda _k, c, a, b: tf.where(c, a, b),
        Input((2, 1, 4), "bool"),
        x(3, 1),
        x(4),
        flavours=FLOATING,
    )
    yield pattern(
        "select-v1",
        lambda _k, c, a, b: tf.compat.v1.where(c, a, b),
        Input((3,), "bool", values=([True, False, True],) * 2),
        x(3, 4),
        x(3, 4),
        flavours=FLOATING,
    )
    yield pattern("where", lambda _k, c: tf.where(c), bools, flavours=FLOATING)
    yield pattern("where-float", lambda _k, y: tf.where(y > 0.5), x(3, 4), flavours=FLOATING)
    yield pattern(
        "boolean-mask", lambda _k, y: tf.boolean_mask(y, y > 0.0), x(3, 5), flavours=FLOATING
    )
    for name, axis in (("last", -1), ("axis1", 1), ("axis0", 0)):
        yield pattern(
            f"argmax-{name}",
            lambda _k, y, a=axis: tf.argmax(y, a, tf.int32),
            distinct(3, 4, 5),
            flavours=PLAIN if axis else FLOATING,
        )
        yield pattern(
            f"argmin-{name}",
            lambda _k, y, a=axis: tf.argmin(y, a),
            distinct(3, 4, 5),
            flavours=FLOATING,
        )
    yield pattern(
        "argmax-int32",
        lambda _k, y: tf.argmax(y, -1),
        distinct(2, 9, dtype="int32"),
        flavours=FLOATING,
    )
    yield pattern("top-k", lambda _k, y: tf.math.top_k(y, 3), distinct(2, 9), flavours=FLOATING)
    yield pattern(
        "top-k-int32",
        lambda _k, y: tf.math.top_k(y, 4),
        distinct(3, 9, dtype="int32"),
        flavours=FLOATING,
    )
    yield pattern("sort", lambda _k, y: tf.sort(y), distinct(2, 9), flavours=FLOATING)
    for name, exclusive, reverse, axis in (
        ("plain", False, False, 1),
        ("exclusive", True, False, 0),
        ("reverse", True, True, 2),
    ):
        yield pattern(
            f"cumsum-{name}",
            lambda _k, y, e=exclusive, r=reverse, a=axis: tf.cumsum(y, a, e, r),
            x(2, 3, 4),
            flavours=FLOATING,
        )
    yield pattern("cumsum-int32", lambda _k, y: tf.cumsum(y, 1), ints(2, 5), flavours=FLOATING)
    yield pattern(
        "one-hot", lambda _k, i: tf.one_hot(i, 5), ints(2, 3, low=0, high=6), flavours=FLOATING
    )
    yield pattern(
        "one-hot-axis0",
        lambda _k, i: tf.one_hot(i, 4, 2.5, -1.0, 0),
        ints(2, 3, low=0, high=4),
        flavours=FLOATING,
    )
    yield pattern("unique", lambda _k, i: tf.unique(i), ints(12, low=0, high=6), flavours=FLOATING)
    yield pattern(
        "bincount",
        lambda _k, i: tf.math.unsorted_segment_sum(tf.ones_like(i), i, 7),
        ints(12, low=0, high=7),
        flavours=FLOATING,
    )
    order = Input((5,), "int32", values=([0, 0, 1, 2, 2], [0, 1, 1, 2, 3]))
    yield pattern(
        "segment-sum", lambda _k, y, i: tf.math.segment_sum(y, i), x(5, 3), order, flavours=FLOATING
    )
    shuffled = Input((5,), "int32", values=([2, 0, 1, 2, 0], [1, 0, 2, 1, 1]))
    for name in ("sum", "max", "min", "prod"):
        function = getattr(tf.math, f"unsorted_segment_{name}")
        yield pattern(
            f"unsorted-segment-{name}",
            lambda _k, y, i, f=function: f(y, i, 3),
            x(5, 3, low=0.5),
            shuffled,
            flavours=FLOATING,
        )
    spots = Input((3, 1), "int32", values=([[4], [1], [0]], [[2], [2], [5]]))
    yield pattern(
        "scatter-nd",
        lambda _k, i, y: tf.scatter_nd(i, y, (6, 2)),
        spots,
        x(3, 2),
        flavours=FLOATING,
    )
    yield pattern(
        "tensor-scatter-update",
        lambda _k, y, i, u: tf.tensor_scatter_nd_update(y, i, u),
        x(6, 2),
        Input((3, 1), "int32", values=([[4], [1], [0]], [[2], [3], [5]])),
        x(3, 2),
        flavours=FLOATING,
    )
    yield pattern(
        "sparse-to-dense",
        lambda _k, y: tf.compat.v1.sparse_to_dense([[0, 1], [1, 0], [2, 2]], [3, 4], y, 0.5),
        x(3),
        flavours=FLOATING,
    )
    yield pattern(
        "bucketize",
        lambda _k, y: tf.raw_ops.Bucketize(input=y, boundaries=[-1.0, 0.1, 1.2]),
        x(2, 9),
        flavours=FLOATING,
    )
    yield pattern("matrix-diag", lambda _k, y: tf.linalg.diag(y), x(2, 4), flavours=FLOATING)
    yield pattern(
        "matrix-set-diag",
        lambda _k, y, d: tf.linalg.set_diag(y, d),
        x(2, 3, 4),
        x(2, 3),
        flavours=FLOATING,
    )
    yield pattern(
        "embedding-lookup",
        lambda k, i: tf.nn.embedding_lookup(k.weights(150, 7), i),
        ints(2, 3, low=0, high=150),
        flavours=("float32", "float16"),
    )
    for name, soft in (("padded", False), ("soft", True)):
        yield pattern(
            f"non-max-suppression-{name}",
            lambda k, b, s, soft=soft: suppressed(k, b, s, soft=soft),
            x(9, 2),
            Input((9,), distinct=True),
            own=not soft,  # the runtime fills up what is left
            flavours=FLOATING,
        )
