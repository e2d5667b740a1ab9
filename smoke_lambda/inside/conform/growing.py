"""Resize a model to ever larger batches, and compare with the kernels without XNNPACK.

    python -m smoke_lambda.inside.conform.growing MODULE CORPUS MODEL SECONDS

The batch is the first dimension of the model's only input. Each interpreter goes through a few
growing sizes, like a caller whose inputs grow. Memory that was allocated for the last size is
freed, and may be reused for something else. One line of JSON has the number of runs and the
number of wrong answers. The program runs beside a wheel, on any Python from 3.8 on.
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
# Far above the difference between kernels in a small float32 model, far below its answers.
TOLERANCE = 1e-2


def answer(interpreter: Any, batch: Any) -> Any:  # noqa: ANN401 - the runtime has no types here
    """Return the first output for a batch, after a resize to the size of the batch."""
    detail = interpreter.get_input_details()[0]
    interpreter.resize_tensor_input(detail["index"], batch.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(detail["index"], batch)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def main(module: str, corpus: str, name: str, seconds: str) -> None:
    """Run until the time is up; print the findings."""
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
