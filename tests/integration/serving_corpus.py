"""Asks copies of all models of the corpus, as the server would, in a wheel's environment.

    python serving_corpus.py CORPUS

Prints JSON: the models whose answers differ from TensorFlow's, with the fault, and how batches are
answered.
"""

from __future__ import annotations

import json
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from smoke_lambda.inside.conform.comparing import difference
from smoke_lambda.inside.conform.corpus import Case, load, read_index
from smoke_lambda.serving.errors import ServingError
from smoke_lambda.serving.model_copy import Copy

MAX_BATCH = 64


def fault(copy: Copy, case: Case, tolerance: Mapping[str, float]) -> str:
    """Return the fault in the answers to a case of a model with one signature."""
    ((key, signature),) = copy.signatures.items()
    by_tensor = {tensor.name: name for name, tensor in signature.inputs.items()}
    order = [by_tensor[each["name"]] for each in copy._interpreter.get_input_details()]
    inputs = dict(zip(order, case.inputs, strict=True))
    try:
        signature.check(inputs, MAX_BATCH)
        found = copy.run(key, inputs, tuple(signature.outputs))
    except ServingError as error:
        return error.reason
    # The outputs are in the signature's order, not in the corpus's: each expected one must fit one.
    left = list(found.values())
    for expected in case.outputs:
        fits = (each for each in left if not difference(each, expected, tolerance))
        fit = next(fits, None)
        if fit is None:
            return "another answer"
        left = [each for each in left if each is not fit]
    return ""


def main(corpus: str) -> None:
    """Ask a copy of every model."""
    folder = Path(corpus)
    tolerances = tomllib.loads((folder.parent / "tolerance.toml").read_text())
    faults: dict[str, str] = {}
    batching: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as place:
        for model in read_index(folder).models:
            content, cases = load(folder, model)
            path = Path(place) / f"{model.name}.tflite"
            path.write_bytes(content)
            copy = Copy(path, 1)
            batching.update(each.batching.name for each in copy.signatures.values())
            tolerance = tolerances[model.tolerance]
            if len(copy.signatures) == 1 and (said := fault(copy, cases[0], tolerance)):
                faults[model.name] = said
            path.unlink()
    print("\n" + json.dumps({"faults": faults, "batching": batching}))


if __name__ == "__main__":
    main(*sys.argv[1:])
