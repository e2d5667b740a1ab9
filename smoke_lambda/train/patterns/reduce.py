"""Reductions, over every kind of axes, that keep the reduced dimensions or drop them."""

from __future__ import annotations

from collections.abc import Iterator

import tensorflow as tf  # type: ignore[import-untyped]

from smoke_lambda.train.pattern import (
    FLOATING,
    WEIGHTED,
    Draw,
    Function,
    Input,
    Pattern,
    Tensor,
    ints,
    pattern,
    x,
)

KINDS = {
    "mean": tf.reduce_mean,
    "sum": tf.reduce_sum,
    "max": tf.reduce_max,
    "min": tf.reduce_min,
}


def reduce(kind: str, axes: list[int] | None, *, keepdims: bool) -> Function:
    """A function of a reduction."""
    return lambda _k, y: KINDS[kind](y, axes, keepdims)


def mean_then_conv(kernel: tuple[int, int, int, int]) -> Function:
    """A function of a convolution of an image's mean, as squeeze-and-excitation begins."""
    return lambda k, y: tf.nn.conv2d(
        tf.reduce_mean(y, [1, 2], keepdims=True), k.weights(*kernel), 1, "VALID"
    )


def mean_conv_gate(kernel: tuple[int, int, int, int]) -> Function:
    """A function that multiplies an image with a gate for each channel."""
    before = mean_then_conv(kernel)
    return lambda k, y: y * tf.sigmoid(before(k, y))


def mean_then_dense(k: Draw, y: Tensor) -> Tensor:
    """The head of a classifier."""
    y = tf.matmul(tf.reduce_mean(y, [1, 2]), k.weights(32, 40)) + k.bias(40)
    return tf.nn.softmax(y)


def mean_then(keepdims: bool, function: Function) -> Function:
    """A function of an image's mean."""
    return lambda k, y: function(k, y, tf.reduce_mean(y, [1, 2], keepdims))


def moments(_k: Draw, y: Tensor) -> Tensor:
    """Mean and variance over an image."""
    mean, variance = tf.nn.moments(y, [1, 2], keepdims=True)
    return (y - mean) * tf.math.rsqrt(variance + 0.01)


def patterns() -> Iterator[Pattern]:
    """See the module."""
    for kind in KINDS:
        for axes, shape in (
            ([1, 2], (1, 6, 5, 8)),
            ([1], (2, 6, 9)),
            ([2], (1, 4, 7, 8)),
            ([-1], (2, 3, 17)),
            ([1, 2], (None, 4, 3, 8)),
            ([0], (3, 8)),
            ([2, 3], (2, 3, 4, 5)),
            ([1, 3], (2, 3, 4, 5)),
            ([1, 2, 3], (2, 3, 4, 2, 2)),
        ):
            for keepdims in (False, True):
                where = "-".join("last" if axis == -1 else str(axis) for axis in axes)
                name = f"{kind}-axes-{where}-rank{len(shape)}"
                name += "-keepdims" * keepdims + "-dynamic" * (None in shape)
                yield pattern(
                    name,
                    reduce(kind, axes, keepdims=keepdims),
                    x(*shape),
                    # The reference kernel for sums of int8 answers nothing but zeros.
                    optimized=kind == "sum",
                )
        yield pattern(
            f"{kind}-all",
            reduce(kind, None, keepdims=False),
            x(3, 4, 5),
            optimized=kind == "sum",
        )
    for keepdims in (False, True):
        name = "prod" + "-keepdims" * keepdims
        yield pattern(
            name,
            lambda _k, y, keep=keepdims: tf.reduce_prod(y, [1], keep),
            x(2, 5, 4, low=0.5, high=1.5),
            flavours=FLOATING,
        )
    for name, function in (("any", tf.reduce_any), ("all", tf.reduce_all)):
        for keepdims in (False, True):
            yield pattern(
                f"{name}" + "-keepdims" * keepdims,
                lambda _k, y, f=function, keep=keepdims: f(y, [1], keep),
                Input((9, 2, 3), "bool"),
                flavours=FLOATING,
            )
    for kind in KINDS:
        yield pattern(
            f"{kind}-int32",
            lambda _k, y, f=KINDS[kind]: f(y, [1, 2]),
            ints(2, 3, 4, 3),
            flavours=FLOATING,
        )
    yield pattern("moments-normalize", moments, x(1, 5, 6, 8), tolerance="deep")
    for name, function, shape in (
        ("mean-keepdims-conv2d", mean_then_conv((1, 1, 32, 32)), (1, 14, 14, 32)),
        ("mean-keepdims-conv2d-dynamic", mean_then_conv((1, 1, 32, 32)), (None, 5, 5, 32)),
        ("mean-keepdims-conv2d-sigmoid-mul", mean_conv_gate((1, 1, 32, 32)), (1, 14, 14, 32)),
        (
            "mean-keepdims-conv2d-sigmoid-mul-dynamic",
            mean_conv_gate((1, 1, 32, 32)),
            (None, 4, 4, 32),
        ),
        ("mean-dense-softmax", mean_then_dense, (1, 5, 5, 32)),
        ("mean-dense-softmax-dynamic", mean_then_dense, (None, 4, 4, 32)),
    ):
        yield pattern(
            name, function, x(*shape), flavours=WEIGHTED, sizes=(1,) if 14 in shape else (1, 3)
        )
    for name, keepdims, function in (
        ("keepdims-sigmoid-mul", True, lambda _k, y, m: y * tf.sigmoid(m)),
        ("keepdims-sub", True, lambda _k, y, m: y - m),
        ("reshape-mul", False, lambda _k, y, m: y * tf.reshape(m, (1, 1, 1, 8))),
        ("keepdims-concat", True, lambda _k, y, m: tf.concat([m, y[:, :1, :1]], 3)),
        ("keepdims-squeeze", True, lambda _k, y, m: tf.squeeze(m, [1, 2]) + y[:, 0, 0]),
        ("keepdims-resize", True, lambda _k, y, m: tf.image.resize(m, (2, 3)) + y[:, :2, :3]),
        (
            "keepdims-pad",
            True,
            lambda _k, y, m: tf.pad(m, [[0, 0], [1, 2], [1, 0], [0, 0]]) + y[:, :4, :2],
        ),
    ):
        yield pattern(f"mean-{name}", mean_then(keepdims, function), x(1, 6, 5, 8))
