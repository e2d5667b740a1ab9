"""A corpus with two stand-ins for models, for tests of code that reads or writes a corpus."""

from __future__ import annotations

import numpy as np

from smoke_lambda.inside.conform.corpus import Array, Case, CaseNames, Model
from smoke_lambda.train.writing import Entry, digest

NAMES = CaseNames(None, ("x",), ("y", "z"))


def texts(*values: bytes) -> Array:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def entry(
    name: str = "relu.float32",
    family: str = "activation",
    operators: tuple[tuple[str, int], ...] = (("ADD", 1), ("RELU", 2)),
) -> Entry:
    content = f"TFL3 {name}".encode()
    cases = [
        Case(
            inputs=[np.arange(6, dtype=np.float32).reshape(2, 3) + number],
            outputs=[np.float32(number), texts(b"a", b"", "\u00e4".encode()).reshape(1, 3)],
            signature=None,
            names=NAMES,
        )
        for number in range(2)
    ]
    model = Model(
        name=name,
        pattern=name.split(".")[0],
        family=family,
        flavour=name.split(".")[1],
        sha256=digest(content),
        since="",
        operators=operators,
        stateful=False,
        signatures=(None,),
        tolerance="float32",
        seed=0,
        largest=6.0,
        cases=(NAMES, NAMES),
    )
    return Entry(model, content, cases)
