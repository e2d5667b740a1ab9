"""Pack a model's weights into a file and try the file, on any Python from 3.8 on.

    python -m smoke_lambda.inside.prepacking MODEL.tflite FOLDER

The runtime writes the file into FOLDER and names it by the digest of the model. The last line of
output is "found: " and JSON: the "file", its "bytes", and the cost of a start "without" and "with"
the file. Each cost has "cpu_ms" (the CPU time to allocate and to run once) and "peak_bytes" (the
peak of resident memory, including Python's and NumPy's). If there is no usable file, the JSON has
an "error" that says why.

    python -m smoke_lambda.inside.prepacking MODEL.tflite

makes one such start and prints its cost.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from tflite_runtime.interpreter import Interpreter  # type: ignore[import-not-found]

from smoke_lambda.inside.compat_probe import SEED, sample
from smoke_lambda.inside.probing import BUILD_PACKED, MARK, READ_PACKED
from smoke_lambda.inside.starting import peak_bytes

TIMES = 5


class PrepackError(Exception):
    """No file can be made, or the file may not be used."""


def allocated(model: str) -> Any:  # noqa: ANN401
    """Return an interpreter whose tensors are allocated."""
    interpreter = Interpreter(model_path=model, num_threads=1)
    interpreter.allocate_tensors()
    return interpreter


def fill(interpreter: Any) -> None:  # noqa: ANN401
    """Give the interpreter inputs that are always the same."""
    random = np.random.RandomState(SEED)
    for detail in interpreter.get_input_details():
        interpreter.set_tensor(detail["index"], sample(detail, random))


def answers(interpreter: Any) -> list[Any]:  # noqa: ANN401
    """Return the interpreter's answers to those inputs: an array for each output."""
    fill(interpreter)
    interpreter.invoke()
    return [interpreter.get_tensor(each["index"]) for each in interpreter.get_output_details()]


def same(one: list[Any], other: list[Any]) -> bool:
    """True if the arrays are the same, bit for bit."""
    return all(
        a.dtype == b.dtype and a.shape == b.shape and a.tolist() == b.tolist()
        if a.dtype == object
        else a.tobytes() == b.tobytes()
        for a, b in zip(one, other)
    )


def packed(model: str, folder: Path) -> Path:
    """Make the file of a model's packed weights; return its path.

    Raises:
        PrepackError: the runtime made no file; its output says why.
    """
    os.environ[BUILD_PACKED] = str(folder)
    try:
        allocated(model)
    finally:
        del os.environ[BUILD_PACKED]
    files = list(folder.glob("*.packed"))
    if len(files) != 1:
        raise PrepackError("XNNPACK packs no weights of this model")
    return files[0]


def check(model: str, file: Path) -> None:
    """Try a file of packed weights.

    Raises:
        PrepackError: the runtime does not use the file, or answers something else with it.
    """
    plain = allocated(model)
    expected = answers(plain)
    is_repeatable = same(expected, answers(plain))
    os.environ[READ_PACKED] = str(file)
    interpreter = allocated(model)
    if str(file) not in Path("/proc/self/maps").read_text():
        raise PrepackError("the runtime does not use the file that it made")
    if is_repeatable and not same(expected, answers(interpreter)):
        raise PrepackError("the runtime answers something else with packed weights")


def start(model: str) -> dict[str, float]:
    """Return the cost of a start in this process. Making up the inputs is not counted."""
    began = time.process_time()
    interpreter = allocated(model)
    taken = time.process_time() - began
    fill(interpreter)
    began = time.process_time()
    interpreter.invoke()
    taken += time.process_time() - began
    peak = peak_bytes(Path("/proc/self/status").read_text())
    return {"cpu_ms": taken * 1000, "peak_bytes": peak}


def starts(model: str, file: Path) -> dict[str, dict[str, float]]:
    """Return the least cost of a start without and with a file, in new processes in turns."""
    command = [sys.executable, "-s", "-B", "-m", "smoke_lambda.inside.prepacking", model]
    least: dict[str, dict[str, float]] = {}
    for _ in range(TIMES):
        for name, variables in (("without", {}), ("with", {READ_PACKED: str(file)})):
            environment = {k: v for k, v in os.environ.items() if k != READ_PACKED}
            environment.update(variables)
            said = subprocess.run(
                command, env=environment, stdout=subprocess.PIPE, check=True
            ).stdout.decode()
            found = json.loads(said.strip().splitlines()[-1])
            before = least.setdefault(name, found)
            least[name] = {key: min(value, before[key]) for key, value in found.items()}
    return least


def main(model: str, *folder: str) -> None:
    """Make the file, try it, and print the findings."""
    if not folder:
        print(json.dumps(start(model)))
        return
    found: dict[str, Any] = {}
    try:
        file = packed(model, Path(folder[0]))
        check(model, file)
        found = {"file": file.name, "bytes": file.stat().st_size}
        found.update(starts(model, file))
    except (PrepackError, RuntimeError, ValueError, OSError, subprocess.SubprocessError) as error:
        found = {"error": str(error)}
    print("\n" + MARK + json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
