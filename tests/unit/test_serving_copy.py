"""How a copy of a model answers batches, with a stand-in for the runtime."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from smoke_lambda.serving.errors import Code, ServingError
from smoke_lambda.serving.signature import DEFAULT, Batching, fits, names, tensor_of

Array = np.ndarray[Any, Any]
SHAPE = (1, 3)


def details(name: str, index: int) -> dict[str, Any]:
    return {
        "name": name,
        "index": index,
        "shape": np.array(SHAPE, np.int32),
        "shape_signature": np.array(SHAPE, np.int32),
        "dtype": np.float32,
        "quantization": (0.0, 0),
    }


class Runtime:
    """An interpreter of a model without signatures; `compute` computes its output."""

    compute: Callable[[Array], Array]
    loaded = 0

    def __init__(self, model_path: str, num_threads: int) -> None:
        assert model_path
        assert num_threads
        Runtime.loaded += 1
        self.state = 0.0

    def allocate_tensors(self) -> None: ...

    def get_signature_list(self) -> dict[str, Any]:
        return {}

    def get_input_details(self) -> list[dict[str, Any]]:
        return [details("x:0", 0)]

    def get_output_details(self) -> list[dict[str, Any]]:
        return [details("y:0", 1)]

    def resize_tensor_input(self, index: int, shape: tuple[int, ...]) -> None: ...

    def reset_all_variables(self) -> None:
        self.state = 0.0

    def set_tensor(self, _index: int, tensor: Array) -> None:
        self.input = tensor

    def invoke(self) -> None:
        self.output = type(self).compute(self.input) + self.state
        self.state += 1

    def get_tensor(self, _index: int) -> Array:
        return self.output


def fails_at_two_rows(array: Array) -> Array:
    if len(array) > 1:
        raise RuntimeError("Node 3 (RESHAPE) failed to prepare.\nmore of it")
    return array * 2


draws = np.random.default_rng(0)

KINDS: dict[str, tuple[Callable[[Array], Array], Batching]] = {
    "rows apart": (lambda array: array * 2, Batching.RESIZE),
    "fails": (fails_at_two_rows, Batching.ROWS),
    "wrong, and says nothing": (lambda array: array * 2 / len(array), Batching.ROWS),
    "one row for all": (lambda array: array[:1] * 2, Batching.ROWS),
    "draws lots": (lambda array: np.asarray(draws.random(array.shape)), Batching.NONE),
}


@pytest.fixture
def copy_of(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    runtime: Any = ModuleType("tflite_runtime.interpreter")
    runtime.Interpreter = Runtime
    monkeypatch.setitem(sys.modules, "tflite_runtime", ModuleType("tflite_runtime"))
    monkeypatch.setitem(sys.modules, "tflite_runtime.interpreter", runtime)
    monkeypatch.delitem(sys.modules, "smoke_lambda.serving.model_copy", raising=False)
    from smoke_lambda.serving.model_copy import Copy

    def make(kind: str) -> Any:  # noqa: ANN401
        monkeypatch.setattr(Runtime, "compute", staticmethod(KINDS[kind][0]), raising=False)
        return Copy(Path("model.tflite"), 1)

    yield make
    sys.modules.pop("smoke_lambda.serving.model_copy", None)


@pytest.mark.parametrize("kind", KINDS)
def test_how_batches_are_answered_is_found_out(copy_of: Callable[[str], Any], kind: str) -> None:
    copy = copy_of(kind)
    signature = copy.signatures[DEFAULT]
    assert signature.batching is KINDS[kind][1]
    expected = (1, 3) if signature.batching is Batching.NONE else (-1, 3)
    assert signature.inputs["x:0"].shape == expected
    batch = np.arange(12, dtype=np.float32).reshape(4, 3)
    if signature.batching is Batching.NONE:
        with pytest.raises(ServingError):
            signature.check({"x:0": batch}, 64)
        return
    signature.check({"x:0": batch}, 64)
    found = copy.run(DEFAULT, {"x:0": batch}, ["y:0"])["y:0"]
    np.testing.assert_allclose(found, batch * 2)


def test_no_request_leaves_a_state(copy_of: Callable[[str], Any]) -> None:
    copy = copy_of("rows apart")
    row = np.ones((1, 3), np.float32)
    for _ in range(2):
        assert copy.run(DEFAULT, {"x:0": row}, ["y:0"])["y:0"].tolist() == [[2, 2, 2]]


def test_what_the_runtime_refuses_is_the_requests_fault(
    copy_of: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = copy_of("rows apart")
    monkeypatch.setattr(Runtime, "compute", staticmethod(fails_at_two_rows))
    before = Runtime.loaded
    with pytest.raises(ServingError, match="RESHAPE") as caught:
        copy.run(DEFAULT, {"x:0": np.ones((2, 3), np.float32)}, ["y:0"])
    assert caught.value.code is Code.INVALID_ARGUMENT
    assert "\n" not in caught.value.reason
    assert Runtime.loaded == before + 1


def test_shapes_fit() -> None:
    assert fits((2, 3), (-1, 3))
    assert not fits((0, 3), (-1, 3))
    assert not fits((2, 3, 1), (-1, 3))
    assert not fits((2, 4), (-1, 3))


def test_names_in_messages_are_few_and_short() -> None:
    assert names(["b", "a"]) == "[a, b]"
    assert len(names(str(number) * 1000 for number in range(1000))) < 2000


def test_a_type_that_cannot_be_sent_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be sent"):
        tensor_of({**details("x", 0), "dtype": np.dtype("M8[s]")})
