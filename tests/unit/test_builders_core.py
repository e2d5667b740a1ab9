"""The core: what changes it, how it is made, and what it must not be."""

from __future__ import annotations

import datetime
import json
import shutil
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from test_audit_samples import Elf
from test_builders_toolchain import fake_toolchain

from builders import core
from builders.cache import recipe
from builders.core import (
    HEADERS,
    PYTHON_FILES,
    REQUIRED_SYMBOLS,
    WRAPPER,
    WRAPPER_SOURCES,
    Core,
    check_no_leaked_instructions,
    core_key,
    load_core,
    make_core,
)
from builders.engines.engine import Engine, Job
from builders.engines.ninja import NINJA as NINJA_ENGINE
from builders.errors import ArchiveError, CompileError
from builders.matrix import load_matrix
from builders.sbom import parts_of
from builders.sources import Archive, Component, Origin, Source, load_lock
from builders.toolchain import FLAGS, GLIBC_FLOOR, Toolchain

TENSORFLOW = load_matrix().tensorflow("2.14.1")
SOURCES = load_lock("2.14.1").sources("debian")

GLOBAL, WEAK = 1, 2
FUNCTION, DATA = 2, 1


@dataclass(frozen=True)
class Symbol:
    """A symbol; by default, a global function that the object defines."""

    name: str
    bind: int = GLOBAL
    kind: int = FUNCTION
    defined: bool = True


def relocatable(*symbols: Symbol, share_ends: bool = False) -> bytes:
    """Return an object file with only symbols.

    Args:
        share_ends: True to store a name inside a longer name that ends with it, as LLVM does.
    """
    strings, places = b"\0", {}
    for symbol in sorted(symbols, key=lambda symbol: -len(symbol.name)):
        name = symbol.name.encode() + b"\0"
        if share_ends and name in strings:
            places[symbol.name] = strings.index(name)
        else:
            places[symbol.name] = len(strings)
            strings += name
    table = bytes(24)
    for symbol in symbols:
        info = symbol.bind << 4 | symbol.kind
        section = 1 if symbol.defined else 0
        table += struct.pack("<IBBHQQ", places[symbol.name], info, 0, section, 0, 0)
    names = b"\0.symtab\0.strtab\0.shstrtab\0"
    sections = [bytes(64)]
    image = bytes(64)
    for name, kind, data, link, entry in (
        (b".symtab", 2, table, 2, 24),
        (b".strtab", 3, strings, 0, 0),
        (b".shstrtab", 3, names, 0, 0),
    ):
        header = (names.index(name), kind, 0, 0, len(image), len(data), link, 1, 1, entry)
        sections.append(struct.pack("<IIQQQQIIQQ", *header))
        image += data
    start = len(image)
    head = struct.pack("<HHIQQQIHHHHHH", 1, 62, 1, 0, 0, start, 0, 64, 0, 0, 64, len(sections), 3)
    return b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + head + image[64:] + b"".join(sections)


OLDEST = "-mcpu=x86_64_v2"


def check_no_leak(build: Path) -> None:
    check_no_leaked_instructions(build, OLDEST)


def write_build(
    build: Path, special: Sequence[bytes], baseline: Sequence[bytes], flag: str = "-mavx2"
) -> Path:
    """Write a build folder with objects for some CPUs, and objects for any CPU."""
    commands = []
    for kind, objects, option in (("special", special, f" {flag}"), ("baseline", baseline, "")):
        for number, data in enumerate(objects):
            output = f"objects/{kind}{number}.o"
            (build / output).parent.mkdir(parents=True, exist_ok=True)
            (build / output).write_bytes(data)
            commands.append(
                {"command": f"cc {OLDEST} -O3{option} -c x.c -o {output}", "output": output}
            )
    (build / "compile_commands.json").write_text(json.dumps(commands))
    return build


