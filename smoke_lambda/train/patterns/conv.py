"""Two- and three-dimensional convolutions."""

from __future__ import annotations

from collections.abc import Iterator

import tensorflow as tf  # type: ignore[import-untyped]

from smoke_lambda.train.pattern import (
    FLOAT16,
    FLOAT32,
    WEIGHTED,
    Draw,
    Function,
    Pattern,
    Tensor,
    pattern,
    x,
)

ACTIVATIONS = {
    "relu": tf.nn.relu,
    "relu6": tf.nn.relu6,
    "relu-n1-to-1": lambda y: tf.clip_by_value(y, -1.0, 1.0),
    "tanh": tf.tanh,
    "none": tf.identity,
}


def conv(
    kernel: tuple[int, int, int, int],
    strides: int | tuple[int, int] = 1,
    padding: str | list[list[int]] = "SAME",
    dilations: int | tuple[int, int] = 1,
    activation: str = "none",
    *,
    bias: bool = True,
) -> Function:
    """A function of a convolution, its bias and its activation."""

    def function(k: Draw, y: Tensor) -> Tensor:
        y = tf.nn.conv2d(y, k.weights(*kernel), strides, padding, dilations=dilations)
        y = tf.nn.bias_add(y, k.bias(kernel[-1])) if bias else y
        return ACTIVATIONS[activation](y)

    return function


def conv3d(strides: tuple[int, ...], padding: str) -> Function:
    """A function of a three-dimensional convolution."""
    return lambda k, y: tf.nn.conv3d(y, k.weights(2, 3, 3, 4, 8), strides, padding)


def conv1d(stride: int, dilation: int, padding: str) -> Function:
    """A function of a one-dimensional convolution, which the converter makes of two."""
    return lambda k, y: (
        tf.nn.conv1d(y, k.weights(3, 12, 32), stride, padding, dilations=dilation) + k.bias(32)
    )


def patterns() -> Iterator[Pattern]:
    """See the module."""
    wide = (3, 3, 8, 16)
    for name, function, shape in (
        ("same", conv(wide), (1, 7, 7, 8)),
        ("valid", conv(wide, padding="VALID"), (1, 7, 7, 8)),
        ("same-stride2-relu6", conv(wide, 2, activation="relu6"), (1, 8, 8, 8)),
        ("valid-stride2-relu", conv(wide, 2, "VALID", activation="relu"), (1, 9, 9, 8)),
        ("strides-1x2", conv(wide, (1, 2)), (1, 6, 9, 8)),
        ("strides-3x2", conv(wide, (3, 2), "VALID"), (1, 10, 9, 8)),
        ("dilation2", conv(wide, dilations=2), (1, 9, 9, 8)),
        ("dilation-2x3-valid", conv(wide, 1, "VALID", (2, 3)), (1, 9, 9, 8)),
        ("relu-n1-to-1", conv(wide, activation="relu-n1-to-1"), (1, 5, 5, 8)),
        ("tanh", conv(wide, activation="tanh"), (1, 5, 5, 8)),
        ("no-bias", conv(wide, bias=False), (1, 5, 5, 8)),
        ("1x1", conv((1, 1, 32, 40)), (1, 5, 5, 32)),
        ("1x1-stride2", conv((1, 1, 32, 40), 2, "VALID"), (1, 5, 5, 32)),
        ("1x7", conv((1, 7, 8, 24)), (1, 3, 11, 8)),
        ("1x3-stride2", conv((1, 3, 12, 32), 2), (1, 4, 4, 12)),
        ("1x3-stride2-dynamic", conv((1, 3, 12, 32), 2), (None, 4, 4, 12)),
        ("5x1", conv((5, 1, 12, 24)), (1, 9, 3, 12)),
        ("2x2-even", conv((2, 2, 16, 17)), (1, 6, 6, 16)),
        ("image-3-channels", conv((3, 3, 3, 40), 2), (1, 12, 12, 3)),
        ("one-channel", conv((5, 5, 1, 48), 2, "VALID"), (1, 9, 9, 1)),
        ("to-one-channel", conv((6, 6, 32, 1), 1, "VALID"), (1, 8, 8, 32)),
        ("one-pixel", conv((1, 1, 32, 33)), (1, 1, 1, 32)),
        ("kernel-larger-than-image", conv((5, 5, 8, 9)), (1, 2, 3, 8)),
        ("batch3", conv(wide, 2), (3, 7, 6, 8)),
        ("batch-dynamic", conv(wide, activation="relu"), (None, 5, 6, 8)),
        ("groups2", conv((3, 3, 4, 32)), (1, 5, 5, 8)),
        ("groups-of-one", conv((3, 3, 1, 128)), (1, 4, 4, 4)),
        (
            "explicit-padding",
            conv(wide, 2, [[0, 0], [2, 1], [0, 3], [0, 0]]),
            (1, 7, 7, 8),
        ),
    ):
        yield pattern(
            f"conv2d-{name}",
            function,
            x(*shape),
            flavours=WEIGHTED,
            sizes=(1, 3) if None in shape else (1,),
            # TensorFlow's own kernels have no grouped convolution with a bias.
            own="groups" not in name,
            # A step of the sum is up to three of the steep middle of its tanh.
            tolerance="deep" if name == "tanh" else "",
        )
    yield pattern(
        "conv2d-image-dynamic",
        conv(wide, 2),
        x(1, None, None, 8),
        flavours=WEIGHTED,
        sizes=(5, 8),
    )
    for name, function, steps in (
        ("same", conv1d(1, 1, "SAME"), (1, 9, 12)),
        ("valid-stride2", conv1d(2, 1, "VALID"), (1, 9, 12)),
        ("dilation3", conv1d(1, 3, "SAME"), (2, 11, 12)),
    ):
        yield pattern(f"conv1d-{name}", function, x(*steps), flavours=WEIGHTED)
    for name, function, volume in (
        ("same", conv3d((1, 1, 1, 1, 1), "SAME"), (1, 4, 5, 5, 4)),
        ("valid-strides", conv3d((1, 1, 2, 2, 1), "VALID"), (2, 3, 5, 6, 4)),
    ):
        # The quantizer has no rule for them.
        yield pattern(f"conv3d-{name}", function, x(*volume), flavours=(FLOAT32, FLOAT16))
