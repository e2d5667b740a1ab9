"""The build graph in Bazel's form: its commands, its workspace, and Bazel's messages."""

from __future__ import annotations

import argparse
import ast
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from builders.engines import bazel as module
from builders.engines.bazel import (
    EXECUTES,
    Bazel,
    bazel_command,
    find_bazel,
    generate,
    known_options,
    sandboxes_in_memory,
    without_password,
)
from builders.engines.engine import Job
from builders.engines.graph import Graph, parse_graph
from builders.engines.messages import Messages, Trouble
from builders.engines.ninja import NINJA
from builders.engines.options import CACHE_VARIABLE, add_options, chosen
from builders.engines.translate import Action, Folders, Translation, listed_folders
from builders.engines.workspace import ROOTS, RULE, build_file, groups_of, write_workspace
from builders.errors import CompileError, FetchError, ToolchainError, UsageError, UserError


class World:
    """A configured build: a C++ file with a precompiled header, an assembly file, an archive."""

    def __init__(self, root: Path) -> None:
        self.trees, self.core, self.zig = root / "some/trees", root / "work/core", root / "env/zig"
        for path, text in {
            self.trees / "ruy/a.cc": '#include "a.h"\n',
            self.trees / "ruy/a.h": "",
            self.trees / "ruy/b.S": "",
            self.trees / "ruy/BUILD": "",
            self.trees / "ruy/unread.h": "",
            self.core / "pch.hxx": f'#include "{self.trees}/ruy/common.h"\n',
            self.core / "pch.hxx.cxx": "",
            self.trees / "ruy/common.h": "",
            self.zig / "zig": "",
            self.zig / "lib/include/stddef.h": "",
        }.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.folders = Folders({"trees": self.trees, "core": self.core, "zig": self.zig})
        self.object = f"x.dir{self.trees}/ruy/a.cc.o"

    @property
    def compiler(self) -> Path:
        return self.zig / "zig"

    def edges(self) -> list[Mapping[str, str]]:
        """Return the edges that Ninja lists."""
        flags = f"-I{self.trees} -ffile-prefix-map={self.trees}=trees"
        pch = f"{self.core}/pch.hxx"
        use = f"-Xclang -include-pch -Xclang {pch}.pch -Xclang -include -Xclang {pch}"
        source = f"{self.trees}/ruy/a.cc"
        commands = {
            "pch.hxx.pch": (
                f"{self.compiler} c++ -target x {flags} -Xclang -emit-pch -Xclang -include "
                f"-Xclang {pch} -x c++-header -MD -MT p -MF p.d -o pch.hxx.pch -c {pch}.cxx",
                f"{pch}.cxx",
            ),
            self.object: (
                f'{self.compiler} c++ -target x {flags} -DV=\\"1\\" {use} -MD -MT {self.object} '
                f"-MF {self.object}.d -o {self.object} -c {source}",
                source,
            ),
            "b.S.o": (
                f"{self.compiler} cc -target x {flags} -o b.S.o -c {self.trees}/ruy/b.S",
                f"{self.trees}/ruy/b.S",
            ),
            "libx.a": (
                f': && /bin/cmake -E rm -f libx.a && "{self.compiler}" ar qcD libx.a  '
                f"{self.object} b.S.o && :",
                self.object,
            ),
            "made.h": ("cd /x && flatc -c -o made.h made.fbs && cmake -E touch made", "made.fbs"),
        }
        return [
            {"directory": str(self.core), "command": command, "file": file, "output": output}
            for output, (command, file) in commands.items()
        ]

    def graph(self) -> Graph:
        return parse_graph(self.edges(), self.compiler)

    def actions(self) -> dict[str, Action]:
        system = (str(self.zig / "lib/include"),)
        translation = Translation(self.core, self.folders, lambda _words: system)
        return {action.output: action for action in translation.actions(self.graph())}


