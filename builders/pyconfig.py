"""Are the headers of a Python for one processor right for another?

Only pyconfig.h differs between processors: it holds what configure found out. Every
name of it that the public headers act on is measured with the target's compiler, or
builders/pyconfig.toml says why it does not matter. Anything else is refused.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from builders.cache import Cache, digest_files, key_of, recipe
from builders.errors import HeadersError
from builders.process import run
from builders.tables import Row, read_toml
from builders.toolchain import SHIM, Toolchain

DATA = Path(__file__).with_name("pyconfig.toml")

# Not for extensions on Linux: Python's own, Apple's, and a wrapper of curses.
PRIVATE = ("internal", "pyconfig.h", "pymacconfig.h", "py_curses.h")

BYTE_ORDER = {
    "WORDS_BIGENDIAN": "__ORDER_BIG_ENDIAN__",
    "DOUBLE_IS_BIG_ENDIAN_IEEE754": "__ORDER_BIG_ENDIAN__",
    "DOUBLE_IS_LITTLE_ENDIAN_IEEE754": "__ORDER_LITTLE_ENDIAN__",
    "DOUBLE_IS_ARM_MIXED_ENDIAN_IEEE754": "__ORDER_PDP_ENDIAN__",
}

_NAMES = re.compile(r"^(?:/\* )?#\s*(?:define|undef)\s+(\w+)", re.MULTILINE)
_NO_CODE = re.compile(r"""/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*\"""", re.DOTALL)
_MEASURED = re.compile(r"(SIZE|ALIGN)OF_(\w+)")


def checked_headers(include: Path, arch: str, cache: Cache, log: Path) -> Path:
    """A copy of Python's headers of another processor, proven right for `arch`.

    Args:
        include: the folder with Python.h and pyconfig.h.

    Raises:
        HeadersError: they are not right, or nobody has looked at a name they act on.
    """
    toolchain = Toolchain(cache)
    inputs = [digest_files(include), toolchain.target(arch), recipe(Path(__file__), DATA)]

    def make(folder: Path) -> None:
        shutil.copytree(include, folder, dirs_exist_ok=True)
        if unknown := unknown_names(folder):
            raise HeadersError(
                f"the headers in {include} are of another processor than {arch}, and act on "
                f"{', '.join(unknown)} of pyconfig.h, which may differ",
                remedy=f"look whether they do, and add them to {DATA.name}",
            )
        with TemporaryDirectory() as name:
            source = Path(name) / "measure.c"
            source.write_text("\n".join(measurements(folder)) + "\n")
            command = [*toolchain.compiler("c", arch), f"-I{folder}", f"-idirafter{SHIM}"]
            run(
                [*command, "-c", source, "-o", source.with_suffix(".o")],
                log=log,
                failure=HeadersError,
                what=f"checking the headers in {include} for {arch}",
                env=toolchain.environment,
                keep_open=cache.held_locks,
            )

    return cache.product("python-headers", f"{include.name}-{arch}-{key_of(inputs)}", make)


def unknown_names(include: Path) -> list[str]:
    """Names of pyconfig.h that public headers act on, and that nobody has looked at."""
    known = _known()
    return [
        name
        for name in acted_on(include, (include / "pyconfig.h").read_text())
        if name not in known and name not in BYTE_ORDER and not _MEASURED.fullmatch(name)
    ]


def acted_on(include: Path, pyconfig: str) -> list[str]:
    """Names of a pyconfig.h, defined there or not, that occur in the public headers' code."""
    names = set(_NAMES.findall(pyconfig))
    found: set[str] = set()
    for header in include.rglob("*.h"):
        if not set(header.relative_to(include).parts) & set(PRIVATE):
            code = _NO_CODE.sub(" ", header.read_text(errors="replace"))
            found.update(names.intersection(re.findall(r"\w+", code)))
    return sorted(found)


def measurements(include: Path) -> Iterator[str]:
    """C that compiles only where what pyconfig.h says is so."""
    yield from (f"#include <{h}.h>" for h in ("Python", "pthread", "stddef", "stdio", "wchar"))
    for name in dict.fromkeys(_NAMES.findall((include / "pyconfig.h").read_text())):
        if match := _MEASURED.fullmatch(name):
            operator = {"SIZE": "sizeof", "ALIGN": "_Alignof"}[match[1]]
            measured = f"{operator}({_type(match[2])})"
            yield f'#ifdef {name}\n_Static_assert({name} == {measured}, "{name}");\n#endif'
    for name, order in BYTE_ORDER.items():
        expected = f"__BYTE_ORDER__ == {order}"
        yield f'#ifdef {name}\n_Static_assert({expected}, "{name}");\n#endif'


def _type(name: str) -> str:
    """The C type that a name such as LONG_LONG, VOID_P, _BOOL or MAX_ALIGN_T stands for."""
    if name == "_BOOL":
        return "_Bool"
    words = name.lower()
    if words.endswith("_t"):
        return words
    return words.replace("_p", " *").replace("_", " ")


def _known() -> frozenset[str]:
    row = Row(DATA.name, read_toml(DATA))
    known = frozenset((*row.strings("differs"), *row.strings("same")))
    row.done()
    return known
