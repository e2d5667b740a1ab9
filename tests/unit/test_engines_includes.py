"""Which files a source may include."""

from __future__ import annotations

from pathlib import Path

import pytest

from builders.engines.includes import (
    Scanner,
    defined_names,
    first_files,
    names_in,
    searched_folders,
)


def write(root: Path, **files: str) -> None:
    """Write files; `__` stands for a slash, and `_h` at the end for `.h`."""
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_h", ".h").replace("_c", ".c")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def found(root: Path, *folders: str, macros: tuple[str, ...] = ()) -> set[str]:
    """Return the files that a.c may include, as paths from the root."""
    search = tuple(str(root / folder) for folder in folders)
    files = Scanner((f"{root}/",)).files([str(root / "a.c")], search, macros)
    return {str(Path(file).relative_to(root)) for file in files}


@pytest.mark.parametrize(
    ("text", "included"),
    [
        ('#include "a.h"', ["a.h"]),
        ("#include <a.h>", ["a.h"]),
        ("  #  include  <a/b.h> // why", ["a/b.h"]),
        ("#include_next <a.h>", ["a.h"]),
        ('#import "a.h"', ["a.h"]),
        ('#embed "a.bin"', ["a.bin"]),
        ("#inclu\\\nde <a.h>", ["a.h"]),
        ("#if 0\n#include <a.h>\n#endif", ["a.h"]),
        ("#if defined(X) && __has_include(<a.h>)", ["a.h"]),
        ('#if __has_include( "a.h" )', ["a.h"]),
        ('.incbin "a.bin"', ["a.bin"]),
        (' .include "a.inc"', ["a.inc"]),
        ("// see #include <a.h>", []),
        ('const char* text = "#include <a.h>";', []),
    ],
)
def test_the_names_in_a_file(text: str, included: list[str]) -> None:
    assert list(names_in(text.encode()).included) == included


def test_a_macro_may_stand_for_a_name() -> None:
    names = names_in(b'#define A "a.h"\n#define B <b.h>\n#define C 3\n#include A\n')
    assert names.macros == ("a.h", "b.h")
    assert names.computed
    assert not names_in(b"#include <a.h>\n").computed


def test_every_candidate_counts(tmp_path: Path) -> None:
    write(tmp_path, a_c="#include <x.h>\n", one__x_h="#include <y.h>\n", two__x_h="")
    write(tmp_path, two__y_h="", three__y_h="", three__z_h="")
    assert found(tmp_path, "one", "two", "three") == {
        "a.c",
        "one/x.h",
        "two/x.h",
        "two/y.h",
        "three/y.h",
    }


def test_a_file_of_the_same_folder_comes_first_and_is_not_alone(tmp_path: Path) -> None:
    write(tmp_path, a_c='#include "sub/x.h"\n', sub__x_h='#include "y.h"\n', sub__y_h="", y_h="")
    assert found(tmp_path, ".") == {"a.c", "sub/x.h", "sub/y.h", "y.h"}


def test_headers_may_include_each_other(tmp_path: Path) -> None:
    write(tmp_path, a_c='#include "x.h"\n', x_h='#include "y.h"\n', y_h='#include "x.h"\n')
    assert found(tmp_path) == {"a.c", "x.h", "y.h"}


def test_a_computed_include_takes_what_any_file_or_the_command_defines(tmp_path: Path) -> None:
    write(tmp_path, a_c='#include "x.h"\n#include NAME\n', x_h='#define NAME "y.h"\n')
    write(tmp_path, y_h='#include "z.h"\n', z_h="", w_h="")
    assert found(tmp_path) == {"a.c", "x.h", "y.h", "z.h"}
    assert found(tmp_path, macros=("w.h",)) == {"a.c", "x.h", "y.h", "z.h", "w.h"}


def test_what_a_macro_says_of_the_system_is_not_ours(tmp_path: Path) -> None:
    write(tmp_path, a_c='#define SHELL "/bin/sh"\n#include NAME\n')
    assert found(tmp_path) == {"a.c"}


def test_a_folder_that_a_name_leaves_again_is_kept(tmp_path: Path) -> None:
    write(tmp_path, a_c='#include "sub/../x.h"\n', x_h="", sub__other="", sub__third="")
    (tmp_path / "sub/BUILD").touch()
    assert found(tmp_path) == {"a.c", "x.h", "sub/other"}


def test_the_options_of_a_command() -> None:
    words = ["zig", "cc", "-I/a", "-I", "/b", "-isystem", "/c", "-iquote/d", "-idirafter", "/e"]
    words += ["-Xclang", "-include", "-Xclang", "/f.hxx", "-include", "g.h", "-O2", "-I/a"]
    words += ["-Xclang", "-include-pch", "-Xclang", "/f.pch", '-DX="h.h"', "-DY=<i.h>", "-DZ=1"]
    assert searched_folders(words) == ("/a", "/b", "/c", "/d", "/e")
    assert first_files(words) == ["/f.hxx", "g.h"]
    assert defined_names(words) == ["h.h", "i.h"]
