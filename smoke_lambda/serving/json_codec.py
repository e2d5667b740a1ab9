"""Converts JSON of TensorFlow Serving's REST interface to arrays, and back.

In a request (https://www.tensorflow.org/tfx/serving/api_rest), `instances` are rows, each with a
value for every input, and `inputs` are columns, each with all rows of one input. A string that is
not text is written as {"b64": …}.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from smoke_lambda.serving.codec import STRING, Array, type_name
from smoke_lambda.serving.errors import Code, ServingError, invalid
from smoke_lambda.serving.signature import Signature, Tensor, names

ROW, COLUMN = "instances", "inputs"
BASE64 = "b64"
BYTES = "_bytes"
"""The ending of an output's name if its strings are not text."""

# The bytes that Python needs for a list and for a number; in JSON, each can be one byte long.
COST_OF_LIST, COST_OF_VALUE = 88, 32
COST = 16
"""The bytes that a request's values may need in Python, per byte of the limit for a body."""


@dataclass(frozen=True)
class Request:
    """The body of `:predict`."""

    signature_name: str
    is_row: bool
    value: Any

    def inputs(self, signature: Signature) -> Mapping[str, Array]:
        """Return the request's arrays for the inputs of a signature.

        Raises:
            ServingError: INVALID_ARGUMENT, if the request does not fit the signature.
        """
        columns = self._columns(signature)
        signature.check_names(columns)
        return {name: array_of(columns[name], name, signature.inputs[name]) for name in columns}

    def _columns(self, signature: Signature) -> dict[str, Any]:
        value = self.value
        if not self.is_row:
            if isinstance(value, dict) and value.keys() != {BASE64}:
                return value
            return {_only(signature): value}
        if not isinstance(value, list) or not value:
            raise invalid(f'"{ROW}" must be a list that is not empty')
        if not (isinstance(value[0], dict) and value[0].keys() != {BASE64}):
            return {_only(signature): value}
        keys = value[0].keys()
        if any(not isinstance(row, dict) or row.keys() != keys for row in value):
            raise invalid(f'every element of "{ROW}" must have the same inputs')
        return {key: [row[key] for row in value] for key in keys}


def _only(signature: Signature) -> str:
    if len(signature.inputs) != 1:
        raise invalid(f"name the inputs: there are {names(signature.inputs)}")
    return next(iter(signature.inputs))


def parse(body: bytes, max_bytes: int) -> Request:
    """Read the body of a request.

    Args:
        max_bytes: the limit for a body; it also limits the memory for this body's values.

    Raises:
        ServingError: INVALID_ARGUMENT, if the body is malformed or has too many values.
    """
    lists = body.count(b"[") + body.count(b"{")
    if COST_OF_LIST * lists + COST_OF_VALUE * body.count(b",") > COST * max_bytes:
        raise invalid("the JSON has too many values: send them by gRPC")
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        raise invalid("the body is not valid JSON") from None
    if not isinstance(found, dict) or (ROW in found) == (COLUMN in found):
        raise invalid(f'the body must be an object with either "{ROW}" or "{COLUMN}"')
    name = found.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid("'signature_name' key must be a string value")
    is_row = ROW in found
    return Request(name, is_row, found[ROW if is_row else COLUMN])


def array_of(value: Any, name: str, tensor: Tensor) -> Array:  # noqa: ANN401 - any JSON
    """Return the array for nested lists.

    Raises:
        ServingError: INVALID_ARGUMENT, if lists differ in length, or values do not fit the type.
    """
    wrong = invalid(
        f'input "{name}" must be {type_name(tensor.dtype)} values in lists of equal length'
    )
    if tensor.dtype == STRING:
        return _strings(value, wrong)
    try:
        found = np.asarray(value)
    except (ValueError, OverflowError):
        raise wrong from None
    kinds = {"f": "fiu", "c": "", "b": "b"}.get(tensor.dtype.kind, "iu")
    if found.size and found.dtype.kind not in kinds:
        raise wrong
    if tensor.dtype.kind in "iu" and found.size:
        limits = np.iinfo(tensor.dtype)
        if int(found.min()) < limits.min or int(found.max()) > limits.max:
            raise invalid(f'a value of input "{name}" is out of the range of its type')
    with np.errstate(over="ignore"):
        return found.astype(tensor.dtype)


def _strings(value: Any, wrong: ServingError) -> Array:  # noqa: ANN401 - any JSON
    def shape(value: object) -> tuple[int, ...]:
        if not isinstance(value, list):
            return ()
        return (len(value), *(shape(value[0]) if value else ()))

    def flat(value: Any, depth: int) -> list[bytes]:  # noqa: ANN401
        if depth < len(sizes):
            if not isinstance(value, list) or len(value) != sizes[depth]:
                raise wrong
            return [text for each in value for text in flat(each, depth + 1)]
        return [_bytes(value, wrong)]

    sizes = shape(value)
    found = np.empty(int(np.prod(sizes)), np.object_)
    found[:] = flat(value, 0)
    return found.reshape(sizes)


def _bytes(value: object, wrong: ServingError) -> bytes:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    if isinstance(value, dict) and value.keys() == {BASE64} and isinstance(value[BASE64], str):
        try:
            return base64.b64decode(value[BASE64], validate=True)
        except (binascii.Error, ValueError):
            raise invalid("Unable to base64 decode") from None
    raise wrong


def answer(outputs: Mapping[str, Array], *, is_row: bool) -> bytes:
    """Return the body of an answer, in rows or columns as its request.

    Raises:
        ServingError: INVALID_ARGUMENT, if the request has rows, and the outputs have none or
            different numbers of rows.
    """
    listed = {name: _listed(name, array) for name, array in outputs.items()}
    single = next(iter(listed.values())) if len(listed) == 1 else None
    if not is_row:
        return _dumped({"outputs": listed if single is None else single})
    sizes = {array.shape[:1] for array in outputs.values()}
    if len(sizes) != 1 or sizes == {()}:
        raise invalid(f'the outputs are no rows: send "{COLUMN}" instead of "{ROW}"')
    if single is not None:
        return _dumped({"predictions": single})
    rows = zip(*listed.values(), strict=True)
    return _dumped({"predictions": [dict(zip(listed, row, strict=True)) for row in rows]})


def _listed(name: str, array: Array) -> Any:  # noqa: ANN401 - nested lists
    if array.dtype.kind == "c":
        raise ServingError(Code.UNIMPLEMENTED, f'output "{name}" has no form in JSON')
    if array.dtype.kind not in "SO":
        return array.tolist()
    is_bytes = name.endswith(BYTES)

    def text(value: Any) -> Any:  # noqa: ANN401
        if isinstance(value, list):
            return [text(each) for each in value]
        if is_bytes:
            return {BASE64: base64.b64encode(value).decode()}
        return value.decode("utf-8", "replace")

    return text(array.tolist())


def _dumped(value: object) -> bytes:
    # NaN and Infinity are written as such, as TensorFlow Serving does.
    return json.dumps(value).encode()
