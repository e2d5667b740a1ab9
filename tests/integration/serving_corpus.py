"""Asks copies of all models of the corpus, as the server would; runs beside a wheel.

    python serving_corpus.py CORPUS

Prints the names of those that answer otherwise than TensorFlow, with what was found, as JSON; and
how their batches are answered.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from smoke_lambda.conform.corpus import load, read_index
from smoke_lambda.serving.codec import Array
from smoke_lambda.serving.errors import ServingError
from smoke_lambda.serving.model_copy import Copy

MAX_BATCH = 64
# What kernels and int8 differ by, far from another model's answer; conformance looks closer.
TOLERANCE = 0.05


def fault(copy: Copy, case: Any) -> str:  # noqa: ANN401 - a case of the corpus
    """What is wrong with the answers to a case of a model that has one signature."""
    ((key, signature),) = copy.signatures.items()
    by_tensor = {tensor.name: name for name, tensor in signature.inputs.items()}
    order = [by_tensor[each["name"]] for each in copy._interpreter.get_input_details()]
    inputs = dict(zip(order, case.inputs, strict=True))
    try:
        signature.check(inputs, MAX_BATCH)
        found = copy.run(key, inputs, tuple(signature.outputs))
    except ServingError as error:
        return error.reason
    # Their order is the signature's, not the corpus's: of several, one must fit each.
    left = list(found.values())
    for expected in case.outputs:
        fit = next((each for each in left if alike(each, expected)), None)
        if fit is None:
            return "another answer"
        left = [each for each in left if each is not fit]
    return ""


def alike(found: Array, expected: Array) -> bool:
    """Whether two arrays are the same answer."""
    if found.shape != expected.shape or found.dtype.kind != expected.dtype.kind:
        return False
    if found.dtype.kind in "OS":
        return bool(np.array_equal(found, expected))
    kind = np.complex128 if found.dtype.kind == "c" else np.float64
    one, other = found.astype(kind), expected.astype(kind)
    finite = np.abs(other)[np.isfinite(other)]
    scale = TOLERANCE * float(finite.max(initial=1))
    return bool(np.allclose(one, other, rtol=TOLERANCE, atol=scale, equal_nan=True))


def main(corpus: str) -> None:
    """Ask them all."""
    folder = Path(corpus)
    faults: dict[str, str] = {}
    batching: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as place:
        for model in read_index(folder).models:
            content, cases = load(folder, model)
            path = Path(place) / f"{model.name}.tflite"
            path.write_bytes(content)
            copy = Copy(path, 1)
            batching.update(each.batching.name for each in copy.signatures.values())
            if len(copy.signatures) == 1 and (said := fault(copy, cases[0])):
                faults[model.name] = said
            path.unlink()
    print("\n" + json.dumps({"faults": faults, "batching": batching}))


if __name__ == "__main__":
    main(*sys.argv[1:])
