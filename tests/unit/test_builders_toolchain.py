"""The compiler environment."""

from __future__ import annotations

import os
import sys
from importlib import metadata
from pathlib import Path

import pytest

from builders.cache import Cache
from builders.errors import ToolchainError
from builders.matrix import load_matrix
from builders.toolchain import GLIBC_FLOOR, PACKAGES, Toolchain

VERSIONS = {"ziglang": "0.17.0", "cmake": "3.31.10", "ninja": "1.13.0"}


def fake_toolchain(folder: Path, zig: str = "exit 1", **versions: str) -> Toolchain:
    """Make a toolchain whose zig is a script, with the licence files of a real one."""
    home = folder / "ziglang"
    for library in ("libcxx", "libcxxabi", "libunwind"):
        (home / "lib" / library).mkdir(parents=True, exist_ok=True)
        (home / "lib" / library / "LICENSE.TXT").write_text(f"The licence of {library}.\n")
    (home / "zig").write_text(f"#!/bin/sh\n{zig}\n")
    (home / "zig").chmod(0o755)
    toolchain = Toolchain(Cache(folder / "cache"))
    toolchain.__dict__.update(zig=home / "zig", versions=VERSIONS | versions)
    return toolchain


@pytest.fixture
def toolchain(tmp_path: Path) -> Toolchain:
    return Toolchain(Cache(tmp_path))


def test_each_tools_version_is_known(toolchain: Toolchain) -> None:
    assert toolchain.versions == {name: metadata.version(name) for name in PACKAGES}


def test_a_missing_tool_is_named(toolchain: Toolchain, monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name == "cmake":
            raise metadata.PackageNotFoundError(name)
        return "1"

    monkeypatch.setattr(metadata, "version", version)
    with pytest.raises(ToolchainError, match=r"lacks cmake; .*\./scripts"):
        _ = toolchain.versions


def test_zig_is_the_program_itself(toolchain: Toolchain) -> None:
    with toolchain.zig.open("rb") as file:
        assert file.read(4) == b"\x7fELF"
    assert os.access(toolchain.zig, os.X_OK)
    assert (toolchain.zig.parent / "lib" / "libcxx").is_dir()


@pytest.mark.parametrize("files", [None, [], [metadata.PackagePath("ziglang/zig")]])
def test_a_zig_that_is_not_there_is_the_environments_fault(
    toolchain: Toolchain,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    files: list[metadata.PackagePath] | None,
) -> None:
    class Distribution:
        def locate_file(self, file: metadata.PackagePath) -> Path:
            return tmp_path / file

    monkeypatch.setattr(metadata, "files", lambda _name: files)
    monkeypatch.setattr(metadata, "distribution", lambda _name: Distribution())
    with pytest.raises(ToolchainError, match="no zig program"):
        _ = toolchain.zig


def test_every_architecture_has_a_floor_below_all_its_runtimes() -> None:
    matrix = load_matrix()
    assert set(GLIBC_FLOOR) == set(matrix.architectures)
    for floor in GLIBC_FLOOR.values():
        for runtime in matrix.runtimes:
            assert [int(n) for n in floor.split(".")] <= [int(n) for n in runtime.glibc.split(".")]


def test_the_compiler_is_told_architecture_and_floor(tmp_path: Path) -> None:
    toolchain = fake_toolchain(tmp_path)
    zig = str(toolchain.zig)
    assert toolchain.compiler("c", "aarch64") == [
        *(zig, "cc", "-target", "aarch64-linux-gnu.2.17", "-mcpu=generic")
    ]
    assert toolchain.compiler("c++", "x86_64") == [
        *(zig, "c++", "-target", "x86_64-linux-gnu.2.17", "-mcpu=x86_64_v2")
    ]


def test_our_tools_come_first_on_the_path(
    toolchain: Toolchain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/before")
    assert toolchain.environment["PATH"] == f"{Path(sys.executable).parent}{os.pathsep}/before"


@pytest.mark.parametrize("name", ["CFLAGS", "CXXFLAGS", "LDFLAGS", "CC", "CPATH"])
def test_the_callers_compiler_settings_do_not_reach_ours(
    toolchain: Toolchain, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "-march=native")
    assert toolchain.environment[name] == ""


def test_zig_keeps_its_files_in_our_cache(toolchain: Toolchain) -> None:
    for name in ("ZIG_GLOBAL_CACHE_DIR", "ZIG_LOCAL_CACHE_DIR"):
        assert Path(toolchain.environment[name]).is_relative_to(toolchain.cache.root)


def test_no_folder_of_ours_is_left_in_objects(tmp_path: Path) -> None:
    toolchain = fake_toolchain(tmp_path)
    assert toolchain.prefix_maps(core=tmp_path / "x") == [
        f"-ffile-prefix-map={tmp_path / 'x'}=core",
        f"-ffile-prefix-map={toolchain.zig.parent}=zig",
    ]
