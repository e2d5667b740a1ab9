"""Containers under Lambda's limits, and functions that run in them."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import select
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

from builders.docker_engine import Engine
from builders.errors import EngineError, SmokeError
from builders.process import die_with_parent
from smoke_lambda import events
from smoke_lambda.function import INVOKE_SECONDS, init_ms, resident
from smoke_lambda.inside.probing import NO_VARIABLES
from smoke_lambda.limits import Limits, open_to_all

HERE = Path(__file__).parent
WORK = "/smoke"
"""The folder where the probes are mounted. No image contains them."""
TASK = "/var/task"
"""The folder where Lambda looks for a function's code."""
INSIDE = HERE / "inside"
LABEL = "tflite-lambda.driver"
START_SECONDS = 60.0
FIRST_PROCESS = "--init"
"""Runs a probe below a process 1 of Docker's. The kernel ignores a fatal signal that process 1
sends itself (pid_namespaces(7)), and QEMU then waits for the end of an aborted program for ever."""

_numbers = itertools.count()


@contextmanager
def tools() -> Iterator[Path]:
    """Make a folder with `inside` and the test images, which any user can read in the block."""
    with TemporaryDirectory(prefix="tflite-smoke-") as outer:
        folder = Path(outer) / "smoke"
        package = folder / "smoke_lambda"
        ignored = shutil.ignore_patterns("__pycache__")
        made = package / INSIDE.name
        shutil.copytree(INSIDE, made, ignore=ignored, copy_function=shutil.copyfile)
        shutil.copyfile(HERE / "__init__.py", package / "__init__.py")
        shutil.copytree(events.IMAGES, folder / "images", copy_function=shutil.copyfile)
        open_to_all(folder)
        yield folder


@dataclass
class ContainerFunction:
    """A function in a container, invoked through a relay. Implements site.Measured."""

    engine: Engine
    name: str
    server: str
    _relay: subprocess.Popen[str]
    ms: list[float] = field(default_factory=list)
    """The duration of each invocation, in milliseconds."""

    def invoke(self, event: object) -> Any:  # noqa: ANN401 - see site.Function
        """See site.Function."""
        answer = _ask(self._relay, json.dumps(event), 2 * INVOKE_SECONDS)
        if "error" in answer:
            raise OSError(answer["error"])
        self.ms.append(answer["ms"])
        return json.loads(answer["body"])

    def init_ms(self) -> float | None:
        """See site.Function."""
        return init_ms(self.output())

    def output(self) -> str:
        """Return everything that the container has written."""
        done = self.engine.attempt("logs", self.name)
        return done.stdout + done.stderr

    def resident_bytes(self) -> int:
        """Return the sum of its processes' peak memory, mapped files included, in bytes."""
        done = self.engine.attempt("exec", self.name, "sh", "-c", "cat /proc/[0-9]*/status")
        return resident(done.stdout)

    def peak_bytes(self) -> int | None:
        """Return the peak memory of its cgroup in bytes; None if the kernel does not report it.

        Pages of files that another process had read before are not counted.
        """
        for file in ("memory.peak", "memory/memory.max_usage_in_bytes"):
            done = self.engine.attempt("exec", self.name, "cat", f"/sys/fs/cgroup/{file}")
            if done.returncode == 0:
                return int(done.stdout)
        return None


@contextmanager
def running(
    engine: Engine,
    image: str,
    limits: Limits,
    variables: Mapping[str, str],
    folder: Path,
    log: Path,
    task: Path | None = None,
) -> Iterator[ContainerFunction]:
    """Run an image's function until the block ends.

    Args:
        folder: the folder that `tools` made.
        log: the file to which the container's output is appended.
        task: a folder with the function's code, for an image that has none.

    Raises:
        SmokeError, EngineError: the function cannot be started.
    """
    name = _name()
    options = [*limits.options(), *_labels(name), *_variables(variables)]
    if task is not None:
        options += ["--mount", f"type=bind,source={task},target={TASK},readonly"]
    try:
        engine.ask("run", "--detach", *options, image, what=f"starting {image}")
        with _relay(engine, image, name, folder) as relay:
            said = _ask(relay, None, START_SECONDS)
            if "error" in said:
                raise SmokeError(f"the function in {image} does not start: {said['error']}")
            yield ContainerFunction(engine, name, said["server"], relay)
    finally:
        _keep(log, name, engine.attempt("logs", name))
        engine.attempt("rm", "--force", "--volumes", name)


