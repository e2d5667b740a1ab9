"""ONNX Runtime behind the part of TensorFlow Lite's Interpreter that this repository uses.

So one handler serves both runtimes, and one process times both. Pictures are [1, height, width,
channels] here, as TensorFlow Lite has them; a model that wants its channels first gets them first.

An ONNX file says of no input or output which real numbers its integers stand for. Where those of
a converted model do, its metadata says so: `quantization` is JSON, {name: [scale, zero point]}.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import onnxruntime  # type: ignore[import-not-found,import-untyped,unused-ignore]

QUANTIZATION = "quantization"
DTYPES = {"float": "float32", "double": "float64"}


class Interpreter:
    """A model and its tensors.

    Args:
        num_threads: for one inference; by default, ONNX Runtime decides.

    Raises:
        ValueError: the file is no model that this runtime can run, or its size is open.
    """

    def __init__(self, model_path: str, num_threads: int = 0) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = num_threads
        # A thread that waits by spinning uses up the share of a processor that Lambda gives.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(
                model_path, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its kinds of errors have no common class of their own
            raise ValueError(f"ONNX Runtime cannot load the model: {error}") from error
        found = self._session.get_modelmeta().custom_metadata_map.get(QUANTIZATION, "{}")
        scales = json.loads(found)
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        self._inputs = [_details(number, node, scales) for number, node in enumerate(inputs)]
        self._outputs = [_details(number, node, scales) for number, node in enumerate(outputs)]
        for node in inputs:
            if 1 in _shape(node.shape[1:]) and _shape(node.shape[1:]) != list(node.shape[1:]):
                raise ValueError(
                    f"the input {node.name} of shape {node.shape} is open: "
                    "only its batch may be; export the model with a fixed size"
                )
        for detail in self._inputs:
            if _is_channels_first(detail["shape"]):
                detail["shape"] = detail["shape"][[0, 2, 3, 1]]
        self._feeds: dict[str, Any] = {}
        self._found: list[Any] = []

    def allocate_tensors(self) -> None:
        """See TensorFlow Lite; ONNX Runtime has done so, or does with the first inference."""

    def get_input_details(self) -> list[dict[str, Any]]:
        """Of each input: `index`, `name`, `shape`, `dtype`, `quantization` (scale, zero point)."""
        return self._inputs

    def get_output_details(self) -> list[dict[str, Any]]:
        """Of each output, as of the inputs."""
        return self._outputs

    def resize_tensor_input(self, index: int, shape: Any) -> None:  # noqa: ANN401
        """Give an input of open shape another one."""
        self._inputs[index]["shape"] = np.array(shape, np.int32)

    def set_tensor(self, index: int, tensor: Any) -> None:  # noqa: ANN401
        """The input of the next inference, of the shape and type that its details have."""
        node = self._session.get_inputs()[index]
        if tensor.ndim == 4 and _is_channels_first(np.array(_shape(node.shape))):
            tensor = tensor.transpose(0, 3, 1, 2)
        self._feeds[node.name] = np.ascontiguousarray(tensor)

    def invoke(self) -> None:
        """Run the model.

        Raises:
            ValueError: an input does not fit.
        """
        try:
            self._found = self._session.run(None, self._feeds)
        except Exception as error:  # see above
            raise ValueError(f"ONNX Runtime: {error}") from error

    def get_tensor(self, index: int) -> Any:  # noqa: ANN401
        """An output of the last inference."""
        return self._found[index]


def _details(index: int, node: Any, scales: dict[str, Any]) -> dict[str, Any]:  # noqa: ANN401
    kind = node.type[len("tensor(") : -1]
    scale, zero = scales.get(node.name, (0.0, 0))
    return {
        "index": index,
        "name": node.name,
        "shape": np.array(_shape(node.shape), np.int32),
        "dtype": np.dtype(DTYPES.get(kind, kind)).type,
        "quantization": (scale, zero),
    }


def _shape(shape: list[Any]) -> list[int]:
    """A shape with 1 for what is open: those have a name, or none."""
    return [size if isinstance(size, int) and size > 0 else 1 for size in shape]


def _is_channels_first(shape: Any) -> bool:  # noqa: ANN401
    """Whether a shape is that of a picture with its channels before its height and width."""
    return len(shape) == 4 and shape[1] in (1, 3) and shape[3] not in (1, 3)
