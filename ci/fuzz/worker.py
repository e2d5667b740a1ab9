"""A process that tries cases on a target with bounded time and memory: one case per line.

The process is started as a module, with the name of the target's module. That has a function
`tried(case, folder)`, which returns the fault in one sentence, or an empty text.
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

from builders.child import Child
from builders.errors import UsageError
from ci.fuzz.campaign import Case

ROOT = Path(__file__).parent.parent.parent
START_SECONDS = 600.0  # for the imports of the process, on a busy machine
# On a busy machine, CPU time shows the cost of a case; wall time only shows that it never ends.
WALL_FACTOR = 10


class Worker:
    """A target whose cases are tried in a separate process, which is started again after it ends.

    Attributes:
        module: the name of the target's module.
        cases: see Target.
        seconds: the limit of CPU time for a case.
        memory: the limit of the process' address space, in bytes.
        told: see Target.
    """

    told = ""

    def __init__(
        self, module: str, cases: SearchStrategy[Case], *, seconds: float, memory: int
    ) -> None:
        self.module, self.cases, self.seconds, self.memory = module, cases, seconds, memory
        command = [sys.executable, "-m", __name__, module, str(memory)]
        self._child = Child(command, folder=ROOT, errors=None)

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
        """Start the process if it does not run.

        Raises:
            UsageError: the process does not start.
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
    """Give a target in a separate process, until the block ends.

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
