"""A process in which a target is tried, with bounded time and memory: one case per line.

Started as a module with the name of the target's own, which has `tried(case, folder)`: what is
wrong with a case, in one sentence, or nothing.
"""

from __future__ import annotations

import importlib
import json
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hypothesis.strategies import SearchStrategy

from builders.errors import UsageError
from ci.fuzz.campaign import Case
from ci.fuzz.child import Child

ROOT = Path(__file__).parent.parent.parent
START_SECONDS = 600.0  # its imports, on a busy machine
# Only CPU time tells what a case costs, on a busy machine; the wall clock, that it never ends.
WALL_FACTOR = 10


class Worker:
    """A target whose cases are tried in a process of its own; it is started again when it ends.

    Attributes:
        module: the target's.
        cases: see Target.
        seconds: of CPU, for a case.
        memory: of the process, in bytes of address space.
        told: see Target.
    """

    told = ""

    def __init__(
        self, module: str, cases: SearchStrategy[Case], *, seconds: float, memory: int
    ) -> None:
        self.module, self.cases, self.seconds, self.memory = module, cases, seconds, memory
        command = [sys.executable, "-m", __name__, module, str(memory)]
        self._child = Child(command, folder=ROOT, quiet=False)

    def fault(self, case: Case) -> str:
        """See Target."""
        self.start()
        self._child.send(json.dumps(case).encode())
        answer = self._child.line(self.seconds * WALL_FACTOR)
        if answer is None:
            self._child.close(0)
            return f"it takes more than {self.seconds * WALL_FACTOR:.0f} s"
        if not answer:
            return f"the process ends with the status {self._child.close()}"
        fault, seconds = json.loads(answer)
        if not fault and seconds > self.seconds:
            return f"it takes more than {self.seconds:.0f} s of CPU"
        return str(fault)

    def start(self) -> None:
        """Start the process, unless it runs.

        Raises:
            UsageError: it does not start.
        """
        if not self._child.runs and not self._child.line(START_SECONDS):
            raise UsageError(
                f"{self.module} does not start within {START_SECONDS:.0f} s: "
                f"status {self._child.close()}",
                remedy="try again while the machine does less",
            )

    def close(self) -> None:
        """End the process."""
        self._child.close()


@contextmanager
def apart(
    module: str, cases: SearchStrategy[Case], *, seconds: float, memory: int
) -> Iterator[Worker]:
    """A target in a process of its own, until the block ends.

    Raises:
        UsageError: see Worker.start.
    """
    worker = Worker(module, cases, seconds=seconds, memory=memory)
    try:
        worker.start()
        yield worker
    finally:
        worker.close()


def main() -> None:
    """Answer until the input ends."""
    target = importlib.import_module(sys.argv[1])
    memory = int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    print("ready", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for line in sys.stdin:
            start = time.process_time()
            fault = target.tried(json.loads(line), Path(folder))
            print(json.dumps([fault, time.process_time() - start]), flush=True)


if __name__ == "__main__":
    main()
