"""Spectra of sound, and random numbers that are told where to begin."""

from __future__ import annotations

from collections.abc import Iterator

import tensorflow as tf  # type: ignore[import-untyped]

from smoke_lambda.train.pattern import FLOATING, Draw, Input, Pattern, Tensor, pattern, x


def spectrum(_k: Draw, y: Tensor) -> Tensor:
    """The magnitude of a spectrum."""
    return tf.abs(tf.signal.rfft(y))


def spectrum2d(_k: Draw, y: Tensor) -> Tensor:
    """Of two dimensions, as it is."""
    return tf.signal.rfft2d(y, [4, 8])


def frames(k: Draw, y: Tensor) -> Tensor:
    """Spectra of overlapping frames, in bands, as keyword spotting has them."""
    spectra = tf.abs(tf.signal.stft(y, 16, 8, 16))
    return tf.math.log(tf.matmul(spectra, tf.abs(k.weights(9, 5))) + 0.1)


def audio(_k: Draw, y: Tensor) -> Tensor:
    """TensorFlow's own spectrogram and its coefficients."""
    power = tf.raw_ops.AudioSpectrogram(input=y, window_size=64, stride=32, magnitude_squared=True)
    return tf.raw_ops.Mfcc(
        spectrogram=power, sample_rate=8000, filterbank_channel_count=10, dct_coefficient_count=6
    )


def patterns() -> Iterator[Pattern]:
    """See the module."""
    yield pattern("rfft-magnitude", spectrum, x(2, 16), flavours=FLOATING, tolerance="spectrum")
    yield pattern("rfft2d", spectrum2d, x(4, 8), flavours=FLOATING, tolerance="spectrum")
    yield pattern("stft-bands", frames, x(1, 48), flavours=FLOATING, tolerance="spectrum")
    yield pattern(
        "spectrogram-mfcc", audio, x(160, 1), flavours=FLOATING, tolerance="spectrum", custom=True
    )
    lengths = Input((2,), "int32", values=([2, 3], [3, 4]))
    # TensorFlow itself counts on from call to call, the runtime begins anew.
    for name, function in (
        (
            "uniform",
            lambda _k, n: tf.raw_ops.RandomUniform(shape=n, dtype=tf.float32, seed=7, seed2=9),
        ),
        (
            "normal",
            lambda _k, n: tf.raw_ops.RandomStandardNormal(
                shape=n, dtype=tf.float32, seed=7, seed2=9
            ),
        ),
    ):
        yield pattern(f"random-{name}", function, lengths, flavours=FLOATING, own=False)
    yield pattern(
        "multinomial",
        lambda _k, y: tf.raw_ops.Multinomial(logits=y, num_samples=9, seed=7, seed2=9),
        x(2, 5),
        flavours=FLOATING,
        own=False,
    )
