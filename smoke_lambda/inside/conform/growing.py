"""Resizes a model to ever larger batches, and compares with the kernels without XNNPACK.

    python -m smoke_lambda.inside.conform.growing MODULE CORPUS MODEL SECONDS

The batch is the first dimension of the model's only input. Each interpreter goes through a few
sizes, each larger than the one before, as a caller does whose inputs grow: what was allocated for
the last size is freed, and may come back as something else. One line of JSON says how many runs
there were, and how many answered otherwise. Runs beside a wheel, on any Python from 3.8 on.
"""

from __future__ import annotations

import importlib
import json
import random
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from smoke_lambda.inside.conform import MARK
from smoke_lambda.inside.conform.corpus import load, read_index

LARGEST = 64
STEPS = 8
SEED = 1
# Far above what kernels differ by in a small model of float32, far below its answers.
TOLERANCE = 1e-2


def answer(interpreter: Any, batch: Any) -> Any:  # noqa: ANN401 - the runtime has no types here
    """The first output for a batch, after a resize to its size."""
    detail = interpreter.get_input_details()[0]
    interpreter.resize_tensor_input(detail["index"], batch.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(detail["index"], batch)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def main(module: str, corpus: str, name: str, seconds: str) -> None:
    """Run until the time is up; prints what was found."""
    runtime = importlib.import_module(module)
    folder = Path(corpus)
    models = {model.name: model for model in read_index(folder).models}
    content, cases = load(folder, models[name])
    shape = (LARGEST, *cases[0].inputs[0].shape[1:])
    batch = np.random.RandomState(SEED).standard_normal(shape).astype(np.float32)
    plain = runtime.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    expected = answer(
        runtime.Interpreter(model_content=content, experimental_op_resolver_type=plain), batch
    )
    rng = random.Random(SEED)
    end = time.monotonic() + float(seconds)
    runs, wrong = 0, []
    while time.monotonic() < end:
        interpreter = runtime.Interpreter(model_content=content, num_threads=1)
        for size in sorted(rng.randint(1, LARGEST) for _ in range(STEPS)):
            found = answer(interpreter, batch[:size])
            runs += 1
            if np.abs(found - expected[:size]).max() > TOLERANCE:
                wrong.append(size)
    print("\n" + MARK + json.dumps({"runs": runs, "wrong": len(wrong), "sizes": wrong[:5]}))


if __name__ == "__main__":
    main(*sys.argv[1:])
