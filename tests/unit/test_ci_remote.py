"""Root file systems and the executor, without starting one."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from builders.engines.bazel import REMOTE_JOBS
from builders.errors import EngineError, ToolchainError
from ci.remote import roots
from ci.remote.farm import CONFIGURATION, Program
from ci.remote.roots import Root, bazel_program


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Root:
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    for name in ("etc", "usr/bin", "usr/local/bin"):
        (tmp_path / "root" / name).mkdir(parents=True)
    found = Root(tmp_path / "root")
    (found.path / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\npostgres:x:101:104::/:\n")
    (found.path / "usr/bin/python3").symlink_to("python3.14")
    (found.path / "usr/local/bin/tool").touch()
    return found


def test_a_command_sees_only_the_folders_that_it_is_to_see(root: Root) -> None:
    words = list(map(str, root.command(["casd", "--x"], [Path("/farm")])))
    assert words[:4] == ["/usr/bin/bwrap", "--bind", str(root.path), "/"]
    assert words[words.index("/farm") - 1] == "--bind"
    assert words.count("--bind") == 2
    assert words[-3:] == ["--", "casd", "--x"]
    assert "--uid" not in words


def test_a_command_can_be_of_another_user(root: Root) -> None:
    words = root.command(["postgres"], [], user="postgres")
    assert words[words.index("--unshare-user") : words.index("--die-with-parent")] == [
        *("--unshare-user", "--uid", "101", "--gid", "104")
    ]
    with pytest.raises(EngineError, match="has no user nobody"):
        root.command(["x"], [], user="nobody")


def test_no_bwrap_is_told(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _name: None)
    with pytest.raises(ToolchainError, match="apt install bubblewrap"):
        root.command(["x"], [])


def test_a_root_tells_its_python_and_programs(root: Root) -> None:
    assert root.python == "3.14"
    assert root.programs() == {"python3", "tool"}


def test_the_bazel_of_a_root_is_a_program_of_this_machine(
    root: Root, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(roots, "own_folders", lambda: [Path("/home dir")])
    program = bazel_program(root, tmp_path / "bin")
    assert program.name == "bazel"
    assert program.stat().st_mode & 0o111
    first, second = program.read_text().splitlines()
    assert first == "#!/bin/sh"
    assert "--bind '/home dir' '/home dir'" in second
    assert second.endswith('-- /usr/bin/bazel "$@"')


def test_the_systems_own_folders_are_no_place() -> None:
    found = {path.name for path in roots.own_folders()}
    assert "tmp" in found
    assert not found & {"usr", "etc", "proc", "dev"}


def test_what_keeps_an_executor_together() -> None:
    class Loader(yaml.SafeLoader):
        """Reads a value with one of BuildGrid's own tags as if it had no tag."""

    def plain(loader: Loader, _tag: str, node: yaml.Node) -> object:
        if isinstance(node, yaml.MappingNode):
            return loader.construct_mapping(node, deep=True)
        assert isinstance(node, yaml.ScalarNode)
        return loader.construct_scalar(node)

    Loader.add_multi_constructor("!", plain)
    data = yaml.load(CONFIGURATION.read_text(), Loader)
    (scheduler,) = data["schedulers"]
    # A lost worker is noticed soon, and a hanging worker is freed.
    assert scheduler["bot-session-keepalive-timeout"] <= 30
    assert scheduler["max-execution-timeout"] > 900
    # Every command that Bazel waits for by default, and some workers.
    assert data["thread-pool-size"] > REMOTE_JOBS + 50
    assert data["server"][0]["address"] == "$FARM_ADDRESS"


@pytest.mark.usefixtures("allow_subprocess")
def test_a_program_that_ends_early_is_told_by_its_last_words(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("starting\nno such database\n")
    with subprocess.Popen(["false"]) as process:
        program = Program("buildgrid", log, process)
        with pytest.raises(
            EngineError, match=r"buildgrid does not answer: no such database; .*log"
        ):
            program.until(lambda: False)
        with pytest.raises(EngineError, match="buildgrid failed: no such database"):
            program.wait()
