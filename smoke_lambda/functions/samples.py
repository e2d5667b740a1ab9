"""Makes the request to try a function with, from the user's file or from made-up data."""

from __future__ import annotations

import base64
import io
import json
import math
import struct
import wave
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builders.errors import UsageError

MOST_BYTES = 4_000_000  # as the handler's MAX_BYTES
TONE_HZ = 440
SIGNATURES = ((b"\x89PNG", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"RIFF", "image/webp"))
TYPES = {"audio": "audio/wav", "array": "application/octet-stream"}
# The type codes in made-up .npy files, by NumPy's names of the types (numpy.lib.format).
CODES = {"float32": "<f4", "float64": "<f8", "float16": "<f2", "bool": "|b1"}


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A request, in two forms: direct and over HTTP.

    Attributes:
        direct: the event of a direct invocation.
        body: the body of an HTTP request, as Lambda gets it.
        is_base64: True if `body` is base64.
        type: the media type of the HTTP request.
    """

    direct: Mapping[str, Any]
    body: str
    is_base64: bool
    type: str

    def as_json(self) -> dict[str, Any]:
        """Return the request as a dictionary for the templates of the events."""
        return {
            "direct": self.direct,
            "body": self.body,
            "base64": self.is_base64,
            "type": self.type,
        }


def sample_of(plan: Mapping[str, Any], given: Path | None) -> Sample:
    """Return a request for the function of a plan.

    Args:
        given: the user's file; None to make data up. If the function's only input is a picture,
            sound or array, it is a picture, a WAV or a .npy file; else it is the request in JSON.

    Raises:
        UsageError: the file does not fit.
    """
    single = plan["single"]
    if not single:
        return named(_request(given) if given else made_up(plan["inputs"], plan["rate"]))
    data = _read(given) if given else made_up_file(plan["inputs"][0], plan["rate"])
    return of_file(single, data)


def of_file(kind: str, data: bytes) -> Sample:
    """Return the request that sends a file of this kind."""
    found = next((name for start, name in SIGNATURES if data.startswith(start)), "")
    if kind == "image" and not found:
        raise UsageError("the sample is no PNG, JPEG or WebP image", remedy="name another picture")
    encoded = base64.b64encode(data).decode()
    return Sample(direct={kind: encoded}, body=encoded, is_base64=True, type=TYPES.get(kind, found))


def named(request: Mapping[str, Any]) -> Sample:
    """Return a JSON request."""
    return Sample(
        direct=request, body=json.dumps(request), is_base64=False, type="application/json"
    )


def made_up(inputs: Sequence[Mapping[str, Any]], rate: int) -> dict[str, Any]:
    """Make up a request for these inputs, with the same values every time."""
    values = {
        each["name"]: zeros(each["shape"])
        if each["kind"] == "json"
        else base64.b64encode(made_up_file(each, rate)).decode()
        for each in inputs
    }
    return {"input": next(iter(values.values()))} if len(values) == 1 else {"inputs": values}


def zeros(shape: Sequence[int]) -> Any:  # noqa: ANN401 - nested lists
    """Return nested lists of zeros."""
    return [zeros(shape[1:]) for _ in range(shape[0])] if shape else 0


def made_up_file(tensor: Mapping[str, Any], rate: int) -> bytes:
    """Make up a picture, a sound or an array for an input."""
    if tensor["kind"] == "image":
        return picture(max(tensor["shape"][1:3]))
    if tensor["kind"] == "audio":
        return tone(rate or 16000, math.prod(tensor["shape"]))
    return array(tensor["shape"], tensor["dtype"])


def picture(side: int) -> bytes:
    """Return a PNG of shades of red, green and blue, `side` pixels wide and high."""
    shades = [255 * n // max(side - 1, 1) for n in range(side)]
    rows = b"".join(b"\0" + b"".join(bytes((x, y, (x + y) // 2)) for x in shades) for y in shades)

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    header = struct.pack(">2I5B", side, side, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def tone(rate: int, count: int) -> bytes:
    """Return a WAV file of a tone: `count` samples of 16 bits, `rate` per second."""
    values = (round(8000 * math.sin(math.tau * TONE_HZ * n / rate)) for n in range(count))
    output = io.BytesIO()
    with wave.open(output, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(b"".join(struct.pack("<h", value) for value in values))
    return output.getvalue()


def array(shape: Sequence[int], dtype: str) -> bytes:
    """Return a .npy file of zeros (numpy.lib.format, version 1.0)."""
    sizes = {"int8": "|i1", "uint8": "|u1"}
    code = (CODES | sizes).get(dtype) or f"<{dtype[0]}{int(dtype.lstrip('uint')) // 8}"
    header = f"{{'descr': '{code}', 'fortran_order': False, 'shape': {tuple(shape)}, }}"
    padded = header + " " * (-(len(header) + 11) % 64) + "\n"
    head = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(padded)) + padded.encode("latin-1")
    return head + bytes(math.prod(shape) * int(code[2:]))


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise UsageError(f"there is no file {path}")
    data = path.read_bytes()
    if len(data) > MOST_BYTES:
        raise UsageError(
            f"{path} has {len(data)} bytes, and a request at most {MOST_BYTES}",
            remedy="name a smaller sample",
        )
    return data


def _request(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(_read(path))
    except ValueError as error:
        raise UsageError(f"{path} is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise UsageError(f"{path} is no request: send an object with input or inputs")
    return found
