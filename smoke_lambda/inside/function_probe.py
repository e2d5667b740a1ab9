"""Describe a model for the generator of its function, on any Python from 3.8 on.

    python -m smoke_lambda.inside.function_probe MODEL

The last line of output is "found: " and JSON. "whole" describes the model as an interpreter has
it. "signatures" describes each signature if there are several. Each description has "name",
"inputs" and "outputs". After a failure, the JSON has the "error", the "stage" at which it came,
and "missing": the messages about operators that this runtime lacks.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from tflite_runtime.interpreter import Interpreter  # type: ignore[import-not-found]

from smoke_lambda.inside.model_probe import missing

# Operators whose output means the same as their input.
TRANSPARENT = {"DEQUANTIZE", "QUANTIZE", "RESHAPE", "SQUEEZE", "CAST"}


def described(detail: dict[str, Any], name: str, position: int) -> dict[str, Any]:
    """Return the description of an input or output, as smoke_lambda.functions.facts reads it."""
    dtype = np.dtype(detail["dtype"])
    scale, zero_point = detail["quantization"]
    limits = np.iinfo(dtype) if dtype.kind in "iu" else None
    return {
        "name": name,
        "position": position,
        "shape": [int(n) for n in detail["shape"]],
        "open_shape": [int(n) for n in detail.get("shape_signature", detail["shape"])],
        "dtype": dtype.name,
        "scale": float(scale),
        "zero_point": int(zero_point),
        "limits": None if limits is None else [int(limits.min), int(limits.max)],
    }


def last_operator(interpreter: Any, tensor: int) -> str:  # noqa: ANN401
    """Return the operator that decides what a tensor means; empty if there is none."""
    nodes = [n for n in interpreter._get_ops_details() if n["op_name"] != "DELEGATE"]
    makers = {int(output): node for node in nodes for output in node["outputs"]}
    for _ in nodes:
        node = makers.get(tensor)
        if node is None or node["op_name"] not in TRANSPARENT:
            return "" if node is None else str(node["op_name"])
        tensor = int(node["inputs"][0])
    return ""


def whole(interpreter: Any, names: dict[int, str]) -> dict[str, Any]:  # noqa: ANN401
    """Return the description of the model as an interpreter has it.

    Args:
        names: names to use instead of the tensors' own, by tensor index.
    """
    found: dict[str, Any] = {"name": ""}
    for key, details in (
        ("inputs", interpreter.get_input_details()),
        ("outputs", interpreter.get_output_details()),
    ):
        found[key] = [
            described(detail, names.get(int(detail["index"]), detail["name"]), number)
            for number, detail in enumerate(details)
        ]
        if key == "outputs":
            for tensor, detail in zip(found[key], details):
                tensor["last"] = last_operator(interpreter, int(detail["index"]))
    return found


def signature(interpreter: Any, name: str) -> dict[str, Any]:  # noqa: ANN401
    """Return the description of one signature."""
    runner = interpreter.get_signature_runner(name)
    found: dict[str, Any] = {"name": name}
    for key, details in (
        ("inputs", runner.get_input_details()),
        ("outputs", runner.get_output_details()),
    ):
        found[key] = [
            described(details[tensor], tensor, number) for number, tensor in enumerate(details)
        ]
    return found


def names_of(interpreter: Any, name: str) -> dict[int, str]:  # noqa: ANN401
    """Return the names that a signature gives to tensors, by tensor index."""
    runner = interpreter.get_signature_runner(name)
    details = {**runner.get_input_details(), **runner.get_output_details()}
    return {int(detail["index"]): tensor for tensor, detail in details.items()}


def run(found: dict[str, Any], model: str) -> None:
    """Load and describe the model; `found` always has the current stage."""
    found["stage"] = "load"
    interpreter = Interpreter(model_path=model)
    found["stage"] = "allocate"
    interpreter.allocate_tensors()
    names = list(interpreter.get_signature_list())
    found["whole"] = whole(interpreter, names_of(interpreter, names[0]) if len(names) == 1 else {})
    found["signatures"] = [signature(interpreter, name) for name in names if len(names) > 1]


def main(model: str) -> None:
    """Describe the model and print the findings, also after a failure."""
    found: dict[str, Any] = {}
    try:
        run(found, model)
    except (RuntimeError, ValueError, TypeError, OSError) as error:
        found["error"] = str(error)
        if found["stage"] == "load":
            try:
                found["missing"] = missing(Path(model).read_bytes())
            except ValueError:
                found["missing"] = []
    print(f"found: {json.dumps(found)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
