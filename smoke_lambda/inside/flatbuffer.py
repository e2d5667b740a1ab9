"""The operator codes of a TensorFlow Lite file, read and changed in place.

On any Python from 3.8 on, without the generated code of a schema: two tables of
tensorflow/lite/schema/schema.fbs are all that is needed. The binary format is that of
https://flatbuffers.dev/internals: a table begins with the distance back to its
vtable, which has a 16-bit offset per field, 0 for one that is not stored.
"""

from __future__ import annotations

import mmap
import struct
from typing import NamedTuple, Union

IDENTIFIER = b"TFL3"
CUSTOM = 32  # BuiltinOperator.CUSTOM
MOST_IN_A_BYTE = 127  # BuiltinOperator.PLACEHOLDER_FOR_GREATER_OP_CODES
PLAIN = 0  # BuiltinOperator.ADD, which every runtime has

# A file can name one table many times, and so a long text: what is read of it is bounded. No
# converter writes a kind twice, and there are some 200 builtin ones.
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
    """Of its table in the file."""


class NotAModelError(ValueError):
    """The bytes are no TensorFlow Lite model."""


def operator_codes(data: Data) -> list[OperatorCode]:
    """The operator kinds of a model, in its order.

    Raises:
        NotAModelError: it is no model, or a truncated one.
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
    """A model that names one operator kind, and has no graph.

    A runtime looks the kind up before it misses the graph
    (lite/core/interpreter_builder.cc), so its answer says whether it has it.
    """
    parts: tuple[tuple[str, tuple[int | bytes, ...]], ...] = (
        ("<I4s", (20, IDENTIFIER)),  # where the model is
        ("<5H2x", (10, 16, 4, 8, 12)),  # its vtable: bytes of itself, of the table, three fields
        ("<i3I", (12, 3, 8, 12)),  # the model: schema version, codes, graphs
        ("<2I", (1, 20)),  # the codes: one
        ("<I", (0,)),  # the graphs: none
        ("<6H", (12, 16, 4, 0, 8, 12)),  # the code's vtable; it has no custom name
        ("<ib3xii", (12, min(builtin, MOST_IN_A_BYTE), version, builtin)),
    )
    return b"".join(struct.pack(form, *values) for form, values in parts)


def make_plain(data: bytearray, code: OperatorCode) -> None:
    """Turn an operator kind into one that every runtime has, so that it loads."""
    for field, form, value in (
        (CODE_DEPRECATED, "<b", PLAIN),
        (CODE_VERSION, "<i", 1),
        (CODE_BUILTIN, "<i", PLAIN),
    ):
        position = field_position(data, code.position, field)
        if position:
            struct.pack_into(form, data, position, value)


def _code(data: Data, table: int) -> OperatorCode:
    # The code was a byte once; each writer since stores the one that holds it, or both.
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
    """Where the offset that is stored at a position leads."""
    (offset,) = struct.unpack_from("<I", data, position)
    return position + int(offset)


def field_position(data: Data, table: int, number: int) -> int:
    """The position of a table's field; 0 if it is not stored."""
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
