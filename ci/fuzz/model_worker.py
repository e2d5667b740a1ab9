"""The process in which a wheel gets damaged models: it reads one case per line of its input.

Each line is a model in base64. The process writes a line with the name of each stage before the
stage, so that its parent knows where it ended; the last line of a case is `done`. It needs only
the wheel and NumPy.
"""

from __future__ import annotations

import base64
import resource
import signal
import sys
import tempfile
from pathlib import Path

import numpy as np
from tflite_runtime.interpreter import Interpreter  # type: ignore[import-not-found]

# A damaged size may ask for any amount of memory; the machine's memory must not run out.
ADDRESS_SPACE = 4 << 30
# The largest size of a tensor; the tensors of a small model are smaller.
MOST_BYTES = 64 << 20


def main() -> None:
    """Answer until the input ends."""
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    # SIGALRM ends a loop without end; the parent can tell this signal from others.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        for line in sys.stdin:
            content = base64.b64decode(line)
            path.write_bytes(content)
            signal.alarm(int(sys.argv[1]))
            tell("load by content")
            run(model_content=content)
            tell("load by path")
            run(model_path=str(path))
            signal.alarm(0)
            tell("done")


def run(**model: object) -> None:
    """Load, allocate and run a model; the exceptions that are caught here are permitted."""
    try:
        interpreter = Interpreter(num_threads=1, **model)
    except (ValueError, RuntimeError, SystemError):
        # TensorFlow 2.22 raises SystemError for a signature's name that is not UTF-8.
        return
    tell("allocate")
    try:
        interpreter.allocate_tensors()
        details = interpreter.get_input_details()
        if any(size_of(detail) > MOST_BYTES for detail in details):
            return
        tell("invoke")
        for detail in details:
            is_text = np.dtype(detail["dtype"]).kind in "OSU"
            zero = b"a" if is_text else np.zeros((), detail["dtype"])
            interpreter.set_tensor(detail["index"], np.full(detail["shape"], zero))
        interpreter.invoke()
    except (ValueError, RuntimeError, TypeError, MemoryError):
        return


def size_of(detail: dict[str, object]) -> int:
    """Return the approximate size of a tensor, in bytes."""
    return int(np.prod(np.asarray(detail["shape"], np.float64))) * 8


def tell(stage: str) -> None:
    """Write the name of a stage."""
    print(stage, flush=True)


if __name__ == "__main__":
    main()
