"""Checks of the extension: its needs, its exports, and the sources compiled into it."""

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

# glibc's own libraries. No other library is sure to be on every runtime.
LIBRARIES = (
    "libc.so.6",
    "libm.so.6",
    "libpthread.so.0",
    "libdl.so.2",
    "librt.so.1",
    "ld-linux-x86-64.so.2",
    "ld-linux-aarch64.so.1",
)

# Weak symbols that may stay undefined: each is null unless a library defines it.
WEAK = re.compile(
    r"__gmon_start__|__cxa_finalize|_ITM_(de)?registerTMCloneTable"
    # tensorflow/lite/kernels/cpu_backend_context.cc: a hook for callers.
    r"|_ZN6tflite16UseGemmlowpOnX86Ev"
)

# tensorflow/lite/delegates/xnnpack/xnnpack_delegate.cc
XNNPACK = "Created TensorFlow Lite XNNPACK delegate for CPU."


@dataclass(frozen=True, kw_only=True)
class Subject:
    """The input of the checks: an extension, its bytes, and its wheel's parsed file name."""

    name: OwnWheelName
    data: bytes
    elf: Extension


def dotted(version: tuple[int, int]) -> str:
    """Return a glibc version as text, such as `2.17`."""
    return f"{version[0]}.{version[1]}"


def odd_versions(elf: Extension) -> list[str]:
    """Return the GLIBC_ versions that name no plain glibc release, sorted.

    Examples are GLIBC_PRIVATE, and GLIBC_ABI_DT_RELR of glibc 2.36. Any runtime may lack them.
    """
    return sorted(
        version
        for _, version in elf.versions
        if version.startswith("GLIBC_") and not re.fullmatch(r"GLIBC_\d+\.\d+(\.\d+)?", version)
    )


def glibc_needed(elf: Extension) -> tuple[int, int]:
    """Return the highest glibc release among the symbol versions; (0, 0) if there is none."""
    return max(
        (
            (int(match[1]), int(match[2]))
            for _, version in elf.versions
            if (match := re.fullmatch(r"GLIBC_(\d+)\.(\d+)(\.\d+)?", version))
        ),
        default=(0, 0),
    )


def foreign_libraries(elf: Extension) -> list[str]:
    """Return the needed libraries that are not glibc's own."""
    return [library for library in elf.needed if library not in LIBRARIES]


def check_elf(subject: Subject) -> Check:
    """Check the file type, the machine and the relocations.

    The extension must be a shared object for the wheel's architecture, without text relocations
    (TEXTREL) and packed relocations (RELR), and with complete read-only relocations (RELRO).
    """
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
    """Check that the loader maps, relocates and runs only what an extension of ours needs."""
    elf = subject.elf
    return Check.of(
        "loader",
        [some(list(elf.layout))] if elf.layout else [],
        f"binds at once, {elf.constructors} constructors, every byte accounted for",
    )


def check_libraries(subject: Subject) -> Check:
    """Check that the extension needs glibc's own libraries alone, and has no run path."""
    elf, faults = subject.elf, []
    if foreign := foreign_libraries(elf):
        faults.append(f"needs {', '.join(foreign)}, expected glibc's libraries alone")
    # The loader aborts on a symbol version of a library that DT_NEEDED does not name.
    if unnamed := sorted({library for library, _ in elf.versions} - set(elf.needed)):
        faults.append(f"has versions of {', '.join(unnamed)}, which it does not need")
    if elf.run_paths:
        faults.append(f"has a run path: {', '.join(elf.run_paths)}")
    return Check.of("libraries", faults, f"{', '.join(elf.needed) or 'none'}, no run path")


def check_stack(subject: Subject) -> Check:
    """Check that PT_GNU_STACK is there, and that the stack is not executable."""
    stack = subject.elf.stack
    faults = []
    if stack is None:
        faults.append("no PT_GNU_STACK: the stack becomes executable")
    elif stack & 1:
        faults.append("asks for an executable stack")
    return Check.of("stack", faults, "PT_GNU_STACK, not executable")


def check_exports(subject: Subject) -> Check:
    """Check that the extension exports its entry point, and no other symbol."""
    exports = list(subject.elf.exports)
    faults = []
    if ENTRY_POINT not in exports:
        faults.append(f"no {ENTRY_POINT}")
    if leaked := [name for name in exports if name != ENTRY_POINT]:
        faults.append(f"leaks {len(leaked)}: {some(leaked)}")
    return Check.of("exports", faults, f"{ENTRY_POINT} alone")


def check_undefined(subject: Subject) -> Check:
    """Check that every undefined symbol comes from glibc or from Python.

    The weak symbols of WEAK may stay undefined.
    """
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
    """Check the glibc version that the extension needs.

    It must not be newer than the platform tag, the project's floor or the runtime's glibc.
    """
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
    """Check that the platform tag promises no older glibc than auditwheel computes.

    The check calls parts of auditwheel, and not its analyze_wheel_abi. That function changes the
    process's working folder, looks for libraries on this machine, and caches the result of a
    path even if the file changes.
    """
    arch, promised = subject.name.arch, subject.name.glibc
    if arch is None or promised is None:
        return Check.of("auditwheel", ["the file name has no platform to compare with"], "")
    if subject.elf.layout:
        # auditwheel also reads section headers, without bounds on their counts and sizes.
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


# A call takes half a second, and a fuzzer asks for the same file again and again.
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
    """Check that the file is stripped: users do not need its symbol table or debug information."""
    kept = [n for n in subject.elf.sections if re.match(r"\.symtab$|\.z?debug_|\.gdb_index", n)]
    return Check.of(
        "stripped", [f"holds {some(kept)}"] if kept else [], "no symbols, no debug info"
    )


def check_python(subject: Subject) -> Check:
    """Check that the extension was compiled for the wheel's Python.

    Source: PYBIND11_CHECK_PYTHON_VERSION in pybind11/detail/common.h. It stores the Python version
    of the compilation as a string, and refuses to run in any other version.
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
    """Check that the compiled sources are of the wheel's TensorFlow version.

    Source: TF_VERSION_STRING in tensorflow/core/public/version.h.
    """
    found = list(subject.elf.literals(r"\d{1,2}\.\d{1,2}\.\d{1,2}(?:-[\w.-]{1,16})?"))
    version = subject.name.version
    expected = own_spelling(version) if version else None
    # The string of a release may have a suffix, such as -rc1 or a vendor's. The string of a
    # nightly must match exactly, because its date is in the suffix.
    exact = version is not None and version.is_devrelease
    good = expected in [text if exact else text.partition("-")[0] for text in found]
    return Check.of(
        "tensorflow",
        [] if good else [f"says {some(found) or 'nothing'}, expected {expected}"],
        f"says {some(found)}",
    )


def check_xnnpack(subject: Subject) -> Check:
    """Check that the XNNPACK delegate is compiled in."""
    found = subject.elf.literals(re.escape(XNNPACK))
    return Check.of("xnnpack", [] if found else ["no XNNPACK delegate"], "the delegate is there")


def check_baseline(subject: Subject) -> Check:
    """Check that the code of loading and importing keeps to the baseline instruction set.

    Code that runs at loading may only use the architecture's oldest instruction set: it runs
    before the module can refuse the processor.
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