@pytest.mark.parametrize("defined", [True, False])
def test_an_inline_function_for_some_cpus_that_others_use_is_found(
    tmp_path: Path, defined: bool
) -> None:
    special = relocatable(Symbol("_Z3maxii", WEAK), Symbol("kernel"))
    baseline = relocatable(Symbol("main"), Symbol("_Z3maxii", WEAK, defined=defined))
    with pytest.raises(
        CompileError, match=r"baseline0\.o, for any CPU, could link _Z3maxii of .*special0\.o"
    ):
        check_no_leak(write_build(tmp_path, [special], [baseline]))


@pytest.mark.parametrize(
    "flag", ["-mavx512f", "-march=armv8.2-a+fp16", "-mcpu=generic+dotprod", OLDEST, "-mfma"]
)
def test_each_way_to_ask_for_instructions_is_seen(tmp_path: Path, flag: str) -> None:
    leak = relocatable(Symbol("f", WEAK))
    with pytest.raises(CompileError):
        check_no_leak(write_build(tmp_path, [leak], [leak], flag))


@pytest.mark.parametrize("flag", ["-mno-red-zone", "-fPIC", "-DX=-mavx", "-msse4.1"])
def test_other_flags_are_any_cpus(tmp_path: Path, flag: str) -> None:
    leak = relocatable(Symbol("f", WEAK))
    check_no_leak(write_build(tmp_path, [leak], [leak], flag))


def test_kernels_are_no_leaks(tmp_path: Path) -> None:
    special = relocatable(Symbol("kernel"), Symbol("table", WEAK, DATA), Symbol("own", WEAK))
    uses = relocatable(Symbol("kernel", defined=False), Symbol("table", WEAK, DATA))
    check_no_leak(write_build(tmp_path, [special, special], [uses]))


def test_a_function_that_is_only_used_is_offered_by_nobody(tmp_path: Path) -> None:
    special = relocatable(Symbol("f", WEAK, defined=False))
    check_no_leak(write_build(tmp_path, [special], [relocatable(Symbol("f"))]))


def test_a_name_stored_within_another_is_found_too(tmp_path: Path) -> None:
    special = relocatable(Symbol("max", WEAK))
    shared = relocatable(Symbol("xnn_max"), Symbol("max", defined=False), share_ends=True)
    assert b"\0max\0" not in shared
    with pytest.raises(CompileError, match="could link max"):
        check_no_leak(write_build(tmp_path, [special], [shared]))


def test_the_end_of_another_name_is_no_leak(tmp_path: Path) -> None:
    special = relocatable(Symbol("max", WEAK))
    check_no_leak(write_build(tmp_path, [special], [relocatable(Symbol("xnn_max"))]))


def test_objects_that_were_not_needed_are_passed_over(tmp_path: Path) -> None:
    leak = relocatable(Symbol("f", WEAK))
    build = write_build(tmp_path, [leak], [leak])
    (build / "objects/special0.o").unlink()
    check_no_leak(build)


def with_source(number: int, **changes: object) -> tuple[Source, ...]:
    """Return the sources with another origin for one component."""
    source = SOURCES[number]
    origin = replace(source.origin, **changes)  # type: ignore[arg-type]
    return (*SOURCES[:number], replace(source, origin=origin), *SOURCES[number + 1 :])


