"""The image of a shared object as the dynamic loader maps it: program headers and PT_DYNAMIC.

The loader never reads section headers, so they prove nothing about what it does. The file may
come from anyone: every count and size is compared with a limit before it is used to read.

Sources: System V gABI, chapters 4 and 5; glibc, elf/dl-load.c and elf/dl-lookup.c.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from elftools.elf.enums import ENUM_D_TAG, ENUM_E_MACHINE, ENUM_E_TYPE

PAGE = 4096

# An extension of ours has 10 segments, 28 sections, 28 entries in PT_DYNAMIC, 300 symbols with
# names of up to 90 characters, 5 libraries with versions, and 7,000 relocations.
MOST_SEGMENTS = 64
MOST_SECTIONS = 128
MOST_TAGS = 256
MOST_SYMBOLS = 50_000
MOST_VERSIONS = 1_000
MOST_RELOCATIONS = 200_000
MOST_CONSTRUCTORS = 1_000
LONGEST_NAME = 1_024

LOAD, DYNAMIC = 1, 2
EH_FRAME, STACK, RELRO = 0x6474E550, 0x6474E551, 0x6474E552
EXECUTABLE, WRITABLE = 1, 2
NOBITS, ALLOCATED, COMPRESSED = 8, 2, 0x800


class DamagedElfError(Exception):
    """The ELF file cannot be read. It makes a check fail; it is not a user error."""


@dataclass(frozen=True)
class Segment:
    """A program header. `size` is the size in the file and `memory` in memory, in bytes."""

    layout: ClassVar[str] = "<IIQQQQQQ"

    kind: int
    flags: int
    offset: int
    address: int
    _physical: int
    size: int
    memory: int
    _align: int

    @property
    def end(self) -> int:
        """The end address of the segment in memory."""
        return self.address + self.memory


@dataclass(frozen=True, kw_only=True)
class Section:
    """A section header. The loader ignores section headers; other tools read them."""

    name: str
    kind: int
    flags: int
    address: int
    offset: int
    size: int

    @property
    def end(self) -> int:
        """The end of the section in the file, as an offset in bytes."""
        return self.offset + (0 if self.kind == NOBITS else self.size)


@dataclass(frozen=True)
class Symbol:
    """An entry of the dynamic symbol table."""

    name: str
    info: int
    other: int
    section: int
    value: int

    @property
    def binding(self) -> int:
        """The symbol's binding: 0 is local, 1 global, 2 weak."""
        return self.info >> 4

    @property
    def type(self) -> int:
        """The symbol's type: 2 is a function, 10 an IFUNC, which is chosen at load time."""
        return self.info & 15

    @property
    def is_visible(self) -> bool:
        """True if other libraries can see the symbol: STV_DEFAULT or STV_PROTECTED."""
        return self.other & 3 in (0, 3)


@dataclass(frozen=True)
class Relocation:
    """An entry of DT_RELA or DT_JMPREL."""

    place: int
    type: int
    symbol: int
    addend: int


def name_of(number: int, names: Mapping[str, int], prefix: str) -> str:
    """Return the name of a constant that begins with the prefix; the number if it has no name."""
    found = [n for n, value in names.items() if value == number and n.startswith(prefix)]
    return found[-1] if found else f"{prefix}{number:#x}"


