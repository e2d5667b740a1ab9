"""Convert a pattern, in a flavour, to a TensorFlow Lite file.

Runs in the environment of requirements/train.txt.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

import tensorflow as tf  # type: ignore[import-untyped]

from smoke_lambda.inside.conform.corpus import Array
from smoke_lambda.train.pattern import FLOAT16, FLOAT32, INT8, Draw, Pattern

CALIBRATION_SEED = "calibration"
CALIBRATION_CASES = 4


def converted(pattern: Pattern, flavour: str) -> bytes:
    """The file of a pattern in a flavour."""
    tf.keras.backend.clear_session()
    draw = Draw(pattern.name)
    tf.keras.utils.set_random_seed(draw.seed)
    built = pattern.build(draw)
    with tempfile.TemporaryDirectory() as folder:
        converter = _converter(built, folder)
        if pattern.custom:
            converter.allow_custom_ops = True
        if flavour != FLOAT32:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if flavour == FLOAT16:
            converter.target_spec.supported_types = [tf.float16]
        if flavour == INT8:
            converter.representative_dataset = lambda: calibration(pattern)
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            if not pattern.float_io:
                converter.inference_input_type = tf.int8
                converter.inference_output_type = tf.int8
        return bytes(converter.convert())


def calibration(pattern: Pattern) -> Iterator[list[Array]]:
    """Inputs to calibrate the ranges of an int8 model with: those of the cases, and more."""
    yield from pattern.samples()
    draw = Draw(f"{pattern.name} {CALIBRATION_SEED}")
    for _ in range(CALIBRATION_CASES):
        yield [each.sample(draw, 0, pattern.sizes[0]) for each in pattern.inputs]


def _converter(built: Any, folder: str) -> Any:  # noqa: ANN401 - TensorFlow has no types
    if isinstance(built, tf.keras.Model):
        # What from_keras_model converts; it saves Keras' own functions first, for seconds.
        holder = tf.Module()
        holder.weights = built.weights
        specs = [tf.TensorSpec(x.shape, x.dtype, x.name) for x in built.inputs]
        function = tf.function(lambda *inputs: built([*inputs], training=False), specs)
        traced = function.get_concrete_function()
        return tf.lite.TFLiteConverter.from_concrete_functions([traced], holder)
    if isinstance(built, tf.Module):
        signatures = built.exported
        assert isinstance(signatures, Mapping)
        tf.saved_model.save(built, folder, signatures=dict(signatures))
        return tf.lite.TFLiteConverter.from_saved_model(folder, list(signatures))
    return tf.lite.TFLiteConverter.from_concrete_functions([built.get_concrete_function()], built)