def test_a_core_has_another_key_with_each_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toolchain = fake_toolchain(tmp_path)
    other_archive = replace(SOURCES[1].origin.archive, sha256="0" * 64)
    keys = [
        core_key(TENSORFLOW, "x86_64", SOURCES, toolchain),
        core_key(TENSORFLOW, "aarch64", SOURCES, toolchain),
        core_key(replace(TENSORFLOW, version="2.14.2"), "x86_64", SOURCES, toolchain),
        core_key(replace(TENSORFLOW, cxx_standard=20), "x86_64", SOURCES, toolchain),
        core_key(replace(TENSORFLOW, absl=("strings",)), "x86_64", SOURCES, toolchain),
        core_key(TENSORFLOW, "x86_64", SOURCES[1:], toolchain),
        core_key(TENSORFLOW, "x86_64", with_source(1, archive=other_archive), toolchain),
        core_key(TENSORFLOW, "x86_64", with_source(1, folder="other"), toolchain),
        *(
            core_key(TENSORFLOW, "x86_64", SOURCES, fake_toolchain(tmp_path, **{name: "9"}))
            for name in ("ziglang", "cmake", "ninja")
        ),
    ]
    with monkeypatch.context() as patch:
        patch.setattr(core, "FLAGS", (*FLAGS, "-Os"))
        keys.append(core_key(TENSORFLOW, "x86_64", SOURCES, toolchain))
    with monkeypatch.context() as patch:
        patch.setitem(GLIBC_FLOOR, "x86_64", "2.26")
        keys.append(core_key(TENSORFLOW, "x86_64", SOURCES, toolchain))
    with monkeypatch.context() as patch:
        (tmp_path / "cmake").mkdir()
        (tmp_path / "cmake" / "CMakeLists.txt").write_text("# another recipe\n")
        patch.setattr(core, "CMAKE", tmp_path / "cmake")
        keys.append(core_key(TENSORFLOW, "x86_64", SOURCES, toolchain))
    assert len(set(keys)) == len(keys)


def test_a_core_does_not_depend_on_python_or_on_an_order(tmp_path: Path) -> None:
    toolchain = fake_toolchain(tmp_path)
    key = core_key(TENSORFLOW, "x86_64", SOURCES, toolchain)
    assert key == core_key(replace(TENSORFLOW, build=9), "x86_64", SOURCES[::-1], toolchain)


def test_a_core_whose_record_would_say_something_else_is_another(tmp_path: Path) -> None:
    toolchain = fake_toolchain(tmp_path)
    key = core_key(TENSORFLOW, "x86_64", SOURCES, toolchain)
    assert key != core_key(TENSORFLOW, "x86_64", with_source(1, version="of that"), toolchain)
    # How a component belongs to its TensorFlow changes no byte of the archive.
    same = with_source(1, relation="substituted", date=datetime.date(2023, 9, 25))
    assert key == core_key(TENSORFLOW, "x86_64", same, toolchain)


def test_a_recipe_that_is_edited_while_we_run_is_the_one_we_run(tmp_path: Path) -> None:
    file = tmp_path / "recipe"
    file.write_text("1")
    before = recipe(file)
    file.write_text("2")
    assert recipe(file) == before
    recipe.cache_clear()
    assert recipe(file) != before


CMAKE = """build=.
while [ $# -gt 0 ]; do
  if [ "$1" = -B ]; then build=$2; fi
  echo "$1" >> "$LOG"
  shift
done
echo '[]' > "$build/compile_commands.json"
"""
GRAPH = """[{"directory": ".", "file": "x.o", "output": "a.a", "command": "$ZIG ar qcD a.a x.o"}]"""
NINJA = f"""if [ "$1" = -t ]; then cat <<END; exit; fi
{GRAPH}
END
echo "ninja $*" >> "$LOG"
[ -e half ] && echo "ninja: resumed"
touch half
if [ -n "$FAIL" ]; then echo "x.cc:1:1: error: $FAIL"; exit 1; fi
echo '[1/2] one'; echo '[2/2] two'
[ -n "$FORGET" ] || touch b.a a.a
"""
ZIG = """if [ "$1" = ar ]; then cat > "$LOG.mri"; echo archive > merged; exit; fi
echo "zig $*" >> "$LOG"
while [ "$1" != -o ]; do shift; done
cp "$ELF" "$2"
"""


