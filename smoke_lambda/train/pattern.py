"""What a pattern of the corpus is: a small graph, its inputs, and the flavours it comes in.

Runs in the environment of requirements/train.txt.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf  # type: ignore[import-untyped]

from smoke_lambda.inside.conform.corpus import Array

FLOAT32, FLOAT16, DYNAMIC, INT8 = "float32", "float16", "dynamic", "int8"
WEIGHTED = (FLOAT32, FLOAT16, DYNAMIC, INT8)
"""The flavours of a graph with weights; the converter leaves fewer than 1024 as they are."""
PLAIN = (FLOAT32, INT8)
"""The flavours of a graph without."""
FLOATING = (FLOAT32,)
"""The flavour of a graph that has no quantized kernels, or no floating point at all."""

Tensor = Any
Function = Callable[..., Any]
"""From a Draw and tensors to a tensor, or several."""


class Draw:
    """Numbers that depend on a name alone; all are multiples of a power of two.

    They compress well, and a sum of few of them is exact in any order.
    """

    def __init__(self, name: str) -> None:
        self.seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "little")
        self._random = np.random.RandomState(self.seed)

    def array(self, shape: Sequence[int], low: float, high: float, dtype: str) -> Array:
        """Values in [low, high), in steps of a 128th of a power of two."""
        if dtype == "bool":
            return self._random.randint(0, 2, shape).astype(bool)
        if np.issubdtype(np.dtype(dtype), np.integer):
            return self._random.randint(int(low), int(high), shape).astype(dtype)
        if np.issubdtype(np.dtype(dtype), np.complexfloating):
            real, imaginary = (self.array(shape, low, high, "float32") for _ in range(2))
            return (real + 1j * imaginary).astype(dtype)
        step = 2.0 ** np.ceil(np.log2(max(abs(low), abs(high)))) / 128
        numbers = self._random.randint(int(low / step), int(high / step), shape)
        return np.asarray(numbers * step, dtype=dtype)

    def distinct(self, shape: Sequence[int], dtype: str) -> Array:
        """No value twice, between -1 and 1: what is largest is never a tie."""
        count = int(np.prod(shape))
        values = self._random.permutation(count) * (2.0 / max(count, 1)) - 1
        scaled = values * count / 2 if np.issubdtype(np.dtype(dtype), np.integer) else values
        return np.asarray(scaled.reshape(shape), dtype=dtype)

    def weights(self, *shape: int) -> Tensor:
        """A float32 constant whose sums over all axes but the last stay near 1."""
        return tf.constant(self.kernel(*shape))

    def kernel(self, *shape: int) -> Array:
        """As `weights`, an array."""
        inputs = int(np.prod(shape[:-1])) or 1
        limit = 2.0 ** -np.floor(np.log2(inputs) / 2)
        return self.array(shape, -limit, limit, "float32")

    def bias(self, *shape: int) -> Tensor:
        """A float32 constant of values below one half."""
        return tf.constant(self.array(shape, -0.5, 0.5, "float32"))

    def positive(self, *shape: int) -> Tensor:
        """A float32 constant of values from 0.5 to 1.5."""
        return tf.constant(self.array(shape, 0.5, 1.5, "float32"))


@dataclass(frozen=True)
class Input:
    """An input of a pattern.

    Attributes:
        shape: None for a size that differs from case to case.
        low, high: the values lie in [low, high).
        distinct: no value twice.
        values: of each case; drawn where there are none.
    """

    shape: tuple[int | None, ...]
    dtype: str = "float32"
    low: float = -2
    high: float = 2
    distinct: bool = False
    values: tuple[Any, ...] = ()

    def sized(self, size: int) -> tuple[int, ...]:
        """The shape with that size for each that differs."""
        return tuple(size if length is None else length for length in self.shape)

    def sample(self, draw: Draw, number: int, size: int) -> Array:
        """The values of a case."""
        if self.values:
            dtype = object if self.dtype == "string" else self.dtype
            return np.array(self.values[number % len(self.values)], dtype)
        if self.distinct:
            return draw.distinct(self.sized(size), self.dtype)
        return draw.array(self.sized(size), self.low, self.high, self.dtype)

    def spec(self, name: str) -> Any:  # noqa: ANN401 - TensorFlow has no types
        """The TensorSpec."""
        return tf.TensorSpec(self.shape, tf.dtypes.as_dtype(self.dtype), name)


def x(*shape: int | None, low: float = -2, high: float = 2) -> Input:
    """A float32 input."""
    return Input(shape, low=low, high=high)


def ints(*shape: int | None, low: float = -9, high: float = 9, dtype: str = "int32") -> Input:
    """An input of integers."""
    return Input(shape, dtype, low, high)


@dataclass(frozen=True, kw_only=True)
class Pattern:
    """A graph, in all its flavours.

    Attributes:
        build: from a Draw, what is converted: a function of tensors, a Keras model, or a
            mapping of signatures to functions of a module.
        inputs: of the function.
        sizes: one case each; what a None in a shape stands for there.
        tolerance: row of tolerance.toml, after the flavour: such as "deep" for "int8-deep".
        constant: an answer may be the same number everywhere.
        own: TensorFlow's own answer to a float32 graph must be the reference kernels'.
        custom: the graph has operators that are not TensorFlow Lite's builtin ones.
        float_io: of the int8 flavour, too, inputs and outputs are float32.
        signatures: that the cases run, one each; none: the graph without a signature.
        optimized: the answers are not the reference kernels', which are wrong.
        calls: the inputs of each of those, by name; they take the place of the inputs above.
    """

    name: str
    build: Callable[[Draw], Any]
    inputs: tuple[Input, ...]
    flavours: tuple[str, ...] = PLAIN
    sizes: tuple[int, ...] = (1, 3)
    tolerance: str = ""
    constant: bool = False
    own: bool = True
    custom: bool = False
    float_io: bool = False
    signatures: tuple[str, ...] = ()
    calls: tuple[tuple[Input, ...], ...] = ()
    optimized: bool = False

    def samples(self) -> list[list[Array]]:
        """The inputs of each case, float32 also for int8."""
        draw = Draw(f"{self.name} inputs")
        if self.calls:
            return [[each.sample(draw, 0, 1) for each in inputs] for inputs in self.calls]
        return [
            [each.sample(draw, number, size) for each in self.inputs]
            for number, size in enumerate(self.sizes)
        ]


def pattern(name: str, function: Function, *inputs: Input, **options: Any) -> Pattern:  # noqa: ANN401
    """A pattern of a function from a Draw and tensors.

    Its sizes are those of a batch where a shape has a None, else two cases of one shape.
    """

    def build(draw: Draw) -> Any:  # noqa: ANN401
        seed = f"{name} {draw.seed}"

        # A new Draw: TensorFlow may trace it more than once.
        def traced(*tensors: Tensor) -> Any:  # noqa: ANN401
            return function(Draw(seed), *tensors)

        specs = [each.spec(f"x{number}") for number, each in enumerate(inputs)]
        return tf.function(traced, specs, autograph=False)

    return Pattern(name=name, build=build, inputs=inputs, **options)


def keras(name: str, make: Callable[[Draw], Any], *inputs: Input, **options: Any) -> Pattern:  # noqa: ANN401
    """A pattern of a Keras model, whose weights are drawn anew.

    Args:
        make: gives the model; its inputs are named x0, x1…
    """

    def build(draw: Draw) -> Any:  # noqa: ANN401
        model = make(draw)
        draw_weights(model, draw)
        return model

    return Pattern(name=name, build=build, inputs=inputs, **options)


def draw_weights(model: Any, draw: Draw) -> None:  # noqa: ANN401
    """Give a Keras model weights that keep the size of its activations, and no zeros."""
    for variable in model.weights:
        kind = variable.name.rpartition("/")[2].partition(":")[0]
        shape = tuple(variable.shape)
        if kind in ("gamma", "moving_variance"):
            value = draw.array(shape, 0.5, 1.5, "float32")
        elif kind in ("beta", "bias", "moving_mean"):
            value = draw.array(shape, -0.5, 0.5, "float32")
        elif kind == "depthwise_kernel":
            limit = 2.0 ** -np.floor(np.log2(np.prod(shape[:2])) / 2)
            value = draw.array(shape, -limit, limit, "float32")
        else:
            value = draw.kernel(*shape)
        variable.assign(value)
