"""The inputs and outputs of a model, as smoke_lambda.inside.function_probe finds them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """An input or output of a model.

    Attributes:
        shape: the current shape; each open dimension is 1.
        open_shape: the shape with -1 for each open dimension.
        limits: the least and the highest value of an integer type; None for other types.
        last: for an output, the operator that computes it; empty if that is not known.
    """

    name: str
    position: int
    shape: tuple[int, ...]
    open_shape: tuple[int, ...]
    dtype: str
    scale: float
    zero_point: int
    limits: tuple[int, int] | None = None
    last: str = ""

    @property
    def is_quantized(self) -> bool:
        """True if the tensor's integers stand for real values."""
        return bool(self.scale)

    @property
    def count(self) -> int:
        """The number of values."""
        return math.prod(self.shape)

    @property
    def real_limits(self) -> tuple[float, float] | None:
        """The least and the highest real value that the tensor can hold; None if it holds any."""
        if self.limits is None:
            return None
        low, high = self.limits
        if not self.is_quantized:
            return low, high
        return (low - self.zero_point) * self.scale, (high - self.zero_point) * self.scale


@dataclass(frozen=True, kw_only=True)
class Signature:
    """A signature that can be called; without a name, it stands for the model as a whole."""

    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


@dataclass(frozen=True, kw_only=True)
class Facts:
    """A model's signatures.

    Attributes:
        whole: the inputs and outputs for an interpreter's set_tensor and get_tensor. If the
            model has one signature, they have that signature's names.
        signatures: the signatures of a model that has several; else empty.
    """

    whole: Signature
    signatures: tuple[Signature, ...]


def facts_of(found: Mapping[str, Any]) -> Facts:
    """Return the facts that a probe found."""
    return Facts(
        whole=_signature(found["whole"]),
        signatures=tuple(map(_signature, found["signatures"])),
    )


def _signature(data: Mapping[str, Any]) -> Signature:
    inputs, outputs = (tuple(map(_tensor, data[key])) for key in ("inputs", "outputs"))
    return Signature(name=data["name"], inputs=inputs, outputs=outputs)


def _tensor(data: Mapping[str, Any]) -> Tensor:
    limits = data["limits"]
    return Tensor(
        name=data["name"],
        position=data["position"],
        shape=tuple(data["shape"]),
        open_shape=tuple(data["open_shape"]),
        dtype=data["dtype"],
        scale=data["scale"],
        zero_point=data["zero_point"],
        limits=None if limits is None else (limits[0], limits[1]),
        last=data.get("last", ""),
    )