def job_of(world: World) -> Job:
    return Job(
        build=world.core,
        target="x",
        folders=world.folders.folders,
        compiler=world.compiler,
        environment={},
        jobs=1,
        log=world.core.with_name("log"),
        progress=lambda _done, _total: None,
    )


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_the_graph_has_each_command_by_its_kind(world: World) -> None:
    graph = world.graph()
    assert [each.output for each in graph.headers] == ["pch.hxx.pch"]
    assert [each.output for each in graph.objects] == [world.object, "b.S.o"]
    assert graph.archives[0].words == (
        *(str(world.compiler), "ar", "qcD", "libx.a"),
        *(world.object, "b.S.o"),
    )
    assert [each.output for each in graph.generators] == ["made.h"]


def test_sources_are_generated_in_order_and_nothing_is_compiled_for_them(
    world: World, allow_subprocess: None
) -> None:
    del allow_subprocess
    edges = [
        {"directory": str(world.core), "command": command, "file": "x", "output": output}
        for output, command in (
            ("new/one.h", "echo one > new/one.h"),
            ("two.h", "cd new && cat one.h > ../two.h && echo two >> ../two.h"),
            # A tool's own build, by Ninja.
            ("tool", "echo '[3/38] Building tool.o'"),
        )
    ]
    graph = parse_graph([*world.edges()[:4], *edges], world.compiler)
    told: list[tuple[int, int | None]] = []
    generate(replace(job_of(world), progress=lambda done, total: told.append((done, total))), graph)
    assert told == [(3, 38)]
    assert (world.core / "two.h").read_text() == "one\ntwo\n"
    assert not (world.core / "libx.a").exists()
    bad = parse_graph([{**edges[0], "command": "exit 3"}], world.compiler)
    with pytest.raises(CompileError, match=r"making new/one\.h failed \(exit status 3\)"):
        generate(job_of(world), bad)


def test_commands_name_no_folder_of_this_machine(world: World) -> None:
    actions = world.actions()
    for action in actions.values():
        assert not [word for word in action.words if "/some/" in word or "/work/" in word]
    assert list(actions) == [
        "core/pch.hxx.pch",
        "core/x.dir/trees/ruy/a.cc.o",
        "core/b.S.o",
        "core/libx.a",
    ]
    cwd = "/proc/self/cwd"
    assert actions["core/x.dir/trees/ruy/a.cc.o"].words == (
        *("c++", "-target", "x", f"-I{cwd}/trees", f"-ffile-prefix-map={cwd}/trees=trees"),
        '-DV="1"',
        *("-Xclang", "-include-pch", "-Xclang", "@BIN@/core/pch.hxx.pch"),
        *("-Xclang", "-include", "-Xclang", f"{cwd}/core/pch.hxx"),
        *("-MD", "-MF", "/dev/null", "-o", "@BIN@/core/x.dir/trees/ruy/a.cc.o"),
        *("-c", f"{cwd}/trees/ruy/a.cc"),
    )
    # If CMake asks for no list of headers, neither do we: with a list, zig makes other bytes.
    assert "-MD" not in actions["core/b.S.o"].words
    assert actions["core/libx.a"].words == (
        *("ar", "qcD", "@BIN@/core/libx.a"),
        *("@BIN@/core/x.dir/trees/ruy/a.cc.o", "@BIN@/core/b.S.o"),
    )


def test_a_precompiled_header_has_no_times_and_is_no_result(world: World) -> None:
    actions = world.actions()
    words = actions["core/pch.hxx.pch"].words
    assert words[words.index("-fno-pch-timestamp") - 1] == "-Xclang"
    assert actions["core/pch.hxx.pch"].place is None
    assert actions["core/x.dir/trees/ruy/a.cc.o"].place == world.object


