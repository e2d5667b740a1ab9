"""What TensorFlow's reference kernels answer to a model.

Runs in the environment of requirements/train.txt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf  # type: ignore[import-untyped]

from builders.errors import UsageError
from smoke_lambda.inside.conform.corpus import Array, Case, CaseNames
from smoke_lambda.train.pattern import Pattern

# What the interpreter says of an operator that the set of reference kernels lacks.
LACKS = "Didn't find op for builtin opcode"

MOVES = 4


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


def reference(content: bytes, *, optimized: bool) -> Any:  # noqa: ANN401 - TensorFlow has no types
    """An interpreter without a delegate.

    Args:
        optimized: use the other kernels, even if there are reference kernels.
    """
    kinds = tf.lite.experimental.OpResolverType
    kind = kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES if optimized else kinds.BUILTIN_REF
    try:
        return tf.lite.Interpreter(model_content=content, experimental_op_resolver_type=kind)
    except ValueError as error:
        if optimized or LACKS not in str(error):
            raise
        return reference(content, optimized=True)


class Asker:
    """An interpreter that allocates only where a shape changes, so that its state lasts."""

    def __init__(self, content: bytes, *, optimized: bool) -> None:
        self._interpreter = reference(content, optimized=optimized)
        self._shapes: list[tuple[int, ...]] = []

    def ask(self, values: Sequence[Array], signature: str | None) -> tuple[Case, list[Array]]:
        """One invocation; gives the case, and its answers in real numbers."""
        if signature is not None:
            return self._ask_signature(values, signature)
        inputs = self._interpreter.get_input_details()
        fed = [quantized(value, entry) for value, entry in zip(values, inputs, strict=True)]
        shapes = [value.shape for value in fed]
        if shapes != self._shapes or not shapes:
            for value, entry in zip(fed, inputs, strict=True):
                if tuple(entry["shape"]) != value.shape:
                    self._interpreter.resize_tensor_input(entry["index"], value.shape)
            self._interpreter.allocate_tensors()
            self._shapes = shapes
        for value, entry in zip(fed, inputs, strict=True):
            self._interpreter.set_tensor(entry["index"], value)
        self._interpreter.invoke()
        outputs = self._interpreter.get_output_details()
        found = [np.array(self._interpreter.get_tensor(entry["index"])) for entry in outputs]
        names = CaseNames(None, names_of(inputs), names_of(outputs))
        real = [dequantized(value, entry) for value, entry in zip(found, outputs, strict=True)]
        return Case(fed, found, None, names), real

    def _ask_signature(self, values: Sequence[Array], signature: str) -> tuple[Case, list[Array]]:
        runner = self._interpreter.get_signature_runner(signature)
        inputs, outputs = sorted(runner.get_input_details()), sorted(runner.get_output_details())
        answered = runner(**dict(zip(inputs, values, strict=True)))
        found = [np.array(answered[name]) for name in outputs]
        names = CaseNames(signature, tuple(inputs), tuple(outputs))
        return Case(list(values), found, signature, names), found


def answers(content: bytes, pattern: Pattern) -> Answers:
    """Ask the reference kernels; the others for an operator that has none of them."""
    asker = Asker(content, optimized=pattern.optimized)
    samples = pattern.samples()
    called: list[str | None] = [*pattern.signatures] or [None] * len(samples)
    first = [asker.ask(*each) for each in zip(samples, called, strict=True)]
    # Not only the first case again: a queue of calls may come back to where it began.
    again = [asker.ask(*each) for each in zip(samples, called, strict=True)]
    stateful = any(
        not same(one, other)
        for (case, _), (repeated, _) in zip(first, again, strict=True)
        for one, other in zip(case.outputs, repeated.outputs, strict=True)
    )
    real = [values for _, values in first]
    numbers = [v for values in real for v in values if v.dtype != object and v.size]
    largest = max((float(np.abs(v.astype(np.complex128)).max()) for v in numbers), default=0.0)
    return Answers([case for case, _ in first], stateful, float(f"{largest:.4g}"), real)


def steepness(
    content: bytes, cases: Sequence[Case], *, optimized: bool, draw: np.random.Generator
) -> int:
    """How far an answer of int8 moves if each number of the inputs moves by one step or none.

    Kernels of int8 may differ by one step, which is as if their inputs had: where a layer's answer
    has a much smaller scale than its input, they then differ by many.

    Returns:
        The most steps, of MOVES tries for each case.
    """
    asker = Asker(content, optimized=optimized)
    found = 0
    for case in cases:
        for _ in range(MOVES):
            moved, _ = asker.ask([_moved(value, draw) for value in case.inputs], None)
            for one, other in zip(case.outputs, moved.outputs, strict=True):
                found = max(found, int(np.abs(one.astype(int) - other.astype(int)).max(initial=0)))
    return found


def _moved(value: Array, draw: np.random.Generator) -> Array:
    limits = np.iinfo(value.dtype)
    moved = value.astype(int) + draw.integers(-1, 2, value.shape)
    return np.clip(moved, limits.min, limits.max).astype(value.dtype)


def names_of(details: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """The names of tensors."""
    return tuple(str(entry["name"]) for entry in details)


def same(one: Array, other: Array) -> bool:
    """Whether two answers are equal, shape, type and all."""
    return bool(
        one.shape == other.shape and one.dtype == other.dtype and one.tolist() == other.tolist()
    )


def quantized(value: Array, entry: Mapping[str, Any]) -> Array:
    """Real numbers as an input takes them."""
    scale, zero = entry["quantization"]
    if not scale or not np.issubdtype(value.dtype, np.floating):
        return value
    limits = np.iinfo(entry["dtype"])
    steps = np.round(value / np.float32(scale)) + zero
    return np.clip(steps, limits.min, limits.max).astype(entry["dtype"])


def dequantized(value: Array, entry: Mapping[str, Any]) -> Array:
    """An answer in real numbers."""
    scale, zero = entry["quantization"]
    quantized = scale and np.issubdtype(value.dtype, np.integer)
    return (value.astype(np.float32) - zero) * np.float32(scale) if quantized else value


def check(
    name: str, pattern: Pattern, found: Answers, own: list[list[Array]] | None, tolerance: float
) -> None:
    """Refuse answers that a wrong runtime could give, too.

    Args:
        own: what TensorFlow itself answers, where that is to be the same.
        tolerance: how far from that, of the largest.

    Raises:
        UsageError: an answer is not finite, is the same number everywhere, or is not
            TensorFlow's.
    """
    for number, values in enumerate(found.real):
        for output, value in enumerate(values):
            place = f"{name}: case {number}, output {output}"
            if value.dtype == object or not value.size:
                continue
            if not np.isfinite(value.astype(np.complex128)).all():
                raise UsageError(f"{place} is not finite")
            flat = value.ravel()
            alone = not flat[0] if flat.size == 1 else (flat == flat[0]).all()
            if alone and not pattern.constant:
                raise UsageError(f"{place} is {flat[0]} everywhere")
            # TensorFlow's own functions begin anew with each call.
            if own is not None and not (found.stateful and number):
                _compare(place, value, own[number][output], tolerance)


def _compare(place: str, value: Array, own: Array, tolerance: float) -> None:
    if value.shape != own.shape:
        raise UsageError(f"{place}: shape {value.shape}, TensorFlow has {own.shape}")
    wide = value.astype(np.complex128), own.astype(np.complex128)
    error = float(np.abs(wide[0] - wide[1]).max())
    if error > tolerance * max(1.0, float(np.abs(wide[1]).max())):
        raise UsageError(f"{place} is {error:.3g} from what TensorFlow answers")
