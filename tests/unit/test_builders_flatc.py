"""FlatBuffers' compiler: compiled once for all that need the same one."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest
from test_builders_toolchain import fake_toolchain

from builders.cache import Cache
from builders.errors import CompileError, ToolchainError
from builders.flatc import make_flatc

pytestmark = pytest.mark.usefixtures("allow_subprocess")

# A compiler that writes its command, and counts its runs.
ZIG = """\
echo run >> {runs}
while [ "$1" != -o ]; do echo "$1" >> {runs}.words; shift; done
cp {runs}.words "$2"
"""


@pytest.fixture
def flatbuffers(tmp_path: Path) -> Path:
    tree = tmp_path / "flatbuffers"
    for name in ("include/flatbuffers/idl.h", "src/idl_parser.cpp"):
        (tree / name).parent.mkdir(parents=True)
        (tree / name).write_text(f"// {name}\n")
    return tree


def make(tmp_path: Path, flatbuffers: Path, zig: str = ZIG) -> Path:
    toolchain = fake_toolchain(tmp_path, zig.format(runs=tmp_path / "runs"))
    cache = Cache(tmp_path / "cache")
    return make_flatc(flatbuffers, cache=cache, toolchain=toolchain, log=tmp_path / "log")


def test_it_is_compiled_for_this_machine(tmp_path: Path, flatbuffers: Path) -> None:
    flatc = make(tmp_path, flatbuffers)
    words = flatc.read_text().splitlines()
    assert flatc.name == "flatc"
    assert words[:3] == ["c++", "-target", f"{platform.machine()}-linux-gnu.2.17"]
    assert f"-I{flatbuffers}" in words


def test_it_is_compiled_once(tmp_path: Path, flatbuffers: Path) -> None:
    assert make(tmp_path, flatbuffers) == make(tmp_path, flatbuffers)
    assert (tmp_path / "runs").read_text() == "run\n"


def test_other_sources_make_another(tmp_path: Path, flatbuffers: Path) -> None:
    before = make(tmp_path, flatbuffers)
    (flatbuffers / "src/idl_parser.cpp").write_text("// fixed\n")
    assert make(tmp_path, flatbuffers) != before


def test_a_compiler_that_fails_leaves_nothing(tmp_path: Path, flatbuffers: Path) -> None:
    with pytest.raises(CompileError, match="compiling FlatBuffers' compiler"):
        make(tmp_path, flatbuffers, "exit 1")
    assert not list((tmp_path / "cache/flatc").iterdir())


def test_a_machine_without_a_compiler_is_named(
    tmp_path: Path, flatbuffers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(
        ToolchainError, match=r"this machine is riscv64, .*; build on one of x86_64"
    ):
        make(tmp_path, flatbuffers)
