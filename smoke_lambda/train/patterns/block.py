"""Blocks of image networks, as functions of a fixed shape and as Keras has them."""

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

layers = tf.keras.layers


def normalized(y: Tensor, activation: str = "") -> Tensor:
    """Batch normalization, and an activation."""
    y = layers.BatchNormalization(epsilon=0.01)(y)
    return layers.Activation(activation)(y) if activation else y


def excited(y: Tensor, channels: int, reduced: int, gate: str) -> Tensor:
    """Squeeze-and-excitation, as EfficientNet has it."""
    squeezed = layers.GlobalAveragePooling2D()(y)
    squeezed = layers.Reshape((1, 1, channels))(squeezed)
    squeezed = layers.Conv2D(reduced, 1, activation="relu")(squeezed)
    squeezed = layers.Conv2D(channels, 1, activation=gate)(squeezed)
    return layers.multiply([y, squeezed])


def squeeze_and_excitation(y: Tensor) -> Tensor:
    """That block alone."""
    return excited(y, 34, 32, "sigmoid")


def kept(y: Tensor) -> Tensor:
    """The same, where the pooling keeps its dimensions: MobileNetV3's."""
    squeezed = layers.GlobalAveragePooling2D(keepdims=True)(y)
    squeezed = layers.Conv2D(32, 1, activation="relu")(squeezed)
    squeezed = layers.Conv2D(34, 1)(squeezed)
    gate = layers.ReLU(6.0)(squeezed + 3.0) * (1.0 / 6.0)
    return layers.Multiply()([y, gate])


def residual(y: Tensor) -> Tensor:
    """ResNet's bottleneck."""
    z = normalized(layers.Conv2D(16, 1)(y), "relu")
    z = normalized(layers.Conv2D(16, 3, padding="same")(z), "relu")
    z = normalized(layers.Conv2D(64, 1)(z))
    return layers.Activation("relu")(layers.Add()([y, z]))


def residual_strided(y: Tensor) -> Tensor:
    """With a shortcut that has a convolution of its own."""
    z = normalized(layers.Conv2D(16, 3, 2, padding="same")(y), "relu")
    z = normalized(layers.Conv2D(24, 3, padding="same")(z))
    shortcut = normalized(layers.Conv2D(24, 1, 2)(y))
    return layers.ReLU()(layers.Add()([shortcut, z]))


def inverted_residual(y: Tensor) -> Tensor:
    """MobileNetV2's."""
    z = normalized(layers.Conv2D(96, 1, use_bias=False)(y))
    z = layers.ReLU(6.0)(z)
    z = normalized(layers.DepthwiseConv2D(3, padding="same", use_bias=False)(z))
    z = normalized(layers.Conv2D(16, 1, use_bias=False)(layers.ReLU(6.0)(z)))
    return layers.Add()([y, z])


def mobilenet(y: Tensor) -> Tensor:
    """MobileNet's: depthwise, with explicit padding, and pointwise."""
    z = layers.ZeroPadding2D(((0, 1), (0, 1)))(y)
    z = normalized(layers.DepthwiseConv2D(3, 2, "valid", use_bias=False)(z))
    z = normalized(layers.Conv2D(66, 1, use_bias=False)(layers.ReLU(6.0)(z)))
    return layers.ReLU(6.0)(z)


def mobilenet_v3(y: Tensor) -> Tensor:
    """MobileNetV3's, with hard swish and its gate."""
    z = normalized(layers.Conv2D(34, 1, use_bias=False)(y))
    z = z * (layers.ReLU(6.0)(z + 3.0) * (1.0 / 6.0))
    z = normalized(layers.DepthwiseConv2D(5, padding="same", use_bias=False)(z), "relu")
    z = normalized(layers.Conv2D(16, 1, use_bias=False)(kept(z)))
    return layers.Add()([y, z])


def efficientnet(y: Tensor) -> Tensor:
    """EfficientNet's, with swish and its gate."""
    z = normalized(layers.Conv2D(48, 1, use_bias=False)(y), "swish")
    z = normalized(layers.DepthwiseConv2D(3, padding="same", use_bias=False)(z), "swish")
    z = excited(z, 48, 24, "sigmoid")
    z = normalized(layers.Conv2D(24, 1, use_bias=False)(z))
    return layers.add([y, z])


def dense_block(y: Tensor) -> Tensor:
    """DenseNet's: each layer sees all before it."""
    for _ in range(2):
        z = normalized(y, "relu")
        z = layers.Conv2D(10, 3, padding="same", use_bias=False)(z)
        y = layers.Concatenate()([y, z])
    return layers.AveragePooling2D(2)(y)