def test_who_reads_a_precompiled_header_needs_what_it_was_made_of(world: World) -> None:
    actions = world.actions()
    action = actions["core/x.dir/trees/ruy/a.cc.o"]
    assert action.parts == ("core/pch.hxx.pch",)
    read = {str(world.folders.place(file)) for file in action.files}
    assert {"trees/ruy/a.cc", "trees/ruy/a.h", "trees/ruy/common.h", "core/pch.hxx"} <= read
    assert "trees/ruy/unread.h" not in read
    # zig needs the folder even if nothing in it is included.
    assert str(world.zig / "lib/include/stddef.h") in actions["core/b.S.o"].files


def test_a_folder_that_nobody_named_is_an_error(world: World) -> None:
    (other := world.trees.parent / "other").mkdir()
    edges = [dict(edge) for edge in world.edges()]
    edges[2]["command"] = edges[2]["command"].replace("-o ", f"-I{other} -o ")
    translation = Translation(world.core, world.folders, lambda _words: ())
    with pytest.raises(CompileError, match=r"names .*/other, which is in none of"):
        translation.actions(parse_graph(edges, world.compiler))
    with pytest.raises(CompileError, match=r"may read /etc/passwd, which is in none of"):
        world.folders.place("/etc/passwd")


def test_a_folder_is_no_prefix_of_anothers_name(tmp_path: Path) -> None:
    folders = Folders({"a": tmp_path / "x", "b": tmp_path / "x/y"})
    assert folders.translated(f"-I{tmp_path}/x/y/z") == "-I/proc/self/cwd/b/z"
    assert (
        folders.translated(f"-I{tmp_path}/x-1 {tmp_path}/xy") == f"-I{tmp_path}/x-1 {tmp_path}/xy"
    )


def test_where_a_compiler_looks() -> None:
    text = 'x\n#include "..." search starts here:\n#include <...> search starts here:\n'
    assert listed_folders(f"{text} /a/b\n /c\nEnd of search list.\n") == ("/a/b", "/c")
    with pytest.raises(CompileError, match="does not tell where it looks"):
        listed_folders("error: unknown option\n")


def test_the_workspace_has_what_is_read_and_no_more(world: World, tmp_path: Path) -> None:
    root = tmp_path / "workspace"
    for _ in range(2):
        write_workspace(root, list(world.actions().values()), world.compiler, world.folders)
    files = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    assert files == {
        *ROOTS,
        *("BUILD.bazel", "core.bzl", "zig/zig", "zig/lib/include/stddef.h"),
        *("core/pch.hxx", "core/pch.hxx.cxx"),
        *("trees/ruy/a.cc", "trees/ruy/a.h", "trees/ruy/b.S", "trees/ruy/common.h"),
    }
    assert (root / "trees/ruy/a.h").samefile(world.trees / "ruy/a.h")
    # What CMake wrote names the folders as commands do, and its own file is left alone.
    assert (root / "core/pch.hxx").read_text() == '#include "/proc/self/cwd/trees/ruy/common.h"\n'
    assert str(world.trees) in (world.core / "pch.hxx").read_text()


def called(text: str) -> dict[str, object]:
    """Return the arguments of the one call in a BUILD file."""
    load, _, call = text.partition("\n\n")
    assert load == 'load(":core.bzl", "core")'
    expression = ast.parse(call.strip(), mode="eval").body
    assert isinstance(expression, ast.Call)
    return {word.arg or "": ast.literal_eval(word.value) for word in expression.keywords}