def run_probe(
    engine: Engine,
    image: str,
    limits: Limits,
    module: str,
    arguments: Sequence[str],
    folder: Path,
    log: Path,
    timeout: float,
    variables: Mapping[str, str] = NO_VARIABLES,
) -> tuple[int | None, str]:
    """Run a probe in a fresh container of an image.

    Returns:
        The probe's exit status (None if the probe did not end in time), and its output.
    """
    name = _name()
    options = [*limits.options(), *_labels(name), *_mount(folder), *_variables(variables)]
    options += [FIRST_PROCESS, "--entrypoint", "python3"]
    command = ["-s", "-B", "-m", module, *arguments]
    try:
        engine.ask("create", *options, image, *command, what=f"starting {image}")
        engine.attempt("start", name)
        try:
            status: int | None = int(engine.ask("wait", name, what="waiting", timeout=timeout))
        except EngineError:
            status = None
        done = engine.attempt("logs", name)
        return status, done.stdout + done.stderr
    finally:
        _keep(log, name, engine.attempt("logs", name))
        engine.attempt("rm", "--force", "--volumes", name)


def reap(engine: Engine) -> None:
    """Remove the containers whose driver, the process that started them, was killed."""
    form = f'{{{{.ID}}}} {{{{.Label "{LABEL}"}}}}'
    listed = engine.attempt("ps", "--all", "--filter", f"label={LABEL}", "--format", form)
    for line in listed.stdout.splitlines():
        container, _, driver = line.partition(" ")
        if driver.isdecimal() and not Path(f"/proc/{driver}").exists():
            engine.attempt("rm", "--force", "--volumes", container)


def one_shot(
    engine: Engine,
    image: str,
    limits: Limits,
    folder: Path,
    files: Path,
    module: str,
    arguments: Sequence[str],
) -> list[str | Path]:
    """Return the command of a container that runs a probe, with its input and output attached.

    Args:
        folder: the folder that `tools` made.
        files: a folder to mount in the container at the same path.
    """
    name = _name()
    command: list[str | Path] = [engine.client, "run", "--interactive", "--rm"]
    command += [*limits.options(), *_labels(name), *_mount(folder), FIRST_PROCESS]
    command += ["--mount", f"type=bind,source={files},target={files},readonly"]
    return [*command, "--entrypoint", "python3", image, "-s", "-B", "-m", module, *arguments]


def end_own(engine: Engine) -> None:
    """Remove every container that this process has started."""
    listed = engine.attempt("ps", "--all", "--quiet", "--filter", f"label={LABEL}={os.getpid()}")
    if found := listed.stdout.split():
        engine.attempt("rm", "--force", "--volumes", *found)


@contextmanager
def _relay(engine: Engine, image: str, name: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Run the relay in a second container: in the first one's network, outside its limits."""
    relay = f"{name}-relay"
    command: list[str | Path] = [engine.client, "run", "--interactive", "--rm", *_labels(relay)]
    command += ["--network", f"container:{name}", "--user", f"{os.getuid()}:{os.getgid()}"]
    command += [*_mount(folder), "--read-only", "--cap-drop", "ALL", "--entrypoint", "python3"]
    command += [image, "-s", "-B", "-m", "smoke_lambda.inside.relay", f"{WORK}/images"]
    command += [str(events.MAX_BYTES), str(events.URL_SECONDS), str(INVOKE_SECONDS)]
    process = subprocess.Popen(
        [str(part) for part in command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
        preexec_fn=die_with_parent,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(OSError):
            _pipe(process.stdin).close()  # ends the relay
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            engine.attempt("rm", "--force", "--volumes", relay)
            process.kill()
            process.wait()
        _pipe(process.stdout).close()


def _ask(relay: subprocess.Popen[str], line: str | None, timeout: float) -> dict[str, Any]:
    """Send the relay a line, if any, and return its answer; an error if there is no answer."""
    output = _pipe(relay.stdout)
    try:
        if line is not None:
            print(line, file=_pipe(relay.stdin), flush=True)
        # The relay writes one line per request, so that our buffer holds no further line.
        if not select.select([output], [], [], timeout)[0]:
            return {"error": f"no answer within {timeout:g} s"}
        answer = output.readline()
    except OSError as error:
        return {"error": f"the relay has gone: {error}"}
    if not answer:
        return {"error": "the relay has gone"}
    found: dict[str, Any] = json.loads(answer)
    return found


def _pipe(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream


def _name() -> str:
    return f"tflite-smoke-{os.getpid()}-{next(_numbers)}"


def _labels(name: str) -> list[str]:
    return ["--name", name, "--label", f"{LABEL}={os.getpid()}"]


def _variables(variables: Mapping[str, str]) -> list[str]:
    return [part for name, value in variables.items() for part in ("--env", f"{name}={value}")]


def _mount(folder: Path) -> list[str]:
    return ["--mount", f"type=bind,source={folder},target={WORK},readonly", "--workdir", WORK]


def _keep(log: Path, name: str, done: subprocess.CompletedProcess[str]) -> None:
    """Append a container's output to the log."""
    with log.open("a") as file:
        file.write(f"--- {name}\n{done.stdout}{done.stderr}")
