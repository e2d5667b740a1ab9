"""The function for ONNX Runtime: its handler, its interface, its locks."""

from __future__ import annotations

import importlib
import re
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from builders.errors import UsageError
from builders.matrix import load_matrix
from smoke_lambda.onnx import handler, lock

LOCKS = [each for each, _ in lock.locks(load_matrix())]


class Node:
    def __init__(self, name: str, shape: list[Any], kind: str = "tensor(float)") -> None:
        self.name, self.shape, self.type = name, shape, kind


class Session:
    """A session that doubles its first input."""

    inputs: tuple[Node, ...] = (Node("x", ["N", 3, 8, 6]),)
    outputs: tuple[Node, ...] = (Node("y", ["N", 10]),)
    metadata: dict[str, str] = {}  # noqa: RUF012 - each test sets it
    fed: dict[str, Any]

    def __init__(self, path: str, _options: object, providers: list[str]) -> None:
        if not path.endswith(".onnx"):
            raise KeyError("no model")  # any kind
        assert providers == ["CPUExecutionProvider"]

    def get_inputs(self) -> tuple[Node, ...]:
        return self.inputs

    def get_outputs(self) -> tuple[Node, ...]:
        return self.outputs

    def get_modelmeta(self) -> types.SimpleNamespace:
        return types.SimpleNamespace(custom_metadata_map=self.metadata)

    def run(self, _names: None, feeds: dict[str, Any]) -> list[Any]:
        if "x" not in feeds:
            raise KeyError("x")
        Session.fed = feeds
        return [feeds["x"] * 2]


class Options:
    def add_session_config_entry(self, key: str, value: str) -> None:
        assert (key, value) == ("session.intra_op.allow_spinning", "0")


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    runtime: Any = types.ModuleType("onnxruntime")
    runtime.InferenceSession, runtime.SessionOptions = Session, Options
    monkeypatch.setitem(sys.modules, "onnxruntime", runtime)
    name = "smoke_lambda.inside.onnx_interpreter"
    monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(Session, "metadata", {})
    return importlib.import_module(name)


def test_a_model_with_its_channels_first_looks_like_any_other(module: types.ModuleType) -> None:
    interpreter = module.Interpreter(model_path="m.onnx", num_threads=1)
    (detail,) = interpreter.get_input_details()
    assert detail["shape"].tolist() == [1, 8, 6, 3]
    assert detail["dtype"] is np.float32
    picture = np.arange(8 * 6 * 3, dtype=np.float32).reshape(1, 8, 6, 3)
    interpreter.set_tensor(0, picture)
    interpreter.invoke()
    assert Session.fed["x"].shape == (1, 3, 8, 6)
    assert Session.fed["x"][0, 2, 7, 5] == picture[0, 7, 5, 2]
    assert interpreter.get_tensor(0)[0, 0, 0, 0] == picture[0, 0, 0, 0] * 2


def test_integers_stand_for_what_the_metadata_says(
    module: types.ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Session, "inputs", (Node("x", [1, 8, 8, 1], "tensor(int8)"),))
    monkeypatch.setattr(Session, "metadata", {"quantization": '{"x": [0.5, -3]}'})
    interpreter = module.Interpreter(model_path="m.onnx")
    (detail,) = interpreter.get_input_details()
    assert detail["quantization"] == (0.5, -3)
    assert detail["dtype"] is np.int8
    assert interpreter.get_output_details()[0]["quantization"] == (0.0, 0)


def test_errors_of_any_kind_are_values_errors(
    module: types.ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="cannot load the model"):
        module.Interpreter(model_path="m.txt")
    with pytest.raises(ValueError, match="ONNX Runtime: 'x'"):
        module.Interpreter(model_path="m.onnx").invoke()
    monkeypatch.setattr(Session, "inputs", (Node("x", [1, "H", "W", 3]),))
    with pytest.raises(ValueError, match="only its batch may be"):
        module.Interpreter(model_path="m.onnx")


def test_the_handler_is_the_other_one_with_another_runtime() -> None:
    text = handler.onnx_handler()
    assert text == handler.OUTPUT.read_text(), "run ./scripts/update --text"
    assert "tflite_runtime" not in text
    assert text.count("class Interpreter:") == 1
    compile(text, "app.py", "exec")
    ours = handler.HANDLER.read_text()
    section = ours.index("# --- The request")
    assert ours[section:] in text, "what follows the runtime is the same"


def test_a_handler_that_has_changed_is_not_rewritten_halfway() -> None:
    assert "from ai_edge_litert.interpreter import" in handler.handler_of(
        "ai_edge_litert.interpreter"
    )
    with pytest.raises(UsageError, match=r"app.py has 0 times .* 'import torch'"):
        handler.replaced("import numpy\n", "import torch\n", "")


def test_every_released_python_has_a_lock_and_no_other() -> None:
    pythons = {r.python for r in load_matrix().runtimes if not r.upcoming}
    assert {path.stem for path in lock.FOLDER.glob("*.txt")} == pythons
    assert {each.path for each in LOCKS} == set(lock.FOLDER.glob("*.txt"))


@pytest.mark.parametrize("path", sorted(lock.FOLDER.glob("*.txt")), ids=lambda path: path.stem)
def test_a_lock_has_hashes_and_what_the_function_needs(path: Path) -> None:
    text = path.read_text()
    assert text.startswith(lock.HEADER)
    assert "://" not in text
    pins = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", text, re.MULTILINE))
    assert pins.keys() >= {"numpy", "onnxruntime", "pillow"}
    is_old = pins["onnxruntime"].startswith("1.16.")
    assert is_old == (load_matrix().runtime(path.stem).glibc == "2.26")
    assert is_old == pins["numpy"].startswith("1.")
    assert text.count("--hash=sha256:") >= len(pins)


def test_a_lock_is_for_no_newer_linux_than_its_runtimes() -> None:
    by_glibc = {r.glibc: lock.platform_of(r) for r in load_matrix().runtimes}
    assert by_glibc["2.26"] == "x86_64-manylinux_2_17"
    assert by_glibc["2.34"] == "x86_64-manylinux_2_34"
