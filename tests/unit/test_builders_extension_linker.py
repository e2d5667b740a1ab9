"""How zig says that it links, read from what it printed."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from builders.errors import CompileError
from builders.extension import _linker

TOOLCHAIN: Any = SimpleNamespace(zig=Path("/z/zig"), versions={"ziglang": "1"})


def test_paths_with_spaces_and_quotes_stay_whole() -> None:
    root = Path("/a user's cache")
    lines = ["$ zig c++ -o x", f"ld.lld -shared -o {root}/a.so {root}/b.o -L/\n"]
    found = _linker(lines, TOOLCHAIN, root)
    assert found == ["/z/zig", "ld.lld", "-shared", "-o", f"{root}/a.so", f"{root}/b.o", "-L/"]


def test_a_zig_that_does_not_say_how_it_links_is_an_error() -> None:
    with pytest.raises(CompileError, match="does not say how it links"):
        _linker(["something else"], TOOLCHAIN, Path("/cache"))
