"""What a model takes and gives: its signatures, and whether a request fits one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import numpy as np

from smoke_lambda.serving.codec import NUMBERS, STRING, Array, type_name
from smoke_lambda.serving.errors import invalid

DEFAULT = "serving_default"
"""The signature of requests that name none, and of models that have none."""


class Batching(Enum):
    """How a batch of several rows is answered."""

    RESIZE = "the model is resized to it"
    ROWS = "row by row"
    NONE = "not at all: the model takes its own shape alone"


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """An input or output.

    Attributes:
        name: the tensor's in the model's file; a signature has another for it.
        shape: -1 where any size fits.
        quantization: scale and zero point; a scale of 0 if it has none.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    quantization: tuple[float, int] = (0.0, 0)

    @property
    def may_batch(self) -> bool:
        """Whether its first dimension can be one of rows."""
        return bool(self.shape) and self.shape[0] in (1, -1)

    def batched(self) -> Tensor:
        """The same, for any number of rows."""
        return replace(self, shape=(-1, *self.shape[1:]))


@dataclass(frozen=True, kw_only=True)
class Signature:
    """A function of the model.

    Attributes:
        inputs, outputs: by the names that clients use.
    """

    key: str
    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]
    batching: Batching = Batching.NONE

    @property
    def may_batch(self) -> bool:
        """Whether every input and output can have rows."""
        tensors = (*self.inputs.values(), *self.outputs.values())
        return bool(self.inputs) and all(tensor.may_batch for tensor in tensors)

    def with_batching(self, batching: Batching) -> Signature:
        """The same, which answers batches in that way."""
        if batching is Batching.NONE:
            return self
        return replace(
            self,
            inputs={name: tensor.batched() for name, tensor in self.inputs.items()},
            outputs={name: tensor.batched() for name, tensor in self.outputs.items()},
            batching=batching,
        )

    def check_names(self, found: Iterable[str]) -> None:
        """Refuse other inputs than the model has, before any of them is read.

        Raises:
            ServingError: INVALID_ARGUMENT, with what was expected.
        """
        given = set(found)
        if given != self.inputs.keys():
            raise invalid(
                f'signature "{self.key}" has the inputs {names(self.inputs)}, not {names(given)}'
            )

    def check(self, inputs: Mapping[str, Array], max_batch: int) -> None:
        """Refuse what the model cannot take.

        Raises:
            ServingError: INVALID_ARGUMENT, with what was expected.
        """
        self.check_names(inputs)
        for name, array in inputs.items():
            tensor = self.inputs[name]
            if array.dtype != tensor.dtype:
                raise invalid(
                    f'input "{name}" must be of type {type_name(tensor.dtype)}, '
                    f"not {type_name(array.dtype)}"
                )
            if not fits(array.shape, tensor.shape):
                raise invalid(
                    f'input "{name}" must be of shape {list(tensor.shape)}, not {list(array.shape)}'
                )
        if self.batching is not Batching.NONE:
            sizes = {array.shape[0] for array in inputs.values()}
            # What is resized to them, a model may take: one row for all of another input, say.
            if len(sizes) > 1 and self.batching is Batching.ROWS:
                raise invalid(f"the inputs have different numbers of rows: {sorted(sizes)}")
            if not 1 <= max(sizes) <= max_batch:
                raise invalid(f"a request must have from 1 to {max_batch} rows, not {max(sizes)}")

    def wanted(self, output_filter: Iterable[str]) -> tuple[str, ...]:
        """The outputs that a request asks for: all, if it names none.

        Raises:
            ServingError: INVALID_ARGUMENT, where it names one that there is not, or one twice.
        """
        asked = tuple(output_filter)
        for name in asked:
            if name not in self.outputs:
                raise invalid(
                    f"output tensor alias not found in signature: {name}; "
                    f"there are {names(self.outputs)}"
                )
        if len(set(asked)) != len(asked):
            raise invalid(f"duplicate output tensor alias in {names(asked)}")
        return asked or tuple(self.outputs)


def fits(shape: tuple[int, ...], expected: tuple[int, ...]) -> bool:
    """Whether a shape is the expected one, where -1 stands for any size but 0."""
    return len(shape) == len(expected) and all(
        size == wanted or (wanted == -1 and size > 0)
        for size, wanted in zip(shape, expected, strict=True)
    )


def names(found: Iterable[str]) -> str:
    """Names in a message: sorted, few, and short, since a client may have sent them."""
    listed = sorted(name[:80] for name in found)
    return f"[{', '.join(listed[:20])}{', …' if len(listed) > 20 else ''}]"


def tensor_of(details: Mapping[str, Any]) -> Tensor:
    """What the runtime says of a tensor (Interpreter.get_input_details).

    Raises:
        ValueError: its type has no place in TensorFlow's messages.
    """
    dtype = np.dtype(details["dtype"])
    dtype = STRING if dtype.kind in "SU" else dtype
    if dtype not in NUMBERS:
        raise ValueError(f"{details['name']} is of type {dtype}, which cannot be sent")
    # Of the shape with its unknown sizes there is nothing where the converter knew all of them.
    shape = details["shape_signature"]
    shape = shape if len(shape) == len(details["shape"]) else details["shape"]
    scale, zero_point = details["quantization"]
    return Tensor(
        name=details["name"],
        shape=tuple(int(size) for size in shape),
        dtype=dtype,
        quantization=(float(scale), int(zero_point)),
    )
