"""The wheel: upstream's Python files, the extension, licences, metadata, SBOM.

The same inputs give the same bytes, wherever and whenever the wheel is written: the members
are sorted, have one fixed time, and hold nothing of the machine.
"""

from __future__ import annotations

import os
import shutil
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.generator import Generator
from importlib import metadata
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from zipfile import ZIP_DEFLATED, ZipInfo

from auditwheel.architecture import Architecture
from auditwheel.libc import Libc
from auditwheel.policy import WheelPolicies
from packaging.licenses import canonicalize_license_expression
from packaging.metadata import Metadata, RFC822Message
from packaging.tags import Tag
from packaging.version import Version

from builders.audit import PACKAGE as PROJECT
from builders.breakages import python_patches_of
from builders.cache import Cache, digest_files, key_of, recipe, sha256_of
from builders.core import Core
from builders.core_metadata import (
    canonical,
    python_classifiers,
    requires_dist,
    requires_python,
)
from builders.deflated import DeflatedWheel
from builders.matrix import Matrix, Target, load_matrix
from builders.patching import apply_patch
from builders.sbom import Part, make_sbom, parts_of
from builders.stubs import typing_files
from builders.toolchain import GLIBC_FLOOR, Toolchain

SUMMARY = "TensorFlow Lite interpreter for AWS Lambda: NumPy 1 and 2, XNNPACK, no other dependency"
# The files of this program that decide a wheel's bytes, besides its inputs.
RECIPE = ("wheel.py", "core_metadata.py", "deflated.py", "sbom.py", "stubs")
# The earliest time that a zip can hold (https://reproducible-builds.org/specs/source-date-epoch/).
SOURCE_DATE_EPOCH = 315532800
_ONE_TIME = Lock()
INIT = '"""The TensorFlow Lite runtime."""\n\n__version__ = "{version}"\n'
DESCRIPTION = """\
# tflite_runtime {version}

The TensorFlow Lite interpreter, built for the Python runtimes of AWS Lambda:

    pip install --no-deps <URL of the wheel>

    from tflite_runtime.interpreter import Interpreter

It needs NumPy, glibc {glibc} and, on x86-64, a processor with SSE4.2 (x86-64-v2), as all of
Lambda's are; and nothing else. XNNPACK is on. The components that are compiled in are listed,
with versions, sources and licences, in the SBOM in its `.dist-info/sboms` folder.
"""
LLVM_LICENCE = "Apache-2.0 WITH LLVM-exception"


@dataclass(frozen=True)
class WheelInputs:
    """The inputs of a wheel."""

    target: Target
    core: Core
    extension: Path
    compiled_with: Sequence[Part]
    upstream_warnings: bool = False
    matrix: Matrix = field(default_factory=load_matrix)

    @property
    def patches(self) -> list[Path]:
        """Our patches of upstream's Python files."""
        version = self.target.tensorflow.version
        return python_patches_of(version, upstream_warnings=self.upstream_warnings)


def wheel_name(target: Target) -> str:
    """Return the file name of PEP 427; its platform tag is auditwheel's for our glibc floor."""
    tensorflow = target.tensorflow
    tag = f"{target.runtime.tag}-{target.runtime.tag}-{platform_tag(target.arch)}"
    return f"{PROJECT}-{tensorflow.version}-{tensorflow.build}-{tag}.whl"


def platform_tag(arch: str) -> str:
    """Return the compressed platform tag: the glibc floor's manylinux tag and its older aliases."""
    policies = WheelPolicies(libc=Libc.GLIBC, arch=Architecture(arch))
    name = f"manylinux_{GLIBC_FLOOR[arch].replace('.', '_')}_{arch}"
    policy = policies.get_policy_by_name(name)
    return ".".join((policy.name, *policy.aliases))


def toolchain_parts(toolchain: Toolchain) -> list[Part]:
    """Return the compiler's libraries, which every extension contains."""
    version = toolchain.versions["ziglang"]
    return [
        Part(
            name=name,
            version=f"ziglang {version}",
            licence=LLVM_LICENCE,
            origin="pypi",
            location=f"pypi:ziglang=={version}",
            sha256=sha256_of(toolchain.zig),
        )
        for name in ("libcxx", "libcxxabi", "libunwind")
    ]


def make_wheel(inputs: WheelInputs, cache: Cache, toolchain: Toolchain) -> Path:
    """Return the wheel; write it first if the cache does not have it."""
    name = wheel_name(inputs.target)
    key = key_of(
        {
            "name": name,
            "core": inputs.core.path.name,
            "extension": sha256_of(inputs.extension),
            # The core's key does not cover all that its record says of the components.
            "components": inputs.core.record["components"],
            "compiled_with": [str(part) for part in inputs.compiled_with],
            "requires": [str(r) for r in requires_dist(inputs.matrix)],
            "patches": [digest_files(patch) for patch in inputs.patches],
            "recipe": recipe(*(Path(__file__).with_name(name) for name in RECIPE)),
            "packers": [metadata.version(name) for name in ("deflate", "wheel")],
        }
    )

    def make(folder: Path) -> None:
        with _fixed_time(), DeflatedWheel(folder / name, "w") as wheel:
            for member, data in sorted(_members(inputs, toolchain)):
                wheel.writestr(zip_entry(member), data)

    return cache.product("wheel", key, make) / name


