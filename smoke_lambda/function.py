"""A Lambda function under the Runtime Interface Emulator, invoked over HTTP."""

from __future__ import annotations

import json
import random
import re
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from builders.errors import SmokeError
from smoke_lambda.loopback import listens
from smoke_lambda.session import members, started

PATH = "/2015-03-31/functions/function/invocations"
PORT = 8080
RUNTIME_API_PORT = 9001
ATTEMPTS = 5
START_SECONDS = 10.0
INVOKE_SECONDS = 30.0

# Requests to a loopback address bypass the container's proxies.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True, kw_only=True)
class Function:
    """A running function."""

    url: str
    log: Path
    server: str = ""
    """The URL of the image server as the function sees it."""
    session: int = 0
    """The session id of its processes."""
    ms: list[float] = field(default_factory=list)
    """The duration of each invocation, in milliseconds."""

    def invoke(self, event: object) -> Any:  # noqa: ANN401 - whatever the handler answers
        """Return the reply to an event, or the function's error, decoded from JSON.

        Raises:
            OSError: the emulator does not answer in time.
            ValueError: the reply is not JSON.
        """
        request = urllib.request.Request(self.url, data=json.dumps(event).encode())
        start = time.perf_counter()
        try:
            with _OPENER.open(request, timeout=INVOKE_SECONDS) as response:
                body = response.read()
        except urllib.error.HTTPError as error:  # 502 if the function itself fails
            with error:
                body = error.read()
        self.ms.append((time.perf_counter() - start) * 1000)
        return json.loads(body)

    def init_ms(self) -> float | None:
        """Return the duration of the function's init in the emulator's report, in milliseconds."""
        return init_ms(self.log.read_text())

    def resident_bytes(self) -> int:
        """Return the sum of its processes' peak memory, mapped files included, in bytes."""
        statuses = []
        for process in members(self.session):
            with suppress(OSError):
                statuses.append(Path(f"/proc/{process}/status").read_text())
        return resident("".join(statuses))

    def peak_bytes(self) -> int | None:
        """Return None: the function has no cgroup of its own here."""
        return None


def resident(statuses: str) -> int:
    """Return the sum of the processes' peak memory in bytes, from proc_pid_status(5).

    The processes `sh` and `cat`, which read the files, are not counted.
    """
    found = 0
    for status in re.split(r"^(?=Name:)", statuses, flags=re.MULTILINE):
        fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
        if fields.get("Name", "").strip() not in ("sh", "cat", ""):
            found += int(fields.get("VmHWM", "0 kB").split()[0]) * 1024
    return found


def init_ms(log: str) -> float | None:
    """Return the duration of init in the emulator's report, in milliseconds; None if it has none.

    The report's `Init Duration` is wrong.
    """
    found = re.search(r"INIT REPORT\(durationMs: ([\d.]+)\)", log)
    return float(found[1]) if found else None


@contextmanager
def running(
    handler: str,
    *,
    python: Path,
    task: Path,
    home: Path,
    rie: Path,
    log: Path,
    variables: Mapping[str, str],
    server: str = "",
) -> Iterator[Function]:
    """Run a handler as Lambda does, until the block ends.

    Args:
        handler: `module.function`.
        python: the interpreter of the function's environment.
        task: the folder with the function's code.
        home: a writable folder, as /tmp is in Lambda.
        rie: the emulator.
        log: the file for the function's output; must not exist yet.
        variables: the function's own environment variables.
        server: the URL of the image server.

    Raises:
        SmokeError: the emulator does not start.
    """
    environment = {
        "PATH": f"{python.parent}:/usr/local/bin:/usr/bin:/bin",
        "LANG": "en_US.UTF-8",
        "TZ": ":UTC",
        "HOME": str(home),
        "TMPDIR": str(home),
        "LAMBDA_TASK_ROOT": str(task),
        "AWS_REGION": "us-east-1",
        "AWS_LAMBDA_FUNCTION_NAME": "smoke",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1769",
        "AWS_LAMBDA_FUNCTION_TIMEOUT": str(int(INVOKE_SECONDS)),
        **variables,
    }
    for _ in range(ATTEMPTS):
        address = _loopback()
        command: list[str | Path] = [
            rie,
            *("--runtime-interface-emulator-address", f"{address}:{PORT}"),
            *("--runtime-api-address", f"{address}:{RUNTIME_API_PORT}"),
            *(python, "-m", "awslambdaric", handler),
        ]
        with ExitStack() as stack:
            try:
                process = stack.enter_context(started(command, cwd=task, env=environment, log=log))
            except OSError as error:
                raise SmokeError(f"the Lambda emulator cannot run here: {error}") from error
            if _listens(process, address):
                url = f"http://{address}:{PORT}{PATH}"
                yield Function(url=url, log=log, server=server, session=process.pid)
                return
    raise SmokeError("the Lambda emulator does not start", remedy=f"see {log}")


def _loopback() -> str:
    """Return a random address of 127.0.0.0/8, so that two smoke tests do not share a port."""
    return "127." + ".".join(str(random.randint(1, 254)) for _ in range(3))


def _listens(process: subprocess.Popen[bytes], address: str) -> bool:
    """Wait for the emulator's port. Return False if the emulator does not open it.

    For example, the emulator ends if the port is taken.
    """
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        if listens(PORT, address):
            return process.poll() is None
        time.sleep(0.02)
    return False
