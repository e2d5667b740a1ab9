"""The extension: what changes it, and how it is compiled."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Semaphore

import pytest
from test_builders_toolchain import fake_toolchain

from builders import extension
from builders.audit import extension_name
from builders.core import ARCHIVE, WRAPPER_SOURCES, Core
from builders.errors import CompileError
from builders.extension import (
    INITIALIZER,
    LINKER_FLAGS,
    MODULE,
    RUNTIME_INITIALIZER,
    Headers,
    extension_key,
    make_extension,
)
from builders.headers import PythonHeaders
from builders.matrix import Target, load_matrix
from builders.precompiled import shared_headers
from builders.toolchain import Toolchain

TARGET = load_matrix().target("tf2.14.1-cp312-aarch64")

ZIG = """echo "$*" >> "$LOG"
[ -z "$ZIG_VERBOSE_LINK" ] || echo "${SAYS-ld.lld $*}"
[ -z "$FAIL" ] || case "$*" in *$FAIL*) echo "x.cc:1:1: error: wrong"; exit 1;; esac
while [ "$1" != -o ]; do shift; done
echo made > "$2"
"""

SOURCE = """\
#include <Python.h>
#include "pybind11/stl.h"  // from @pybind11
#include "tensorflow/lite/python/interpreter_wrapper/numpy.h"
#include "tensorflow/python/lib/core/pybind11_lib.h"
#include <vector>
#include "tensorflow/lite/core/model.h"  // the last
"""


@dataclass
class World:
    """A core, headers, and a compiler that is a script."""

    folder: Path
    toolchain: Toolchain
    monkeypatch: pytest.MonkeyPatch
    steps: list[tuple[int, int | None]] = field(default_factory=list)

    @property
    def core(self) -> Core:
        return Core(path=self.folder / "core" / "0123456789abcdef", record={})

    @property
    def headers(self) -> Headers:
        return Headers(
            python=PythonHeaders((self.folder / "python",), "nowhere"),
            numpy=self.folder / "numpy",
            numpy_sha256="1" * 64,
            pybind11=self.folder / "pybind11",
            pybind11_sha256="2" * 64,
        )

    @property
    def commands(self) -> list[str]:
        return (self.folder / "asked").read_text().splitlines()

    def make(self, target: Target = TARGET) -> Path:
        return make_extension(
            target,
            self.core,
            self.headers,
            cache=self.toolchain.cache,
            toolchain=self.toolchain,
            compilers=Semaphore(2),
            log=self.folder / "log",
            progress=lambda done, total: self.steps.append((done, total)),
        )


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, allow_subprocess: None) -> World:
    del allow_subprocess
    for folder in ("python", "numpy", "pybind11"):
        (tmp_path / folder).mkdir()
    (tmp_path / "python" / "Python.h").write_text("#define X 1\n")
    monkeypatch.setenv("LOG", str(tmp_path / "asked"))
    made = World(tmp_path, fake_toolchain(tmp_path, ZIG), monkeypatch)
    (made.core.path / "wrapper").mkdir(parents=True)
    for name in WRAPPER_SOURCES:
        (made.core.path / "wrapper" / name).write_text(SOURCE)
    return made


def test_it_is_compiled_from_headers_and_linked_with_the_core(world: World) -> None:
    made = world.make()
    assert made.name == extension_name(TARGET.runtime, "aarch64")
    assert made.read_text() == "made\n"
    headers, *compiles, demangler, link, linker = world.commands
    assert len(compiles) == len(WRAPPER_SOURCES)
    assert "-x c++-header" in headers
    precompiled = headers.split()[-1].replace("/.", "/").replace(".new/", "/")
    for command in compiles:
        assert command.startswith("c++ -target aarch64-linux-gnu.2.17 ")
        assert "-std=gnu++17" in command
        assert "-fvisibility=hidden" in command
        assert f"-include-pch {precompiled} " in command
        folders = [part[2:] for part in command.split() if part.startswith("-I")]
        assert folders == [
            str(world.core.path / "include"),
            *(str(world.folder / name) for name in ("pybind11", "numpy", "python")),
        ]
    assert {Path(part).name for c in compiles for part in c.split() if part.endswith(".cc")} == set(
        WRAPPER_SOURCES
    )
    assert str(world.core.path / ARCHIVE) in link
    assert "-Wl,--version-script=" in link
    assert demangler.startswith("cc -target aarch64-linux-gnu.2.17 ")
    assert linker == f"ld.lld {link} {' '.join(LINKER_FLAGS)}"


def test_what_all_pythons_share_is_parsed_once(world: World) -> None:
    assert shared_headers(world.core) == ["vector", "tensorflow/lite/core/model.h"]
    world.make()
    world.make(load_matrix().target("tf2.14.1-cp313-aarch64"))
    (asked,) = (command for command in world.commands if "-x c++-header" in command)
    assert "-include vector -include tensorflow/lite/core/model.h " in asked
    assert "python" not in asked.replace(str(world.folder), "")
    # Another architecture has other headers: glibc's.
    world.make(load_matrix().target("tf2.14.1-cp312-x86_64"))
    assert len([command for command in world.commands if "-x c++-header" in command]) == 2


def test_a_processor_of_x86_64_is_asked_before_any_other_code_runs(world: World) -> None:
    world.make(load_matrix().target("tf2.14.1-cp312-x86_64"))
    asked = [command for command in world.commands if "level/x86_64.c" in command]
    # The last -mcpu counts.
    assert asked[0].split("-mcpu=")[-1].startswith("x86_64 ")
    assert f"-DRUNTIME_INIT={RUNTIME_INITIALIZER} " in asked[0]
    (module,) = (
        command
        for command in world.commands
        if f"-c {world.core.path}" in command and MODULE in command
    )
    assert f"-D{INITIALIZER}={RUNTIME_INITIALIZER} " in module


def test_a_zig_that_does_not_say_how_it_links(world: World) -> None:
    world.monkeypatch.setenv("SAYS", "linked")
    with pytest.raises(CompileError, match="does not say how it links"):
        world.make()


def test_a_linkers_paths_with_spaces_and_quotes_stay_whole(world: World) -> None:
    root, zig = Path("/a user's cache"), world.toolchain.zig
    lines = ["$ zig c++ -o x", f"ld.lld -shared -o {root}/a.so {root}/b.o -L/\n"]
    found = extension._linker(lines, world.toolchain, root)
    assert found == [str(zig), "ld.lld", "-shared", "-o", f"{root}/a.so", f"{root}/b.o", "-L/"]


def test_only_the_initializer_is_exported(world: World) -> None:
    copy = world.folder / "exports"
    script = (
        f'case "$*" in *version-script=*) m=${{*#*version-script=}}; cp ${{m%% *}} {copy};; esac'
    )
    world.toolchain.zig.write_text(f"#!/bin/sh\n{script}\n{ZIG}")
    world.make()
    assert copy.read_text() == "{ global: PyInit_*; local: *; };\n"


def test_progress_counts_every_command(world: World) -> None:
    world.make()
    total = len(WRAPPER_SOURCES) + 3
    assert sorted(world.steps) == [(done, total) for done in range(total + 1)]


def test_it_is_compiled_once(world: World) -> None:
    first = world.make()
    count = len(world.commands)
    assert world.make() == first
    assert len(world.commands) == count
    assert list((world.toolchain.cache.root / "work").iterdir()) == []


@pytest.mark.parametrize(
    ("what", "message"), [("numpy.cc", "compiling numpy.cc"), ("-shared", "linking")]
)
def test_a_failure_names_its_step_and_leaves_nothing(world: World, what: str, message: str) -> None:
    with world.monkeypatch.context() as patch:
        patch.setenv("FAIL", what)
        with pytest.raises(CompileError, match=rf"(?s){message}.*error: wrong"):
            world.make()
    assert list((world.toolchain.cache.root / "extension").iterdir()) == []
    assert world.make().is_file()


def test_an_extension_has_another_key_with_each_input(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    matrix = load_matrix()
    toolchain, headers = world.toolchain, world.headers
    keys = [
        extension_key(TARGET, "core", headers, toolchain),
        extension_key(TARGET, "other", headers, toolchain),
        extension_key(TARGET, "core", replace(headers, numpy_sha256="0"), toolchain),
        extension_key(TARGET, "core", replace(headers, pybind11_sha256="0"), toolchain),
        extension_key(matrix.target("tf2.14.1-cp312-x86_64"), "core", headers, toolchain),
        extension_key(matrix.target("tf2.14.1-cp311-aarch64"), "core", headers, toolchain),
        extension_key(TARGET, "core", headers, fake_toolchain(world.folder, ZIG, ziglang="9")),
    ]
    for name in ("FLAGS", "LINK_FLAGS", "LINKER_FLAGS"):
        with monkeypatch.context() as patch:
            patch.setattr(extension, name, (*getattr(extension, name), "-x"))
            keys.append(extension_key(TARGET, "core", headers, toolchain))
    with monkeypatch.context() as patch:
        (world.folder / "shim").mkdir()
        (world.folder / "shim" / "crypt.h").touch()
        patch.setattr(extension, "SHIM", world.folder / "shim")
        keys.append(extension_key(TARGET, "core", headers, toolchain))
    (world.folder / "python" / "Python.h").write_text("#define X 2\n")
    keys.append(extension_key(TARGET, "core", world.headers, toolchain))
    assert len(set(keys)) == len(keys)
