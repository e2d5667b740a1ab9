"""Inspect a runtime from inside its own environment, on any Python from 3.8 on.

    python -m smoke_lambda.inside.probe MODEL...

The last line of output is "found: " and JSON: the versions of Python and NumPy, the time to
import the runtime and the time from there to the first answer of the first model, both in
milliseconds, and the operators of each model, with true for each that a delegate took.
"""

from __future__ import annotations

import json
import platform
import sys
import time
from typing import Any


def operators(interpreter: Any) -> list[tuple[str, bool]]:  # noqa: ANN401
    """Return the name of each operator of the model, and True if a delegate runs it.

    A delegate's node is added to the graph, and the nodes that it replaces stay in the
    list. The replaced nodes are those that lead from its outputs back to its inputs.
    """
    nodes = interpreter._get_ops_details()
    plain = [node for node in nodes if node["op_name"] != "DELEGATE"]
    producers = {tensor: node for node in plain for tensor in node["outputs"]}
    taken: set[int] = set()
    for delegate in nodes:
        if delegate["op_name"] == "DELEGATE":
            given = {int(tensor) for tensor in delegate["inputs"]}
            wanted = [int(tensor) for tensor in delegate["outputs"]]
            while wanted:
                node = producers.get(wanted.pop())
                if node is not None and node["index"] not in taken:
                    taken.add(node["index"])
                    wanted.extend(int(t) for t in node["inputs"] if int(t) not in given)
    return [(node["op_name"], node["index"] in taken) for node in plain]


def main(*models: str) -> None:
    """Measure the runtime, inspect the models, and print the findings."""
    start = time.perf_counter()
    from tflite_runtime.interpreter import Interpreter  # type: ignore[import-not-found]

    imported = time.perf_counter()
    first = Interpreter(model_path=models[0])
    first.allocate_tensors()
    first.invoke()
    first.get_tensor(first.get_output_details()[0]["index"])
    answered = time.perf_counter()

    import numpy

    found: dict[str, Any] = {
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "import_ms": (imported - start) * 1000,
        "first_inference_ms": (answered - imported) * 1000,
        "operators": {},
    }
    for model in models:
        interpreter = Interpreter(model_path=model)
        interpreter.allocate_tensors()
        found["operators"][model] = operators(interpreter)
    print(f"found: {json.dumps(found)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
