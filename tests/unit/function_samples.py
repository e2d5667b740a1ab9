"""Models, described by their facts, and the handlers for them."""

# ruff: noqa: ANN401 - the stand-ins take and give what the real ones do
from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from smoke_lambda.functions.context import Made, Wheel, function_context
from smoke_lambda.functions.facts import Facts, Signature, Tensor
from smoke_lambda.functions.plan import Choice, make_plan
from smoke_lambda.functions.preprocessing import Scaling, scaling_of
from smoke_lambda.functions.render import APP, render
from smoke_lambda.functions.samples import sample_of

WHEEL = Wheel(
    file="tflite_runtime-2.22.0-1-cp313-cp313-manylinux2014_x86_64.whl",
    sha256="0" * 64,
    python="3.13",
    arch="x86_64",
)
LIMITS = {"int8": (-128, 127), "uint8": (0, 255), "int32": (-(2**31), 2**31 - 1)}


def tensor(
    name: str = "x",
    shape: Sequence[int] = (1, 4),
    dtype: str = "float32",
    *,
    quantization: tuple[float, int] = (0.0, 0),
    position: int = 0,
    last: str = "",
    open_shape: Sequence[int] = (),
) -> Tensor:
    return Tensor(
        name=name,
        position=position,
        shape=tuple(shape),
        open_shape=tuple(open_shape or shape),
        dtype=dtype,
        scale=quantization[0],
        zero_point=quantization[1],
        limits=LIMITS.get(dtype),
        last=last,
    )


