"""Finds what an extension asks of the dynamic loader beyond the needs of an extension of ours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from builders.audit.image import (
    ALLOCATED,
    DYNAMIC,
    EXECUTABLE,
    LOAD,
    NOBITS,
    PAGE,
    RELATIVE,
    WRITABLE,
    Image,
    Section,
    Segment,
)

# The entries of PT_DYNAMIC that zig's linker writes into an extension of ours. Other entries load
# more libraries (DT_AUXILIARY, DT_FILTER, DT_AUDIT), run more code (DT_INIT) or let the file
# replace the library of that name (DT_SONAME). Run paths, text relocations and DT_RELR are in the
# set because they have checks of their own.
TAGS = frozenset(
    f"DT_{name}"
    for name in (
        "NEEDED", "STRTAB", "STRSZ", "SYMTAB", "SYMENT", "HASH", "GNU_HASH",
        "VERSYM", "VERNEED", "VERNEEDNUM", "RELA", "RELASZ", "RELAENT", "RELACOUNT",
        "JMPREL", "PLTRELSZ", "PLTGOT", "PLTREL", "INIT_ARRAY", "INIT_ARRAYSZ",
        "FLAGS", "FLAGS_1", "RPATH", "RUNPATH", "TEXTREL", "RELR", "RELRSZ", "RELRENT",
    )
)  # fmt: skip
BIND_NOW, NOW = 8, 1  # of DT_FLAGS and DT_FLAGS_1

# The most constructors of an extension of ours: 2.14.1 has one, 2.22 two.
CONSTRUCTORS = 2

# The relocation types for addresses of symbols and of thread-local variables (the processors'
# psABI). R_*_IRELATIVE is left out because it calls code, R_*_COPY because it is for programs.
RELOCATIONS = {
    "EM_X86_64": frozenset((1, 6, 7, 8, 16, 17, 18, 36)),
    "EM_AARCH64": frozenset((257, 1025, 1026, 1027, 1028, 1029, 1030, 1031)),
}
THREAD_LOCAL = 0x400  # SHF_TLS
CHOSEN_AS_LOADED = 10  # STT_GNU_IFUNC

# The sections that describe the same table as an entry of PT_DYNAMIC: section name -> the entries
# of the table's address and of its size ("" if no entry tells the size).
TABLES = {
    ".dynsym": ("DT_SYMTAB", ""),
    ".dynstr": ("DT_STRTAB", "DT_STRSZ"),
    ".gnu.version": ("DT_VERSYM", ""),
    ".gnu.version_r": ("DT_VERNEED", ""),
    ".rela.dyn": ("DT_RELA", "DT_RELASZ"),
    ".rela.plt": ("DT_JMPREL", "DT_PLTRELSZ"),
    ".init_array": ("DT_INIT_ARRAY", "DT_INIT_ARRAYSZ"),
}
# The sections that may be in the file without being loaded: NAMES, which have 304 bytes in an
# extension of ours, and SYMBOLS, which the check `stripped` reports.
NAMES = (".comment", ".shstrtab")
NAMES_LIMIT = 4_096
SYMBOLS = (".symtab", ".strtab", ".debug_", ".zdebug_", ".gdb_index")


def layout_faults(image: Image) -> Iterator[str]:
    """Yield each difference from an extension of ours, as a sentence."""
    yield from _segment_faults(image)
    yield from _dynamic_faults(image)
    yield from _code_faults(image)
    yield from _section_faults(image)
    yield from _payload_faults(image)


def relro_faults(image: Image, relro: Segment | None) -> Iterator[str]:
    """Yield a sentence if data that the loader relocates stays writable when code runs."""
    if relro is None:
        yield "has no read-only relocations (RELRO)"
        return
    # The loader rounds the end down (glibc, _dl_protect_relro in elf/dl-reloc.c).
    start, end = relro.address, relro.end // PAGE * PAGE
    dynamic = image.segment(DYNAMIC)
    places = {
        "the dynamic segment": dynamic.address if dynamic else None,
        "DT_PLTGOT": image.tag("DT_PLTGOT"),
        "DT_INIT_ARRAY": image.tag("DT_INIT_ARRAY") if image.constructors else None,
    }
    outside = [what for what, a in places.items() if a is not None and not start <= a < end]
    if outside:
        yield f"read-only relocations (RELRO) leave out {', '.join(outside)}"


def _segment_faults(image: Image) -> Iterator[str]:
    loads = image.loads
    if any(load.flags & WRITABLE and load.flags & EXECUTABLE for load in loads):
        yield "a segment is writable and executable"
    for load in loads:
        if load.size > load.memory or load.offset % PAGE != load.address % PAGE:
            yield f"the segment at {load.address:#x} cannot be mapped as it says"
    for before, after in pairwise(loads):
        # The loader maps whole pages: on a shared page, the later segment hides the earlier one.
        if after.address // PAGE * PAGE < before.end:
            yield f"the segments at {before.address:#x} and {after.address:#x} share a page"
    for segment in image.segments:
        # 3 is PT_INTERP, which is for programs. 5 is PT_SHLIB, which has no defined meaning.
        if segment.kind in (3, 5):
            yield f"has a program header of the kind {segment.kind}"


def _dynamic_faults(image: Image) -> Iterator[str]:
    names = Counter(name for name, _ in image.tags)
    if other := sorted(names.keys() - TAGS):
        yield f"has {', '.join(other)}"
    if twice := sorted(name for name, n in names.items() if n > 1 and name != "DT_NEEDED"):
        yield f"has {', '.join(twice)} more than once"
    flags, flags_1 = image.tag("DT_FLAGS") or 0, image.tag("DT_FLAGS_1") or 0
    if not (flags & BIND_NOW or flags_1 & NOW):
        yield "binds lazily, so that what is called stays writable"
    if flags_1 & ~NOW:
        yield f"DT_FLAGS_1 is {flags_1:#x}, expected {NOW:#x}"


def _code_faults(image: Image) -> Iterator[str]:
    """Yield the faults of the code that runs at loading, and of the relocations."""
    constructors = image.constructors
    if len(constructors) > CONSTRUCTORS:
        yield f"has {len(constructors)} constructors, more than {CONSTRUCTORS}"
    code = [load for load in image.loads if load.flags & EXECUTABLE]
    if not all(any(c.address <= f < c.address + c.size for c in code) for f in constructors):
        yield "a constructor is not of its own code"
    if chosen := [s.name for s in image.symbols if s.type == CHOSEN_AS_LOADED and s.section]:
        yield f"has functions that are chosen as it is loaded: {', '.join(chosen[:4])}"
    allowed = RELOCATIONS.get(image.machine, frozenset(RELATIVE.values()))
    if other := sorted({r.type for r in image.relocations} - allowed):
        yield f"has relocations of the types {', '.join(map(str, other[:4]))}"
    data = [load for load in image.loads if load.flags & WRITABLE]
    dynamic = image.segment(DYNAMIC)
    for relocation in image.relocations:
        place = relocation.place
        if not any(load.address <= place <= load.end - 8 for load in data):
            yield f"a relocation changes {place:#x}, which is not writable"
            break
        if dynamic is not None and dynamic.address - 8 < place < dynamic.end:
            yield "a relocation changes the dynamic segment"
            break


def _section_faults(image: Image) -> Iterator[str]:
    """Yield the differences between the section headers, which tools read, and what is loaded."""
    if not image.sections:
        yield "has no section headers, which auditwheel reads"
        return
    for section in image.sections:
        if section.flags & ALLOCATED and section.size and not _is_mapped(image, section):
            yield f"the section {section.name} is not what is loaded there"
    dynamic = image.segment(DYNAMIC)
    named = {section.name: section for section in image.sections}
    for name, (start, length) in TABLES.items():
        table = named.get(name)
        found = (table.address, table.size) if table and table.size else (0, 0)
        address = image.tag(start) or 0
        size = (image.tag(length) or 0) if length else found[1]
        if found != ((address, size) if size else (0, 0)):
            yield f"the section {name} is not the table of {start}"
    shown = named.get(".dynamic")
    if dynamic and (shown is None or shown.address != dynamic.address):
        yield "the section .dynamic is not the dynamic segment"


def _is_mapped(image: Image, section: Section) -> bool:
    # .tbss holds thread-local variables; its addresses overlap those of other sections.
    if section.flags & THREAD_LOCAL and section.kind == NOBITS:
        return True
    return any(
        load.address <= section.address
        and section.address + section.size <= load.end
        and (
            section.kind == NOBITS or section.address - load.address == section.offset - load.offset
        )
        for load in image.loads
    )


def _payload_faults(image: Image) -> Iterator[str]:
    """Yield the bytes of the file that no part of it uses, and sections that are not loaded."""
    unloaded = [s for s in image.sections if not s.flags & ALLOCATED and s.end > s.offset]
    for section in unloaded:
        if not section.name.startswith((*NAMES, *SYMBOLS)):
            yield f"the section {section.name} is not loaded"
    if (size := sum(s.size for s in unloaded if s.name.startswith(NAMES))) > NAMES_LIMIT:
        yield f"{' and '.join(NAMES)} have {size:,} bytes > {NAMES_LIMIT:,}"
    pieces = sorted(
        [
            *image.headers,
            *((s.offset, s.end) for s in image.sections if s.end > s.offset),
            *((s.offset, s.offset + s.size) for s in image.segments if s.kind == LOAD),
        ]
    )
    reached = 0
    for start, end in [*pieces, (len(image.data), len(image.data))]:
        # Zeros are padding for alignment.
        if start > reached and any(image.data[reached:start]):
            yield f"{start - reached} bytes at {reached:#x} belong to nothing"
        reached = max(reached, end)
    if len(image.data) > max(end for _, end in pieces):
        yield f"{len(image.data) - max(end for _, end in pieces)} bytes follow the image"
