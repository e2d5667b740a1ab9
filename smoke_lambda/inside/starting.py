"""Start a runtime as a new function does, and print how long each part took.

    python -m smoke_lambda.inside.starting MODULE MODEL.tflite CASES.npz NANOSECONDS

NANOSECONDS is the reading of the monotonic clock when this process was started; Linux has one
such clock for all processes. The last line of output is "timing: " and JSON: the milliseconds of
wall time and of CPU time by part, the page faults, the CPU time of the whole process, and the
peak of resident memory in bytes.
"""

from __future__ import annotations

import sys
import time

BEGAN = time.monotonic_ns()
CPU_BEGAN = time.process_time_ns()


def main(module: str, model: str, cases: str, started: str) -> None:
    """Start the runtime, and print the times."""
    parts = {"start": (BEGAN - int(started)) / 1e6}
    cpu = {"start": CPU_BEGAN / 1e6}
    last, cpu_last = time.monotonic_ns(), time.process_time_ns()

    def done(part: str) -> None:
        nonlocal last, cpu_last
        cpu[part] = (time.process_time_ns() - cpu_last) / 1e6
        parts[part] = (time.monotonic_ns() - last) / 1e6
        last, cpu_last = time.monotonic_ns(), time.process_time_ns()

    import numpy  # noqa: F401 - it is timed

    done("numpy")
    import importlib

    runtime = importlib.import_module(module)
    done("import")
    interpreter = runtime.Interpreter(model_path=model, num_threads=1)
    done("create")
    interpreter.allocate_tensors()
    done("allocate")
    import json
    import resource
    from pathlib import Path

    from smoke_lambda.inside.probing import TIMING_MARK
    from smoke_lambda.inside.timing import set_inputs

    # A shape that is set at run time needs another allocation, which is not timed.
    set_inputs(interpreter, Path(cases))
    last, cpu_last = time.monotonic_ns(), time.process_time_ns()
    interpreter.invoke()
    done("first")
    used = resource.getrusage(resource.RUSAGE_SELF)
    found = {
        "parts": parts,
        "cpu_parts": cpu,
        "faults": used.ru_minflt + used.ru_majflt,
        "peak_bytes": peak_bytes(Path("/proc/self/status").read_text()),
        "cpu_ms": (used.ru_utime + used.ru_stime) * 1000,
    }
    print("\n" + TIMING_MARK + json.dumps(found))


def peak_bytes(status: str) -> int:
    """Return the peak of resident memory in bytes, from proc_pid_status(5).

    The peak of getrusage(2) includes that of the process before exec(2), which is our driver's.
    """
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main(*sys.argv[1:])
