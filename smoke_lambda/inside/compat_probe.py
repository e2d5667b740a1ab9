"""Run one model with and without the default delegate, on any Python from 3.8 on.

    python compat_probe.py RESULT MODEL

RESULT is a JSON file. It is rewritten before each stage, so that its "stage" tells where a crash
happened. At the end it also has either "error" or "differences". The differences have an entry
for each output: [name, the largest difference, the allowed difference].
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from tflite_runtime.interpreter import (  # type: ignore[import-not-found]
    Interpreter,
    OpResolverType,
)

SEED = 7
RELATIVE = 1e-4  # of an output's largest value, as sums may be in another order

KINDS = {
    "default": OpResolverType.AUTO,
    "built-in": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
}


def sample(detail: dict[str, Any], random: Any) -> Any:  # noqa: ANN401
    """Make up an input of a tensor's shape and type.

    Integers that are not quantized are 0 or 1, because they may be indices.
    """
    shape, dtype = detail["shape"], np.dtype(detail["dtype"])
    if dtype.kind in "SO":
        return np.full(shape, b"text", dtype=object)
    if dtype.kind in "fc":
        return random.uniform(-1, 1, size=shape).astype(dtype)
    if detail["quantization"][0]:
        limits = np.iinfo(dtype)
        return random.randint(limits.min, limits.max + 1, size=shape).astype(dtype)
    return random.randint(0, 2, size=shape).astype(dtype)


def outputs(model: str, kind: str, note: Any) -> list[tuple[dict[str, Any], Any]]:  # noqa: ANN401
    """Run the model; return the details and the value of each output."""
    random = np.random.RandomState(SEED)
    note(f"{kind}: load")
    interpreter = Interpreter(model_path=model, experimental_op_resolver_type=KINDS[kind])
    note(f"{kind}: allocate")
    interpreter.allocate_tensors()
    note(f"{kind}: set inputs")
    for detail in interpreter.get_input_details():
        interpreter.set_tensor(detail["index"], sample(detail, random))
    note(f"{kind}: invoke")
    interpreter.invoke()
    note(f"{kind}: get outputs")
    return [(d, interpreter.get_tensor(d["index"])) for d in interpreter.get_output_details()]


def difference(detail: dict[str, Any], found: Any, wanted: Any) -> tuple[str, float, float]:  # noqa: ANN401
    """Compare an output: floats to a tolerance, quantized values to one step, others exactly.

    Returns:
        The name of the output, the largest difference, and the allowed difference.
    """
    name = detail["name"]
    if found.shape != wanted.shape:
        return name, float("inf"), 0.0
    if found.dtype.kind not in "iuf":
        return name, 0.0 if np.array_equal(found, wanted) else float("inf"), 0.0
    found, wanted = found.astype(np.float64), wanted.astype(np.float64)
    if not np.array_equal(np.isnan(found), np.isnan(wanted)):
        return name, float("inf"), 0.0
    gap = float(np.nan_to_num(np.abs(found - wanted)).max()) if found.size else 0.0
    largest = float(np.nan_to_num(np.abs(wanted)).max()) if found.size else 0.0
    if np.dtype(detail["dtype"]).kind == "f":
        return name, gap, RELATIVE * max(largest, 1.0)
    return name, gap, 1.0 if detail["quantization"][0] else 0.0


def main(result: str, model: str) -> None:
    """Run the model both ways and compare."""
    found: dict[str, Any] = {}

    def note(stage: str) -> None:
        found["stage"] = stage
        Path(result).write_text(json.dumps(found))

    try:
        wanted, got = (outputs(model, kind, note) for kind in ("built-in", "default"))
        found["differences"] = [
            difference(detail, value, reference)
            for (detail, value), (_, reference) in zip(got, wanted)
        ]
    except (RuntimeError, ValueError, TypeError) as error:
        found["error"] = str(error)
    note(found["stage"])


if __name__ == "__main__":
    main(*sys.argv[1:])
