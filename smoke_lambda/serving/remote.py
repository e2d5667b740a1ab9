"""Loads the handler of the Lambda function with its model on a server.

The handler (smoke_lambda/app.py) downloads, decodes, preprocesses and labels as it does in Lambda.
Its interpreter does not compute, but asks a server.
"""

from __future__ import annotations

import importlib.util
import itertools
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import grpc
import numpy as np

from smoke_lambda.serving.client import Client, Described
from smoke_lambda.serving.codec import Array
from smoke_lambda.serving.errors import Code

APP = Path(__file__).parents[1] / "app.py"
RUNTIME = "tflite_runtime"
_numbers = itertools.count()


class ChangedError(Exception):
    """The request was made for one model, and the server now has another."""


class Remote:
    """Has the methods of an Interpreter that the handler uses; each thread has its own tensors.

    Args:
        described: the model for which the handler makes requests.
    """

    def __init__(self, client: Client, described: Described) -> None:
        self.described = described
        self._client = client
        self._local = threading.local()

    def until(self, end: float) -> None:
        """Set the deadline of this thread's next inference (time.monotonic)."""
        self._local.end = end

    def allocate_tensors(self) -> None:
        """See Interpreter; does nothing here."""

    def get_input_details(self) -> list[dict[str, Any]]:
        """See Interpreter; the shape has one row."""
        tensor = self.described.input
        shape = np.array([1, *tensor.shape[1:]], np.int32)
        if len(shape) != 4 or shape.min() < 1 or shape[3] not in (1, 3):
            raise ValueError(f"the model's input of shape {list(tensor.shape)} is no picture")
        return [{"index": 0, "shape": shape, **_kind(tensor.dtype, tensor.quantization)}]

    def get_output_details(self) -> list[dict[str, Any]]:
        """See Interpreter."""
        tensor = self.described.output
        return [{"index": 1, **_kind(tensor.dtype, tensor.quantization)}]

    def set_tensor(self, _index: int, tensor: Array) -> None:
        """See Interpreter."""
        self._local.input = tensor

    def invoke(self) -> None:
        """Ask the server.

        Raises:
            grpc.RpcError: the server does not answer, or answers with an error.
            ChangedError: the model now has other inputs, outputs or scales.
        """
        inputs = {self.described.input_name: self._local.input}
        try:
            version, outputs = self._client.predict(inputs, self._left())
        except grpc.RpcError as error:
            if error.code() is Code.INVALID_ARGUMENT:
                self._check()
            raise
        if version != self.described.version:
            self._check()
        self._local.output = outputs[self.described.output_name]

    def _check(self) -> None:
        """Ask the server for its model, and accept it if only the version has changed.

        Raises:
            ChangedError: more than the version has changed.
        """
        now = self._client.describe(self._left())
        if replace(now, version=0) != replace(self.described, version=0):
            raise ChangedError
        self.described = now

    def get_tensor(self, _index: int) -> Array:
        """See Interpreter."""
        output: Array = self._local.output
        return output

    def _left(self) -> float:
        left: float = self._local.end - time.monotonic()
        return left


def _kind(dtype: np.dtype[Any], quantization: tuple[float, int]) -> dict[str, Any]:
    return {"dtype": dtype.type, "quantization": quantization}


def load_handler(
    remote: Remote, model: str, decodes: threading.Semaphore, app: Path = APP
) -> ModuleType:
    """Load the handler's module anew, with `remote` as its interpreter.

    Args:
        model: the name of the model in the answers.
        decodes: limits how many pictures are decoded at once.
        app: the handler's file.

    Raises:
        ValueError: the model does not take pictures.
    """
    spec = importlib.util.spec_from_file_location(f"{__package__}.handler{next(_numbers)}", app)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    names = (RUNTIME, f"{RUNTIME}.interpreter")
    before = {name: sys.modules.get(name) for name in names}
    runtime: Any = ModuleType(names[1])
    runtime.Interpreter = lambda model_path: remote  # noqa: ARG005 - the file is the server's
    sys.modules |= {names[0]: ModuleType(names[0]), names[1]: runtime}
    try:
        spec.loader.exec_module(module)
    finally:
        for name, found in before.items():
            if found is None:
                del sys.modules[name]
            else:
                sys.modules[name] = found
    handler: Any = module
    handler.MODEL_PATH = Path(f"{model}.tflite")
    handler.decode = _bounded(handler.decode, decodes)
    return module


def _bounded(decode: Callable[[bytes], Any], most: threading.Semaphore) -> Callable[[bytes], Any]:
    def bounded(data: bytes) -> Any:  # noqa: ANN401 - a picture
        with most:
            return decode(data)

    return bounded
