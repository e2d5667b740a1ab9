"""Describes the signatures of a model, and checks that a request fits its signature."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import numpy as np

from smoke_lambda.serving.codec import NUMBERS, STRING, Array, type_name
from smoke_lambda.serving.errors import invalid

DEFAULT = "serving_default"
"""The signature for a request that names none, and the only one of a model without signatures."""


class Batching(Enum):
    """The way to answer a batch of several rows."""

    RESIZE = "the model is resized to it"
    ROWS = "row by row"
    NONE = "not at all: the model takes its own shape alone"


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """An input or output of a model.

    Attributes:
        name: the tensor's name in the model's file; its name in a signature is another one.
        shape: -1 stands for any size.
        quantization: scale and zero point; the scale is 0 if the tensor has none.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    quantization: tuple[float, int] = (0.0, 0)

    @property
    def may_batch(self) -> bool:
        """True if the first dimension can count rows: its size is 1 or any."""
        return bool(self.shape) and self.shape[0] in (1, -1)

    def batched(self) -> Tensor:
        """Return a copy of the tensor with any number of rows."""
        return replace(self, shape=(-1, *self.shape[1:]))


@dataclass(frozen=True, kw_only=True)
class Signature:
    """A function of the model.

    Attributes:
        inputs, outputs: the tensors, by the names that clients use.
    """

    key: str
    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]
    batching: Batching = Batching.NONE

    @property
    def may_batch(self) -> bool:
        """True if every input and output can have several rows."""
        tensors = (*self.inputs.values(), *self.outputs.values())
        return bool(self.inputs) and all(tensor.may_batch for tensor in tensors)

    def with_batching(self, batching: Batching) -> Signature:
        """Return a copy of the signature that answers batches in the given way."""
        if batching is Batching.NONE:
            return self
        return replace(
            self,
            inputs={name: tensor.batched() for name, tensor in self.inputs.items()},
            outputs={name: tensor.batched() for name, tensor in self.outputs.items()},
            batching=batching,
        )

    def check_names(self, found: Iterable[str]) -> None:
        """Refuse input names that are not exactly the model's, before any input is read.

        Raises:
            ServingError: INVALID_ARGUMENT, with the expected names.
        """
        given = set(found)
        if given != self.inputs.keys():
            raise invalid(
                f'signature "{self.key}" has the inputs {names(self.inputs)}, not {names(given)}'
            )

    def check(self, inputs: Mapping[str, Array], max_batch: int) -> None:
        """Refuse inputs whose names, types, shapes or numbers of rows do not fit.

        Raises:
            ServingError: INVALID_ARGUMENT, with the expected value.
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
            # A model that is resized may accept different numbers: for instance, one row of an
            # input for all rows of another.
            if len(sizes) > 1 and self.batching is Batching.ROWS:
                raise invalid(f"the inputs have different numbers of rows: {sorted(sizes)}")
            if not 1 <= max(sizes) <= max_batch:
                raise invalid(f"a request must have from 1 to {max_batch} rows, not {max(sizes)}")

    def wanted(self, output_filter: Iterable[str]) -> tuple[str, ...]:
        """Return the names of the outputs that a request asks for: all if it names none.

        Raises:
            ServingError: INVALID_ARGUMENT, if a name is unknown or is there twice.
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
    """Return True if a shape is the expected one; an expected -1 stands for any size above 0."""
    return len(shape) == len(expected) and all(
        size == wanted or (wanted == -1 and size > 0)
        for size, wanted in zip(shape, expected, strict=True)
    )


def names(found: Iterable[str]) -> str:
    """Return names for a message: sorted, few and short, because a client may have sent them."""
    listed = sorted(name[:80] for name in found)
    return f"[{', '.join(listed[:20])}{', …' if len(listed) > 20 else ''}]"


def tensor_of(details: Mapping[str, Any]) -> Tensor:
    """Return the tensor that the runtime describes (Interpreter.get_input_details).

    Raises:
        ValueError: TensorFlow's messages have no such type.
    """
    dtype = np.dtype(details["dtype"])
    dtype = STRING if dtype.kind in "SU" else dtype
    if dtype not in NUMBERS:
        raise ValueError(f"{details['name']} is of type {dtype}, which cannot be sent")
    # shape_signature has -1 for each unknown size. It is empty if the converter knew all sizes.
    shape = details["shape_signature"]
    shape = shape if len(shape) == len(details["shape"]) else details["shape"]
    scale, zero_point = details["quantization"]
    return Tensor(
        name=details["name"],
        shape=tuple(int(size) for size in shape),
        dtype=dtype,
        quantization=(float(scale), int(zero_point)),
    )
