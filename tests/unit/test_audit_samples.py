"""Wheels and ELF files made in memory, for the tests of the audit; good unless told otherwise."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import struct
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from packaging.version import Version

from builders.audit import audit, extension_name
from builders.audit.elf_checks import ENTRY_POINT, XNNPACK
from builders.core_metadata import python_classifiers, requires_dist, requires_python
from builders.matrix import Target, load_matrix, own_spelling

X86_64, AARCH64 = 62, 183
PAGE = 4096
MOST_SEGMENTS = 6
RETURN = {X86_64: b"\xc3", AARCH64: bytes.fromhex("c0035fd6")}


@dataclass(frozen=True, kw_only=True)
class Elf:
    """A shared object with as many parts as the audit reads; addresses are file offsets."""

    machine: int = X86_64
    ident: bytes = b"\x7fELF\x02\x01\x01"
    kind: int = 3  # ET_DYN
    needed: tuple[str, ...] = ("libc.so.6", "libm.so.6")
    runpath: str | None = None
    # (symbol, library, version); an empty library is an unversioned symbol.
    imports: tuple[tuple[str, str, str], ...] = (
        ("malloc", "libc.so.6", "GLIBC_2.17"),
        ("PyModule_Create2", "", ""),
        ("_Py_Dealloc", "", ""),
    )
    weak: tuple[str, ...] = ("__gmon_start__",)
    exports: tuple[str, ...] = (ENTRY_POINT,)
    literals: tuple[str, ...] = ("3.12", "2.14.1", XNNPACK)
    text: bytes = b""
    # Offsets in the text that .init_array points to.
    constructors: tuple[int, ...] = ()
    # Offsets in the text where .eh_frame_hdr says that functions begin.
    functions: tuple[int, ...] = ()
    stack: int | None = 6
    relro: bool = True
    tags: tuple[tuple[int, int], ...] = ()
    bind_now: bool = True
    # The flags of the segment with the code: 5 is readable and executable.
    code_flags: int = 5
    # The relocation types of a pointer in data.
    relocations: tuple[int, ...] = ()
    # Behind the end of the image.
    payload: bytes = b""
    more_sections: tuple[str, ...] = ()

    def build(self) -> bytes:
        return _Linker(self).link()


class _Strings:
    def __init__(self) -> None:
        self.data = b"\0"

    def add(self, text: str) -> int:
        place = len(self.data)
        self.data += text.encode() + b"\0"
        return place


class _Linker:
    """Lays the sections of an Elf out one after the other."""

    def __init__(self, elf: Elf) -> None:
        self.elf = elf
        self.names, self.strings = _Strings(), _Strings()
        self.image = bytearray(64 + MOST_SEGMENTS * 56)
        self.headers = [bytes(64)]
        self.places: dict[str, tuple[int, int, int]] = {}

    def section(
        self, name: str, kind: int, data: bytes, link: str = "", info: int = 0, flags: int = 2
    ) -> int:
        self.image += bytes(-len(self.image) % 16)
        place = len(self.image)
        self.image += data
        linked = self.places[link][0] if link else 0
        self.places[name] = (len(self.headers), place, len(data))
        size = {11: 24, 4: 24, 6: 16, 0x6FFFFFFF: 2}.get(kind, 0)
        self.headers.append(
            struct.pack(
                "<IIQQQQIIQQ",
                self.names.add(name), kind, flags, place, place, len(data), linked, info, 8, size,
            )
        )  # fmt: skip
        return place

    def link(self) -> bytes:
        elf = self.elf
        text = self.section(".text", 1, (elf.text or RETURN.get(elf.machine, b"\0")), flags=2 | 4)
        self.section(".rodata", 1, b"".join(s.encode() + b"\0" for s in elf.literals))
        if elf.functions:
            # Its own address is the base of the table, so it is laid out by hand.
            base = len(self.image) + -len(self.image) % 16
            table = b"".join(struct.pack("<ii", text + f - base, 0) for f in elf.functions)
            head = b"\x01\x1b\x03\x3b" + struct.pack("<iI", 0, len(elf.functions))
            self.section(".eh_frame_hdr", 1, head + table)
        versions, verneed, libraries = self._versions()
        self.libraries = libraries
        symbols = self._symbols(text)
        dynamic = self._dynamic()
        self.section(".dynstr", 3, self.strings.data)
        self.section(".dynsym", 11, symbols, ".dynstr", 1)
        self.section(".gnu.version", 0x6FFFFFFF, versions, ".dynsym")
        if libraries:
            self.section(".gnu.version_r", 0x6FFFFFFE, verneed, ".dynstr", libraries)
        relative = 1027 if elf.machine == AARCH64 else 8
        # The writable part begins on its own page, after the table that holds its address.
        count = len(elf.constructors) + len(elf.relocations)
        array = -(-(len(self.image) + 16 + 24 * count) // PAGE) * PAGE
        relocations = b"".join(
            struct.pack("<QQq", array + 8 * i, relative, text + offset)
            for i, offset in enumerate(elf.constructors)
        ) + b"".join(
            struct.pack("<QQq", array + 8 * (len(elf.constructors) + i), kind, text)
            for i, kind in enumerate(elf.relocations)
        )
        self.section(".rela.dyn", 4, relocations, ".dynsym")
        self.image += bytes(array - len(self.image))
        self.section(".init_array", 14, bytes(8 * len(elf.constructors)), flags=3)
        self.section(".data", 1, bytes(8 * len(elf.relocations)), flags=3)
        self.section(".dynamic", 6, self._tables() + dynamic, ".dynstr", flags=3)
        self.image += bytes(-len(self.image) % PAGE)  # as much as RELRO protects
        self.loaded = len(self.image)
        for name in elf.more_sections:
            self.section(name, 1, b"?", flags=0)
        return self._finish()

    def _symbols(self, text: int) -> bytes:
        table = bytes(24)
        for name, _, _ in self.elf.imports:
            table += struct.pack("<IBBHQQ", self.strings.add(name), 0x12, 0, 0, 0, 0)
        for name in self.elf.weak:
            table += struct.pack("<IBBHQQ", self.strings.add(name), 0x20, 0, 0, 0, 0)
        for name in self.elf.exports:
            table += struct.pack("<IBBHQQ", self.strings.add(name), 0x12, 0, 1, text, 1)
        return table

    def _versions(self) -> tuple[bytes, bytes, int]:
        wanted: dict[str, dict[str, int]] = {}
        versions = struct.pack("<H", 0)
        count = 1
        for _, library, version in self.elf.imports:
            if library and version not in wanted.setdefault(library, {}):
                count += 1
                wanted[library][version] = count
            versions += struct.pack("<H", wanted[library][version] if library else 1)
        versions += struct.pack("<H", 1) * (len(self.elf.weak) + len(self.elf.exports))
        table = b""
        for place, (library, auxiliaries) in enumerate(wanted.items()):
            last = place == len(wanted) - 1
            after = 0 if last else 16 + 16 * len(auxiliaries)
            table += struct.pack(
                "<HHIII", 1, len(auxiliaries), self.strings.add(library), 16, after
            )
            for i, (version, index) in enumerate(auxiliaries.items()):
                step = 0 if i == len(auxiliaries) - 1 else 16
                table += struct.pack("<IHHII", 0, 0, index, self.strings.add(version), step)
        return versions, table, len(wanted)

    def _dynamic(self) -> bytes:
        entries = [(1, self.strings.add(library)) for library in self.elf.needed]
        if self.elf.runpath is not None:
            entries.append((29, self.strings.add(self.elf.runpath)))
        if self.elf.bind_now:
            entries.append((30, 8))
        entries += [*self.elf.tags, (0, 0)]
        return b"".join(struct.pack("<QQ", *entry) for entry in entries)

    def _tables(self) -> bytes:
        tables = {
            ".dynsym": (6, None),
            ".dynstr": (5, 10),
            ".gnu.version": (0x6FFFFFF0, None),
            ".gnu.version_r": (0x6FFFFFFE, None),
            ".rela.dyn": (7, 8),
            ".init_array": (25, 27),
        }
        entries = [(11, 24)]
        for name, (start, length) in tables.items():
            _, place, size = self.places.get(name, (0, 0, 0))
            if size:
                entries += [(start, place)] + ([(length, size)] if length else [])
        if ".gnu.version_r" in self.places:
            entries.append((0x6FFFFFFF, self.libraries))
        return b"".join(struct.pack("<QQ", *entry) for entry in entries)

    def _finish(self) -> bytes:
        elf = self.elf
        _, dynamic, size = self.places[".dynamic"]
        start = self.places[".init_array"][1]
        segments = [
            (1, elf.code_flags, 0, start),
            (1, 6, start, self.loaded - start),
            (2, 6, dynamic, size),
        ]
        if elf.stack is not None:
            segments.append((0x6474E551, elf.stack, 0, 0))
        if elf.relro:
            segments.append((0x6474E552, 4, start, self.loaded - start))
        if elf.functions:
            segments.append((0x6474E550, 4, *self.places[".eh_frame_hdr"][1:]))
        name = self.names.add(".shstrtab")
        place = len(self.image)
        self.image += self.names.data
        self.headers.append(
            struct.pack("<IIQQQQIIQQ", name, 3, 0, 0, place, len(self.names.data), 0, 0, 1, 0)
        )
        start = len(self.image)
        self.image += b"".join(self.headers)
        self.image[:64] = elf.ident.ljust(16, b"\0") + struct.pack(
            "<HHIQQQIHHHHHH",
            elf.kind, elf.machine, 1, 0, 64, start, 0, 64, 56, len(segments), 64,
            len(self.headers), len(self.headers) - 1,
        )  # fmt: skip
        for i, (kind, flags, offset, length) in enumerate(segments):
            self.image[64 + 56 * i : 120 + 56 * i] = struct.pack(
                "<IIQQQQQQ", kind, flags, offset, offset, offset, length, length, 8
            )
        return bytes(self.image) + elf.payload


METADATA = """\
Metadata-Version: 2.4
Name: tflite_runtime
Version: {version}
Summary: TensorFlow Lite's interpreter
License-Expression: Apache-2.0 AND MIT
License-File: tensorflow/LICENSE
{requires}