@dataclass
class World:
    """Trees with the files that a core needs, and scripts in place of tools."""

    folder: Path
    toolchain: Toolchain
    monkeypatch: pytest.MonkeyPatch
    steps: list[tuple[int, int | None]] = field(default_factory=list)
    licence: str = "ruy/LICENSE"
    relation: str = ""
    engine: Engine = NINJA_ENGINE

    @property
    def trees(self) -> Path:
        return self.folder / "trees"

    @property
    def asked(self) -> str:
        return (self.folder / "asked").read_text()

    def exports(self, *names: str) -> None:
        (self.folder / "library.so").write_bytes(Elf(exports=names).build())

    def make(self, trees: Callable[[], Path] | None = None) -> Core:
        origin = Origin(
            name="debian",
            version="1",
            archive=Archive(sha256="0" * 64, debian="r/ruy.tar.xz"),
            folder="ruy",
            date=datetime.date(2023, 9, 25),
            relation=self.relation,
        )
        pin = replace(origin, name="upstream", version="2", date=None, relation="pinned")
        component = Component(
            name="ruy",
            licence="Apache-2.0",
            licence_files=(self.licence,),
            origins={"upstream": pin, "debian": origin},
        )
        return make_core(
            TENSORFLOW,
            "x86_64",
            [Source(component=component, origin=origin)],
            trees or (lambda: self.trees),
            cache=self.toolchain.cache,
            toolchain=self.toolchain,
            jobs=3,
            log=self.folder / "log",
            progress=lambda done, total: self.steps.append((done, total)),
            engine=self.engine,
        )


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, allow_subprocess: None) -> World:
    del allow_subprocess
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, script in (("cmake", CMAKE), ("ninja", NINJA)):
        (tools / name).write_text(f"#!/bin/sh\n{script}")
        (tools / name).chmod(0o755)
    monkeypatch.setattr("sys.executable", str(tools / "python"))
    monkeypatch.setenv("LOG", str(tmp_path / "asked"))
    monkeypatch.setenv("ELF", str(tmp_path / "library.so"))
    world = World(tmp_path, fake_toolchain(tmp_path, ZIG), monkeypatch)
    monkeypatch.setenv("ZIG", str(world.toolchain.zig))
    files = [f"tensorflow/{WRAPPER}/{name}" for name in WRAPPER_SOURCES]
    files += [f"tensorflow/{name}" for name in PYTHON_FILES]
    files += ["ruy/LICENSE", "tensorflow/tensorflow/lite/core/c/common.h", "absl/absl/base/x.inc"]
    for file in files:
        (world.trees / file).parent.mkdir(parents=True, exist_ok=True)
        (world.trees / file).write_text(f"{Path(file).name}\n")
    world.exports(*REQUIRED_SYMBOLS)
    return world


def test_a_core_is_all_that_an_extension_needs(world: World) -> None:
    made = world.make()
    assert made.archive.read_text() == "archive\n"
    assert {file.name for file in (made.path / "wrapper").iterdir()} == set(WRAPPER_SOURCES)
    assert {file.name for file in (made.path / "python").iterdir()} == {
        Path(name).name for name in PYTHON_FILES
    }
    assert (made.path / "licences/ruy/LICENSE").read_text() == "LICENSE\n"
    assert (made.path / "include/tensorflow/lite/core/c/common.h").is_file()
    assert (made.path / "include/absl/base/x.inc").is_file()
    assert set(HEADERS) == {"tensorflow", "absl", "flatbuffers/include"}


def test_a_core_records_what_it_was_made_from(world: World) -> None:
    assert world.make().record["components"] == [
        {
            "name": "ruy",
            "licence": "Apache-2.0",
            "version": "1",
            "origin": "debian",
            "location": "debian:r/ruy.tar.xz",
            "sha256": "0" * 64,
            "date": "2023-09-25",
        }
    ]


def test_the_record_follows_how_the_lock_says_that_it_belongs(world: World) -> None:
    first = world.make()
    world.relation = "substituted"
    told = world.make(lambda: pytest.fail("unpacked the sources"))
    assert told.path == first.path
    assert told.record["inputs"] == first.record["inputs"]
    belongs = {"relation": "substituted", "date": "2023-09-25", "pin": "2"}
    assert told.record["components"] == [first.record["components"][0] | belongs]
    assert load_core(told.path) == told
    assert [part.pin for part in parts_of(told.record["components"])] == ["2"]
    world.relation = "shipped together"
    assert world.make().record["components"][0]["relation"] == "shipped together"
    assert world.asked.count("ninja") == 1


