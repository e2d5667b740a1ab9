"""Read and change the operator codes of a TensorFlow Lite file in place.

The module runs on any Python from 3.8 on, without generated code of a schema: it needs only two
tables of tensorflow/lite/schema/schema.fbs. https://flatbuffers.dev/internals describes the
binary format. A table begins with the distance back to its vtable. The vtable has a 16-bit
offset per field; the offset is 0 if the field is not stored.
"""

from __future__ import annotations

import mmap
import struct
from typing import NamedTuple, Union

IDENTIFIER = b"TFL3"
CUSTOM = 32  # BuiltinOperator.CUSTOM
MOST_IN_A_BYTE = 127  # BuiltinOperator.PLACEHOLDER_FOR_GREATER_OP_CODES
PLAIN = 0  # BuiltinOperator.ADD, which every runtime has

# A file can refer to one table many times, and so to one long text. These limits bound what is
# read. No converter writes a kind twice, and there are some 200 builtin kinds.
MOST_KINDS = 5000
LONGEST_NAME = 1000

# Fields by their number in the schema.
MODEL_OPERATOR_CODES = 1
CODE_DEPRECATED, CODE_CUSTOM, CODE_VERSION, CODE_BUILTIN = range(4)


Data = Union[bytes, bytearray, mmap.mmap]


class OperatorCode(NamedTuple):
    """An operator kind that a model uses."""

    builtin: int
    version: int
    custom: str
    """The name of a custom operator, else empty."""
    position: int
    """The position of its table in the file."""


class NotAModelError(ValueError):
    """The bytes are not a TensorFlow Lite model."""


def operator_codes(data: Data) -> list[OperatorCode]:
    """Return the operator kinds of a model, in file order.

    Raises:
        NotAModelError: the data is not a model, or is truncated or damaged.
    """
    if len(data) < 8 or bytes(data[4:8]) != IDENTIFIER:
        raise NotAModelError(f"expected {IDENTIFIER!r} at byte 4, found {bytes(data[4:8])!r}")
    try:
        model = _follow(data, 0)
        field = field_position(data, model, MODEL_OPERATOR_CODES)
        if not field:
            return []
        vector = _follow(data, field)
        (length,) = struct.unpack_from("<I", data, vector)
        if length > MOST_KINDS:
            raise NotAModelError(f"it names {length} kinds of operators, more than {MOST_KINDS}")
        return [_code(data, _follow(data, vector + 4 + 4 * index)) for index in range(length)]
    except (struct.error, UnicodeDecodeError) as error:
        raise NotAModelError(f"it is truncated or damaged: {error}") from error


def model_of(builtin: int, version: int) -> bytes:
    """Return a model that names one operator kind and has no graph.

    A runtime looks up the kind before it notices that the graph is missing
    (lite/core/interpreter_builder.cc). So its answer tells whether it has the kind.
    """
    parts: tuple[tuple[str, tuple[int | bytes, ...]], ...] = (
        ("<I4s", (20, IDENTIFIER)),  # the position of the model
        ("<5H2x", (10, 16, 4, 8, 12)),  # its vtable: sizes of vtable and table, three fields
        ("<i3I", (12, 3, 8, 12)),  # the model: schema version, codes, graphs
        ("<2I", (1, 20)),  # the codes: one
        ("<I", (0,)),  # the graphs: none
        ("<6H", (12, 16, 4, 0, 8, 12)),  # the code's vtable; it has no custom name
        ("<ib3xii", (12, min(builtin, MOST_IN_A_BYTE), version, builtin)),
    )
    return b"".join(struct.pack(form, *values) for form, values in parts)


def make_plain(data: bytearray, code: OperatorCode) -> None:
    """Turn an operator kind into one that every runtime has, so that the model loads."""
    for field, form, value in (
        (CODE_DEPRECATED, "<b", PLAIN),
        (CODE_VERSION, "<i", 1),
        (CODE_BUILTIN, "<i", PLAIN),
    ):
        position = field_position(data, code.position, field)
        if position:
            struct.pack_into(form, data, position, value)


def _code(data: Data, table: int) -> OperatorCode:
    # The code was once a byte. Writers now store the field that can hold it, or both fields.
    builtin = max(
        _number(data, table, CODE_DEPRECATED, "<b", 0), _number(data, table, CODE_BUILTIN, "<i", 0)
    )
    custom = ""
    field = field_position(data, table, CODE_CUSTOM)
    if builtin == CUSTOM and field:
        text = _follow(data, field)
        (length,) = struct.unpack_from("<I", data, text)
        if length > LONGEST_NAME:
            raise NotAModelError(f"an operator's name has {length} bytes")
        custom = bytes(data[text + 4 : text + 4 + length]).decode()
    version = _number(data, table, CODE_VERSION, "<i", 1)
    return OperatorCode(builtin=builtin, version=version, custom=custom, position=table)


def _follow(data: Data, position: int) -> int:
    """Return the position that the offset at `position` leads to."""
    (offset,) = struct.unpack_from("<I", data, position)
    return position + int(offset)


def field_position(data: Data, table: int, number: int) -> int:
    """Return the position of a table's field; 0 if the field is not stored."""
    (back,) = struct.unpack_from("<i", data, table)
    vtable = table - back
    (size,) = struct.unpack_from("<H", data, vtable)
    entry = 4 + 2 * number
    if entry + 2 > size:
        return 0
    (offset,) = struct.unpack_from("<H", data, vtable + entry)
    return table + offset if offset else 0


def _number(data: Data, table: int, number: int, form: str, default: int) -> int:
    position = field_position(data, table, number)
    if not position:
        return default
    (value,) = struct.unpack_from(form, data, position)
    return int(value)
