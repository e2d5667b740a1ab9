"""Checks of the extension: what it needs, what it shows, what it was made of."""

from __future__ import annotations

import functools
import re
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from auditwheel.architecture import Architecture
from auditwheel.error import AuditwheelError
from auditwheel.lddtree import ldd
from auditwheel.libc import Libc
from auditwheel.policy import WheelPolicies
from elftools.common.exceptions import ELFError
from packaging.version import Version

from builders.architecture import ARCHITECTURES
from builders.audit.elf import Extension, Undefined
from builders.audit.isa import scan
from builders.audit.packaging_checks import some
from builders.audit.report import Check
from builders.audit.wheelfile import MODULE
from builders.matrix import own_spelling
from builders.wheelname import OwnWheelName

ENTRY_POINT = f"PyInit_{MODULE}"

MACHINES = {arch: each.elf for arch, each in ARCHITECTURES.items()}

# glibc's own libraries; nothing else is promised on every runtime.
LIBRARIES = (
    "libc.so.6",
    "libm.so.6",
    "libpthread.so.0",
    "libdl.so.2",
    "librt.so.1",
    "ld-linux-x86-64.so.2",
    "ld-linux-aarch64.so.1",
)

# Weak references that are null unless something defines them.
WEAK = re.compile(
    r"__gmon_start__|__cxa_finalize|_ITM_(de)?registerTMCloneTable"
    # tensorflow/lite/kernels/cpu_backend_context.cc: a hook for callers.
    r"|_ZN6tflite16UseGemmlowpOnX86Ev"
)

# tensorflow/lite/delegates/xnnpack/xnnpack_delegate.cc
XNNPACK = "Created TensorFlow Lite XNNPACK delegate for CPU."


@dataclass(frozen=True, kw_only=True)
class Subject:
    """An extension, the bytes it was read from, and what its wheel's name promises."""

    name: OwnWheelName
    data: bytes
    elf: Extension


def dotted(version: tuple[int, int]) -> str:
    """A glibc version as it is written."""
    return f"{version[0]}.{version[1]}"


def odd_versions(elf: Extension) -> list[str]:
    """Versions of libc that are no plain glibc release, so that any runtime may lack them.

    Such as GLIBC_PRIVATE, or GLIBC_ABI_DT_RELR of glibc 2.36.
    """
    return sorted(
        version
        for _, version in elf.versions
        if version.startswith("GLIBC_") and not re.fullmatch(r"GLIBC_\d+\.\d+(\.\d+)?", version)
    )


def glibc_needed(elf: Extension) -> tuple[int, int]:
    """The highest glibc release among the symbol versions, (0, 0) if there is none."""
    return max(
        (
            (int(match[1]), int(match[2]))
            for _, version in elf.versions
            if (match := re.fullmatch(r"GLIBC_(\d+)\.(\d+)(\.\d+)?", version))
        ),
        default=(0, 0),
    )


def foreign_libraries(elf: Extension) -> list[str]:
    """What the extension needs besides glibc's own libraries."""
    return [library for library in elf.needed if library not in LIBRARIES]


def check_elf(subject: Subject) -> Check:
    """A shared object of the right machine that needs no text relocation."""
    elf, expected = subject.elf, MACHINES.get(subject.name.arch or "")
    faults = []
    if elf.kind != "ELF64 LSB ET_DYN":
        faults.append(f"is {elf.kind}, expected ELF64 LSB ET_DYN")
    if expected is not None and elf.machine != expected:
        faults.append(f"is for {elf.machine}, expected {expected}")
    if "TEXTREL" in elf.flags:
        faults.append("has text relocations (TEXTREL)")
    if "RELR" in elf.flags:
        faults.append("has packed relocations (RELR), unknown to glibc before 2.36")
    faults += elf.relro
    return Check.of("elf", faults, f"{elf.kind}, {elf.machine}, RELRO, no TEXTREL")


def check_loader(subject: Subject) -> Check:
    """The loader maps, relocates and runs what one of our extensions needs, and no more."""
    elf = subject.elf
    return Check.of(
        "loader",
        [some(list(elf.layout))] if elf.layout else [],
        f"binds at once, {elf.constructors} constructors, every byte accounted for",
    )


