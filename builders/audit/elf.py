"""Reads from an ELF file what the checks need, once, into plain data."""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from elftools.elf.constants import SH_FLAGS
from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerNeedSection, GNUVerSymSection
from elftools.elf.relocation import RelocationSection
from elftools.elf.sections import SymbolTableSection

# The relocation that puts an address of the file itself into a pointer
# (R_X86_64_RELATIVE and R_AARCH64_RELATIVE of the processors' psABI).
RELATIVE = {"EM_X86_64": 8, "EM_AARCH64": 1027}


class DamagedElfError(Exception):
    """Not an ELF file that can be read; a failing check, not a user error."""


@dataclass(frozen=True, kw_only=True)
class Undefined:
    """A symbol that another library must give."""

    name: str
    version: str | None
    weak: bool


@dataclass(frozen=True, kw_only=True)
class Extension:
    """A shared object as the dynamic loader sees it.

    Attributes:
        kind: class, byte order and type, such as `ELF64 LSB ET_DYN`.
        machine: such as `EM_X86_64`.
        needed: DT_NEEDED.
        run_paths: DT_RPATH and DT_RUNPATH.
        flags: the dynamic section's traits that matter: `TEXTREL`, `RELR`.
        relro: whether there is a PT_GNU_RELRO segment.
        stack: permissions of PT_GNU_STACK (1 is executable), None if absent.
        exports: defined dynamic symbols that others can see.
        versions: (library, symbol version) pairs that must be there to load.
        sections: all section names.
        rodata: the read-only data.
        code: (address, bytes) of the executable sections, without the PLT.
        entries: addresses that loading and importing call.
        functions: addresses where .eh_frame_hdr says that a function begins.
    """

    kind: str
    machine: str
    needed: tuple[str, ...]
    run_paths: tuple[str, ...]
    flags: frozenset[str]
    relro: bool
    stack: int | None
    exports: tuple[str, ...]
    undefined: tuple[Undefined, ...]
    versions: frozenset[tuple[str, str]]
    sections: tuple[str, ...]
    rodata: bytes
    code: tuple[tuple[int, bytes], ...]
    entries: tuple[int, ...]
    functions: frozenset[int]

    def literals(self, pattern: str) -> tuple[str, ...]:
        """Whole C strings of the read-only data that match, sorted."""
        found = re.findall(rb"(?<=\0)" + pattern.encode() + rb"(?=\0)", b"\0" + self.rodata)
        return tuple(sorted({literal.decode() for literal in found}))


def read_elf(data: bytes) -> Extension:
    """Read a shared object.

    Raises:
        DamagedElfError: it is not ELF, damaged, or has no dynamic symbols.
    """
    # A damaged file makes pyelftools raise nearly anything.
    try:
        return _read(ELFFile(io.BytesIO(data)))
    except DamagedElfError:
        raise
    except Exception as error:
        raise DamagedElfError(
            f"not a readable ELF file: {error or type(error).__name__}"
        ) from error


def _read(elf: ELFFile) -> Extension:
    dynamic = elf.get_section_by_name(".dynamic")
    symbols = elf.get_section_by_name(".dynsym")
    if not isinstance(dynamic, DynamicSection) or not isinstance(symbols, SymbolTableSection):
        raise DamagedElfError("no dynamic section, or no dynamic symbols")
    tags: list[Any] = list(dynamic.iter_tags())
    segments = {segment["p_type"]: segment for segment in elf.iter_segments()}
    stack = segments.get("PT_GNU_STACK")
    names = [(tag.entry.d_tag, tag) for tag in tags]
    exports, undefined = _symbols(elf, symbols)
    order = "LSB" if elf.little_endian else "MSB"
    return Extension(
        kind=f"ELF{elf.elfclass} {order} {elf['e_type']}",
        machine=str(elf["e_machine"]),
        needed=tuple(tag.needed for name, tag in names if name == "DT_NEEDED"),
        run_paths=tuple(
            tag.rpath if name == "DT_RPATH" else tag.runpath
            for name, tag in names
            if name in ("DT_RPATH", "DT_RUNPATH")
        ),
        flags=frozenset(_flags(tags)),
        relro="PT_GNU_RELRO" in segments,
        stack=None if stack is None else int(stack["p_flags"]),
        exports=tuple(sorted(symbol.name for symbol in exports)),
        undefined=undefined,
        versions=frozenset(_needed_versions(elf).values()),
        sections=tuple(section.name for section in elf.iter_sections()),
        rodata=b"".join(
            section.data() + b"\0"
            for section in elf.iter_sections()
            if section.name.startswith(".rodata")
        ),
        code=tuple(_code(elf)),
        entries=tuple(_entries(elf, tags, exports)),
        functions=frozenset(_functions(elf)),
    )


