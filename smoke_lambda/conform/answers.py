"""What TensorFlow's reference kernels answer to a model.

Runs in the environment of requirements/train.txt.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf  # type: ignore[import-untyped]

from builders.errors import UsageError
from smoke_lambda.conform.corpus import Array, Case, CaseNames


class Answers(NamedTuple):
    """The cases of a model.

    Attributes:
        cases: with what is expected.
        stateful: an answer depends on the calls before.
        largest: the largest magnitude among the answers, in real numbers.
        real: of each case, the answers in real numbers.
    """

    cases: list[Case]
    stateful: bool
    largest: float
    real: list[list[Array]]


def reference(content: bytes) -> Any:  # noqa: ANN401 - TensorFlow has no types
    """An interpreter with the reference kernels, and no delegate."""
    return tf.lite.Interpreter(
        model_content=content,
        experimental_op_resolver_type=tf.lite.experimental.OpResolverType.BUILTIN_REF,
    )


def answers(content: bytes, samples: Sequence[Sequence[Array]], signatures: Sequence[str]) -> Answers:
    """Ask the reference kernels.

    Args:
        samples: the inputs of each case, those of quantized inputs in real numbers.
        signatures: that each case runs; none: the first graph, without a signature.
    """
    interpreter = reference(content)
    called = [*signatures] or [None] * len(samples)
    runs = [
        run(interpreter, values, name) for values, name in zip(samples, called, strict=True)
    ]
    again = [run(interpreter, values, name)[0] for values, name in zip(samples, called, strict=True)]
    cases = [case for case, _ in runs]
    stateful = any(
        not _same(first, second)
        for case, repeated in zip(cases, again, strict=True)
        for first, second in zip(case.outputs, repeated.outputs, strict=True)
    )
    real = [values for _, values in runs]
    numbers = [v for values in real for v in values if v.dtype != object and v.size]
    largest = max((float(np.max(np.abs(v.astype(np.complex128)))) for v in numbers), default=0.0)
    return Answers(cases, stateful, float(np.float32(largest)), real)


def run(interpreter: Any, values: Sequence[Array], signature: str | None) -> tuple[Case, list[Array]]:  # noqa: ANN401
    """One invocation; gives the case, and its answers in real numbers."""
    inputs, outputs = details(interpreter, signature)
    fed = [quantized(value, entry) for value, entry in zip(values, inputs.values(), strict=True)]
    if signature is None:
        resized = [
            interpreter.resize_tensor_input(entry["index"], value.shape, strict=False)
            for value, entry in zip(fed, inputs.values(), strict=True)
            if tuple(entry["shape"]) != value.shape
        ]
        interpreter.allocate_tensors() if resized or not _allocated(interpreter) else None
        for value, entry in zip(fed, inputs.values(), strict=True):
            interpreter.set_tensor(entry["index"], value)
        interpreter.invoke()
        found = [interpreter.get_tensor(entry["index"]) for entry in outputs.values()]
    else:
        runner = interpreter.get_signature_runner(signature)
        answered = runner(**dict(zip(inputs, fed, strict=True)))
        found = [answered[name] for name in outputs]
    found = [np.array(value) for value in found]
    names = CaseNames(signature, tuple(inputs), tuple(outputs))
    real = [dequantized(value, entry) for value, entry in zip(found, outputs.values(), strict=True)]
    return Case(fed, found, signature, names), real
