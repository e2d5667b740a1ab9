"""What a model takes and gives, as smoke_lambda.inside.function_probe finds it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """An input or output.

    Attributes:
        shape: of the tensor now; open dimensions are 1.
        open_shape: the same with -1 for each open dimension.
        limits: of its type, of an integer one.
        last: of an output, the operator that makes it; empty where that is not known.
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
        """Whether its integers stand for real values."""
        return bool(self.scale)

    @property
    def count(self) -> int:
        """How many values there are."""
        return math.prod(self.shape)

    @property
    def real_limits(self) -> tuple[float, float] | None:
        """The least and the highest real value that it can hold; None for any."""
        if self.limits is None:
            return None
        low, high = self.limits
        if not self.is_quantized:
            return low, high
        return (low - self.zero_point) * self.scale, (high - self.zero_point) * self.scale


@dataclass(frozen=True, kw_only=True)
class Signature:
    """What can be called of a model; one without a name is the model as a whole."""

    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


@dataclass(frozen=True, kw_only=True)
class Facts:
    """A model's signatures.

    Attributes:
        whole: the model as an interpreter's set_tensor and get_tensor have it; of a model
            with one signature, by the names of that one.
        signatures: those of a model with several.
    """

    whole: Signature
    signatures: tuple[Signature, ...]


def facts_of(found: Mapping[str, Any]) -> Facts:
    """The facts that a probe found."""
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