def check_libraries(subject: Subject) -> Check:
    """Only glibc's own libraries, found by the loader's own path."""
    elf, faults = subject.elf, []
    if foreign := foreign_libraries(elf):
        faults.append(f"needs {', '.join(foreign)}, expected glibc's libraries alone")
    # The loader aborts on a version of a library that is not needed by name.
    if unnamed := sorted({library for library, _ in elf.versions} - set(elf.needed)):
        faults.append(f"has versions of {', '.join(unnamed)}, which it does not need")
    if elf.run_paths:
        faults.append(f"has a run path: {', '.join(elf.run_paths)}")
    return Check.of("libraries", faults, f"{', '.join(elf.needed) or 'none'}, no run path")


def check_stack(subject: Subject) -> Check:
    """The stack is marked, and not executable."""
    stack = subject.elf.stack
    faults = []
    if stack is None:
        faults.append("no PT_GNU_STACK: the stack becomes executable")
    elif stack & 1:
        faults.append("asks for an executable stack")
    return Check.of("stack", faults, "PT_GNU_STACK, not executable")


def check_exports(subject: Subject) -> Check:
    """The entry point and nothing else is visible to other libraries."""
    exports = list(subject.elf.exports)
    faults = []
    if ENTRY_POINT not in exports:
        faults.append(f"no {ENTRY_POINT}")
    if leaked := [name for name in exports if name != ENTRY_POINT]:
        faults.append(f"leaks {len(leaked)}: {some(leaked)}")
    return Check.of("exports", faults, f"{ENTRY_POINT} alone")


def check_undefined(subject: Subject) -> Check:
    """Whatever is missing comes from glibc or from Python."""
    unknown = [symbol.name for symbol in subject.elf.undefined if not _known(symbol)]
    return Check.of(
        "undefined",
        [f"{len(unknown)} from neither glibc nor Python: {some(unknown)}"] if unknown else [],
        f"{len(subject.elf.undefined)}, all from glibc or Python",
    )


def _known(symbol: Undefined) -> bool:
    if symbol.version is not None:
        return symbol.version.startswith("GLIBC_")
    if symbol.weak and WEAK.fullmatch(symbol.name):
        return True
    return symbol.name.startswith(("Py", "_Py"))


def check_glibc(subject: Subject) -> Check:
    """The oldest glibc it loads with is what tag, project and runtime allow."""
    needed, runtime = glibc_needed(subject.elf), subject.name.runtime
    own = ARCHITECTURES.get(subject.name.arch or "")
    limits = {"the project's floor": own.glibc} if own else {}
    if subject.name.glibc is not None:
        limits["the platform tag"] = dotted(subject.name.glibc)
    if runtime is not None:
        limits[f"{runtime.name} / {runtime.os}"] = runtime.glibc
    faults = [
        f"needs GLIBC_{dotted(needed)} > {limit} of {owner}"
        for owner, limit in limits.items()
        if Version(dotted(needed)) > Version(limit)
    ]
    if odd := odd_versions(subject.elf):
        faults.append(f"needs {', '.join(odd)}, of no glibc release")
    return Check.of(
        "glibc", faults, f"needs GLIBC_{dotted(needed)} <= {', '.join(limits.values())}"
    )


def check_auditwheel(subject: Subject) -> Check:
    """The platform tag promises no more than auditwheel's policy for these symbols.

    auditwheel's own pieces, rather than its analyze_wheel_abi: that changes the
    process's working folder, looks for libraries on this machine, and remembers
    a path's result even when the file changes.
    """
    arch, promised = subject.name.arch, subject.name.glibc
    if arch is None or promised is None:
        return Check.of("auditwheel", ["the file name has no platform to compare with"], "")
    if subject.elf.layout:
        # It reads section headers, too, and without bounds.
        return Check.of("auditwheel", ["not asked: see the check `loader`"], "")
    try:
        computed = _computed_policy(subject.data, subject.elf.versions, arch)
    except (ValueError, ELFError, AuditwheelError) as error:
        return Check.of("auditwheel", [f"finds no policy: {error}"], "")
    match = re.fullmatch(r"manylinux_(\d+)_(\d+)_\w+", computed)
    faults = []
    if match is None or (int(match[1]), int(match[2])) > promised:
        tag = f"manylinux_{promised[0]}_{promised[1]}_{arch}"
        faults.append(f"computes {computed}, the file name promises {tag}")
    return Check.of("auditwheel", faults, f"computes {computed}")


