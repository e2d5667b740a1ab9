"""Makes of one model what each runtime runs: TensorFlow Lite, ONNX, inputs and expected answers.

    python -m smoke_lambda.train.exchange JOB.json

Runs in the environment of requirements/convert.txt; started by ci/compare/models.py, which says
what is in a job. Into the job's folder go

    model.tflite
    converted.onnx     of the same graph, with the scales of integers in its metadata
    own.onnx           quantized by ONNX Runtime itself, where there is a float32 model for that
    given.onnx         the user's own
    cases.npz          inputs, as smoke_lambda.inside.timing reads them
    real.npz           the same in real numbers, for models that take such
    answers.npz        what the reference kernels answer, in real numbers
    made.json          `tflite` and `onnx`: of each file `label`, `file`, `cases`; `error` where a
                       file is missing; `picture`: the size that the model wants, or null
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import numpy as np
import onnx  # type: ignore[import-not-found,unused-ignore]
import onnxruntime  # type: ignore[import-not-found,unused-ignore]
import tensorflow as tf  # type: ignore[import-untyped]
import tf2onnx  # type: ignore[import-not-found,unused-ignore]
from onnxruntime import quantization as ort  # type: ignore[import-not-found,unused-ignore]
from PIL import Image
from tensorflow.python.framework.convert_to_constants import (  # type: ignore[import-untyped]
    convert_variables_to_constants_v2,
)

from smoke_lambda.inside.conform.corpus import Array, read_arrays
from smoke_lambda.inside.probing import MARK
from smoke_lambda.train.answers import dequantized, quantized, reference

OPSET = 17
"""The newest that ONNX Runtime 1.16 has, the oldest that is compared, and tf2onnx writes."""
QUANTIZATION = "quantization"
"""See smoke_lambda/inside/onnx_interpreter.py."""
CALIBRATION = 8
SEED = 7


def main(arguments: Sequence[str]) -> int:
    """The command line; returns its exit code."""
    job = json.loads(Path(arguments[0]).read_text())
    folder = Path(job["folder"])
    model = Path(job["model"])
    made: dict[str, Any] = {"onnx": []}
    keras = None if model.suffix == ".tflite" else tf.keras.models.load_model(model, compile=False)
    content = model.read_bytes() if keras is None else tflite_of(keras)
    (folder / "model.tflite").write_bytes(content)
    interpreter = reference(content, optimized=False)
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    made["picture"] = picture_size(inputs)
    fed, answers = cases_of(job, interpreter, inputs, outputs)
    real = [dequantized(value, detail) for value, detail in zip(fed, inputs, strict=True)]
    np.savez(folder / "cases.npz", **named(fed))
    np.savez(folder / "real.npz", **named(real))
    np.savez(folder / "answers.npz", *answers)
    made["tflite"] = {"file": "model.tflite", "cases": "cases.npz", "label": ""}
    made["onnx"] = [*onnx_files(job, folder, keras, inputs + outputs, real, answers)]
    (folder / "made.json").write_text(json.dumps(made, indent=1))
    print(f"{MARK}{{}}")
    return 0


def picture_size(inputs: Sequence[Mapping[str, Any]]) -> list[int] | None:
    """Height, width and channels, of a model whose one input is a picture."""
    if len(inputs) != 1:
        return None
    shape = [int(size) for size in inputs[0]["shape"]]
    return shape[1:] if len(shape) == 4 and shape[0] == 1 and shape[3] in (1, 3) else None


def cases_of(
    job: Mapping[str, str],
    interpreter: Any,  # noqa: ANN401 - TensorFlow has no types
    inputs: Sequence[Mapping[str, Any]],
    outputs: Sequence[Mapping[str, Any]],
) -> tuple[list[Array], list[Array]]:
    """Inputs as the model takes them, and the reference kernels' answers in real numbers."""
    if job["cases"]:
        stored = read_arrays(Path(job["cases"]).read_bytes())
        found = [stored[f"0.out.{number}"] for number in range(len(outputs))]
        fed = [stored[f"0.in.{number}"] for number in range(len(inputs))]
        return fed, [dequantized(v, detail) for v, detail in zip(found, outputs, strict=True)]
    random = np.random.RandomState(SEED)
    size = picture_size(inputs)
    if job["picture"] and size:
        fed = [quantized(picture(Path(job["picture"]), size), inputs[0])]
    else:
        fed = [drawn(detail, random) for detail in inputs]
    interpreter.allocate_tensors()
    for value, detail in zip(fed, inputs, strict=True):
        interpreter.set_tensor(detail["index"], value)
    interpreter.invoke()
    answers = [dequantized(interpreter.get_tensor(each["index"]), each) for each in outputs]
    return fed, answers


