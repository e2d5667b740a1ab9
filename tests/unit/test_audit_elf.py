"""The audit of the extension, on ELF files made in memory."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from test_audit_samples import AARCH64, X86_64, Elf, WheelSample

from builders.audit import AuditReport, audit
from builders.audit.elf import DamagedElfError, read_elf
from builders.audit.elf_checks import ENTRY_POINT, XNNPACK
from builders.audit.isa import scan
from builders.matrix import load_matrix

RET = "c3"

LOST_4BIT_KERNEL = "_ZN6tflite14optimized_4bit16ReferencePrepackEPhPKaiiii"


def report_of(folder: Path, **changes: object) -> AuditReport:
    sample = WheelSample()
    sample.change_elf(**changes)
    return audit(sample.write(folder), load_matrix())


@pytest.mark.parametrize(
    ("changes", "check", "says"),
    [
        ({"machine": AARCH64}, "elf", "EM_AARCH64, expected EM_X86_64"),
        ({"machine": 8}, "elf", "EM_MIPS"),
        ({"kind": 2}, "elf", "ET_EXEC"),
        ({"relro": False}, "elf", "RELRO"),
        ({"tags": ((22, 0),)}, "elf", "TEXTREL"),
        ({"tags": ((30, 4),)}, "elf", "TEXTREL"),
        ({"tags": ((36, 0),)}, "elf", "RELR"),
        ({"needed": ("libc.so.6", "libm.so.6", "libstdc++.so.6")}, "libraries", "libstdc++"),
        ({"needed": ("libc.so.6", "libpython3.12.so.1.0")}, "libraries", "libpython3.12"),
        ({"needed": ("libm.so.6",)}, "libraries", "versions of libc.so.6"),
        ({"runpath": "$ORIGIN/lib"}, "libraries", "run path: $ORIGIN/lib"),
        ({"stack": 7}, "stack", "executable stack"),
        ({"stack": None}, "stack", "no PT_GNU_STACK"),
        ({"exports": (ENTRY_POINT, "xnn_initialize")}, "exports", "leaks 1: xnn_initialize"),
        ({"exports": ()}, "exports", f"no {ENTRY_POINT}"),
        ({"imports": (("TfLiteCreate", "", ""),)}, "undefined", "TfLiteCreate"),
        # Kernels that a filter of source names dropped.
        ({"imports": ((LOST_4BIT_KERNEL, "", ""),)}, "undefined", "optimized_4bit"),
        ({"imports": (("_Znwm", "libstdc++.so.6", "GLIBCXX_3.4"),)}, "undefined", "_Znwm"),
        ({"weak": ("xnn_weak",)}, "undefined", "xnn_weak"),
        ({"imports": (("exp", "libm.so.6", "GLIBC_2.29"),)}, "glibc", "GLIBC_2.29 > 2.17"),
        ({"imports": (("x", "libc.so.6", "GLIBC_2.18"),)}, "glibc", "GLIBC_2.18 > 2.17"),
        ({"imports": (("x", "libc.so.6", "GLIBC_PRIVATE"),)}, "glibc", "GLIBC_PRIVATE"),
        ({"imports": (("x", "libc.so.6", "GLIBC_2.29"),)}, "auditwheel", "manylinux_2_31"),
        ({"needed": ("libc.so.6", "libfoo.so.1")}, "auditwheel", "computes linux_x86_64"),
        ({"more_sections": (".symtab",)}, "stripped", ".symtab"),
        ({"more_sections": (".debug_info",)}, "stripped", ".debug_info"),
        ({"literals": ("3.11", "2.14.1", XNNPACK)}, "python", "compiled for 3.11, expected 3.12"),
        ({"literals": ("3.12", "3.11", "2.14.1", XNNPACK)}, "python", "3.11, 3.12"),
        ({"literals": ("v3.12", "2.14.1", XNNPACK)}, "python", "unknown"),
        ({"literals": ("3.12", "2.15.1", XNNPACK)}, "tensorflow", "says 2.15.1"),
        ({"literals": ("3.12", XNNPACK)}, "tensorflow", "says nothing, expected 2.14.1"),
        ({"literals": ("3.12", "2.14.1")}, "xnnpack", "no XNNPACK"),
    ],
)
def test_a_wrong_extension(
    tmp_path: Path, changes: dict[str, object], check: str, says: str
) -> None:
    report = report_of(tmp_path, **changes)
    assert check in report.failed
    assert says in report.check(check).detail


@pytest.mark.parametrize(
    "changes",
    [
        {"weak": ("_ITM_registerTMCloneTable", "_ZN6tflite16UseGemmlowpOnX86Ev")},
        {"literals": ("3.12", "2.14.1-rc1", "1.0.0", XNNPACK)},
        {"imports": ()},
    ],
)
def test_a_harmless_extension(tmp_path: Path, changes: dict[str, object]) -> None:
    assert report_of(tmp_path, **changes).failed == ()


def test_bytes_that_are_no_elf(tmp_path: Path) -> None:
    assert "not a readable ELF" in report_of(tmp_path, ident=b"#!/bin/sh").check("elf").detail


def test_damaged_elf_files_raise_one_error() -> None:
    good = Elf().build()
    choose = random.Random(1)
    damaged = 0
    for _ in range(300):
        bad = bytearray(good)
        for _ in range(3):
            bad[choose.randrange(len(bad))] = choose.randrange(256)
        try:
            scan(read_elf(bytes(bad)))
        except (DamagedElfError, KeyError):
            damaged += 1
    assert damaged > 10


def test_damaged_elf_files_are_a_report(tmp_path: Path) -> None:
    choose = random.Random(3)
    sample = WheelSample()
    good = sample.elf.build()
    for _ in range(60):
        bad = bytearray(good)
        for _ in range(4):
            bad[choose.randrange(len(bad))] = choose.randrange(256)
        sample.files[sample.extension] = bytes(bad)
        report = audit(sample.write(tmp_path), load_matrix())
        assert report.check("archive").ok


def test_a_glibc_between_floor_and_runtime_says_so(tmp_path: Path) -> None:
    report = report_of(tmp_path, imports=(("x", "libc.so.6", "GLIBC_2.29"),))
    verdict = next(v for v in report.runtimes if v.runtime == "python3.12")
    assert str(verdict) == (
        "installs and loads on python3.12 / Amazon Linux 2023: yes, needs GLIBC_2.29 <= 2.34"
    )
    assert not report.ok
    assert report.glibc_floor == "2.29"


def test_a_glibc_newer_than_the_runtime(tmp_path: Path) -> None:
    report = report_of(tmp_path, imports=(("x", "libc.so.6", "GLIBC_2.38"),))
    verdict = next(v for v in report.runtimes if v.runtime == "python3.12")
    assert not verdict.ok
    assert "needs GLIBC_2.38 > 2.34" in verdict.reason
    assert "built for cp312" in next(v for v in report.runtimes if v.runtime == "python3.8").reason


def offence(machine: int, code: str, *, loading: bool = False, **more: object) -> str | None:
    elf = Elf(machine=machine, text=bytes.fromhex(code), **more)  # type: ignore[arg-type]
    return scan(read_elf(elf.build()), loading=loading).offence


@pytest.mark.parametrize(
    ("code", "feature"),
    [
        ("c5f877", "AVX"),  # vzeroupper
        ("c4e2f9f7c0", "BMI"),  # shlx
        ("62f17c4858c0", "AVX-512"),  # vaddps zmm
        ("8fe878c0c000", "XOP"),  # vprotb
        ("660f38dcc1", "AES"),  # aesenc
        ("660f3a44c100", "CLMUL"),  # pclmulqdq
        ("0f38c8c1", "SHA"),  # sha1nexte
        ("0f38f007", "MOVBE"),
        ("66480f38f6c1", "ADX"),  # adcx
        ("f30fbdc0", "LZCNT"),
        ("c4", "no instruction"),
    ],
)
def test_x86_64_instructions_beyond_the_baseline(code: str, feature: str) -> None:
    assert feature in str(offence(X86_64, code + RET))
    # In code that is never reached, it is a kernel's own business.
    assert offence(X86_64, RET + code + RET) is None


@pytest.mark.parametrize(
    ("code", "feature"),
    [
        ("660f3800c1", "SSSE3"),  # pshufb
        ("660f3a0bc000", "SSE4"),  # roundsd
        ("f2440f38f1c0", "SSE4"),  # crc32, with a prefix between
        ("f30f16c0", "SSE3"),  # movshdup
        ("f3410fb8c0", "POPCNT"),
        ("480fc70f", "CX16"),
    ],
)
def test_what_loading_runs_is_for_every_x86_64_processor(code: str, feature: str) -> None:
    assert offence(X86_64, code + RET) is None
    assert offence(X86_64, RET + code + RET, constructors=(1,)) is None
    assert feature in str(offence(X86_64, RET + code + RET, constructors=(1,), loading=True))
    # The initializer of the module is no part of loading.
    assert offence(X86_64, code + RET, loading=True) is None


@pytest.mark.parametrize(
    "code",
    [
        "f30f1efa",  # endbr64
        "f30fbcc0",  # rep bsf, which decodes as tzcnt
        "660fefc0",  # pxor
        "f20f58c1",  # addsd
        "f30f7e00",  # movq
        "0fa2",  # cpuid
        "c3",
    ],
)
def test_x86_64_instructions_of_the_baseline(code: str) -> None:
    assert offence(X86_64, code + RET) is None


@pytest.mark.parametrize(
    ("code", "feature"),
    [
        ("410020b8", "LSE"),  # ldadd
        ("417ca0c8", "LSE"),  # cas
        ("4180e0b8", "LSE"),  # swpal
        ("2094824e", "dot product"),  # sdot
        ("20e0a26f", "dot product"),  # udot, by element
        ("20a4824e", "matrix"),  # smmla
        ("20fc426e", "dot product"),  # bfdot
        ("2084826e", "RDM"),  # sqrdmlah
        ("2014424e", "FP16"),  # fadd v.8h
        ("2010024f", "FP16"),  # fmla, by element
        ("2028e21e", "FP16"),  # fadd h
        ("00a040a5", "SVE"),  # ld1w
        ("ff0b5fd6", "pointer authentication"),  # retaa
        ("2040c21a", "CRC32"),
        ("2048284e", "AES"),
        ("2040025e", "SHA"),
        ("ffffffff", "no instruction"),
    ],
)
def test_aarch64_instructions_beyond_the_baseline(code: str, feature: str) -> None:
    ret = "c0035fd6"
    assert feature in str(offence(AARCH64, code + ret))
    assert offence(AARCH64, ret + code + ret) is None


@pytest.mark.parametrize(
    "code",
    [
        "0040e21e",  # fcvt s0, h0
        "20cc224e",  # fmla v0.4s
        "200c021f",  # fmadd s0
        "3f2303d5",  # paciasp, a hint
        "5f2403d5",  # bti c, a hint
        "09fd5f88",  # ldaxr
        "5000003441 0020b8",  # cbz w16, guarding an outlined ldadd
    ],
)
def test_aarch64_instructions_of_the_baseline(code: str) -> None:
    assert offence(AARCH64, code + "c0035fd6") is None


def test_calls_jumps_and_constructors_are_followed() -> None:
    avx = "c5f877c3"
    assert offence(X86_64, "e801000000 c3" + avx)  # call
    assert offence(X86_64, "7401 c3" + avx)  # je
    assert offence(X86_64, "eb01 c3" + avx)  # jmp
    assert offence(X86_64, "c3" + avx, constructors=(1,))
    assert offence(AARCH64, "02000094 c0035fd6 410020b8")  # bl


def test_pointers_and_the_next_function_are_not_followed() -> None:
    avx = "c5f877c3"
    assert offence(X86_64, "488d0501000000 c3" + avx) is None  # lea
    assert offence(X86_64, "ffe0" + avx) is None  # jmp rax
    # A call that never returns ends its function: what follows is another's.
    call = "e8fbffffff"
    assert offence(X86_64, call + avx) is not None
    assert offence(X86_64, call + avx, functions=(0, 5)) is None


def test_the_first_offence_is_named_with_its_address(tmp_path: Path) -> None:
    report = report_of(tmp_path, text=bytes.fromhex("c5f877c5f877c3"))
    detail = report.check("baseline").detail
    assert detail.startswith("`vzeroupper` (VEX, AVX) at 0x")
    assert detail.endswith("is beyond x86-64-v2")
    assert report.failed == ("baseline",)


def test_long_functions_are_read_to_their_end() -> None:
    assert offence(X86_64, "6690" * 5000 + "90" + "c5f877c3")
    assert offence(X86_64, "0f1f4000" * 5000 + "c3") is None
