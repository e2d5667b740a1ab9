"""Run a user's model in a function's environment, on any Python from 3.8 on.

    python -m smoke_lambda.inside.model_probe MODEL [INPUT.npy]

Without INPUT, all inputs are made up. The last line of output is "found: " and JSON:

- "operators": the name of each operator, and true if a delegate took it
- "open": the numbers of operators with a tensor of open size
- "inputs" and "outputs", with an "open" shape if the model leaves the shape open
- "load_ms", "first_ms" and "warm_ms" (the median)
- "resident_bytes" and "peak_bytes" (of the cgroup)

If the model does not run, the JSON has the "error", the "stage" at which it came, and "missing":
the messages about operators that this runtime lacks.
"""

from __future__ import annotations

import json
import resource
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from tflite_runtime.interpreter import Interpreter  # type: ignore[import-not-found]

from smoke_lambda.inside.compat_probe import SEED, sample
from smoke_lambda.inside.flatbuffer import make_plain, operator_codes
from smoke_lambda.inside.probe import operators

WARM_SECONDS = 2.0
WARM_MOST = 50
PEAKS = ("/sys/fs/cgroup/memory.peak", "/sys/fs/cgroup/memory/memory.max_usage_in_bytes")


def missing(model: bytes) -> list[str]:
    """Return the runtime's message about each operator kind that it lacks.

    The runtime stops at the first one. So each kind is loaded with all others made plain.
    """
    said = []
    codes = operator_codes(model)
    for code in codes:
        alone = bytearray(model)
        for other in codes:
            if other.position != code.position:
                make_plain(alone, other)
        try:
            Interpreter(model_content=bytes(alone))
        except (ValueError, RuntimeError) as error:
            said.append(str(error))
    return said


def described(detail: dict[str, Any]) -> dict[str, Any]:
    """Return the description of an input or output for people."""
    shape = [int(n) for n in detail["shape"]]
    found = {"name": detail["name"], "shape": shape, "dtype": np.dtype(detail["dtype"]).name}
    signature = [int(n) for n in detail.get("shape_signature", shape)]
    return {**found, "open": signature} if -1 in signature else found


def given(path: str, interpreter: Any) -> Any:  # noqa: ANN401
    """Return the user's input. Open dimensions of the model take their sizes from it.

    Raises:
        ValueError: the input does not fit.
    """
    array = np.load(path, allow_pickle=False)
    detail = interpreter.get_input_details()[0]
    open_shape = [int(n) for n in detail.get("shape_signature", detail["shape"])]
    fits = len(open_shape) == array.ndim and all(
        wanted in (-1, found) for wanted, found in zip(open_shape, array.shape)
    )
    if not fits or array.dtype != np.dtype(detail["dtype"]):
        wanted = f"{np.dtype(detail['dtype']).name} of shape {open_shape}"
        raise ValueError(f"the input must be {wanted}, and is {array.dtype} of {[*array.shape]}")
    interpreter.resize_tensor_input(detail["index"], array.shape)
    return array


def run(found: dict[str, Any], model: str, *inputs: str) -> None:
    """Load, run and measure the model; `found` always has the current stage."""
    found["stage"] = "load"
    start = time.perf_counter()
    interpreter = Interpreter(model_path=model)
    found["inputs"] = [described(detail) for detail in interpreter.get_input_details()]
    found["stage"] = "input"
    arrays = {0: given(inputs[0], interpreter)} if inputs else {}
    found["stage"] = "allocate"
    interpreter.allocate_tensors()
    found["load_ms"] = (time.perf_counter() - start) * 1000
    found["inputs"] = [described(detail) for detail in interpreter.get_input_details()]
    found["stage"] = "run"
    random = np.random.RandomState(SEED)
    times: list[float] = []
    end = time.perf_counter() + WARM_SECONDS
    while len(times) < 2 or (time.perf_counter() < end and len(times) <= WARM_MOST):
        start = time.perf_counter()
        for number, detail in enumerate(interpreter.get_input_details()):
            array = arrays[number] if number in arrays else sample(detail, random)
            interpreter.set_tensor(detail["index"], array)
        interpreter.invoke()
        for detail in interpreter.get_output_details():
            interpreter.get_tensor(detail["index"])
        times.append((time.perf_counter() - start) * 1000)
    found["first_ms"], found["warm_ms"] = times[0], statistics.median(times[1:])
    found["outputs"] = [described(detail) for detail in interpreter.get_output_details()]
    found["operators"] = operators(interpreter)
    found["open"] = open_nodes(interpreter)


def open_nodes(interpreter: Any) -> list[int]:  # noqa: ANN401
    """Return the places in `operators` of the nodes with a tensor that has an open dimension."""
    details = {detail["index"]: detail for detail in interpreter.get_tensor_details()}
    nodes = [n for n in interpreter._get_ops_details() if n["op_name"] != "DELEGATE"]
    return [
        number
        for number, node in enumerate(nodes)
        for tensors in ([*node["inputs"], *node["outputs"]],)
        if any(-1 in details.get(int(t), {}).get("shape_signature", ()) for t in tensors)
    ]


def main(model: str, *inputs: str) -> None:
    """Run the model and print the findings, also after a failure."""
    found: dict[str, Any] = {}
    try:
        run(found, model, *inputs)
    except (RuntimeError, ValueError, TypeError, OSError, MemoryError) as error:
        found["error"] = str(error) or "out of memory"
        if found["stage"] == "load":
            try:
                found["missing"] = missing(Path(model).read_bytes())
            except ValueError:
                found["missing"] = []
    found["resident_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    peaks = [Path(peak) for peak in PEAKS if Path(peak).is_file()]
    found["peak_bytes"] = int(peaks[0].read_text()) if peaks else None
    print(f"found: {json.dumps(found)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