def picture(path: Path, size: Sequence[int]) -> Array:
    """A picture as smoke_lambda/app.py makes it an input: values from 0 to 1."""
    height, width, channels = size
    image = Image.open(path).convert("L" if channels == 1 else "RGB")
    pixels = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR), np.float32)
    return pixels.reshape(1, *size) / np.float32(255)


def drawn(detail: Mapping[str, Any], random: np.random.RandomState) -> Array:
    """An input of that shape and type; integers that stand for no real numbers are small."""
    shape, dtype = detail["shape"], np.dtype(detail["dtype"])
    if dtype.kind == "f":
        return random.uniform(0, 1, size=shape).astype(dtype)
    low, high = (np.iinfo(dtype).min, np.iinfo(dtype).max) if detail["quantization"][0] else (0, 1)
    return random.randint(low, high + 1, size=shape).astype(dtype)


def named(arrays: Sequence[Array]) -> dict[str, Array]:
    """The arrays of an npz, by the names that a corpus gives them."""
    return {f"0.in.{number}": array for number, array in enumerate(arrays)}


def tflite_of(keras: Any) -> bytes:  # noqa: ANN401
    """A Keras model in TensorFlow Lite's format, for one picture or row at a time."""
    call, _ = fixed(keras)
    # The converter does not find Keras 3's variables by itself.
    graph = convert_variables_to_constants_v2(call.get_concrete_function())
    content: bytes = tf.lite.TFLiteConverter.from_concrete_functions([graph], keras).convert()
    return content


def fixed(keras: Any) -> tuple[Any, list[Any]]:  # noqa: ANN401
    """A Keras model as a function of a fixed batch of one, and the kinds of its inputs."""
    kinds = [
        tf.TensorSpec((1, *each.shape[1:]), each.dtype, name=each.name) for each in keras.inputs
    ]

    @tf.function(input_signature=kinds)  # type: ignore[untyped-decorator,unused-ignore]
    def call(*tensors: Any) -> Any:  # noqa: ANN401
        return keras(tensors[0] if len(tensors) == 1 else list(tensors), training=False)

    return call, kinds


def onnx_files(
    job: Mapping[str, str],
    folder: Path,
    keras: Any,  # noqa: ANN401
    details: Sequence[Mapping[str, Any]],
    real: Sequence[Array],
    answers: Sequence[Array],
) -> Iterator[dict[str, str]]:
    """What ONNX Runtime runs: what was given, else what can be converted."""
    if job["onnx"]:
        (folder / "given.onnx").write_bytes(Path(job["onnx"]).read_bytes())
        yield {"label": "its own file", "file": "given.onnx", "cases": "real.npz"}
        return
    is_integer = any(detail["quantization"][0] for detail in details)
    entry = {"label": "converted", "file": "converted.onnx", "cases": "cases.npz"}
    try:
        if keras is None:
            convert_tflite(folder / "model.tflite", folder / entry["file"])
            describe(folder / entry["file"], details)
        else:
            convert_keras(keras, folder / entry["file"])
            order_outputs(folder / entry["file"], real, answers)
        yield entry
    except Exception as error:  # tf2onnx raises every kind
        yield entry | {"error": f"tf2onnx cannot convert it: {line_of(error)}"}
    if is_integer and job["float32"]:
        own = {"label": "quantized by itself", "file": "own.onnx", "cases": "real.npz"}
        try:
            quantize(Path(job["float32"]), folder, folder / own["file"], real)
            yield own
        except Exception as error:
            yield own | {"error": f"it cannot be quantized: {line_of(error)}"}


