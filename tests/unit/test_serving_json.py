"""Rows and columns of the REST interface."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from smoke_lambda.serving import json_codec
from smoke_lambda.serving.codec import STRING
from smoke_lambda.serving.errors import ServingError
from smoke_lambda.serving.signature import Signature, Tensor

MOST = 1 << 20


def tensor(dtype: Any, *shape: int) -> Tensor:  # noqa: ANN401
    return Tensor(name="t:0", shape=(-1, *shape), dtype=np.dtype(dtype))


def signature(**inputs: Tensor) -> Signature:
    return Signature(key="serving_default", inputs=inputs, outputs={})


ONE = signature(x=tensor(np.float32, 2))
TWO = signature(x=tensor(np.float32, 2), n=tensor(np.int32))


def inputs(body: object, of: Signature) -> dict[str, Any]:
    found = json_codec.parse(json.dumps(body).encode(), MOST).inputs(of)
    return {name: array.tolist() for name, array in found.items()}


def test_rows_and_columns_say_the_same() -> None:
    expected = {"x": [[1.0, 2.0], [3.0, 4.0]], "n": [5, 6]}
    rows = [{"x": [1, 2], "n": 5}, {"x": [3, 4], "n": 6}]
    assert inputs({"instances": rows}, TWO) == expected
    assert inputs({"inputs": expected}, TWO) == expected
    assert inputs({"instances": [[1, 2], [3, 4]]}, ONE) == {"x": expected["x"]}
    assert inputs({"inputs": [[1, 2]]}, ONE) == {"x": [[1.0, 2.0]]}


def test_a_signature_can_be_named() -> None:
    assert json_codec.parse(b'{"signature_name": "s", "inputs": 1}', MOST).signature_name == "s"


def test_strings_are_text_or_base64() -> None:
    strings = signature(s=Tensor(name="s:0", shape=(-1,), dtype=STRING))
    assert inputs({"instances": ["a", {"b64": "/wA="}]}, strings) == {"s": [b"a", b"\xff\x00"]}
    assert inputs({"instances": [{"b64": "/wA="}]}, strings) == {"s": [b"\xff\x00"]}
    found = json_codec.answer({"s_bytes": np.array([b"\xff\x00"], np.object_)}, is_row=True)
    assert json.loads(found) == {"predictions": [{"b64": "/wA="}]}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON|too many values"),
        (b"[" * (1 << 20), "too many values"),
        (b"[]", "either"),
        (b"{}", "either"),
        (b'{"instances": [1], "inputs": [1]}', "either"),
        (b'{"signature_name": 1, "inputs": [1]}', "must be a string"),
    ],
)
def test_a_body_that_is_no_request_is_refused(body: bytes, reason: str) -> None:
    with pytest.raises(ServingError, match=reason):
        json_codec.parse(body, MOST)


@pytest.mark.parametrize(
    ("body", "of", "reason"),
    [
        ({"instances": []}, ONE, "not empty"),
        ({"instances": 1}, ONE, "not empty"),
        ({"instances": [[1], [1, 2]]}, ONE, "equal length"),
        ({"instances": ["a"]}, ONE, "DT_FLOAT"),
        ({"instances": [None]}, ONE, "DT_FLOAT"),
        ({"instances": [{"x": 1}, {"y": 1}]}, TWO, "same inputs"),
        ({"instances": [{"x": 1}, 2]}, TWO, "same inputs"),
        ({"inputs": {"x": [[1, 2]]}}, TWO, r"inputs \[n, x\], not \[x\]"),
        ({"inputs": [1]}, TWO, "name the inputs"),
        ({"inputs": {"x": [[1, 2]], "n": [1.5]}}, TWO, "DT_INT32"),
        ({"inputs": {"x": [[1, 2]], "n": [1 << 40]}}, TWO, "out of the range"),
        ({"inputs": {"x": [[1, 2]], "n": [1 << 80]}}, TWO, "DT_INT32"),
    ],
)
def test_values_that_do_not_fit_are_refused(body: object, of: Signature, reason: str) -> None:
    with pytest.raises(ServingError, match=reason):
        inputs(body, of)


def test_answers_have_the_form_of_their_request() -> None:
    one = {"y": np.array([[0.5], [1.5]], np.float32)}
    two = {**one, "n": np.array([1, 2])}

    def said(outputs: dict[str, Any], is_row: bool) -> Any:  # noqa: ANN401
        return json.loads(json_codec.answer(outputs, is_row=is_row))

    assert said(one, True) == {"predictions": [[0.5], [1.5]]}
    assert said(one, False) == {"outputs": [[0.5], [1.5]]}
    assert said(two, True) == {"predictions": [{"y": [0.5], "n": 1}, {"y": [1.5], "n": 2}]}
    assert said(two, False) == {"outputs": {"y": [[0.5], [1.5]], "n": [1, 2]}}


def test_outputs_without_rows_want_columns() -> None:
    with pytest.raises(ServingError, match="no rows"):
        json_codec.answer({"a": np.zeros(2), "b": np.zeros(3)}, is_row=True)
    with pytest.raises(ServingError, match="no rows"):
        json_codec.answer({"a": np.array(1.0)}, is_row=True)


def test_what_is_no_number_is_written_as_tensorflow_does() -> None:
    found = json_codec.answer({"y": np.array([np.nan, np.inf])}, is_row=False)
    assert found == b'{"outputs": [NaN, Infinity]}'
