"""Does code that runs on every machine use instructions that not every machine has?

The walk starts at the functions that loading and importing call, and follows direct calls and
jumps only. The loader calls its functions before the module can look at the processor and refuse
it. That code may only use the oldest instruction set of the architecture (builders/level).
Kernels that are chosen at run time are called through pointers, so the walk rightly leaves them
out. The walk also leaves out the code behind an indirect jump (the table of a `switch`).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import capstone

from builders.audit.elf import Extension

# The code is decoded in pieces of this many bytes; most functions are shorter.
WINDOW = 4096

# Loading and importing an extension of ours reaches 12,000 instructions.
MOST_INSTRUCTIONS = 1_000_000

# Instructions beyond a level whose encoding does not show it (Intel SDM volume 2). Their levels
# are from the x86-64 psABI, "Micro-Architecture Levels".
X86_64_V2 = {
    **dict.fromkeys(("movddup", "movshdup", "movsldup", "lddqu", "fisttp"), "SSE3"),
    **dict.fromkeys(("haddps", "haddpd", "hsubps", "hsubpd", "addsubps", "addsubpd"), "SSE3"),
    **dict.fromkeys(("monitor", "mwait"), "SSE3"),
    "popcnt": "POPCNT",
    "cmpxchg16b": "CX16",
}
BEYOND_X86_64_V2 = {
    # tzcnt is left out: its encoding is that of `rep bsf`, which compilers use on every x86-64.
    "lzcnt": "LZCNT",
    "rdrand": "RDRND",
    "rdseed": "RDSEED",
}

# The three-byte opcodes of SSSE3, SSE4.1 and SSE4.2 (Intel SDM volume 2, appendix A, tables A-4
# and A-5). MOVBE shares two opcodes with CRC32 of SSE4.2; CRC32 has the prefix F2.
CRC32_OR_MOVBE = (0xF0, 0xF1)
_SSSE3 = {*range(0x0C), 0x1C, 0x1D, 0x1E}
_SSE4_1 = {0x10, 0x14, 0x15, 0x17, *range(0x20, 0x26), *range(0x28, 0x2C), *range(0x30, 0x36)}
_SSE4_2 = {*range(0x37, 0x42), *CRC32_OR_MOVBE}
THREE_BYTE_V2 = {
    b"\x0f\x38": _SSSE3 | _SSE4_1 | _SSE4_2,
    b"\x0f\x3a": {*range(0x08, 0x10), *range(0x14, 0x18), *range(0x20, 0x23)}
    | {*range(0x40, 0x43), *range(0x60, 0x64)},
}

# (mask, value, feature) of instructions beyond ARMv8.0, from the Arm ARM (DDI 0487), section
# C4.1. capstone 5 assigns most of these to no group.
BEYOND_ARMV8_0 = (
    (0x3F200C00, 0x38200000, "LSE"),
    (0x3FA07C00, 0x08A07C00, "LSE"),  # CAS
    (0xBFA07C00, 0x08207C00, "LSE"),  # CASP
    (0x3F200C00, 0x19000000, "RCPC2"),
    (0x9F208400, 0x0E008400, "RDM, dot product, complex or matrix"),
    (0xDF208400, 0x5E008400, "RDM"),
    (0x9F00E400, 0x0F00E000, "dot product, by element"),
    (0xBF00F400, 0x2F00D000, "RDM, by element"),
    (0x9FC00400, 0x0F000000, "FP16, by element"),
    (0xDFC00400, 0x5F000000, "FP16, by element"),
    (0x9F60C400, 0x0E400400, "FP16"),
    (0xDF60C400, 0x5E400400, "FP16"),
    (0x9F7E0C00, 0x0E780800, "FP16"),
    (0xDF7E0C00, 0x5E780800, "FP16"),
    (0x7FE00000, 0x1EE00000, "FP16"),
    (0xFFC00000, 0x1FC00000, "FP16"),
    (0x1E000000, 0x04000000, "SVE"),
    (0x9E000000, 0x80000000, "SME"),
    (0xFE1FF800, 0xD61F0800, "pointer authentication"),
    (0x7FE0E000, 0x1AC04000, "CRC32"),
    (0xFFFE0C00, 0x4E280800, "AES"),
    (0xFFE08C00, 0x5E000000, "SHA"),
    (0xFFFE0C00, 0x5E280800, "SHA"),
)


@dataclass(frozen=True, kw_only=True)
class Scan:
    """The result of a walk through the code.

    Attributes:
        baseline: the name of the instruction set that the code may use.
        entries: the number of functions that the walk started at.
        instructions: the number of instructions that the walk reached.
        offence: the instruction beyond the baseline with the lowest address, or a sentence that
            the code is too long to read; None if neither is the case.
    """

    baseline: str
    entries: int
    instructions: int
    offence: str | None


@dataclass(frozen=True, kw_only=True)
class _Processor:
    baseline: str
    arch: int
    mode: int
    ends: re.Pattern[str]
    branches: re.Pattern[str]
    beyond: Callable[[bytes, str, str], str | None]


class Code(NamedTuple):
    """The parts of an extension that the walk needs; see builders.audit.elf.Extension."""

    machine: str
    entries: tuple[int, ...]
    functions: frozenset[int]
    code: tuple[tuple[int, bytes], ...]


def scan(extension: Extension, *, loading: bool = False) -> Scan:
    """Walk the code that loading and importing run.

    Args:
        loading: walk only the code that the loader calls, and compare it with the oldest
            instruction set of the architecture.

    Raises:
        KeyError: the extension's machine is unknown.
    """
    processors = OLDEST if loading else PROCESSORS
    entries = extension.loading if loading else extension.entries
    code = Code(extension.machine, entries, extension.functions, extension.code)
    return _scan(code, processors[extension.machine])


# A call takes a second, and a fuzzer asks for the same code again and again.
@functools.lru_cache(maxsize=4)
def _scan(extension: Code, processor: _Processor) -> Scan:
    engine = capstone.Cs(processor.arch, processor.mode)
    starts = [a for a in extension.entries if _piece(extension, a)]
    todo = list(starts)
    seen: set[int] = set()
    offences = []
    while todo:
        if len(seen) > MOST_INSTRUCTIONS:
            offences = [
                (0, f"more than {MOST_INSTRUCTIONS:,} instructions: to be read to their end")
            ]
            break
        previous = ""
        for address, code, mnemonic, operands in _run(
            processor, engine, extension, todo.pop(), seen
        ):
            if feature := processor.beyond(code, mnemonic, previous):
                text = f"{mnemonic} {operands}".rstrip()
                offences.append((address, f"`{text}` ({feature}) at {address:#x}"))
            if processor.branches.fullmatch(mnemonic) and (
                match := re.search(r"(?:^|[ #])(0x[0-9a-f]+)$", operands)
            ):
                todo.append(int(match[1], 16))
            previous = f"{mnemonic} {operands}"
    return Scan(
        baseline=processor.baseline,
        entries=len(starts),
        instructions=len(seen),
        offence=min(offences)[1] if offences else None,
    )


def _run(
    processor: _Processor, engine: capstone.Cs, extension: Code, start: int, seen: set[int]
) -> Iterator[tuple[int, bytes, str, str]]:
    """Yield the instructions from `start` to the first after which the next does not run.

    Each is a tuple of address, bytes, mnemonic and operands.
    """
    address = start
    while address not in seen and (piece := _piece(extension, address)):
        for place, size, mnemonic, operands in engine.disasm_lite(piece, address):
            # A call that never returns can be a function's last instruction.
            # The next instruction then belongs to another function, which nobody called.
            if place in seen or (place != start and place in extension.functions):
                return
            seen.add(place)
            yield place, piece[place - address :][:size], mnemonic, operands
            if processor.ends.fullmatch(mnemonic):
                return
            following = place + size
        if address not in seen:
            # The decoder does not know the instruction, so it is newer than the baseline.
            seen.add(address)
            yield address, piece[:4], "(unknown)", piece[:8].hex(" ")
            return
        address = following


def _piece(extension: Code, address: int) -> bytes:
    for start, code in extension.code:
        if start <= address < start + len(code):
            return code[address - start : address - start + WINDOW]
    return b""


def _beyond_x86_64(code: bytes, mnemonic: str, previous: str) -> str | None:
    beyond = _beyond_x86_64_v2(code, mnemonic, previous)
    if beyond:
        return beyond
    # SSSE3 introduced both maps of three-byte opcodes.
    if _opcode(code)[:2] in THREE_BYTE_V2:
        return "SSSE3 or SSE4"
    return X86_64_V2.get(mnemonic)


def _beyond_x86_64_v2(code: bytes, mnemonic: str, _previous: str) -> str | None:
    if mnemonic == "(unknown)":
        return "no instruction of x86-64"
    # In 64-bit mode these bytes begin only such instructions, and no prefix may precede them.
    encoding = {0xC4: "VEX, AVX or BMI", 0xC5: "VEX, AVX", 0x62: "EVEX, AVX-512"}.get(code[0])
    if encoding:
        return encoding
    if code[0] == 0x8F and code[1] & 0x1F >= 8:
        return "XOP"
    opcode = _opcode(code)
    known = THREE_BYTE_V2.get(opcode[:2])
    if known is not None:
        is_movbe = opcode[2] in CRC32_OR_MOVBE and 0xF2 not in code[: len(code) - len(opcode)]
        if opcode[2] not in known or is_movbe:
            return "AES, CLMUL, SHA, MOVBE or ADX"
    return BEYOND_X86_64_V2.get(mnemonic)


def _opcode(code: bytes) -> bytes:
    """Return an instruction without its prefixes."""
    return re.sub(rb"^[\x26\x2e\x36\x3e\x64-\x67\xf0\xf2\xf3]*[\x40-\x4f]?", b"", code)


def _beyond_armv8_0(code: bytes, mnemonic: str, previous: str) -> str | None:
    if mnemonic == "(unknown)":
        return "no instruction of ARMv8.0"
    word = int.from_bytes(code, "little")
    # ARMv8.0 has FCVT from half precision, but no arithmetic in half precision.
    if word & 0xFFFF7C00 == 0x1EE24000:
        return None
    feature = next((name for mask, value, name in BEYOND_ARMV8_0 if word & mask == value), None)
    # The compilers' outlined atomics test first if the processor has LSE (libgcc,
    # config/aarch64/lse.S: `cbz w16` jumps to the version without LSE).
    if feature == "LSE" and re.match(r"cbz w1[67],", previous):
        return None
    return feature


PROCESSORS = {
    "EM_X86_64": _Processor(
        baseline="x86-64-v2",
        arch=capstone.CS_ARCH_X86,
        mode=capstone.CS_MODE_64,
        ends=re.compile(r"(bnd |notrack )?jmp|(rep[a-z]* |bnd )?retf?|ud[012]|hlt|int3"),
        branches=re.compile(r"(bnd )?(call|j[a-z]+)|loop[a-z]*"),
        beyond=_beyond_x86_64_v2,
    ),
    "EM_AARCH64": _Processor(
        baseline="ARMv8.0",
        arch=capstone.CS_ARCH_ARM64,
        mode=capstone.CS_MODE_ARM,
        ends=re.compile(r"b|br|ret|br[a-z]+|ret[a-z]+|udf|brk"),
        branches=re.compile(r"bl|b|b\.[a-z]+|cbn?z|tbn?z"),
        beyond=_beyond_armv8_0,
    ),
}

OLDEST = PROCESSORS | {
    "EM_X86_64": replace(PROCESSORS["EM_X86_64"], baseline="x86-64-v1", beyond=_beyond_x86_64)
}
"""The oldest instruction set of each architecture."""
