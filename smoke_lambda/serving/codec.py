"""Converts tensors to messages, and back.

TensorFlow's rules (tensorflow/core/framework/tensor.proto): a message has the values of a tensor
either in `tensor_content`, as they lie in memory, or in the list for their type. If the list is
too short, its last value stands for all that follow.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from google.protobuf.message import Message

from smoke_lambda.serving.errors import Code, ServingError, invalid
from smoke_lambda.serving.protos.tensor_pb2 import DataType, TensorProto, TensorShapeProto

Array = np.ndarray[Any, Any]
STRING = np.dtype(np.object_)
"""The type of string tensors: an array of bytes objects."""

# TensorFlow's number of a type, NumPy's type, and the field of the message for its values.
_TYPES = (
    (DataType.DT_FLOAT, np.float32, "float_val"),
    (DataType.DT_DOUBLE, np.float64, "double_val"),
    (DataType.DT_INT32, np.int32, "int_val"),
    (DataType.DT_UINT8, np.uint8, "int_val"),
    (DataType.DT_INT16, np.int16, "int_val"),
    (DataType.DT_INT8, np.int8, "int_val"),
    (DataType.DT_STRING, np.object_, "string_val"),
    (DataType.DT_COMPLEX64, np.complex64, "scomplex_val"),
    (DataType.DT_INT64, np.int64, "int64_val"),
    (DataType.DT_BOOL, np.bool_, "bool_val"),
    (DataType.DT_UINT16, np.uint16, "int_val"),
    (DataType.DT_COMPLEX128, np.complex128, "dcomplex_val"),
    (DataType.DT_HALF, np.float16, "half_val"),
    (DataType.DT_UINT32, np.uint32, "uint32_val"),
    (DataType.DT_UINT64, np.uint64, "uint64_val"),
)
DTYPES = {number: np.dtype(dtype) for number, dtype, _ in _TYPES}
NUMBERS = {np.dtype(dtype): number for number, dtype, _ in _TYPES}
FIELDS = {np.dtype(dtype): field for _, dtype, field in _TYPES}


def type_name(dtype: np.dtype[Any]) -> str:
    """Return TensorFlow's name of a type, such as DT_FLOAT."""
    return DataType.Name(NUMBERS[dtype])


def shape_proto(shape: Iterable[int]) -> TensorShapeProto:
    """Return a shape as a message; -1 stands for any size."""
    return TensorShapeProto(dim=[TensorShapeProto.Dim(size=size) for size in shape])


def decode(proto: TensorProto, max_bytes: int) -> Array:
    """Return the array in a message.

    Args:
        max_bytes: the limit for the array; a short message can stand for a large array.

    Returns:
        An array of the message's shape and type; for strings, an array of bytes objects. The
        array may be read-only.

    Raises:
        ServingError: INVALID_ARGUMENT for a message that is not valid, UNIMPLEMENTED for a type
            that TensorFlow Lite does not have.
    """
    dtype = DTYPES.get(proto.dtype)
    if dtype is None:
        raise ServingError(Code.UNIMPLEMENTED, f"tensors of type {proto.dtype} are not supported")
    shape = [dim.size for dim in proto.tensor_shape.dim]
    if proto.tensor_shape.unknown_rank or min(shape, default=0) < 0:
        raise invalid("a tensor's shape must be known")
    count = math.prod(shape)
    if count * dtype.itemsize > max_bytes or len(shape) > 32:
        raise invalid(f"a tensor of shape {shape} is larger than {max_bytes} bytes")
    content = proto.tensor_content  # each access copies it
    if content:
        flat = _content(content, dtype)
        if len(flat) != count:
            raise invalid(f"tensor_content has {len(flat)} values, and shape {shape} {count}")
    else:
        flat = _filled(_values(proto, dtype), count, dtype)
    return flat.reshape(shape)


def _content(content: bytes, dtype: np.dtype[Any]) -> Array:
    if dtype == STRING:
        raise invalid("strings must be in string_val")
    if len(content) % dtype.itemsize:
        raise invalid(f"tensor_content is not a whole number of {type_name(dtype)} values")
    return np.frombuffer(content, dtype.newbyteorder("<")).astype(dtype, copy=False)


def _values(proto: Message, dtype: np.dtype[Any]) -> Array:
    """Return the values that a message lists, without repeating the last one."""
    listed = getattr(proto, FIELDS[dtype])
    if dtype == STRING:
        return np.array(list(listed), np.object_)
    if dtype == np.float16:  # listed as the bits of each value
        return np.array(listed, np.int32).astype(np.uint16).view(np.float16)
    if dtype.kind == "c":  # listed as pairs
        parts = np.array(listed, np.dtype(f"f{dtype.itemsize // 2}"))
        return parts[: len(parts) // 2 * 2].view(dtype)
    if dtype.kind in "iu" and dtype.itemsize < 4:
        wide = np.array(listed, np.int32)
        limits = np.iinfo(dtype)
        if len(wide) and not (limits.min <= wide.min() and wide.max() <= limits.max):
            raise invalid(f"a value is out of the range of {type_name(dtype)}")
        return wide.astype(dtype)
    return np.array(listed, dtype)


def _filled(values: Array, count: int, dtype: np.dtype[Any]) -> Array:
    if len(values) > count:
        raise invalid(f"a tensor has {len(values)} values, and by its shape {count}")
    if len(values) == count:
        return values
    last = values[-1] if len(values) else (b"" if dtype == STRING else dtype.type(0))
    return np.concatenate([values, np.full(count - len(values), last, dtype)])


def encode(array: Array, *, as_content: bool = False) -> TensorProto:
    """Return an array as a message.

    Args:
        array: an array of a type in DTYPES.
        as_content: True to write values as they lie in memory, which is several times faster to
            write and read; False to list them. Strings are always listed.

    Raises:
        ServingError: UNIMPLEMENTED, if the array has another type.
    """
    array = np.asarray(array)
    dtype = STRING if array.dtype.kind in "SO" else array.dtype
    if dtype not in NUMBERS:
        raise ServingError(Code.UNIMPLEMENTED, f"tensors of {dtype} cannot be written")
    proto = TensorProto(dtype=NUMBERS[dtype], tensor_shape=shape_proto(array.shape))
    if as_content and dtype != STRING:
        proto.tensor_content = array.astype(dtype.newbyteorder("<"), copy=False).tobytes()
    else:
        getattr(proto, FIELDS[dtype]).extend(_listed(array.ravel(), dtype))
    return proto


def _listed(flat: Array, dtype: np.dtype[Any]) -> Sequence[Any]:
    if dtype == np.float16:
        flat = flat.view(np.uint16)
    elif dtype.kind == "c":
        flat = flat.view(np.dtype(f"f{dtype.itemsize // 2}"))
    values: list[Any] = flat.tolist()
    return values
