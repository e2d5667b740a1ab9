"""Converts a model of Keras to a TensorFlow Lite file; started by ci/proof/converter.py.

    python -m smoke_lambda.train.keras_conversion JOB.json

Runs in the environment of requirements/train.txt (Keras 2) or convert.txt (Keras 3). A model that
cannot be converted ends it with a line that begins with `refused: `.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf  # type: ignore[import-untyped]

from smoke_lambda.conform.environment import REFUSED
from smoke_lambda.inside.conform.corpus import Array

SIGNATURE = "serving_default"


class RefusedError(Exception):
    """The model, or what it is to be calibrated with, cannot be used; the text says why."""


def main(arguments: Sequence[str]) -> int:
    """The command line; returns its exit code."""
    job = json.loads(Path(arguments[0]).read_text())
    try:
        Path(job["out"]).write_bytes(converted(job))
    except RefusedError as error:
        print(f"{REFUSED}{error}")
        return 1
    return 0


def converted(job: Mapping[str, Any]) -> bytes:
    """The file of a job.

    Raises:
        RefusedError: see there.
    """
    model = loaded(job["model"])
    specs = [spec(tensor, job["shapes"]) for tensor in model.inputs]
    outputs = [name.rpartition("/")[2] for name in model.output_names]
    holder = tf.Module()
    # What is saved of a Keras 3 variable is the one of TensorFlow within it: without that, the
    # converter leaves variables in the model to which nobody gives their values.
    holder.weights = [
        each if isinstance(each, tf.Variable) else each.value for each in model.variables
    ]
    holder.model = model

    def call(*inputs: Any) -> dict[str, Any]:  # noqa: ANN401 - TensorFlow has no types
        found = model(inputs[0] if len(inputs) == 1 else [*inputs], training=False)
        return dict(zip(outputs, tf.nest.flatten(found), strict=True))

    function = tf.function(call, input_signature=specs)
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(holder, folder, signatures={SIGNATURE: function})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, [SIGNATURE])
        choose(converter, job, specs)
        try:
            return bytes(converter.convert())
        except Exception as error:  # the converter raises kinds of its own
            raise RefusedError(f"TensorFlow cannot convert it: {first_line(error)}") from error


def loaded(path: str) -> Any:  # noqa: ANN401
    """The model of a file."""
    try:
        model = tf.keras.models.load_model(path, compile=False)
    except Exception as error:  # of whatever reads the file
        raise RefusedError(
            f"Keras {tf.keras.__version__} cannot load it: {first_line(error)}"
        ) from error
    if not model.inputs:
        raise RefusedError("it was never called, and has no inputs: call it once, and save it")
    return model


def spec(tensor: Any, shapes: Mapping[str, Sequence[int]]) -> Any:  # noqa: ANN401
    """An input with a batch of one."""
    name = str(tensor.name).partition(":")[0]
    given = shapes.get(name, shapes.get(""))
    shape = [*given] if given else [1, *tensor.shape[1:]]
    if None in shape:
        shown = ",".join("?" if size is None else str(size) for size in shape)
        raise RefusedError(f"the input {name} has open dimensions: name them, --shape {shown}")
    return tf.TensorSpec(shape, tensor.dtype, name.replace("/", "_"))


def choose(converter: Any, job: Mapping[str, Any], specs: Sequence[Any]) -> None:  # noqa: ANN401
    """Tell the converter what numbers the model is to have."""
    flavour = job["flavour"]
    if flavour == "float32":
        return
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if flavour == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if flavour == "int8":
        examples = [*representative(job, specs)]
        converter.representative_dataset = lambda: examples
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tf.int8
        converter.inference_output_type = tf.int8


def representative(job: Mapping[str, Any], specs: Sequence[Any]) -> Iterator[list[Array]]:
    """The inputs whose ranges an int8 model is made for: pictures, or arrays of one input each."""
    if len(specs) != 1:
        raise RefusedError(f"int8 is for models of one input, and it has {len(specs)}")
    shape = tuple(specs[0].shape)
    for file in job["representative"]:
        array = np.load(file) if file.endswith(".npy") else picture(file, shape, job)
        if array.size != np.prod(shape):
            raise RefusedError(f"{file} has the shape {[*array.shape]}, and the input {[*shape]}")
        yield [array.reshape(shape).astype(specs[0].dtype.as_numpy_dtype)]


def picture(file: str, shape: Sequence[int], job: Mapping[str, Any]) -> Array:
    """A picture as Keras loads it, scaled as the function scales it."""
    if len(shape) != 4 or shape[3] not in (1, 3):
        raise RefusedError(f"{file} is a picture, and the input of shape {[*shape]} is none")
    mode = "grayscale" if shape[3] == 1 else "rgb"
    image = tf.keras.utils.load_img(
        file, color_mode=mode, target_size=shape[1:3], interpolation=job["resize"]
    )
    scaling = job["scaling"]
    pixels = np.asarray(image, np.float32).reshape(shape)
    if scaling["bgr"]:
        pixels = pixels[..., ::-1]
    mean, std = (np.float32(scaling[key]) for key in ("mean", "std"))
    scaled: Array = (pixels / np.float32(scaling["divisor"]) - mean) / std
    return scaled


def first_line(error: Exception) -> str:
    """The first line of an error that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[0][:300]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
