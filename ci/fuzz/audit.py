"""Fuzzes the audit with wheels that are damaged, or forged so that they look right to it.

The audit must give a report for any bytes, in bounded time and memory. A wheel with a changed file
of the package, other than the extension, must never pass, even if RECORD and zip agree with it.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache, lru_cache
from pathlib import Path

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from builders.audit import audit
from builders.audit.zip_layout import END, END_SIGNATURE, LOCAL, LOCAL_SIGNATURE
from builders.errors import UsageError
from builders.matrix import load_matrix
from builders.wheelname import PACKAGE
from ci.fuzz.campaign import Case, Target
from ci.fuzz.edits import edited, edits
from ci.fuzz.worker import apart
from ci.publish.choice import newest
from ci.publish.manifest import read_manifest
from ci.publish.places import WHEELS

SECONDS = 60.0  # the limit of a case; an audit takes one or two seconds on an idle machine
MEMORY = 2 << 30
WHEEL = "TFLITE_FUZZ_WHEEL"
"""The variable that gives the worker the path of its wheel."""

# The part that is changed: bytes of the whole file, or of a member; then the archive is made anew.
FILE, PROGRAM, DYNAMIC, SECTIONS, TEXT = "file", "program headers", "dynamic", "sections", "text"
# A header of the zip's directory has the fields of a local header after its signature and version,
# and five more.
HEADER, END_OF_HEADER = struct.Struct("<HHHHHIIIHH"), struct.Struct("<HHHII")
MEMBERS = ("METADATA", "WHEEL", "RECORD", ".cdx.json", "LICENSE", ".py", ".pyi", ".so")


def cases() -> SearchStrategy[Case]:
    """Return the cases: which part of the wheel is changed, and how."""
    member = st.fixed_dictionaries(
        {
            "what": st.sampled_from((PROGRAM, DYNAMIC, SECTIONS, TEXT)),
            "member": st.sampled_from(MEMBERS),
            "edits": edits(),
            "record": st.booleans(),
        }
    )
    whole = st.fixed_dictionaries({"what": st.just(FILE), "edits": edits()})
    return st.one_of(member, member, whole)


@cache
def _wheel() -> tuple[str, Mapping[str, bytes], bytes]:
    path = Path(os.environ[WHEEL])
    with zipfile.ZipFile(path) as file:
        return path.name, {i.filename: file.read(i) for i in file.infolist()}, path.read_bytes()


def changed(case: Case) -> bytes:
    """Return the bytes of the changed wheel of a case."""
    _, members, whole = _wheel()
    if case["what"] == FILE:
        return edited(whole, case["edits"])
    extension = next(name for name in members if name.endswith(".so"))
    if case["what"] == TEXT:
        name = next(n for n in sorted(members) if n.endswith(case["member"]))
        members = {**members, name: edited(members[name], case["edits"])}
    else:
        data = members[extension]
        start, end = _range(data, case["what"])
        piece = edited(data[start:end], case["edits"])[: end - start]
        members = {
            **members,
            extension: data[:start] + piece.ljust(end - start, b"\0") + data[end:],
        }
    return packed(members, with_record=case["record"])


def _range(data: bytes, what: str) -> tuple[int, int]:
    """Return where a table of the loader, or of other tools, begins and ends in an extension."""
    program, sections = struct.unpack_from("<QQ", data, 32)
    if what == PROGRAM:
        return 0, program + 56 * struct.unpack_from("<H", data, 56)[0]
    if what == SECTIONS:
        return sections, sections + 64 * struct.unpack_from("<H", data, 60)[0]
    headers = range(program, sections, 56)
    dynamic = next(h for h in headers if struct.unpack_from("<I", data, h)[0] == 2)
    offset, size = struct.unpack_from("<Q16xQ", data, dynamic + 8)
    return offset, offset + size


def packed(members: Mapping[str, bytes], *, with_record: bool) -> bytes:
    """Return a wheel of members, in their order, in the same form as our wheels.

    Args:
        with_record: True if RECORD is rewritten so that it agrees with the members.
    """
    record = next(name for name in members if name.endswith(".dist-info/RECORD"))
    if with_record:
        lines = [
            f"{name},sha256={_digest(data)},{len(data)}" if name != record else f"{name},,"
            for name, data in members.items()
        ]
        members = {**members, record: "\n".join(lines).encode() + b"\n"}
    body, directory = bytearray(), bytearray()
    for name, data in members.items():
        text, (stream, checksum) = name.encode(), _deflated(data)
        mode = (0o100755 if name.endswith(".so") else 0o100644) << 16
        # Zip version 2.0, deflated, dated 1980-01-01, without extra field and comment.
        told = (20, 0, 8, 0, 33, checksum, len(stream), len(data), len(text))
        made = struct.pack("<IH", 0x02014B50, 3 << 8 | 20)
        directory += made + HEADER.pack(*told, 0) + END_OF_HEADER.pack(0, 0, 0, mode, len(body))
        directory += text
        body += LOCAL.pack(LOCAL_SIGNATURE, *told, 0) + text + stream
    count = len(members)
    end = END.pack(END_SIGNATURE, 0, 0, count, count, len(directory), len(body), 0)
    return bytes(body + directory + end)


# A case changes one member at most; the others are the same in each case.
@lru_cache(maxsize=100)
def _deflated(data: bytes) -> tuple[bytes, int]:
    packer = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush(), zlib.crc32(data)


@lru_cache(maxsize=100)
def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def tried(case: Case, folder: Path) -> str:
    """Audit the wheel of a case; return the fault in one sentence, or an empty text."""
    name, members, whole = _wheel()
    content = changed(case)
    path = folder / name
    path.write_bytes(content)
    try:
        report = audit(path, load_matrix())
    except Exception as error:
        return f"the audit ends with {type(error).__name__}: {error}"
    finally:
        path.unlink()
    if not all(check.detail.isprintable() for check in report.checks):
        return "a report is not printable"
    if not report.ok or content == whole:
        return ""
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        now = {info.filename: file.read(info) for info in file.infolist()}
    code = [n for n in {*now, *members} if n.startswith(f"{PACKAGE}/") and not n.endswith(".so")]
    other = [n for n in code if now.get(n) != members.get(n)]
    return f"a wheel passes with another {', '.join(sorted(other))}" if other else ""


def recommended() -> Path | None:
    """Return the current wheel of the recommended TensorFlow; None if there is none."""
    wheel = newest(read_manifest(WHEELS), load_matrix(), "3.12", "x86_64")
    return WHEELS / wheel.file if wheel else None


@contextmanager
def target(wheel: Path | None) -> Iterator[Target]:
    """Give the audit as a target for changes of a wheel, until the block ends.

    Raises:
        UsageError: there is no wheel, or the unchanged wheel does not pass.
    """
    wheel = wheel or recommended()
    if wheel is None or not wheel.is_file():
        raise UsageError("there is no wheel to change", remedy="name one by --wheel")
    report = audit(wheel, load_matrix())
    if not report.ok:
        raise UsageError(f"{wheel.name} fails {', '.join(report.failed)} as it is")
    os.environ[WHEEL] = str(wheel.absolute())
    with apart(__name__, cases(), seconds=SECONDS, memory=MEMORY) as worker:
        yield worker