def _flags(tags: list[Any]) -> Iterator[str]:
    for tag in tags:
        # DF_TEXTREL of the gABI is 4; DT_RELR packs relocations in a way that
        # glibc before 2.36 does not know and would silently not apply.
        if tag.entry.d_tag == "DT_TEXTREL" or (
            tag.entry.d_tag == "DT_FLAGS" and tag.entry.d_val & 4
        ):
            yield "TEXTREL"
        elif tag.entry.d_tag == "DT_RELR":
            yield "RELR"


def _symbols(elf: ELFFile, table: SymbolTableSection) -> tuple[list[Any], tuple[Undefined, ...]]:
    indexes = elf.get_section_by_name(".gnu.version")
    needed = _needed_versions(elf)
    exports, undefined = [], []
    for number, symbol in enumerate(table.iter_symbols()):
        if symbol["st_info"]["bind"] == "STB_LOCAL":
            continue
        if symbol["st_shndx"] != "SHN_UNDEF":
            if symbol["st_other"]["visibility"] in ("STV_DEFAULT", "STV_PROTECTED"):
                exports.append(symbol)
            continue
        index = None
        if isinstance(indexes, GNUVerSymSection):
            index = indexes.get_symbol(number)["ndx"]
        undefined.append(
            Undefined(
                name=symbol.name,
                version=needed[index][1] if index in needed else None,
                weak=symbol["st_info"]["bind"] == "STB_WEAK",
            )
        )
    return exports, tuple(undefined)


def _needed_versions(elf: ELFFile) -> dict[int, tuple[str, str]]:
    section = elf.get_section_by_name(".gnu.version_r")
    if not isinstance(section, GNUVerNeedSection):
        return {}
    # A damaged count would have pyelftools read the same entry for hours.
    if section.num_versions() * 16 > section["sh_size"]:
        raise DamagedElfError("more symbol versions than their section can hold")
    return {
        auxiliary["vna_other"]: (str(library.name), str(auxiliary.name))
        for library, auxiliaries in section.iter_versions()
        for auxiliary in auxiliaries
    }


def _code(elf: ELFFile) -> Iterator[tuple[int, bytes]]:
    for section in elf.iter_sections():
        if section["sh_flags"] & SH_FLAGS.SHF_EXECINSTR and not section.name.startswith(".plt"):
            yield section["sh_addr"], section.data()


def _entries(elf: ELFFile, tags: list[Any], exports: list[Any]) -> Iterator[int]:
    for symbol in exports:
        if symbol["st_info"]["type"] == "STT_FUNC" and symbol.name.startswith("PyInit_"):
            yield symbol["st_value"]
    for tag in tags:
        if tag.entry.d_tag in ("DT_INIT", "DT_FINI"):
            yield tag.entry.d_ptr
    relocated = dict(_relative_relocations(elf))
    for name in (".init_array", ".fini_array"):
        if section := elf.get_section_by_name(name):
            stored = struct.unpack(f"<{section['sh_size'] // 8}Q", section.data())
            for place, value in enumerate(stored):
                yield relocated.get(section["sh_addr"] + 8 * place, value)


def _relative_relocations(elf: ELFFile) -> Iterator[tuple[int, int]]:
    section = elf.get_section_by_name(".rela.dyn")
    if isinstance(section, RelocationSection):
        for entry in section.iter_relocations():
            if entry["r_info_type"] == RELATIVE.get(elf["e_machine"]):
                yield entry["r_offset"], entry["r_addend"]


def _functions(elf: ELFFile) -> Iterator[int]:
    """Function starts from the sorted table of .eh_frame_hdr.

    Source: Linux Standard Base, Core, "Exception Frames"; every linker writes
    the table as pairs of 32-bit offsets from the section's own address (0x3b).
    """
    section = elf.get_section_by_name(".eh_frame_hdr")
    if section is None:
        return
    data = section.data()
    if data[:4] != b"\x01\x1b\x03\x3b":
        return
    (count,) = struct.unpack_from("<I", data, 8)
    for start, _ in struct.iter_unpack("<ii", data[12 : 12 + 8 * count]):
        yield section["sh_addr"] + start