class Image:
    """A 64-bit little-endian shared object.

    Raises:
        DamagedElfError: the file contradicts itself or exceeds a limit. Every member may raise it.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        if data[:4] != b"\x7fELF" or len(data) < 64:
            raise DamagedElfError("not a readable ELF file: it does not begin as one")
        bits, order = {1: "32", 2: "64"}.get(data[4], "?"), {1: "LSB", 2: "MSB"}.get(data[5], "?")
        if (bits, order) != ("64", "LSB"):
            raise DamagedElfError(f"is ELF{bits} {order}, expected ELF64 LSB ET_DYN")
        (
            kind, machine, _, _, program, sections, _, _,
            program_size, program_count, section_size, section_count, names,
        ) = struct.unpack_from("<HHIQQQIHHHHHH", data, 16)  # fmt: skip
        self.kind = f"ELF64 LSB {name_of(kind, ENUM_E_TYPE, 'ET_')}"
        self.machine = name_of(machine, ENUM_E_MACHINE, "EM_")
        if program_size != 56 or not 0 < program_count <= MOST_SEGMENTS:
            raise DamagedElfError(f"{program_count} program headers of {program_size} bytes")
        table = self.piece(program, program_size * program_count)
        self.segments = [Segment(*entry) for entry in struct.iter_unpack(Segment.layout, table)]
        self.loads = [segment for segment in self.segments if segment.kind == LOAD]
        if sum(load.size for load in self.loads) > len(data) + PAGE * program_count:
            raise DamagedElfError("segments that are loaded share bytes of the file")
        self.headers = [(0, 64), (program, program + program_size * program_count)]
        self.sections = self._sections(sections, section_size, section_count, names)

    def piece(self, offset: int, size: int) -> bytes:
        """Return bytes of the file by their offset; all of them must be in the file."""
        if size < 0 or offset < 0 or offset + size > len(self.data):
            raise DamagedElfError(f"{size} bytes at {offset:#x} are beyond the end of the file")
        return self.data[offset : offset + size]

    def at(self, address: int, size: int) -> bytes:
        """Return bytes of the file by the address that they are mapped to."""
        for load in self.loads:
            if load.address <= address and address + size <= load.address + load.size:
                return self.piece(load.offset + address - load.address, size)
        raise DamagedElfError(f"{size} bytes at address {address:#x} are in no loaded segment")

    def segment(self, kind: int) -> Segment | None:
        """Return the segment of a kind, or None. Two segments of one kind are an error."""
        found = [segment for segment in self.segments if segment.kind == kind]
        if len(found) > 1:
            raise DamagedElfError(f"{len(found)} program headers of the kind {kind:#x}")
        return found[0] if found else None

    @cached_property
    def tags(self) -> list[tuple[str, int]]:
        """The (name, value) entries of PT_DYNAMIC before DT_NULL."""
        segment = self.segment(DYNAMIC)
        if segment is None:
            raise DamagedElfError("no dynamic segment")
        # The loader finds the segment by its address, and ignores the offset in the header.
        table = self.at(segment.address, min(segment.size // 16, MOST_TAGS) * 16)
        found: list[tuple[str, int]] = []
        for number, value in struct.iter_unpack("<QQ", table):
            if number == 0:
                return found
            found.append((name_of(number, ENUM_D_TAG, "DT_"), value))
        raise DamagedElfError(f"the dynamic segment does not end within {MOST_TAGS} entries")

    def tag(self, name: str) -> int | None:
        """Return the value of an entry, or None; of several the last, which the loader takes."""
        found = [value for tag, value in self.tags if tag == name]
        return found[-1] if found else None

    @cached_property
    def _strings(self) -> bytes:
        return self.at(self.tag("DT_STRTAB") or 0, self.tag("DT_STRSZ") or 0)

    def string(self, offset: int) -> str:
        """Return the name at an offset of the dynamic string table."""
        return _name(self._strings, offset)

    @cached_property
    def symbols(self) -> list[Symbol]:
        """The dynamic symbol table.

        DT_HASH and the section header tell the table's length, and must agree if both exist. No
        relocation or DT_GNU_HASH entry may point beyond it.
        """
        address = self.tag("DT_SYMTAB")
        if address is None or self.tag("DT_SYMENT") != 24:
            raise DamagedElfError("no dynamic symbols")
        sizes = {s.size for s in self.sections if s.address == address and s.kind == 11}
        if (table := self.tag("DT_HASH")) is not None:
            sizes.add(24 * int(struct.unpack("<II", self.at(table, 8))[1]))
        if len(sizes) != 1 or (size := sizes.pop()) % 24 or size > 24 * MOST_SYMBOLS:
            raise DamagedElfError("no dynamic symbols, or several lengths of their table")
        count = size // 24
        indexes = [r.symbol for r in self.relocations] + [self._last_hashed()]
        if max(indexes) >= count:
            raise DamagedElfError(f"{count} dynamic symbols, but the number {max(indexes)} is used")
        return [
            Symbol(self.string(name), info, other, section, value)
            for name, info, other, section, value, _ in struct.iter_unpack(
                "<IBBHQQ", self.at(address, size)
            )
        ]

    def _last_hashed(self) -> int:
        """Return the last symbol number in DT_GNU_HASH, 0 if there is none.

        Source: glibc, elf/dl-lookup.c.
        """
        if (table := self.tag("DT_GNU_HASH")) is None:
            return 0
        buckets, first, blooms, _ = struct.unpack("<IIII", self.at(table, 16))
        if max(buckets, blooms) > MOST_SYMBOLS:
            raise DamagedElfError("a hash table of more symbols than an extension has")
        start = table + 16 + 8 * blooms
        last = max(struct.unpack(f"<{buckets}I", self.at(start, 4 * buckets)), default=0)
        if last < first:
            return 0
        chain = start + 4 * buckets
        while last - first <= MOST_SYMBOLS:
            (value,) = struct.unpack("<I", self.at(chain + 4 * (last - first), 4))
            if value & 1:
                return int(last)
            last += 1
        raise DamagedElfError("a chain of the hash table does not end")

    @cached_property
    def relocations(self) -> list[Relocation]:
        """The entries of DT_RELA, then those of DT_JMPREL: the order in which the loader works."""
        found = []
        for start, length in (("DT_RELA", "DT_RELASZ"), ("DT_JMPREL", "DT_PLTRELSZ")):
            address, size = self.tag(start), self.tag(length) or 0
            if address is None:
                continue
            if size % 24 or size > 24 * MOST_RELOCATIONS:
                raise DamagedElfError(f"{length} is {size}")
            found += [
                Relocation(place, info & 0xFFFFFFFF, info >> 32, addend)
                for place, info, addend in struct.iter_unpack("<QQq", self.at(address, size))
            ]
        return found

    @cached_property
    def needed_versions(self) -> dict[int, tuple[str, str]]:
        """The (library, version) pairs of DT_VERNEED, by the index that DT_VERSYM uses."""
        found: dict[int, tuple[str, str]] = {}
        place = self.tag("DT_VERNEED")
        for _ in range(min(self.tag("DT_VERNEEDNUM") or 0, MOST_VERSIONS) if place else 0):
            assert place is not None
            _, count, file, first, after = struct.unpack("<HHIII", self.at(place, 16))
            auxiliary = place + first
            for _ in range(count):
                _, _, index, name, step = struct.unpack("<IHHII", self.at(auxiliary, 16))
                if index in found or len(found) >= MOST_VERSIONS:
                    raise DamagedElfError("a symbol version is there twice, or there are too many")
                found[index] = (self.string(file), self.string(name))
                auxiliary += step
            if not after:
                break
            place += after
        return found

    @cached_property
    def constructors(self) -> list[int]:
        """The addresses of the functions in DT_INIT_ARRAY after relocation.

        An address is 0 if the entry does not have exactly one relocation, of the RELATIVE type.
        """
        address, size = self.tag("DT_INIT_ARRAY") or 0, self.tag("DT_INIT_ARRAYSZ") or 0
        if size % 8 or size > 8 * MOST_CONSTRUCTORS:
            raise DamagedElfError(f"DT_INIT_ARRAYSZ is {size}")
        self.at(address, size)
        targets: dict[int, list[Relocation]] = defaultdict(list)
        for relocation in self.relocations:
            if address - 8 < relocation.place < address + size:
                targets[relocation.place].append(relocation)
        places = range(address, address + size, 8)
        if targets.keys() - set(places):
            raise DamagedElfError("a relocation is between two constructors")
        return [self._constructor(targets[place]) for place in places]

    def _constructor(self, relocations: list[Relocation]) -> int:
        relative = RELATIVE.get(self.machine)
        if [relocation.type for relocation in relocations] != [relative]:
            return 0
        return relocations[0].addend

    def versions_of_symbols(self) -> Iterator[int]:
        """Yield the DT_VERSYM index of each symbol; 1 (no version) if there is no such table."""
        count = len(self.symbols)
        if (address := self.tag("DT_VERSYM")) is None:
            yield from [1] * count
        else:
            yield from struct.unpack(f"<{count}H", self.at(address, 2 * count))

    def _sections(self, start: int, size: int, count: int, names: int) -> list[Section]:
        if not start:
            return []
        if size != 64 or not 0 < count <= MOST_SECTIONS or names >= count:
            raise DamagedElfError(f"{count} section headers of {size} bytes")
        self.headers.append((start, start + size * count))
        entries = list(struct.iter_unpack("<IIQQQQIIQQ", self.piece(start, size * count)))
        strings = self.piece(entries[names][4], entries[names][5])
        found = [
            Section(
                name=_name(strings, entry[0]),
                kind=entry[1],
                flags=entry[2],
                address=entry[3],
                offset=entry[4],
                size=entry[5],
            )
            for entry in entries
        ]
        for section in found:
            if section.flags & COMPRESSED:
                raise DamagedElfError(f"the section {section.name} is compressed")
            self.piece(section.offset, section.end - section.offset)
        if sum(section.end - section.offset for section in found) > len(self.data):
            raise DamagedElfError("sections share bytes of the file")
        return found


def _name(strings: bytes, offset: int) -> str:
    end = strings.find(b"\0", offset, offset + LONGEST_NAME)
    if end < 0:
        raise DamagedElfError(f"a name at {offset} does not end")
    return strings[offset:end].decode("ascii", "backslashreplace")


# The relocation type that stores an address inside this file in a pointer
# (R_X86_64_RELATIVE and R_AARCH64_RELATIVE of the processors' psABI).
RELATIVE = {"EM_X86_64": 8, "EM_AARCH64": 1027}