def test_the_build_file_is_the_same_in_another_folder(tmp_path: Path) -> None:
    texts = []
    for name in ("one", "another/longer"):
        world = World(tmp_path / name)
        root = tmp_path / name / "workspace"
        write_workspace(root, list(world.actions().values()), world.compiler, world.folders)
        texts.append((root / "BUILD.bazel").read_text())
    assert texts[0] == texts[1]
    made = called(texts[0])
    assert made["program"] == "zig/zig"
    assert made["env"] == {
        "ZIG_LIB_DIR": "/proc/self/cwd/zig/lib",
        "ZIG_GLOBAL_CACHE_DIR": "zig-cache",
        "ZIG_LOCAL_CACHE_DIR": "zig-cache",
    }
    assert made["results"] == ["core/x.dir/trees/ruy/a.cc.o", "core/b.S.o", "core/libx.a"]
    assert made["parts"] == {
        "core/x.dir/trees/ruy/a.cc.o": ["core/pch.hxx.pch"],
        "core/libx.a": ["core/x.dir/trees/ruy/a.cc.o", "core/b.S.o"],
    }
    # The rule has every attribute; otherwise, only Bazel would notice.
    rule = RULE.read_text()
    assert all(f'"{name}": attr.' in rule for name in made if name != "name")


def test_quotes_in_a_command_come_through() -> None:
    action = Action(
        output="core/a.o", words=('-DV="1"', "-DB=\\"), parts=(), files=frozenset(), place="a.o"
    )
    made = called(build_file([action], {}, "zig/zig"))
    assert made["commands"] == {"core/a.o": ['-DV="1"', "-DB=\\"]}


def test_files_that_go_together_are_named_once() -> None:
    read = {"a.o": {"a.c", "x.h", "y.h"}, "b.o": {"b.c", "x.h", "y.h"}, "c.o": {"x.h"}}
    groups = {tuple(files): outputs for files, outputs in groups_of(read).values()}
    assert groups == {
        ("a.c",): ("a.o",),
        ("b.c",): ("b.o",),
        ("x.h",): ("a.o", "b.o", "c.o"),
        ("y.h",): ("a.o", "b.o"),
    }


def command(
    known: str = "",
    *,
    cache: str = "",
    executor: str = "",
    disk: Path | None = None,
    sandboxes: Path | None = None,
    jobs: int = 2,
) -> list[str]:
    """Return the command for a Bazel that knows the given options."""
    words = bazel_command(
        Path("/bin/bazel"),
        Path("/base"),
        frozenset(known.split()),
        cache=cache,
        executor=executor,
        disk=disk,
        sandboxes=sandboxes,
        jobs=jobs,
    )
    return [str(word) for word in words]


def test_a_bazel_is_told_only_what_it_knows() -> None:
    old = command()
    assert old[:2] == ["/bin/bazel", "--batch"]
    assert "--spawn_strategy=sandboxed" in old
    assert not [word for word in old if "bzlmod" in word or "remote" in word or "disk" in word]
    assert "--disk_cache=/results" in command(disk=Path("/results"))
    assert "--sandbox_base=/memory" in command(sandboxes=Path("/memory"))
    new = command(f"{EXECUTES} enable_bzlmod enable_workspace", cache="http://c:1", jobs=7)
    assert {"--noenable_bzlmod", "--enable_workspace", "--jobs=7"} <= set(new)
    assert {"--remote_cache=http://c:1", "--remote_download_outputs=toplevel"} <= set(new)
    assert "--remote_download_outputs=toplevel" not in command(cache="http://c:1")
    far = command(executor="grpc://e:1")
    assert {"--spawn_strategy=remote", "--remote_executor=grpc://e:1"} <= set(far)
    assert not [word for word in far if "nosystem_rc" in word or "nohome_rc" in word]


def test_sandboxes_are_in_memory_if_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory, root = tmp_path / "shm", tmp_path / "bazel-one"
    assert sandboxes_in_memory(root, memory) is None
    memory.mkdir()
    monkeypatch.setattr(module, "SANDBOX_BYTES", 1 << 60)
    assert sandboxes_in_memory(root, memory) is None
    assert not list(memory.iterdir())
    monkeypatch.setattr(module, "SANDBOX_BYTES", 1)
    found = sandboxes_in_memory(root, memory)
    assert found is not None
    assert (found.parent, found.stat().st_mode & 0o777) == (memory, 0o700)
    assert sandboxes_in_memory(root, memory) == found
    other = sandboxes_in_memory(tmp_path / "bazel-two", memory)
    assert other not in (None, found)
    # Another user made the folder, to see what we put there.
    monkeypatch.setattr("os.geteuid", lambda: found.stat().st_uid + 1)
    assert sandboxes_in_memory(root, memory) is None


