"""The operator codes of a TensorFlow Lite file, read and changed in place.

On any Python from 3.8 on, without the generated code of a schema: two tables of
tensorflow/lite/schema/schema.fbs are all that is needed. The binary format is that of
https://flatbuffers.dev/internals: a table begins with the distance back to its
vtable, which has a 16-bit offset per field, 0 for one that is not stored.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

IDENTIFIER = b"TFL3"
CUSTOM = 32  # BuiltinOperator.CUSTOM
PLAIN = 0  # BuiltinOperator.ADD, which every runtime has

# Fields by their number in the schema.
MODEL_OPERATOR_CODES = 1
CODE_DEPRECATED, CODE_CUSTOM, CODE_VERSION, CODE_BUILTIN = range(4)


class OperatorCode(NamedTuple):
    """An operator kind that a model uses."""

    builtin: int
    version: int
    custom: str
    """The name of a custom operator, else empty."""
    position: int
    """Of its table in the file."""


class NotAModelError(ValueError):
    """The bytes are no TensorFlow Lite model."""


def operator_codes(data: bytes | bytearray) -> list[OperatorCode]:
    """The operator kinds of a model, in its order.

    Raises:
        NotAModelError: it is no model, or a truncated one.
    """
    if len(data) < 8 or bytes(data[4:8]) != IDENTIFIER:
        raise NotAModelError(f"expected {IDENTIFIER!r} at byte 4, found {bytes(data[4:8])!r}")
    try:
        model = _follow(data, 0)
        field = _field(data, model, MODEL_OPERATOR_CODES)
        if not field:
            return []
        vector = _follow(data, field)
        (length,) = struct.unpack_from("<I", data, vector)
        return [_code(data, _follow(data, vector + 4 + 4 * index)) for index in range(length)]
    except (struct.error, UnicodeDecodeError) as error:
        raise NotAModelError(f"it is truncated or damaged: {error}") from error


def make_plain(data: bytearray, code: OperatorCode) -> None:
    """Turn an operator kind into one that every runtime has, so that it loads."""
    for field, form, value in (
        (CODE_DEPRECATED, "<b", PLAIN),
        (CODE_VERSION, "<i", 1),
        (CODE_BUILTIN, "<i", PLAIN),
    ):
        position = _field(data, code.position, field)
        if position:
            struct.pack_into(form, data, position, value)


def _code(data: bytes | bytearray, table: int) -> OperatorCode:
    # The code was a byte once; each writer since stores the one that holds it, or both.
    builtin = max(
        _number(data, table, CODE_DEPRECATED, "<b", 0), _number(data, table, CODE_BUILTIN, "<i", 0)
    )
    custom = ""
    field = _field(data, table, CODE_CUSTOM)
    if builtin == CUSTOM and field:
        text = _follow(data, field)
        (length,) = struct.unpack_from("<I", data, text)
        custom = bytes(data[text + 4 : text + 4 + length]).decode()
    version = _number(data, table, CODE_VERSION, "<i", 1)
    return OperatorCode(builtin=builtin, version=version, custom=custom, position=table)


def _follow(data: bytes | bytearray, position: int) -> int:
    """Where the offset that is stored at a position leads."""
    (offset,) = struct.unpack_from("<I", data, position)
    return position + int(offset)


def _field(data: bytes | bytearray, table: int, number: int) -> int:
    """The position of a table's field; 0 if it is not stored."""
    (back,) = struct.unpack_from("<i", data, table)
    vtable = table - back
    (size,) = struct.unpack_from("<H", data, vtable)
    entry = 4 + 2 * number
    if entry + 2 > size:
        return 0
    (offset,) = struct.unpack_from("<H", data, vtable + entry)
    return table + offset if offset else 0


def _number(data: bytes | bytearray, table: int, number: int, form: str, default: int) -> int:
    position = _field(data, table, number)
    if not position:
        return default
    (value,) = struct.unpack_from(form, data, position)
    return int(value)