def _members(inputs: WheelInputs, toolchain: Toolchain) -> Iterator[tuple[str, bytes]]:
    target, core = inputs.target, inputs.core
    version = target.tensorflow.version
    info = f"{PROJECT}-{version}.dist-info"
    init = INIT.format(version=version)
    yield f"{PROJECT}/__init__.py", init.encode()
    yield f"{PROJECT}/{inputs.extension.name}", inputs.extension.read_bytes()
    for name, data in (_python_files(inputs) | typing_files(version)).items():
        yield f"{PROJECT}/{name}", data

    licences = _licences(core, toolchain)
    for name, data in licences.items():
        yield f"{info}/licenses/{name}", data

    parts = [
        *parts_of(core.record["components"]),
        *inputs.compiled_with,
        *toolchain_parts(toolchain),
    ]
    sbom = make_sbom(PROJECT, version, target.identifier, parts)
    yield f"{info}/sboms/{PROJECT}.cdx.json", sbom.encode()
    yield f"{info}/METADATA", _metadata(target, inputs.matrix, parts, sorted(licences)).encode()
    yield f"{info}/WHEEL", _wheel_file(target).encode()


def _licences(core: Core, toolchain: Toolchain) -> dict[str, bytes]:
    """Return each licence text once, by a path whose folder names all components that have it."""
    texts = list((core.path / "licences").glob("*/*"))
    texts += [
        toolchain.zig.parent / "lib" / folder / "LICENSE.TXT"
        for folder in ("libcxx", "libcxxabi", "libunwind")
    ]
    shared: dict[bytes, list[Path]] = {}
    for path in sorted(texts, key=lambda path: (path.parent.name, path.name)):
        shared.setdefault(path.read_bytes(), []).append(path)
    return {
        f"{'+'.join(dict.fromkeys(p.parent.name for p in paths))}/{paths[0].name}": data
        for data, paths in shared.items()
    }


def _python_files(inputs: WheelInputs) -> dict[str, bytes]:
    """Return upstream's Python files with our patches, by name."""
    with TemporaryDirectory() as folder:
        files = Path(folder) / "python"
        shutil.copytree(inputs.core.path / "python", files)
        for patch in inputs.patches:
            version = inputs.target.tensorflow.version
            apply_patch(patch, files, f"the Python files of TensorFlow {version}")
        return {file.name: file.read_bytes() for file in files.iterdir()}


def _metadata(
    target: Target, matrix: Matrix, parts: Sequence[Part], licence_files: list[str]
) -> str:
    version = target.tensorflow.version
    status = "4 - Beta" if Version(version).is_prerelease else "5 - Production/Stable"
    licences = dict.fromkeys(
        f"({part.licence})" if " " in part.licence else part.licence for part in parts
    )
    fields = Metadata.from_raw(
        {
            "metadata_version": "2.4",
            "name": PROJECT,
            "version": version,
            "summary": SUMMARY,
            "description": DESCRIPTION.format(version=version, glibc=GLIBC_FLOOR[target.arch]),
            "description_content_type": "text/markdown",
            "requires_python": str(requires_python(matrix)),
            "requires_dist": list(map(str, requires_dist(matrix))),
            "license_expression": canonicalize_license_expression(" AND ".join(licences)),
            "license_files": licence_files,
            "keywords": ["tflite", "tensorflow lite", "aws lambda", "inference"],
            "classifiers": [
                f"Development Status :: {status}",
                "Intended Audience :: Developers",
                "Operating System :: POSIX :: Linux",
                "Programming Language :: C++",
                *python_classifiers(matrix),
                "Programming Language :: Python :: Implementation :: CPython",
                "Topic :: Scientific/Engineering :: Artificial Intelligence",
            ],
        }
    )
    return str(canonical(fields.as_rfc822()))


def _wheel_file(target: Target) -> str:
    message = RFC822Message()
    message["Wheel-Version"] = "1.0"
    message["Generator"] = "tflite-lambda-wheels"
    message["Root-Is-Purelib"] = "false"
    message["Build"] = str(target.tensorflow.build)
    tag = target.runtime.tag
    for platform in platform_tag(target.arch).split("."):
        message["Tag"] = str(Tag(tag, tag, platform))
    text = StringIO()
    Generator(text, policy=message.policy).flatten(message)
    return text.getvalue()


def zip_entry(name: str) -> ZipInfo:
    """Return the entry of a member in a reproducible zip: a fixed time, and one of two modes."""
    entry = ZipInfo(name, date_time=time.gmtime(SOURCE_DATE_EPOCH)[:6])
    mode = 0o755 if name.endswith(".so") else 0o644
    entry.external_attr = (stat.S_IFREG | mode) << 16
    entry.compress_type = ZIP_DEFLATED
    return entry


@contextmanager
def _fixed_time() -> Iterator[None]:
    """Set SOURCE_DATE_EPOCH while the block lasts: the `wheel` library dates RECORD by it."""
    # The variable is the whole process's: of several threads, one writes its wheel at a time.
    with _ONE_TIME:
        before = os.environ.get("SOURCE_DATE_EPOCH")
        os.environ["SOURCE_DATE_EPOCH"] = str(SOURCE_DATE_EPOCH)
        try:
            yield
        finally:
            if before is None:
                del os.environ["SOURCE_DATE_EPOCH"]
            else:
                os.environ["SOURCE_DATE_EPOCH"] = before