def test_bazelisk_is_found_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolchainError, match=r"no bazel or bazelisk .*; install Bazelisk"):
        find_bazel()
    for name in ("bazel", "bazelisk"):
        (tmp_path / name).touch(mode=0o755)
        assert find_bazel() == tmp_path / name


def test_bazel_works_in_no_folder_with_a_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "bazel").touch(mode=0o755)
    world = World(tmp_path / "a b")
    with pytest.raises(
        UsageError, match=r"a space in its path: .*/a b/work; set TFLITE_WHEELS_CACHE"
    ):
        Bazel().compile(job_of(world))


def test_names_and_passwords_are_not_shown() -> None:
    assert without_password("https://me:secret@cache:8080/x") == "https://cache:8080/x"
    assert without_password("grpc://cache:1") == "grpc://cache:1"


def read(*lines: str) -> tuple[Messages, list[str], list[object]]:
    said: list[str] = []
    steps: list[object] = []
    messages = Messages(lambda done, total: steps.append((done, total)), said.append, 900)
    for line in lines:
        messages.read(line)
    return messages, said, steps


def test_bazel_tells_how_far_it_is() -> None:
    _, _, steps = read("[1,024 / 1,587] 2 actions running", "Analyzing: x", "[7 / 8] Making a.o")
    assert steps == [(1024, 1587), (7, 8)]


def test_a_compiler_that_hangs_is_told_by_its_time() -> None:
    read("[7 / 9] Making core/a.o; 899s linux-sandbox ... (2 actions running)")
    read("[7 / 9] [Sched] Making core/a.o; 2000s ... (3 actions, 2 running)")
    for kind in ("linux-sandbox", "processwrapper-sandbox", "remote, remote-cache"):
        with pytest.raises(CompileError, match=r"did not end in 900 seconds: Making core/a\.o"):
            read(f"[7 / 9] Making core/a.o; 901s {kind}")


@pytest.mark.parametrize(
    "lines",
    [
        ["WARNING: Remote Cache: Connection refused: /127.0.0.1:9"] * 2,
        ["WARNING: Reading from Remote Cache:", "Connection refused: /127.0.0.1:9"] * 2,
        ["WARNING: Writing to Remote Cache:", "Connection refused: /127.0.0.1:9", "[1 / 2] x"],
    ],
)
def test_a_cache_that_fails_is_said_once(lines: list[str]) -> None:
    messages, said, _ = read(*lines)
    why = "Connection refused: /127.0.0.1:9"
    assert said == [f"the cache does not take part: {why}; compiling here"]
    assert messages.trouble is None


@pytest.mark.parametrize(
    ("line", "trouble", "kind", "words"),
    [
        (
            "ERROR: Failed to query remote execution capabilities: UNAVAILABLE: io exception",
            Trouble.UNREACHABLE,
            FetchError,
            r"grpc://e does not answer: Failed.*; check the URL",
        ),
        (
            "ERROR: Failed to query remote execution capabilities: UNAUTHENTICATED: no token",
            Trouble.REFUSED,
            FetchError,
            r"refuses us.*~/\.bazelrc",
        ),
        (
            "ERROR: Error accessing registry https://r/: Failed to fetch registry file",
            Trouble.REGISTRY,
            ToolchainError,
            r"Bazel 8 or older",
        ),
        (
            "ERROR: x/BUILD.bazel:3:5: Making a.o failed: (Timeout): zig failed",
            Trouble.HUNG,
            CompileError,
            r"did not end.*the whole log is log",
        ),
        ("x.cc:1:1: error: wrong", None, CompileError, r"^compiling failed$"),
    ],
)
def test_a_failure_names_its_remedy(
    line: str, trouble: Trouble | None, kind: type[UserError], words: str
) -> None:
    messages, _, _ = read(line)
    assert messages.trouble is trouble
    error = messages.explained(CompileError("compiling failed"), "grpc://e", Path("log"))
    assert type(error) is kind
    with pytest.raises(kind, match=words):
        raise error


