"""Resizing of images."""

from __future__ import annotations

from collections.abc import Iterator

import tensorflow as tf  # type: ignore[import-untyped]

from smoke_lambda.train.pattern import (
    FLOATING,
    Draw,
    Function,
    Pattern,
    Tensor,
    keras,
    pattern,
    x,
)


def resized(
    kind: str, size: tuple[int, int], *, corners: bool = False, centers: bool = False
) -> Function:
    """A function of a resizing."""
    raw = tf.raw_ops.ResizeBilinear if kind == "bilinear" else tf.raw_ops.ResizeNearestNeighbor
    return lambda _k, y: raw(images=y, size=size, align_corners=corners, half_pixel_centers=centers)


def by_shape(_k: Draw, y: Tensor) -> Tensor:
    """To twice the size, which is told at run time."""
    return tf.raw_ops.ResizeBilinear(
        images=y, size=tf.shape(y)[1:3] * 2, align_corners=False, half_pixel_centers=True
    )


def upsampled(interpolation: str) -> Function:
    """A Keras model that doubles an image, with a dynamic batch."""

    def make(_k: Draw) -> tf.keras.Model:
        image = tf.keras.Input((4, 5, 3), name="x0")
        layer = tf.keras.layers.UpSampling2D(2, interpolation=interpolation)
        return tf.keras.Model(image, layer(image))

    return make


def patterns() -> Iterator[Pattern]:
    """See the module."""
    for kind in ("bilinear", "nearest"):
        for name, size, options in (
            ("up", (7, 9), {}),
            ("up-corners", (7, 9), {"corners": True}),
            ("up-centers", (8, 10), {"centers": True}),
            ("down", (2, 3), {}),
            ("down-centers", (2, 3), {"centers": True}),
            ("to-one", (1, 1), {}),
            ("same-size", (4, 5), {"corners": True}),
        ):
            # The quantized kernels round in their own ways where pixels' centers are taken.
            yield pattern(f"{kind}-{name}", resized(kind, size, **options), x(1, 4, 5, 3))
        yield pattern(f"{kind}-batch-dynamic", resized(kind, (6, 7)), x(None, 4, 3, 2))
        yield keras(f"{kind}-upsampling-batch-dynamic", upsampled(kind), x(None, 4, 5, 3))
    yield pattern(
        "bilinear-by-shape", by_shape, x(1, None, None, 2), flavours=FLOATING, sizes=(3, 5)
    )
