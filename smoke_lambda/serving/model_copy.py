"""Runs one copy of a model: an interpreter, which answers one request at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tflite_runtime.interpreter import Interpreter  # type: ignore[import-not-found]

from smoke_lambda.serving.codec import STRING, Array
from smoke_lambda.serving.errors import first_line, invalid
from smoke_lambda.serving.settings import Settings
from smoke_lambda.serving.signature import (
    DEFAULT,
    Batching,
    Signature,
    Tensor,
    tensor_of,
)

Runner = Callable[..., Mapping[str, Array]]

# The tolerated difference between the outputs of one batch and of single rows. Kernels differ by
# less when they take several rows at once; a wrong answer differs by far more.
TOLERANCE = 1e-3
QUANTUM = 2


class Copy:
    """An interpreter of a model's file. Two threads must not use it at once.

    Args:
        signatures: the signatures that another copy of the same file has found. To find them takes
            a few inferences.

    Raises:
        ValueError, RuntimeError: the file is no model, or this runtime cannot run the model.
    """

    def __init__(
        self, path: Path, threads: int, signatures: Mapping[str, Signature] | None = None
    ) -> None:
        self._path, self._threads = path, threads
        self._load()
        self.signatures = signatures or {
            key: signature.with_batching(self._batching(signature))
            for key, signature in self._read_signatures().items()
        }

    def _load(self) -> None:
        self._interpreter = Interpreter(model_path=str(self._path), num_threads=self._threads)
        self._interpreter.allocate_tensors()
        listed = self._interpreter.get_signature_list()
        self._runners: dict[str, Any] = {
            key: self._interpreter.get_signature_runner(key) for key in listed
        } or {DEFAULT: _Plain(self._interpreter)}

    def _read_signatures(self) -> dict[str, Signature]:
        return {
            key: Signature(
                key=key,
                inputs=_tensors(runner.get_input_details()),
                outputs=_tensors(runner.get_output_details()),
            )
            for key, runner in self._runners.items()
        }

    def run(self, key: str, inputs: Mapping[str, Array], wanted: Sequence[str]) -> dict[str, Array]:
        """Answer a request that fits a signature (Signature.check).

        Raises:
            ServingError: INVALID_ARGUMENT, if the runtime refuses the values or the shape.
        """
        batching = self.signatures[key].batching
        try:
            if batching is Batching.ROWS:
                found = self._by_rows(key, inputs)
            else:
                found = self._call(key, inputs)
        except (RuntimeError, ValueError) as error:
            # The interpreter would keep its new shape, or the state in which it stopped.
            self._load()
            raise invalid(f"the model cannot run: {first_line(error)}") from error
        return {name: found[name] for name in wanted}

    def _call(self, key: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """Run as if for the first time; a recurrent network would otherwise keep its state."""
        self._interpreter.reset_all_variables()
        found: Mapping[str, Array] = self._runners[key](**inputs)
        return found

    def _by_rows(self, key: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        rows = len(next(iter(inputs.values())))
        answers = [
            self._call(key, {name: array[row : row + 1] for name, array in inputs.items()})
            for row in range(rows)
        ]
        return {name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]}

    def _batching(self, signature: Signature) -> Batching:
        """Return how to answer batches, by comparing a batch of two rows with the single rows.

        Some models cannot be resized: a constant shape in the graph may make the model fail, or
        answer wrongly without an error.
        """
        if not signature.may_batch:
            return Batching.NONE
        pair = {name: _sample(tensor) for name, tensor in signature.inputs.items()}
        try:
            first = self._by_rows(signature.key, pair)
            if not _alike(first, self._by_rows(signature.key, pair)):
                return Batching.NONE  # the model is random: equal rows give different answers
        except (RuntimeError, ValueError):
            self._load()
            return Batching.NONE
        try:
            if _alike(first, self._call(signature.key, pair)):
                return Batching.RESIZE
        except (RuntimeError, ValueError):
            self._load()
        return Batching.ROWS


class _Plain:
    """Stands in for a SignatureRunner if a model has no signatures: runs the whole model."""

    def __init__(self, interpreter: Any) -> None:  # noqa: ANN401 - the runtime has no types here
        self._interpreter = interpreter
        self._inputs = {each["name"]: each for each in interpreter.get_input_details()}
        self._outputs = {each["name"]: each for each in interpreter.get_output_details()}

    def get_input_details(self) -> dict[str, Any]:
        """See SignatureRunner."""
        return self._inputs

    def get_output_details(self) -> dict[str, Any]:
        """See SignatureRunner."""
        return self._outputs

    def __call__(self, **inputs: Array) -> dict[str, Array]:
        """See SignatureRunner."""
        for name, array in inputs.items():
            self._interpreter.resize_tensor_input(self._inputs[name]["index"], array.shape)
        self._interpreter.allocate_tensors()
        for name, array in inputs.items():
            self._interpreter.set_tensor(self._inputs[name]["index"], array)
        self._interpreter.invoke()
        return {
            name: self._interpreter.get_tensor(details["index"])
            for name, details in self._outputs.items()
        }


def _tensors(details: Mapping[str, Mapping[str, Any]]) -> dict[str, Tensor]:
    return {name: tensor_of(each) for name, each in details.items()}


def _sample(tensor: Tensor) -> Array:
    """Return two different rows of values from 0 to 1, which most models accept."""
    shape = (2, *(max(size, 1) for size in tensor.shape[1:]))
    random = np.random.default_rng(1).random(shape)
    if tensor.dtype == STRING:
        return np.full(shape, b"a", np.object_)
    return (
        random.round().astype(tensor.dtype)
        if tensor.dtype.kind in "iub"
        else random.astype(tensor.dtype)
    )


def _alike(one: Mapping[str, Array], other: Mapping[str, Array]) -> bool:
    return all(_close(one[name], other[name]) for name in one)


def _close(one: Array, other: Array) -> bool:
    if one.shape != other.shape:
        return False
    if one.dtype.kind in "iu":
        return bool(np.abs(one.astype(np.int64) - other.astype(np.int64)).max(initial=0) <= QUANTUM)
    if one.dtype.kind in "fc":
        scale = max(float(np.abs(one).max(initial=0)), 1e-6)
        return bool(np.allclose(one, other, rtol=TOLERANCE, atol=TOLERANCE * scale, equal_nan=True))
    return bool(np.array_equal(one, other))


def load(path: Path, settings: Settings) -> list[Copy]:
    """Load a model's file into as many copies as the settings ask for.

    Raises:
        ValueError, RuntimeError: the file cannot be loaded.
    """
    first = Copy(path, settings.threads)
    others = [Copy(path, settings.threads, first.signatures) for _ in range(1, settings.copies)]
    return [first, *others]