def options(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_options(parser)
    return parser.parse_args(arguments)


def nothing(_line: str) -> None:
    """Ignore a line."""


def test_the_engine_is_cmakes_unless_asked_for() -> None:
    assert chosen(options(), nothing) is NINJA
    assert chosen(options("--engine", "cmake", "--jobs", "3"), nothing) is NINJA
    made = chosen(options("--engine", "bazel", "--remote-cache", "http://c"), nothing)
    assert made == Bazel(cache="http://c", say=nothing)
    far = chosen(options("--engine", "bazel", "--remote-executor", "grpc://e:1"), nothing)
    assert far == Bazel(executor="grpc://e:1", say=nothing)
    few = chosen(options("--engine", "bazel", "--jobs", "5"), nothing)
    assert few == Bazel(jobs=5, say=nothing)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--remote-cache http://c", "--remote-cache is for Bazel; add --engine bazel"),
        (
            "--engine cmake --remote-executor grpc://e",
            "--remote-executor is for Bazel; add --engine bazel",
        ),
        ("--engine bazel --remote-cache c:80", "is not the URL of a server; begin it with http://"),
        ("--engine bazel --remote-executor http://e", "begin it with grpc://, grpcs:// and a host"),
    ],
)
def test_options_that_mean_nothing_are_errors(arguments: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        chosen(options(*arguments.split()), nothing)


def test_a_ci_service_sets_the_cache_by_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, "")
    assert chosen(options(), nothing) is NINJA
    monkeypatch.setenv(CACHE_VARIABLE, "https://me:secret@cache")
    assert chosen(options(), nothing) == Bazel(cache="https://me:secret@cache", say=nothing)
    assert chosen(options("--engine", "cmake"), nothing) is NINJA


def test_the_version_that_bazelisk_takes_is_one() -> None:
    text = module.VERSION_FILE.read_text()
    assert text == f"{text.strip()}\n"
    assert [int(part) for part in text.split(".")] >= [7]


def test_a_bazel_is_asked_what_it_knows(tmp_path: Path, allow_subprocess: None) -> None:
    del allow_subprocess
    program = tmp_path / "bazel"
    program.write_text("#!/bin/sh\necho '  --jobs'; echo '  --[no]enable_bzlmod'\n")
    program.chmod(0o755)
    assert known_options(program) == {"jobs", "enable_bzlmod"}
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho 'no Java' >&2; exit 1\n")
    broken.chmod(0o755)
    with pytest.raises(ToolchainError, match=r"broken does not start: no Java"):
        known_options(broken)


def test_an_old_bazel_has_no_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, world: World
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "bazel").touch(mode=0o755)
    monkeypatch.setattr(module, "known_options", lambda _program: frozenset({"jobs"}))
    with pytest.raises(UsageError, match=r"too old .*; install bazelisk, or Bazel 7"):
        Bazel(executor="grpc://e:1").compile(job_of(world))


def test_which_bazel_is_said_with_the_servers_but_not_with_passwords(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, world: World
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "bazel").touch(mode=0o755)
    monkeypatch.setattr(module, "known_options", lambda _program: frozenset({"jobs"}))
    said: list[str] = []
    engine = Bazel(executor="grpc://e:1", cache="https://me:secret@c", say=said.append)
    with pytest.raises(UsageError):
        engine.compile(job_of(world))
    assert said == ["engine: bazel, on the workers of grpc://e:1, with the cache https://c"]
