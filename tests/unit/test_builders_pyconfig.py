"""Headers of one processor for another: what is measured, what is known, what is refused."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from builders import pyconfig
from builders.cache import Cache
from builders.errors import HeadersError
from builders.pyconfig import (
    BYTE_ORDER,
    DATA,
    acted_on,
    checked_headers,
    measurements,
    unknown_names,
)
from builders.toolchain import Toolchain

PYCONFIG = """\
#define SIZEOF_LONG 8
#define SIZEOF_VOID_P 8
#define SIZEOF__BOOL 1
#define ALIGNOF_MAX_ALIGN_T 16
#if defined __BIG_ENDIAN__
#  define WORDS_BIGENDIAN 1
#endif
/* #undef HAVE_USABLE_WCHAR_T */
#define HAVE_WCHAR_H 1
#define HAVE_QUANTUM_H 1
"""


def include(folder: Path, **headers: str) -> Path:
    (folder / "internal").mkdir(parents=True)
    (folder / "pyconfig.h").write_text(PYCONFIG)
    (folder / "Python.h").write_text('#include "pyconfig.h"\n')
    for name, text in headers.items():
        (folder / f"{name}.h").write_text(text)
    return folder


def test_what_only_the_code_of_public_headers_acts_on_matters(tmp_path: Path) -> None:
    folder = include(
        tmp_path / "include",
        one="#ifdef HAVE_USABLE_WCHAR_T\n#if SIZEOF_LONG > 4\n",
        two='/* HAVE_QUANTUM_H */ "HAVE_QUANTUM_H" // HAVE_QUANTUM_H\n',
        pymacconfig="#ifdef HAVE_QUANTUM_H\n",
    )
    (folder / "internal/x.h").write_text("#ifdef HAVE_QUANTUM_H\n")
    assert acted_on(folder, PYCONFIG) == ["HAVE_USABLE_WCHAR_T", "SIZEOF_LONG"]
    assert unknown_names(folder) == []


def test_a_name_that_nobody_looked_at_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pyconfig, "run", lambda *_, **__: pytest.fail("compiled"))
    folder = include(tmp_path / "include", one="#ifdef HAVE_QUANTUM_H\n")
    cache = Cache(tmp_path / "cache")
    with pytest.raises(HeadersError, match=r"act on HAVE_QUANTUM_H of .*; .*pyconfig\.toml"):
        checked_headers(folder, "aarch64", cache, tmp_path / "log")
    assert list((cache.root / "python-headers").iterdir()) == []


def test_sizes_alignments_and_the_byte_order_are_measured(tmp_path: Path) -> None:
    lines = "\n".join(measurements(include(tmp_path / "include")))
    for name, measured in {
        "SIZEOF_LONG": "sizeof(long)",
        "SIZEOF_VOID_P": "sizeof(void *)",
        "SIZEOF__BOOL": "sizeof(_Bool)",
        "ALIGNOF_MAX_ALIGN_T": "_Alignof(max_align_t)",
    }.items():
        assert f'#ifdef {name}\n_Static_assert({name} == {measured}, "{name}");\n#endif' in lines
    assert "__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__, " in lines
    assert "HAVE_WCHAR_H" not in lines


def test_the_copy_is_made_once_for_each_processor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = []
    monkeypatch.setattr(Toolchain, "zig", tmp_path / "zig")
    monkeypatch.setattr(pyconfig, "run", lambda command, **_: compiled.append(command))
    folder, cache = include(tmp_path / "include"), Cache(tmp_path / "cache")
    copies = [
        checked_headers(folder, arch, cache, tmp_path / "log")
        for arch in ("aarch64", "x86_64", "aarch64")
    ]
    assert copies[0] == copies[2] != copies[1]
    assert (copies[0] / "pyconfig.h").read_text() == PYCONFIG
    assert [command[3] for command in compiled] == [
        "aarch64-linux-gnu.2.17",
        "x86_64-linux-gnu.2.17",
    ]
    (folder / "pyconfig.h").write_text(PYCONFIG + "#define SIZEOF_INT 4\n")
    assert checked_headers(folder, "aarch64", cache, tmp_path / "log") not in copies


def test_every_known_name_is_named_once_and_not_measured() -> None:
    data = tomllib.loads(DATA.read_text())
    names = data["differs"] + data["same"]
    assert len(names) == len(set(names))
    assert data["differs"] == sorted(data["differs"])
    assert data["same"] == sorted(data["same"])
    assert not [name for name in names if name in BYTE_ORDER or re.match("(SIZE|ALIGN)OF_", name)]