def convert_tflite(model: Path, target: Path) -> None:
    """Write a TensorFlow Lite model as ONNX; its batch stays as it is."""
    tf2onnx.convert.from_tflite(str(model), opset=OPSET, output_path=str(target))
    converted = onnx.load(target)
    interpreter = tf.lite.Interpreter(model_path=str(model))
    details = interpreter.get_input_details() + interpreter.get_output_details()
    nodes = [*converted.graph.input, *converted.graph.output]
    # An open batch would keep ONNX Runtime from planning its memory ahead.
    for node, detail in zip(nodes, details, strict=True):
        for dimension, size in zip(node.type.tensor_type.shape.dim, detail["shape"], strict=False):
            dimension.dim_value = int(size)
    onnx.save(converted, target)


def convert_keras(keras: Any, target: Path) -> None:  # noqa: ANN401
    """Write a Keras model as ONNX, for one picture or row at a time."""
    call, kinds = fixed(keras)
    tf2onnx.convert.from_function(call, input_signature=kinds, opset=OPSET, output_path=str(target))


def order_outputs(path: Path, real: Sequence[Array], answers: Sequence[Array]) -> None:
    """Put the outputs of an ONNX file into the order of TensorFlow Lite's.

    TensorFlow's converter has an order of its own. Each answer gets, of the outputs of its shape
    that are left, the one that comes nearest; a file with other outputs stays as it is.
    """
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [node.name for node in session.get_inputs()]
    found = session.run(None, dict(zip(names, real, strict=True)))
    left = dict(enumerate(found))
    order = []
    for answer in answers:
        fitting = [number for number, value in left.items() if value.shape == answer.shape]
        if not fitting:
            return
        order.append(min(fitting, key=lambda n: float(np.abs(left[n] - answer).max(initial=0))))
        del left[order[-1]]
    model = onnx.load(path)
    outputs = [model.graph.output[number] for number in [*order, *left]]
    del model.graph.output[:]
    model.graph.output.extend(outputs)
    onnx.save(model, path)


def describe(path: Path, details: Sequence[Mapping[str, Any]]) -> None:
    """Note in an ONNX file which real numbers its integers stand for."""
    model = onnx.load(path)
    nodes = [*model.graph.input, *model.graph.output]
    scales = {
        node.name: [float(scale), int(zero)]
        for node, detail in zip(nodes, details, strict=True)
        for scale, zero in [detail["quantization"]]
        if scale
    }
    onnx.helper.set_model_props(model, {QUANTIZATION: json.dumps(scales)})
    onnx.save(model, path)


class Calibration(ort.CalibrationDataReader):  # type: ignore[misc,unused-ignore]
    """Inputs by which ONNX Runtime measures the ranges of tensors."""

    def __init__(self, names: Sequence[str], real: Sequence[Array]) -> None:
        random = np.random.RandomState(SEED)
        low, high = [float(v.min()) for v in real], [float(v.max()) for v in real]
        more = [
            [
                random.uniform(lo, hi, v.shape).astype(np.float32)
                for lo, hi, v in zip(low, high, real, strict=True)
            ]
            for _ in range(CALIBRATION - 1)
        ]
        self._left = [dict(zip(names, values, strict=True)) for values in [list(real), *more]]

    def get_next(self) -> dict[str, Array] | None:
        """The next inputs; None at the end."""
        return self._left.pop() if self._left else None


def quantize(float32: Path, folder: Path, target: Path, real: Sequence[Array]) -> None:
    """Quantize a float32 model with ONNX Runtime's own tool, as its documentation advises.

    https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html: QDQ, activations
    uint8 and weights int8 by channel.
    """
    plain, prepared = folder / "float32.onnx", folder / "prepared.onnx"
    convert_tflite(float32, plain)
    # The shapes are fixed: nothing is to be inferred of symbols.
    ort.quant_pre_process(plain, prepared, skip_symbolic_shape=True)
    names = [node.name for node in onnx.load(prepared).graph.input]
    ort.quantize_static(
        prepared,
        target,
        Calibration(names, real),
        quant_format=ort.QuantFormat.QDQ,
        activation_type=ort.QuantType.QUInt8,
        weight_type=ort.QuantType.QInt8,
        per_channel=True,
    )
    plain.unlink()
    prepared.unlink()


def line_of(error: Exception) -> str:
    """An error as one line."""
    words = " ".join(f"{type(error).__name__}: {error}".split())
    return words if len(words) <= 160 else words[:159] + "…"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
