"""Reads an ELF file once into the plain data that the checks need."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from builders.audit.image import (
    EH_FRAME,
    EXECUTABLE,
    RELRO,
    STACK,
    DamagedElfError,
    Image,
    Symbol,
)
from builders.audit.layout import layout_faults, relro_faults

__all__ = ["DamagedElfError", "Extension", "Undefined", "read_elf"]


@dataclass(frozen=True, kw_only=True)
class Undefined:
    """A symbol that another library must define."""

    name: str
    version: str | None
    weak: bool


@dataclass(frozen=True, kw_only=True)
class Extension:
    """A shared object as the dynamic loader sees it.

    Attributes:
        kind: the ELF class, byte order and type, such as `ELF64 LSB ET_DYN`.
        machine: the processor architecture, such as `EM_X86_64`.
        needed: the library names of DT_NEEDED.
        run_paths: the paths of DT_RPATH and DT_RUNPATH.
        flags: `TEXTREL` if the file has text relocations, `RELR` if it has packed relocations.
        relro: the faults of PT_GNU_RELRO, one sentence each.
        stack: the permissions of PT_GNU_STACK (1 is executable); None if the header is absent.
        layout: the faults that builders.audit.layout finds, one sentence each.
        exports: the names of defined dynamic symbols that other libraries can see.
        undefined: the symbols that other libraries must define.
        versions: the (library, symbol version) pairs that the loader requires.
        sections: the names of all sections.
        rodata: the read-only data.
        code: (address, bytes) of each executable segment.
        constructors: the number of functions in DT_INIT_ARRAY, which the loader calls.
        loading: the addresses of functions that run when the file is loaded or unloaded.
        entries: the addresses in `loading`, and those of the functions that an import calls.
        functions: the addresses where functions begin, according to .eh_frame_hdr.
    """

    kind: str
    machine: str
    needed: tuple[str, ...]
    run_paths: tuple[str, ...]
    flags: frozenset[str]
    relro: tuple[str, ...]
    stack: int | None
    layout: tuple[str, ...]
    exports: tuple[str, ...]
    undefined: tuple[Undefined, ...]
    versions: frozenset[tuple[str, str]]
    sections: tuple[str, ...]
    rodata: bytes
    code: tuple[tuple[int, bytes], ...]
    constructors: int
    loading: tuple[int, ...]
    entries: tuple[int, ...]
    functions: frozenset[int]

    def literals(self, pattern: str) -> tuple[str, ...]:
        """Return the C strings of the read-only data that match the pattern as a whole, sorted."""
        found = re.findall(rb"(?<=\0)" + pattern.encode() + rb"(?=\0)", b"\0" + self.rodata)
        return tuple(sorted({literal.decode() for literal in found}))


def read_elf(data: bytes) -> Extension:
    """Read a shared object.

    Raises:
        DamagedElfError: the data is not ELF, is damaged, or has no dynamic symbols.
    """
    try:
        return _read(Image(data))
    except (struct.error, UnicodeDecodeError) as error:
        raise DamagedElfError(f"not a readable ELF file: {error}") from error


def _read(image: Image) -> Extension:
    exports, undefined = _symbols(image)
    stack = image.segment(STACK)
    return Extension(
        kind=image.kind,
        machine=image.machine,
        needed=_strings(image, "DT_NEEDED"),
        run_paths=_strings(image, "DT_RPATH", "DT_RUNPATH"),
        flags=frozenset(_flags(image)),
        relro=tuple(relro_faults(image, image.segment(RELRO))),
        stack=None if stack is None else stack.flags,
        layout=tuple(layout_faults(image)),
        exports=tuple(sorted(symbol.name for symbol in exports)),
        undefined=undefined,
        versions=frozenset(image.needed_versions.values()),
        sections=tuple(section.name for section in image.sections),
        rodata=b"".join(
            image.piece(section.offset, section.end - section.offset) + b"\0"
            for section in image.sections
            if section.name.startswith(".rodata")
        ),
        code=tuple(
            (load.address, image.piece(load.offset, load.size))
            for load in image.loads
            if load.flags & EXECUTABLE
        ),
        constructors=len(image.constructors),
        loading=tuple(_loading(image)),
        entries=(*_initializers(exports), *_loading(image)),
        functions=frozenset(_functions(image)),
    )


def _strings(image: Image, *names: str) -> tuple[str, ...]:
    return tuple(image.string(value) for name, value in image.tags if name in names)


def _flags(image: Image) -> Iterator[str]:
    for name, value in image.tags:
        # DF_TEXTREL of the gABI is 4. DT_RELR holds packed relocations: glibc before 2.36 does
        # not know them and silently skips them.
        if name == "DT_TEXTREL" or (name == "DT_FLAGS" and value & 4):
            yield "TEXTREL"
        elif name == "DT_RELR":
            yield "RELR"


def _symbols(image: Image) -> tuple[list[Symbol], tuple[Undefined, ...]]:
    needed = image.needed_versions
    exports, undefined = [], []
    for symbol, index in zip(image.symbols, image.versions_of_symbols(), strict=True):
        if symbol.binding == 0:
            continue
        if symbol.section != 0:
            if symbol.is_visible:
                exports.append(symbol)
            continue
        version = needed[index][1] if index in needed else None
        undefined.append(Undefined(name=symbol.name, version=version, weak=symbol.binding == 2))
    return exports, tuple(undefined)


def _initializers(exports: list[Symbol]) -> Iterator[int]:
    for symbol in exports:
        if symbol.type == 2 and symbol.name.startswith("PyInit_"):
            yield symbol.value


def _loading(image: Image) -> Iterator[int]:
    for name, value in image.tags:
        if name in ("DT_INIT", "DT_FINI"):
            yield value
    yield from image.constructors


def _functions(image: Image) -> Iterator[int]:
    """Yield the addresses where functions begin.

    They come from the sorted table that PT_GNU_EH_FRAME points to. Every linker writes the table
    as pairs of 32-bit offsets from the segment's own address (encoding 0x3b).

    Source: Linux Standard Base, Core, "Exception Frames".
    """
    segment = image.segment(EH_FRAME)
    if segment is None:
        return
    data = image.at(segment.address, segment.size)
    if data[:4] != b"\x01\x1b\x03\x3b" or len(data) < 12:
        return
    (count,) = struct.unpack_from("<I", data, 8)
    table = data[12 : 12 + 8 * count]
    for start, _ in struct.iter_unpack("<ii", table[: len(table) // 8 * 8]):
        yield segment.address + start