# As with the code: it takes half a second.
@functools.lru_cache(maxsize=2)
def _computed_policy(data: bytes, versions: frozenset[tuple[str, str]], arch: str) -> str:
    policies = WheelPolicies(libc=Libc.GLIBC, arch=Architecture(arch))
    symbols: dict[str, set[str]] = defaultdict(set)
    for library, version in versions:
        if not library.startswith("ld-linux"):
            symbols[library].add(version)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder).resolve() / f"{MODULE}.so"
        file.write_bytes(data)
        tree = ldd(file, ldpaths={"conf": [], "env": [], "interp": []})
        references = policies.lddtree_external_references(tree, file.parent).values()
    admitted = [r.policy for r in references if not r.libs and not r.blacklist]
    policy = min(max(admitted), policies.versioned_symbols_policy(symbols))
    extended = tree.platform.extended_architecture
    if extended is not None and not policies.architecture.is_superset(extended):
        policy = policies.linux
    return str(policy.name)


def check_stripped(subject: Subject) -> Check:
    """No symbol table nor debug information that users would download in vain."""
    kept = [n for n in subject.elf.sections if re.match(r"\.symtab$|\.z?debug_|\.gdb_index", n)]
    return Check.of(
        "stripped", [f"holds {some(kept)}"] if kept else [], "no symbols, no debug info"
    )


def check_python(subject: Subject) -> Check:
    """It was compiled for the wheel's Python.

    Source: PYBIND11_CHECK_PYTHON_VERSION in pybind11/detail/common.h keeps the
    version that it was compiled with as a string, and refuses any other.
    """
    found = list(subject.elf.literals(r"3\.\d{1,2}"))
    expected = subject.name.runtime.python if subject.name.runtime else "one Python"
    good = found == [expected] or (subject.name.runtime is None and len(found) == 1)
    return Check.of(
        "python",
        [] if good else [f"compiled for {some(found) or 'unknown'}, expected {expected}"],
        f"compiled for {', '.join(found)}",
    )


def check_tensorflow(subject: Subject) -> Check:
    """The sources compiled in are of the wheel's version.

    Source: TF_VERSION_STRING in tensorflow/core/public/version.h.
    """
    found = list(subject.elf.literals(r"\d{1,2}\.\d{1,2}\.\d{1,2}(?:-[\w.-]{1,16})?"))
    version = subject.name.version
    expected = own_spelling(version) if version else None
    # A release may say more, as in 2.14.1-rc1 or a vendor's; a nightly is what its date says.
    exact = version is not None and version.is_devrelease
    good = expected in [text if exact else text.partition("-")[0] for text in found]
    return Check.of(
        "tensorflow",
        [] if good else [f"says {some(found) or 'nothing'}, expected {expected}"],
        f"says {some(found)}",
    )


def check_xnnpack(subject: Subject) -> Check:
    """The XNNPACK delegate is compiled in."""
    found = subject.elf.literals(re.escape(XNNPACK))
    return Check.of("xnnpack", [] if found else ["no XNNPACK delegate"], "the delegate is there")


def check_baseline(subject: Subject) -> Check:
    """What every machine runs at load and import needs no later instruction set.

    Loading runs before the module can refuse the processor, and needs the oldest alone.
    """
    if subject.elf.machine not in MACHINES.values():
        return Check.of("baseline", [f"unknown machine {subject.elf.machine}"], "")
    walk = scan(subject.elf)
    faults = []
    if not walk.entries:
        faults.append("no entry point to start from")
    faults += [
        f"{each.offence} is beyond {each.baseline}"
        for each in (walk, scan(subject.elf, loading=True))
        if each.offence
    ]
    return Check.of(
        "baseline",
        faults,
        f"{walk.baseline} in {walk.instructions} instructions reached from {walk.entries} entries",
    )


ELF_CHECKS: Mapping[str, Callable[[Subject], Check]] = {
    "elf": check_elf,
    "loader": check_loader,
    "python": check_python,
    "libraries": check_libraries,
    "stack": check_stack,
    "exports": check_exports,
    "undefined": check_undefined,
    "glibc": check_glibc,
    "auditwheel": check_auditwheel,
    "stripped": check_stripped,
    "baseline": check_baseline,
    "tensorflow": check_tensorflow,
    "xnnpack": check_xnnpack,
}
"""Every check of the extension, in the order of the report."""
