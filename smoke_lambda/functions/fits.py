"""Checks that a user's choices fit the model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from builders.errors import UsageError
from smoke_lambda.functions.facts import Signature, Tensor
from smoke_lambda.functions.preprocessing import Scaling

PLAIN_TYPES = ("float32", "float64", "float16", "bool")
"""The types that a request can hold, besides integers."""


UNUSUAL = re.compile(r"[^\w.:/-]", re.ASCII)
"""Characters that a name must not have.

The name is written into the handler's code, into its comments and into requests.
"""


def with_plain_names(signature: Signature) -> Signature:
    """Return the signature with input and output names that can be written anywhere.

    If the signature is the model as a whole, each unusual character in a name becomes an
    underscore. A named signature must be called by its exact names, so these cannot change.

    Raises:
        UsageError: a named signature has an unusual name, or two names become the same.
    """
    sides = []
    for tensors in (signature.inputs, signature.outputs):
        plain = tuple(replace(each, name=UNUSUAL.sub("_", each.name)) for each in tensors)
        is_changed = bool(signature.name) and plain != tensors
        if is_changed or len({each.name for each in plain}) < len(plain):
            raise UsageError(
                f"names of the model cannot be written in a request: "
                f"{', '.join(repr(each.name) for each in tensors)}",
                remedy="convert it with other names of inputs and outputs",
            )
        sides.append(plain)
    if UNUSUAL.search(signature.name):
        raise UsageError(
            f"the signature {signature.name!r} has an unusual name",
            remedy="convert it with another",
        )
    return replace(signature, inputs=sides[0], outputs=sides[1])


def check_type(tensor: Tensor) -> None:
    """Refuse an input that holds neither numbers nor truth values.

    Raises:
        UsageError: the input has another type.
    """
    if tensor.limits is None and tensor.dtype not in PLAIN_TYPES:
        raise UsageError(
            f"the input {tensor.name} is of the type {tensor.dtype}, which no request has",
            remedy="take the part out of the model that reads it",
        )


def check_labels(labels: Sequence[str]) -> None:
    """Refuse labels that would be lost in an answer.

    Raises:
        UsageError: a label is empty, or is there twice.
    """
    for number, label in enumerate(labels, 1):
        if not label.strip():
            raise UsageError(f"line {number} of the labels is empty", remedy="name each output")
        if label in labels[: number - 1]:
            raise UsageError(f"the label {label!r} is there twice", remedy="name each output once")


def shape_of(tensor: Tensor, wanted: tuple[int, ...] | None) -> tuple[tuple[int, ...], bool]:
    """Return the input's shape in the function, and True if the model must be resized to it.

    Raises:
        UsageError: the user did not name the open dimensions, or the named shape does not fit.
    """
    is_open = [size < 1 for size in tensor.open_shape]
    if wanted is None:
        if any(is_open[1:]):
            shown = ",".join(
                "?" if is_it else str(n) for n, is_it in zip(tensor.shape, is_open, strict=True)
            )
            raise UsageError(
                f"the input {tensor.name} has open dimensions",
                remedy=f"name them: --shape {tensor.name}={shown}",
            )
        return tensor.shape, False
    fits = len(wanted) == len(tensor.shape) and all(
        is_it or size == asked
        for is_it, size, asked in zip(is_open, tensor.shape, wanted, strict=True)
    )
    if not fits:
        raise UsageError(
            f"the input {tensor.name} cannot have the shape {list(wanted)}",
            remedy=f"it has {list(tensor.open_shape)}, where -1 is open",
        )
    return wanted, wanted != tensor.shape


def channels_of(shape: Sequence[int]) -> int:
    """Return the number of colour channels of a picture of this shape; 0 if it is no picture."""
    if len(shape) != 4 or shape[0] != 1:
        return 0
    return next((n for n in (shape[3], shape[1]) if n in (1, 3)), 0)


def check_image(tensor: Tensor, shape: tuple[int, ...], scaling: Scaling | None) -> None:
    """Refuse an input that is no picture, or that does not fit the scaling.

    Raises:
        UsageError: the input is no picture, no scaling was named, or the scaling does not fit.
    """
    channels = channels_of(shape)
    if not channels:
        raise UsageError(
            f"the input {tensor.name} of shape {list(shape)} is no picture",
            remedy="choose --input json, audio or array",
        )
    if scaling is None:
        raise UsageError(
            "how does the model want pictures to be scaled?",
            remedy="say --preprocess with a network's name such as xception, a range such as "
            "0..1, or none",
        )
    if scaling.by_colour and channels != 3:
        raise UsageError(
            f"that preprocessing is for three colours, and the input {tensor.name} has one",
            remedy="choose a range such as 0..1",
        )
    limits = tensor.real_limits
    if limits is None:
        return
    (low, high), (least, most) = scaling.limits, limits
    common = max(0.0, min(high, most) - max(low, least))
    if common < (high - low) / 2 or common < (most - least) / 8:
        raise UsageError(
            f"that preprocessing gives {low:g} to {high:g}, and the input {tensor.name} "
            f"({tensor.dtype}) holds {least:g} to {most:g}",
            remedy="choose the preprocessing that the model was quantized with",
        )


def check_audio(tensor: Tensor, shape: tuple[int, ...], rate: int) -> None:
    """Refuse an input that is no waveform.

    Raises:
        UsageError: the input is no waveform, or the user named no sample rate.
    """
    if max(shape, default=0) != product(shape):
        raise UsageError(
            f"the input {tensor.name} of shape {list(shape)} is no waveform",
            remedy="choose --input json or array",
        )
    if tensor.dtype != "float32" and not tensor.is_quantized:
        raise UsageError(
            f"the input {tensor.name} takes {tensor.dtype}, and samples are float32",
            remedy="choose --input array",
        )
    if not rate:
        raise UsageError(
            "how many samples per second does the model want?", remedy="say --rate 16000"
        )


def product(shape: Sequence[int]) -> int:
    """Return the number of values in a shape."""
    found = 1
    for size in shape:
        found *= size
    return found