def inception(y: Tensor) -> Tensor:
    """Inception's: branches side by side."""
    branches = [
        layers.Conv2D(12, 1, activation="relu")(y),
        layers.Conv2D(16, (1, 5), padding="same", activation="relu")(y),
        layers.MaxPooling2D(3, 1, "same")(y),
        layers.Conv2D(9, 1, activation="relu")(layers.AveragePooling2D(3, 1, "same")(y)),
    ]
    return layers.Concatenate()(branches)


def xception(y: Tensor) -> Tensor:
    """Xception's: separable convolutions and a strided shortcut."""
    z = layers.SeparableConv2D(40, 3, padding="same", use_bias=False)(layers.ReLU()(y))
    z = layers.MaxPooling2D(3, 2, "same")(normalized(z))
    return layers.Add()([z, normalized(layers.Conv2D(40, 1, 2, "same")(y))])


def shuffle(y: Tensor) -> Tensor:
    """ShuffleNet's: channels change places."""
    first, second = tf.split(y, 2, -1)
    second = layers.Conv2D(12, 1, activation="relu")(second)
    y = layers.Concatenate()([first, second])
    y = layers.Reshape((5, 5, 2, 12))(y)
    return layers.Reshape((5, 5, 24))(layers.Permute((1, 2, 4, 3))(y))


def unet(y: Tensor) -> Tensor:
    """U-Net's: down, up, and what was before beside it."""
    z = layers.MaxPooling2D()(layers.Conv2D(12, 3, padding="same", activation="relu")(y))
    z = layers.Conv2D(16, 3, padding="same", activation="relu")(z)
    z = layers.UpSampling2D(interpolation="bilinear")(z)
    z = layers.Concatenate()([y, z])
    return layers.Conv2D(2, 1, activation="sigmoid")(z)


def classifier(y: Tensor) -> Tensor:
    """The head of a network."""
    z = layers.Conv2D(48, 1, activation="relu6")(y)
    return layers.Dense(40, activation="softmax")(layers.GlobalAveragePooling2D()(z))


def flattened(y: Tensor) -> Tensor:
    """A head that flattens: with a dynamic batch, by a shape that is told at run time."""
    z = layers.Flatten()(layers.Conv2D(4, 3, activation="relu")(y))
    return layers.Dense(33)(layers.Dropout(0.5)(z))


def excited_function(k: Draw, y: Tensor) -> Tensor:
    """Squeeze-and-excitation without Keras."""
    z = tf.reduce_mean(y, [1, 2], keepdims=True)
    z = tf.nn.relu(tf.nn.conv2d(z, k.weights(1, 1, 40, 32), 1, "SAME") + k.bias(32))
    return y * tf.sigmoid(tf.nn.conv2d(z, k.weights(1, 1, 32, 40), 1, "SAME") + k.bias(40))


def of(block: Function, shape: tuple[int, int, int], batch: int | None) -> Function:
    """A Keras model of a block."""

    def make(_k: Draw) -> tf.keras.Model:
        image = tf.keras.Input(shape, batch_size=batch, name="x0")
        return tf.keras.Model(image, block(image))

    return make


BLOCKS: tuple[tuple[str, Function, tuple[int, int, int]], ...] = (
    ("squeeze-and-excitation", squeeze_and_excitation, (4, 4, 34)),
    ("squeeze-and-excitation-keepdims", kept, (4, 4, 34)),
    ("residual", residual, (4, 4, 64)),
    ("residual-strided", residual_strided, (5, 5, 24)),
    ("inverted-residual", inverted_residual, (5, 5, 16)),
    ("mobilenet", mobilenet, (6, 6, 32)),
    ("mobilenet-v3", mobilenet_v3, (5, 5, 16)),
    ("efficientnet", efficientnet, (5, 5, 24)),
    ("dense-block", dense_block, (6, 6, 12)),
    ("inception", inception, (5, 5, 20)),
    ("xception", xception, (5, 5, 32)),
    ("shuffle", shuffle, (5, 5, 24)),
    ("unet", unet, (6, 6, 8)),
    ("classifier", classifier, (5, 5, 24)),
    ("flattened", flattened, (5, 5, 12)),
)


def patterns() -> Iterator[Pattern]:
    """See the module."""
    for name, block, shape in BLOCKS:
        for kind, batch, sizes, flavours in (
            ("", 1, (1,), WEIGHTED),
            # What differs from the flavours above is not the batch.
            ("-batch-dynamic", None, (1, 3), PLAIN),
        ):
            yield keras(
                f"{name}{kind}",
                of(block, shape, batch),
                x(batch, *shape),
                flavours=flavours,
                sizes=sizes,
                tolerance="deep",
            )
    yield pattern(
        "squeeze-and-excitation-function",
        excited_function,
        x(1, 5, 5, 40),
        flavours=WEIGHTED,
        tolerance="deep",
    )
