"""The wrapper of every program we start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from test_builders_cache import python, until

from builders import process
from builders.errors import CompileError, DiskFullError, ToolchainError
from builders.process import LINES_THAT_MATTER, run
from smoke_lambda.session import started

pytestmark = pytest.mark.usefixtures("allow_subprocess")


def sh(script: str, log: Path, **options: object) -> None:
    command = ["sh", "-c", script]
    run(command, log=log, failure=CompileError, what="compiling", **options)  # type: ignore[arg-type]


def is_alive(pid: int) -> bool:
    """Return True if a process runs; a zombie does not run."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] not in "ZX"


def test_the_log_has_the_command_and_both_outputs(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "step.log"
    sh("echo out; echo 'to err' >&2", log, env={"COLOUR": "dark red"})
    assert log.read_text().splitlines() == [
        "$ COLOUR='dark red' sh -c 'echo out; echo '\"'\"'to err'\"'\"' >&2'",
        "out",
        "to err",
    ]


def test_the_log_of_a_step_grows(tmp_path: Path) -> None:
    log = tmp_path / "log"
    sh("echo first", log)
    sh("echo second", log)
    assert log.read_text().splitlines()[1::2] == ["first", "second"]


def test_bytes_that_are_no_text_are_logged_too(tmp_path: Path) -> None:
    log = tmp_path / "log"
    sh(r"printf 'a\377b\n'", log, env={"NAME": os.fsdecode(b"\xff")})
    assert log.read_text(encoding="utf-8").endswith("a\N{REPLACEMENT CHARACTER}b\n")


def test_each_line_is_told_as_it_comes(tmp_path: Path) -> None:
    lines: list[str] = []
    sh(r"printf '[1/2] a\r[2/2] b\n\nlast'", tmp_path / "log", on_line=lines.append)
    assert lines == ["[1/2] a", "[2/2] b", "", "last"]


def test_a_failure_names_action_status_log_and_the_first_error(tmp_path: Path) -> None:
    log = tmp_path / "log"
    script = "seq 500; echo 'a.cc:1:2: error: first'; echo 'a.cc:3:4: error: second'; exit 3"
    with pytest.raises(CompileError) as caught:
        sh(script, log)
    what = caught.value.what
    assert what.startswith("compiling failed (exit status 3):\na.cc:1:2: error: first\n")
    assert "second" in what
    assert "500" not in what
    assert str(log) in caught.value.remedy
    assert "\n250\n" in log.read_text()


def test_a_failure_without_an_error_line_shows_the_last_ones(tmp_path: Path) -> None:
    with pytest.raises(CompileError) as caught:
        sh("seq 100; exit 1", tmp_path / "log")
    shown = caught.value.what.split("\n", 1)[1].split()
    assert shown == [str(n) for n in range(101 - LINES_THAT_MATTER, 101)]


@pytest.mark.parametrize(
    "line",
    [
        "a.c:1:1: fatal error: 'x.h' file not found",
        "error: unknown target",
        "CMake Error at CMakeLists.txt:1 (x):",
        "ld.lld: undefined symbol: x",
    ],
)
def test_errors_of_each_tool_are_seen(tmp_path: Path, line: str) -> None:
    with pytest.raises(CompileError) as caught:
        sh(f'echo "{line}"; seq 50; exit 1', tmp_path / "log")
    assert line in caught.value.what


def test_a_killed_program_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(CompileError, match=r"exit status -9"):
        sh("kill -9 $$", tmp_path / "log")


@pytest.mark.parametrize("sign", ["x.o: No space left on device", "error: NoSpaceLeft"])
def test_a_full_disk_is_told_from_a_failed_compile(tmp_path: Path, sign: str) -> None:
    with pytest.raises(DiskFullError, match="no space left while compiling"):
        sh(f"echo '{sign}'; exit 1", tmp_path / "log")
    sh(f"echo '{sign}'", tmp_path / "log")


def test_a_missing_program_is_the_toolchains(tmp_path: Path) -> None:
    with pytest.raises(ToolchainError, match=r"cannot run no-such-program: No such file"):
        run(["no-such-program"], log=tmp_path / "log", failure=CompileError, what="x")


def test_a_program_that_may_not_run_is_the_toolchains(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    with pytest.raises(ToolchainError, match="Permission denied"):
        run([program], log=tmp_path / "log", failure=CompileError, what="x")


def test_a_program_is_looked_for_on_the_path_it_is_given(tmp_path: Path) -> None:
    program = tmp_path / "only-here"
    program.write_text("#!/bin/sh\necho found\n")
    program.chmod(0o755)
    lines: list[str] = []
    run(
        ["only-here"],
        log=tmp_path / "log",
        failure=CompileError,
        what="x",
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        on_line=lines.append,
    )
    assert lines == ["found"]


def test_the_environment_is_ours_with_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEPT", "kept")
    monkeypatch.setenv("CHANGED", "before")
    lines: list[str] = []
    env = {"CHANGED": "after"}
    sh(
        'echo "$KEPT $CHANGED $(pwd)"',
        tmp_path / "log",
        env=env,
        cwd=tmp_path,
        on_line=lines.append,
    )
    assert lines == [f"kept after {tmp_path}"]
    assert os.environ["CHANGED"] == "before"


def test_a_program_has_no_input_to_wait_for(tmp_path: Path) -> None:
    lines: list[str] = []
    ours = os.dup(0)
    reader, writer = os.pipe()
    try:
        os.dup2(reader, 0)
        sh("readlink /proc/self/fd/0", tmp_path / "log", on_line=lines.append)
    finally:
        os.dup2(ours, 0)
        for descriptor in (ours, reader, writer):
            os.close(descriptor)
    assert lines == ["/dev/null"]


def test_only_what_is_to_be_kept_open_is_inherited(tmp_path: Path) -> None:
    with (tmp_path / "kept").open("w") as kept, (tmp_path / "other").open("w") as other:
        lines: list[str] = []
        sh("ls -l /proc/self/fd", tmp_path / "log", keep_open=[kept.fileno()], on_line=lines.append)
    assert any(line.endswith("/kept") for line in lines)
    assert not any(line.endswith("/other") for line in lines)
    assert other.closed


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_interrupted_run_ends_the_program_and_its_children(
    tmp_path: Path, error: type[BaseException]
) -> None:
    pids: list[int] = []

    def interrupt(line: str) -> None:
        pids.extend(map(int, line.split()))
        raise error

    started = time.monotonic()
    with pytest.raises(error):
        sh("sleep 60 & echo $$ $!; wait", tmp_path / "log", on_line=interrupt)
    assert time.monotonic() - started < 5
    assert len(pids) == 2
    until(lambda: not any(map(is_alive, pids)))


def test_programs_that_threads_wait_for_are_stopped_and_none_is_started(tmp_path: Path) -> None:
    pids: list[int] = []

    def work(number: int) -> None:
        script = "sleep 60 & echo $$ $!; wait"
        log = tmp_path / f"log-{number}"
        sh(script, log, on_line=lambda line: pids.extend(map(int, line.split())))

    started = time.monotonic()
    with ThreadPoolExecutor(2) as pool, process.stopping_programs() as stop:
        running = [pool.submit(work, number) for number in range(2)]
        until(lambda: len(pids) == 4)
        stop()
        later = pool.submit(work, 2)
        assert all(isinstance(each.exception(), CompileError) for each in running)
        assert isinstance(later.exception(), KeyboardInterrupt)
        sh("exit 0", tmp_path / "main-log")
    assert time.monotonic() - started < 5
    assert not any(map(is_alive, pids))


def test_a_program_that_will_not_end_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "GRACE_SECONDS", 0.2)

    def interrupt(_line: str) -> None:
        raise KeyboardInterrupt

    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        sh("trap '' TERM; echo; sleep 60", tmp_path / "log", on_line=interrupt)
    assert time.monotonic() - started < 5


def test_an_interrupt_is_not_hidden_by_a_program_that_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait = subprocess.Popen.wait

    def interrupted(self: subprocess.Popen[str], timeout: float | None = None) -> int:
        status = wait(self, timeout)
        monkeypatch.undo()
        if status == 7:
            raise KeyboardInterrupt
        return status

    monkeypatch.setattr(subprocess.Popen, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        sh("exit 7", tmp_path / "log")


def test_a_program_dies_with_a_killed_parent(tmp_path: Path) -> None:
    parent = """
        import pathlib, sys
        from builders.errors import CompileError
        from builders.process import run
        run(["sh", "-c", "echo $$; exec sleep 60"], log=pathlib.Path(sys.argv[1]),
            failure=CompileError, what="x", on_line=lambda line: print(line, flush=True))
    """
    with python(parent, tmp_path / "log") as started:
        assert started.stdout is not None
        child = int(started.stdout.readline())
        assert is_alive(child)
        started.send_signal(signal.SIGKILL)
        started.wait()
        until(lambda: not is_alive(child))


def test_this_python_is_a_program_like_any_other(tmp_path: Path) -> None:
    lines: list[str] = []
    run(
        [Path(sys.executable), "-c", "print('hello')"],
        log=tmp_path / "log",
        failure=CompileError,
        what="x",
        on_line=lines.append,
    )
    assert lines == ["hello"]


def test_what_loads_a_strangers_model_has_bounded_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builders.process.MOST_MEMORY", 200 << 20)
    code = "print(open('/proc/self/oom_score_adj').read(), flush=True); bytes(1 << 30)"
    log = tmp_path / "log"
    command = [sys.executable, "-c", code]
    with started(command, cwd=tmp_path, env={}, log=log, is_strange=True) as process:
        assert process.wait(60) == 1
    assert log.read_text().startswith("1000\n")
    assert log.read_text().endswith("MemoryError\n")


def test_a_stranger_gets_no_more_memory_than_the_machine_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builders.process._physical_memory", lambda: 3 << 30)
    code = "import resource; print(resource.getrlimit(resource.RLIMIT_AS)[0] >> 30)"
    log = tmp_path / "log"
    with started(
        [sys.executable, "-c", code], cwd=tmp_path, env={}, log=log, is_strange=True
    ) as process:
        assert process.wait(60) == 0
    assert log.read_text() == "3\n"