def model(inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Facts:
    whole = Signature(name="", inputs=tuple(inputs), outputs=tuple(outputs))
    return Facts(whole=whole, signatures=())


def two_signatures(inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Facts:
    """Return a model with two equal signatures, `serve` and `train`."""
    both = tuple(
        Signature(name=name, inputs=tuple(inputs), outputs=tuple(outputs))
        for name in ("serve", "train")
    )
    return Facts(whole=Signature(name="", inputs=(), outputs=()), signatures=both)


PICTURE = tensor(shape=(1, 6, 5, 3))
SCORES = tensor("y", (1, 3), last="FULLY_CONNECTED")
SMALL = (0.1, 0)
LABELS = ("dress", "shirt", "hat")

MODELS: Mapping[str, tuple[Facts, Choice, str]] = {
    "labelled": (
        model([PICTURE], [SCORES]),
        Choice(scaling=scaling_of("xception"), labels=LABELS),
        "xception",
    ),
    "scores": (model([PICTURE], [SCORES]), Choice(scaling=scaling_of("vgg16")), "vgg16"),
    "channels first": (
        model([tensor(shape=(1, 3, 6, 5))], [SCORES]),
        Choice(scaling=scaling_of("densenet")),
        "densenet",
    ),
    "int8": (
        model(
            [tensor(shape=(1, 6, 5, 1), dtype="int8", quantization=(1 / 255, -128))],
            [tensor("y", (1, 3), "int8", quantization=(1 / 256, -128), last="SOFTMAX")],
        ),
        Choice(scaling=scaling_of("0..1")),
        "0..1",
    ),
    "digits": (
        model([tensor(shape=(1, 8, 8, 1))], [tensor("y", (1, 10), last="SOFTMAX")]),
        Choice(scaling=scaling_of("0..1"), labels=tuple("0123456789")),
        "0..1",
    ),
    "two outputs": (
        model([PICTURE], [tensor("a", (1, 2)), tensor("b", (1, 1), position=1)]),
        Choice(scaling=scaling_of("-1..1")),
        "-1..1",
    ),
    "numbers": (model([tensor()], [tensor("y", (1, 1))]), Choice(), ""),
    "two inputs": (
        model([tensor("a"), tensor("b", (1, 2), "int32", position=1)], [tensor("y", (1, 1))]),
        Choice(),
        "",
    ),
    "mixed": (
        model(
            [
                tensor("pic", (1, 6, 5, 3)),
                tensor("meta", (1, 2), position=1),
                tensor("raw", (1, 2), position=2),
                tensor("wav", (1, 8), position=3),
            ],
            [tensor("y", (1, 1))],
        ),
        Choice(kinds={"raw": "array", "wav": "audio"}, scaling=scaling_of("none"), rate=8000),
        "none",
    ),
    "sound": (
        model([tensor("wav", (8,))], [tensor("y", (1, 3))]),
        Choice(kinds={"": "audio"}, rate=8000),
        "",
    ),
    "array": (
        model([tensor()], [tensor("y", (1, 2), "int8", quantization=SMALL)]),
        Choice(kinds={"": "array"}),
        "",
    ),
    "signature": (
        two_signatures([tensor("x"), tensor("z", position=1)], [tensor("y", (1, 2))]),
        Choice(signature="serve"),
        "",
    ),
    "pictures of a signature": (
        two_signatures([PICTURE], [SCORES]),
        Choice(signature="serve", scaling=scaling_of("none"), labels=LABELS),
        "none",
    ),
    "told its shape": (
        model([tensor(shape=(1, 1), open_shape=(-1, -1))], [tensor("y", (1, 2))]),
        Choice(shapes={"": (1, 16)}),
        "",
    ),
}


def context(name: str, *, package: str = "image") -> dict[str, Any]:
    """Return the templates' context for a model."""
    facts, choice, preprocess = MODELS[name]
    plan = make_plan(facts, choice)
    made = Made(
        name="my-function",
        plan=plan,
        sample=sample_of(plan, None).as_json(),
        preprocess=preprocess or "none",
        scaling=choice.scaling or Scaling(),
        resize="nearest",
        package=package,
    )
    return function_context(made, "2.22.0", WHEEL)


class Interpreter:
    """A stand-in for a model: records its inputs, and returns the answers of the test."""

    def __init__(self, signature: Signature, answers: Mapping[str, Any]) -> None:
        self.signature, self.answers = signature, answers
        self.given: dict[str, Any] = {}
        self.resized: dict[int, Any] = {}

    def resize_tensor_input(self, index: int, shape: Sequence[int]) -> None:
        self.resized[index] = list(shape)

    def allocate_tensors(self) -> None: ...

    def invoke(self) -> None: ...

    def get_input_details(self) -> list[dict[str, Any]]:
        return [self._described(t, t.position) for t in self.signature.inputs]

    def get_output_details(self) -> list[dict[str, Any]]:
        return [self._described(t, 10 + t.position) for t in self.signature.outputs]

    def _described(self, t: Tensor, index: int) -> dict[str, Any]:
        shape = np.array(self.resized.get(index, t.shape), np.int32)
        kind = {"dtype": np.dtype(t.dtype).type, "quantization": (t.scale, t.zero_point)}
        return {"index": index, "name": t.name, "shape": shape, **kind}

    def set_tensor(self, index: int, value: Any) -> None:
        (found,) = (t for t in self.signature.inputs if t.position == index)
        self.take(found, value)

    def take(self, t: Tensor, value: Any) -> None:
        assert value.dtype == np.dtype(t.dtype), t.name
        assert list(value.shape) == self.resized.get(t.position, list(t.shape)), t.name
        self.given[t.name] = value

    def get_tensor(self, index: int) -> Any:
        (found,) = (t for t in self.signature.outputs if 10 + t.position == index)
        return self.output(found)

    def output(self, t: Tensor) -> Any:
        return np.array(self.answers[t.name], t.dtype).reshape(t.shape)

    def get_signature_runner(self, name: str) -> Any:
        assert name == self.signature.name
        return Runner(self)


class Runner:
    """The runner of one of several signatures."""

    def __init__(self, interpreter: Interpreter) -> None:
        self.interpreter = interpreter

    def get_input_details(self) -> dict[str, Any]:
        return {each["name"]: each for each in self.interpreter.get_input_details()}

    def get_output_details(self) -> dict[str, Any]:
        return {each["name"]: each for each in self.interpreter.get_output_details()}

    def __call__(self, **tensors: Any) -> dict[str, Any]:
        for t in self.interpreter.signature.inputs:
            self.interpreter.take(t, tensors[t.name])
        return {t.name: self.interpreter.output(t) for t in self.interpreter.signature.outputs}


def load(name: str, folder: Path, answers: Mapping[str, Any]) -> tuple[Any, Interpreter]:
    """Import the handler for a model; return it and the model's stand-in."""
    facts, choice, _ = MODELS[name]
    signature = next(
        (each for each in facts.signatures if each.name == choice.signature), facts.whole
    )
    interpreter = Interpreter(signature, answers)
    (folder / APP).write_text(render(APP, context(name)))
    (folder / "labels.txt").write_text("\n".join(choice.labels) + "\n")
    runtime: Any = ModuleType("tflite_runtime.interpreter")
    runtime.Interpreter = lambda model_path: interpreter  # noqa: ARG005
    sys.modules["tflite_runtime"] = ModuleType("tflite_runtime")
    sys.modules["tflite_runtime.interpreter"] = runtime
    try:
        spec = importlib.util.spec_from_file_location("app_of_a_model", folder / APP)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        del sys.modules["tflite_runtime"], sys.modules["tflite_runtime.interpreter"]
    return module, interpreter