def test_compiling_tells_how_far_it_is(world: World) -> None:
    world.make()
    assert world.steps == [(1, 2), (2, 2)]
    assert "-j 3 tensorflow-lite" in world.asked


def test_archives_are_merged_in_one_order(world: World) -> None:
    world.make()
    lines = (world.folder / "asked.mri").read_text().split("\n")
    assert [line for line in lines if line.startswith("ADDLIB")] == ["ADDLIB a.a", "ADDLIB b.a"]


def test_a_core_is_compiled_once(world: World) -> None:
    first = world.make()
    again = world.make(lambda: pytest.fail("unpacked the sources"))
    assert again == first
    assert world.asked.count("ninja") == 1
    assert list((world.toolchain.cache.root / "work").iterdir()) == []


def test_a_failed_compile_is_resumed(world: World) -> None:
    with world.monkeypatch.context() as patch:
        patch.setenv("FAIL", "wrong")
        with pytest.raises(CompileError, match=r"x\.cc:1:1: error: wrong"):
            world.make()
    assert list((world.toolchain.cache.root / "core").iterdir()) == []
    world.make()
    assert "ninja: resumed" in (world.folder / "log").read_text()


def test_an_engine_that_forgets_an_archive_made_no_core(world: World) -> None:
    world.monkeypatch.setenv("FORGET", "1")
    with pytest.raises(CompileError, match=r"ninja [\d.]+ did not make a\.a"):
        world.make()


@dataclass
class Other:
    """An engine with Ninja's output, which also keeps a file beside the build folder."""

    identity: str = "other 1"

    def compile(self, job: Job) -> None:
        NINJA_ENGINE.compile(job)
        self._kept(job.build).touch()

    def forget(self, build: Path) -> None:
        self._kept(build).unlink()

    @staticmethod
    def _kept(build: Path) -> Path:
        return build.with_name(f"other-{build.name}")


def test_the_engine_is_recorded_and_in_no_key(world: World) -> None:
    first = world.make()
    assert first.record["engine"] == NINJA_ENGINE.identity
    shutil.rmtree(first.path)
    world.engine = Other()
    other = world.make()
    assert other.path == first.path
    assert other.record == {**first.record, "engine": "other 1"}
    assert list((world.toolchain.cache.root / "work").iterdir()) == []
    # A record that follows the lock still says which engine it was.
    world.relation = "substituted"
    assert world.make().record["engine"] == "other 1"


@pytest.mark.parametrize("missing", sorted(REQUIRED_SYMBOLS))
def test_a_core_without_what_its_users_need_is_none(world: World, missing: str) -> None:
    world.exports(*(REQUIRED_SYMBOLS - {missing}))
    with pytest.raises(CompileError, match=f"lacks the symbols {missing}"):
        world.make()
    assert list((world.toolchain.cache.root / "core").iterdir()) == []


def test_a_core_without_a_licence_is_none(world: World) -> None:
    world.licence = "ruy/COPYING"
    with pytest.raises(ArchiveError, match="ruy has no licence file ruy/COPYING"):
        world.make()
    assert list((world.toolchain.cache.root / "core").iterdir()) == []


def test_the_compiler_and_the_trees_are_ours(world: World) -> None:
    world.make()
    options = world.asked.split("\n")
    assert f"-DZIG={world.toolchain.zig}" in options
    assert "-DZIG_TARGET=x86_64-linux-gnu.2.17" in options
    assert f"-DCORE_TREES={world.trees}" in options
    assert "-DCMAKE_CXX_STANDARD=17" in options
    [flags] = [option for option in options if option.startswith("-DCMAKE_CXX_FLAGS=")]
    assert "-g0" in flags
    assert f"{world.trees}=trees" in flags