Text.
"""


def requires_lines() -> str:
    """Return the lines of METADATA that follow from the matrix."""
    matrix = load_matrix()
    lines = [f"Classifier: {classifier}" for classifier in python_classifiers(matrix)]
    lines += [f"Requires-Dist: {requirement}" for requirement in requires_dist(matrix)]
    return "\n".join([*lines, f"Requires-Python: {requires_python(matrix)}"])


def component(name: str, version: str) -> dict[str, object]:
    return {
        "type": "library",
        "name": name,
        "version": version,
        "licenses": [{"license": {"id": "MIT"}}],
        "hashes": [{"alg": "SHA-256", "content": "0" * 64}],
    }


@dataclass(kw_only=True)
class WheelSample:
    """A wheel of the matrix; tests change its files before it is written."""

    target: Target = field(default_factory=lambda: load_matrix().target("tf2.14.1-cp312-x86_64"))
    elf: Elf = field(default_factory=Elf)
    name: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    record: bytes | None = None
    info: Callable[[zipfile.ZipInfo], None] = lambda _: None

    def __post_init__(self) -> None:
        runtime, version = self.target.runtime, self.target.tensorflow.version
        self.dist_info = f"tflite_runtime-{version}.dist-info"
        tag = f"{runtime.tag}-{runtime.tag}-manylinux_2_17_{self.target.arch}"
        self.name = self.name or f"tflite_runtime-{version}-1-{tag}.whl"
        bom = {
            "bomFormat": "CycloneDX",
            "specVersion": "1.6",
            "version": 1,
            "components": [
                component("tensorflow", version),
                component("XNNPACK", "1"),
                component("pybind11", runtime.pybind11),
            ],
        }
        metadata = METADATA.format(
            version=version,
            requires=requires_lines(),
        )
        wheel = f"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nBuild: 1\nTag: {tag}\n"
        self.extension = f"tflite_runtime/{extension_name(runtime, self.target.arch)}"
        self.files = {
            "tflite_runtime/__init__.py": b"",
            "tflite_runtime/py.typed": b"",
            **{
                f"tflite_runtime/{name}.{suffix}": b"# code\n"
                for name in ("interpreter", "metrics_interface", "metrics_portable")
                for suffix in ("py", "pyi")
            },
            f"{self.dist_info}/METADATA": metadata.encode(),
            f"{self.dist_info}/WHEEL": wheel.encode(),
            f"{self.dist_info}/licenses/tensorflow/LICENSE": b"Apache\n",
            f"{self.dist_info}/sboms/tflite_runtime.cdx.json": json.dumps(bom).encode(),
            **self.files,
        }

    def replace(self, file: str, old: str, new: str) -> None:
        """Replace text in a metadata file; the old text must be there."""
        name = f"{self.dist_info}/{file}"
        text = self.files[name].decode()
        assert old in text
        self.files[name] = text.replace(old, new).encode()

    def change_elf(self, **changes: object) -> None:
        self.elf = dataclasses.replace(self.elf, **changes)  # type: ignore[arg-type]

    def write(self, folder: Path) -> Path:
        files = {self.extension: self.elf.build(), **self.files}
        record = f"{self.dist_info}/RECORD"
        files[record] = self.record if self.record is not None else record_of(files, record)
        path = folder / self.name
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            for name in sorted(files):
                info = zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0))
                info.compress_type = zipfile.ZIP_DEFLATED
                info.external_attr = 0o100644 << 16
                self.info(info)
                file.writestr(info, files[name])
        return path


def record_of(files: Mapping[str, bytes], own: str) -> bytes:
    lines = [f"{own},,"]
    for name, data in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        lines.append(f"{name},sha256={digest},{len(data)}")
    return "\n".join(lines).encode() + b"\n"


def test_the_sample_passes_every_check(tmp_path: Path) -> None:
    report = audit(WheelSample().write(tmp_path), load_matrix())
    assert [check for check in report.checks if not check.ok] == []
    assert report.target == "tf2.14.1-cp312-x86_64"
    assert report.glibc_floor == "2.17"


def test_a_sample_of_every_target_passes(tmp_path: Path) -> None:
    matrix = load_matrix()
    for target in matrix.targets():
        elf = Elf(
            machine=AARCH64 if target.arch == "aarch64" else X86_64,
            literals=(
                target.runtime.python,
                own_spelling(Version(target.tensorflow.version)),
                XNNPACK,
            ),
        )
        report = audit(WheelSample(target=target, elf=elf).write(tmp_path), matrix)
        assert report.failed == ()
        assert report.target == target.identifier
        assert [v.runtime for v in report.runtimes if v.ok] == [target.runtime.name]
