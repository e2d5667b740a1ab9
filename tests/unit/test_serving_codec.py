"""Tensors as messages: every type there and back, and every way to write one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from smoke_lambda.serving.codec import DTYPES, FIELDS, STRING, decode, encode, shape_proto
from smoke_lambda.serving.errors import Code, ServingError
from smoke_lambda.serving.protos.tensor_pb2 import DataType, TensorProto

MOST = 1 << 20


def sample(dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    if dtype == STRING:
        return np.array([[b"a", b"\xff\x00"], [b"", b"d"]], np.object_)
    values = np.array([[0, 1], [1, 0]]) if dtype.kind == "b" else np.array([[0, 1], [2, 100]])
    found = values.astype(dtype)
    return found * dtype.type(1 + 0.5j) if dtype.kind == "c" else found


@pytest.mark.parametrize("as_content", [False, True])
@pytest.mark.parametrize("dtype", FIELDS, ids=str)
def test_every_type_comes_back(dtype: np.dtype[Any], as_content: bool) -> None:
    array = sample(dtype)
    proto = TensorProto.FromString(encode(array, as_content=as_content).SerializeToString())
    assert bool(proto.tensor_content) == (as_content and dtype != STRING)
    found = decode(proto, MOST)
    assert found.dtype == dtype
    assert found.tolist() == array.tolist()


def test_scalars_and_empty_tensors_come_back() -> None:
    assert decode(encode(np.array(2.5)), MOST) == 2.5
    assert decode(encode(np.zeros((0, 3), np.int64)), MOST).shape == (0, 3)


def test_extremes_come_back() -> None:
    for dtype in (np.int8, np.uint8, np.int16, np.uint16, np.int64, np.uint64):
        limits = np.iinfo(dtype)
        array = np.array([limits.min, limits.max], dtype)
        assert decode(encode(array), MOST).tolist() == array.tolist()
    halves = np.array([np.inf, -0.0, np.nan, 65504], np.float16)
    np.testing.assert_array_equal(decode(encode(halves), MOST), halves)


def test_the_last_value_stands_for_all_that_follow() -> None:
    proto = TensorProto(dtype=DataType.DT_FLOAT, tensor_shape=shape_proto([4]), float_val=[1, 2])
    assert decode(proto, MOST).tolist() == [1, 2, 2, 2]
    none = TensorProto(dtype=DataType.DT_INT8, tensor_shape=shape_proto([2]))
    assert decode(none, MOST).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("proto", "reason"),
    [
        (TensorProto(dtype=DataType.DT_FLOAT, float_val=[1, 2]), "2 values, and by its shape 1"),
        (
            TensorProto(dtype=DataType.DT_FLOAT, tensor_shape=shape_proto([-1])),
            "shape must be known",
        ),
        (
            TensorProto(dtype=DataType.DT_FLOAT, tensor_shape=shape_proto([1 << 40, 1 << 40])),
            "larger than",
        ),
        (TensorProto(dtype=DataType.DT_FLOAT, tensor_content=b"12345"), "whole number"),
        (TensorProto(dtype=DataType.DT_FLOAT, tensor_content=b"12345678"), "2 values"),
        (TensorProto(dtype=DataType.DT_STRING, tensor_content=b"x"), "string_val"),
        (
            TensorProto(dtype=DataType.DT_INT8, tensor_shape=shape_proto([1]), int_val=[300]),
            "out of the range of DT_INT8",
        ),
    ],
)
def test_what_is_not_valid_is_refused(proto: TensorProto, reason: str) -> None:
    with pytest.raises(ServingError, match=reason) as caught:
        decode(proto, MOST)
    assert caught.value.code is Code.INVALID_ARGUMENT


def test_a_type_that_is_unknown_is_refused() -> None:
    with pytest.raises(ServingError) as caught:
        decode(TensorProto(dtype=DataType.DT_INVALID), MOST)
    assert caught.value.code is Code.UNIMPLEMENTED
    with pytest.raises(ServingError):
        encode(np.zeros(1, "M8[s]"))


def test_every_type_of_the_messages_has_a_place() -> None:
    assert set(DTYPES) == set(DataType.values()) - {DataType.DT_INVALID}
