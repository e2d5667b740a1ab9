"""Both engines make the same bytes, and what one machine compiled serves another.

The tests use a small project with everything that a core's build files have, and a real web server
as the cache.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from small_builds import ENDLESS, Build, processes

from builders.cache import sha256_of
from builders.engines.bazel import find_bazel
from builders.engines.includes import Scanner
from builders.engines.ninja import NINJA
from builders.engines.translate import Folders, Translation
from builders.errors import CompileError, ToolchainError
from ci.engines.again import ninja_tasks
from ci.engines.simulation import critical_path, makespan
from smoke_lambda.loopback import free_port, listens

pytestmark = pytest.mark.integration

CONFIGURATION = Path(__file__).parents[2] / "ci/remote/nginx.conf"


@dataclass
class WebServer:
    """A running web server that serves as the cache."""

    url: str
    folder: Path

    def blob(self, digest: str) -> Path:
        """Return the file of a digest."""
        (found,) = self.folder.glob(f"cache/**/cas/{digest}")
        return found


@pytest.fixture(scope="module")
def builds(tmp_path_factory: pytest.TempPathFactory) -> list[Build]:
    """Make two builds, in folders whose paths have different lengths."""
    try:
        find_bazel()
    except ToolchainError as error:
        pytest.skip(str(error))
    root = tmp_path_factory.mktemp("engines")
    return [Build(root / "one"), Build(root / "another/and-deeper")]


@pytest.fixture(scope="module")
def by_ninja(builds: list[Build]) -> dict[str, str]:
    return builds[0].make(NINJA)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("no nginx: install it (Debian: apt install nginx-light)")
    folder = tmp_path_factory.mktemp("nginx")
    (folder / "cache").mkdir()
    port = free_port()
    address = f"127.0.0.1:{port}"
    configuration = folder / "nginx.conf"
    configuration.write_text(CONFIGURATION.read_text().replace("127.0.0.1:8080", address))
    command = [program, "-p", str(folder), "-c", str(configuration), "-e", "error.log"]
    # Its workers are of another user where we are root, and the folder is ours alone.
    command += ["-g", "user root;"] if os.geteuid() == 0 else []
    with subprocess.Popen(command) as process:
        try:
            _wait_for(port, process)
            yield WebServer(f"http://{address}", folder)
        finally:
            process.terminate()


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(100):
        assert process.poll() is None, "nginx ended"
        if listens(port):
            return
        time.sleep(0.1)
    pytest.fail("nginx does not answer")


@pytest.fixture(scope="module")
def filled(builds: list[Build], server: WebServer) -> dict[str, str]:
    """Build with Bazel, so that the cache has the results; return their digests."""
    return builds[1].make(builds[1].bazel(server.url))


def test_both_engines_make_the_same_bytes_in_two_folders(
    by_ninja: dict[str, str], filled: dict[str, str]
) -> None:
    assert len(by_ninja) == 7
    assert filled == by_ninja


def test_how_long_each_command_took_is_known(builds: list[Build], by_ninja: dict[str, str]) -> None:
    tasks = ninja_tasks(builds[0].job)
    # The precompiled header, too, which is no object.
    assert len(tasks) == len(by_ninja) + 1
    assert {task.name for task in tasks} > by_ninja.keys()
    assert all(task.seconds > 0 for task in tasks)
    header, *_, archive = critical_path(tasks)
    assert header.name.endswith(".pch")
    assert archive.name == "libsmall.a"
    everything = sum(task.seconds for task in tasks)
    assert makespan(tasks, len(tasks)) <= makespan(tasks, 2) < makespan(tasks, 1) + 1e-9
    assert makespan(tasks, 1) == pytest.approx(everything)


def test_an_empty_machine_has_all_from_the_cache(
    builds: list[Build], server: WebServer, filled: dict[str, str]
) -> None:
    assert "sandbox" in processes(builds[1].log)
    found = builds[0].make(builds[0].bazel(server.url))
    assert found == filled
    # Its archives, too, are Bazel's: this machine made no more than a source.
    assert "Linking" not in builds[0].log
    # Five objects, the precompiled header and two archives.
    assert "8 remote cache hit" in processes(builds[0].log)
    assert "sandbox" not in processes(builds[0].log)


def test_a_flipped_byte_in_the_cache_is_repaired(
    builds: list[Build], server: WebServer, filled: dict[str, str]
) -> None:
    digest = filled["CMakeFiles/small.dir/src/first.cc.o"]
    blob = server.blob(digest)
    damaged = bytearray(blob.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    blob.write_bytes(damaged)
    assert builds[0].make(builds[0].bazel(server.url)) == filled
    assert "7 remote cache hit" in processes(builds[0].log)
    assert sha256_of(server.blob(digest)) == digest


def test_all_that_a_compiler_reads_is_known_before(
    builds: list[Build], by_ninja: dict[str, str]
) -> None:
    del by_ninja
    job = builds[0].job
    listed = subprocess.run(
        ["ninja", "-t", "deps"],
        cwd=job.build,
        env={**os.environ, **job.environment},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    folders = Folders(job.folders)
    actions = Translation(job.build, folders).actions(job.graph)
    known = {action.output: action.files for action in actions}
    outputs = 0
    for block in listed.strip().split("\n\n"):
        head, *read = block.splitlines()
        output = f"core/{head.partition(':')[0]}"
        files = {os.path.normpath(job.build / line.strip()) for line in read}
        files -= {str(job.build / "CMakeFiles/small.dir/cmake_pch.hxx.pch")}
        assert files <= known[output], output
        outputs += bool(files)
    # For assembly, Ninja does not learn which files were read.
    assert outputs == 5


def test_a_header_that_is_not_known_is_not_there(
    builds: list[Build], by_ninja: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    del by_ninja
    files = Scanner.files

    def overlooking(self: Scanner, *arguments: object) -> set[str]:
        found: set[str] = files(self, *arguments)  # type: ignore[arg-type]
        return {path for path in found if not path.endswith("small/option.h")}

    monkeypatch.setattr(Scanner, "files", overlooking)
    with pytest.raises(CompileError, match=r"small/option\.h' file not found"):
        builds[0].make(builds[0].bazel())


def test_a_compiler_that_does_not_end_is_ended(builds: list[Build]) -> None:
    source = builds[0].sources / "src/second.cc"
    text = source.read_text()
    source.write_text(text + ENDLESS)
    with pytest.raises(CompileError, match="a compiler did not end"):
        builds[0].make(builds[0].bazel(most_seconds=10))
    source.write_text(text)
    # No process is left: neither Bazel nor the compiler in its sandbox.
    left = "?"
    for _ in range(100):
        command = ["pgrep", "-f", str(builds[0].folder)]
        left = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        if not left:
            break
        time.sleep(0.1)
    assert not left


def test_a_cache_that_does_not_answer_is_done_without(
    builds: list[Build], by_ninja: dict[str, str]
) -> None:
    builds[1].said.clear()
    assert builds[1].make(builds[1].bazel("grpc://127.0.0.1:1")) == by_ninja
    assert "the cache grpc://127.0.0.1:1 does not answer; compiling without it" in builds[1].said
