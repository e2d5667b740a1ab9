"""Load a model beside a wheel and time it, as requests on the standard input ask.

    python -m smoke_lambda.inside.timing MODULE

Each input line is a request in JSON. Each output line that begins with "timing: " is its answer:

    {"do": "load", "model": TFLITE, "cases": NPZ, "threads": N, "cpus": [0, 1]}
        {"nodes": [taken, all]}                   after the model's first case was set as its input
    {"do": "time", "seconds": S}
        {"cpu_ms": [...], "wall_ms": [...]}       samples: each the mean time of one inference
    {"do": "save", "path": NPZ}                   writes the model's answers
    {"do": "compare", "path": NPZ}
        {"apart": X}                              the largest difference, by the largest answer

The model's answers are real numbers; quantized answers are converted.

If a request fails, its answer has "error". The process stays, so that wheels can be timed in turns.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from smoke_lambda.inside.conform.corpus import read_arrays
from smoke_lambda.inside.probe import operators
from smoke_lambda.inside.probing import TIMING_MARK

if TYPE_CHECKING:
    from collections.abc import Callable

SAMPLE_SECONDS = 0.002
"""The duration that a sample should have at least: much longer than reading a clock."""


class Worker:
    """One model in one runtime."""

    def __init__(self, module: str) -> None:
        self.runtime = importlib.import_module(module)
        self.interpreter: Any = None
        self.repeats = 1

    def load(self, model: str, cases: str, threads: int, cpus: list[int]) -> dict[str, Any]:
        """Create the interpreter on these processors, set its inputs, and count its nodes."""
        os.sched_setaffinity(0, cpus)
        self.interpreter = None
        made = self.runtime.Interpreter(model_path=model, num_threads=threads)
        set_inputs(made, Path(cases))
        made.invoke()
        began = time.perf_counter()
        made.invoke()
        once = max(time.perf_counter() - began, 1e-7)
        self.interpreter, self.repeats = made, max(1, round(SAMPLE_SECONDS / once))
        # ONNX Runtime has no delegate, and does not list its nodes.
        found = operators(made) if hasattr(made, "_get_ops_details") else []
        return {"nodes": [sum(taken for _, taken in found), len(found)]}

    def time(self, seconds: float) -> dict[str, Any]:
        """Time inferences of the model for that many seconds, at least one."""
        cpu: list[float] = []
        wall: list[float] = []
        invoke, repeats = self.interpreter.invoke, self.repeats
        end = time.perf_counter() + seconds
        while not cpu or time.perf_counter() < end:
            cpu_began, began = time.process_time(), time.perf_counter()
            for _ in range(repeats):
                invoke()
            wall.append((time.perf_counter() - began) / repeats * 1000)
            cpu.append((time.process_time() - cpu_began) / repeats * 1000)
        return {"cpu_ms": cpu, "wall_ms": wall}

    def save(self, path: str) -> dict[str, Any]:
        """Write the answers to a file."""
        np.savez(path, *self._answers())
        return {}

    def compare(self, path: str) -> dict[str, Any]:
        """Compare the answers with those that another runtime saved."""
        apart = 0.0
        with np.load(path) as theirs:
            for ours, name in zip(self._answers(), theirs.files):
                other = theirs[name].astype(np.float64)
                if ours.shape != other.shape:
                    raise ValueError(f"an answer of shape {ours.shape} instead of {other.shape}")
                size = max(float(np.abs(other).max(initial=0.0)), 1e-9)
                difference = np.abs(ours.astype(np.float64) - other).max(initial=0.0)
                apart = max(apart, float(difference) / size)
        return {"apart": apart}

    def _answers(self) -> list[Any]:
        found = []
        for detail in self.interpreter.get_output_details():
            answer = self.interpreter.get_tensor(detail["index"])
            scale, zero = detail.get("quantization", (0.0, 0))
            found.append((answer.astype(np.float64) - zero) * scale if scale else answer)
        return found


def set_inputs(interpreter: Any, cases: Path) -> None:  # noqa: ANN401
    """Allocate an interpreter's tensors for the first case of a file, and set its inputs."""
    arrays = read_arrays(cases.read_bytes())
    inputs = [arrays[f"0.in.{number}"] for number in range(len(interpreter.get_input_details()))]
    for detail, array in zip(interpreter.get_input_details(), inputs):
        if tuple(detail["shape"]) != array.shape:
            interpreter.resize_tensor_input(detail["index"], array.shape)
    interpreter.allocate_tensors()
    for detail, array in zip(interpreter.get_input_details(), inputs):
        interpreter.set_tensor(detail["index"], array)


def main(module: str) -> None:
    """Answer requests until the input ends."""
    worker = Worker(module)
    do: dict[str, Callable[..., dict[str, Any]]] = {
        "load": worker.load,
        "time": worker.time,
        "save": worker.save,
        "compare": worker.compare,
    }
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = do[request.pop("do")](**request)
        except (RuntimeError, ValueError, MemoryError) as error:
            answer = {"error": " ".join(str(error).split())}
        print("\n" + TIMING_MARK + json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
