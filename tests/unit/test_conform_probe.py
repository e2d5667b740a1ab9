"""What the probe looks at, with a runtime in Python."""

from __future__ import annotations

import enum
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conform_samples import NAMES, entry, texts

from smoke_lambda.inside.conform import MARK, probe
from smoke_lambda.inside.conform.corpus import Array, Case
from smoke_lambda.train.writing import Entry, write_corpus

JOB = {
    "threads": [1, 2],
    "tolerances": {"float32": {"absolute": 0.01}},
    "memory": {"calls": 3, "warm": 2, "bytes": 1000, "times": 2, "seconds": 60},
}


class OpResolverType(enum.Enum):
    BUILTIN = 1
    BUILTIN_REF = 2
    BUILTIN_WITHOUT_DEFAULT_DELEGATES = 3


class Interpreter:
    """Returns the outputs that the samples' cases expect: the first input's number, and texts."""

    wrong: dict[str, Any]
    """The faults of this runtime, by name; see the tests."""
    calls: list[list[int]]

    def __init__(
        self, model_content: bytes, num_threads: int, experimental_op_resolver_type: OpResolverType
    ) -> None:
        assert model_content.startswith(b"TFL3")
        self.threads = num_threads
        self.resolver = experimental_op_resolver_type.name
        self.shape = [2, 3]
        self.input: Any = None
        error = self.wrong.get(self.resolver)
        if error:
            raise ValueError(error)

    def allocate_tensors(self) -> None:
        pass

    def get_input_details(self) -> list[dict[str, Any]]:
        open_shape = [-1, 3] if self.wrong.get("open") else [2, 3]
        detail = {"shape": np.array(self.shape), "shape_signature": np.array(open_shape)}
        return [detail | {"index": 0, "dtype": np.float32, "name": "x"}]

    def get_output_details(self) -> list[dict[str, Any]]:
        return [{"index": 1}, {"index": 2}]

    def resize_tensor_input(self, index: int, shape: list[int]) -> None:
        assert index == 0
        self.shape = shape

    def set_tensor(self, index: int, array: Array) -> None:
        assert index == 0
        assert list(array.shape) == self.shape
        self.input = array

    def invoke(self) -> None:
        type(self).calls.append(self.shape)
        if self.wrong.get("threads") == self.threads:
            raise RuntimeError("node 3 failed")

    def get_tensor(self, index: int) -> Array:
        if index == 2:
            return texts(b"a", b"", "\u00e4".encode()).reshape(1, 3)
        add = self.wrong.get("add", 0.0)
        return np.float32(self.input.ravel()[0] + add)

    def _get_ops_details(self) -> list[dict[str, Any]]:
        return [
            {"index": 0, "op_name": "ADD", "inputs": [0], "outputs": [1]},
            {"index": 1, "op_name": "RELU", "inputs": [1], "outputs": [2]},
            {"index": 2, "op_name": "DELEGATE", "inputs": [0], "outputs": [1]},
        ]


def visited(tmp_path: Path, made: Entry | None = None, **wrong: object) -> tuple[Any, list[str]]:
    made = made or entry()
    write_corpus(tmp_path, "2.14.1", [made])
    Interpreter.wrong, Interpreter.calls = wrong, []
    runtime = SimpleNamespace(Interpreter=Interpreter, OpResolverType=OpResolverType)
    stages: list[str] = []
    *_, found = probe.visit(runtime, tmp_path, made.model, JOB, stages.append)
    return found, stages


def test_all_ways_are_tried_twice(tmp_path: Path) -> None:
    found, stages = visited(tmp_path)
    assert found["failures"] == []
    assert found["delegated"] == [1, 2]
    assert found["grown_bytes"] <= 1000
    for way in ("1 thread", "2 threads"):
        assert f"{way}, case 1, second time" in stages
    for way in ("without XNNPACK", "reference kernels"):
        assert f"{way}, case 1, once" in stages
    assert stages[-1] == "memory over 3 calls"


def test_an_open_shape_is_resized_and_back(tmp_path: Path) -> None:
    found, stages = visited(tmp_path, open=True)
    assert found["failures"] == []
    assert [3, 3] in Interpreter.calls
    assert "1 thread, case 0, after a resize and back" in stages


def test_a_wrong_answer_is_told_of_each_way_once(tmp_path: Path) -> None:
    found, _ = visited(tmp_path, add=0.5)
    assert [failure["what"] for failure in found["failures"]] == ["wrong answer"] * 3
    assert found["failures"][0]["detail"].startswith("1 thread, case 0, first time: output y: at")
    assert found["grown_bytes"] is None


def test_what_only_some_threads_do(tmp_path: Path) -> None:
    found, _ = visited(tmp_path, threads=2)
    (failure,) = found["failures"]
    assert failure["what"] == "does not run"
    assert failure["detail"] == "2 threads, case 0, first time: node 3 failed"


def test_a_model_that_is_not_loaded(tmp_path: Path) -> None:
    found, _ = visited(tmp_path, BUILTIN="failed to setup\nXNNPACK runtime")
    (failure,) = found["failures"]
    assert (failure["what"], failure["detail"]) == (
        "not loaded",
        "1 thread: failed to setup XNNPACK runtime",
    )
    assert found["delegated"] is None


def test_an_operator_may_have_no_reference_kernel(tmp_path: Path) -> None:
    lacks = "Didn't find op for builtin opcode 'ADD' version '9'."
    assert visited(tmp_path, BUILTIN_REF=lacks)[0]["failures"] == []
    assert visited(tmp_path, BUILTIN_REF="broken")[0]["failures"]


def test_a_model_with_a_state_is_not_resized_nor_called_over_and_over(tmp_path: Path) -> None:
    made = entry()
    made = made._replace(model=made.model._replace(stateful=True))
    found, stages = visited(tmp_path, made, open=True)
    assert found["failures"] == []
    assert found["grown_bytes"] is None
    assert not any("resize" in stage for stage in stages)


def test_memory_that_grows_again_and_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = iter(range(0, 100_000, 2000))
    monkeypatch.setattr(probe, "resident_bytes", lambda: next(sizes))
    found, _ = visited(tmp_path)
    assert found["failures"] == [
        {"what": "memory growth", "detail": "2000 bytes over 3 calls, allowed 1000"}
    ]


def test_memory_that_grows_once_is_the_heap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = iter([0, 2000, 2000, 2000])
    monkeypatch.setattr(probe, "resident_bytes", lambda: next(sizes))
    assert visited(tmp_path)[0]["failures"] == []


def test_a_signature_is_called_by_its_names() -> None:
    def runner(**inputs: object) -> dict[str, Any]:
        assert list(inputs) == ["x"]
        return {"z": 2, "y": 1}

    interpreter = SimpleNamespace(get_signature_runner=lambda name: {"f": runner}[name])
    names = NAMES._replace(signature="f")
    assert probe.answer(interpreter, Case([np.zeros(1)], [], "f", names)) == [1, 2]


def test_what_it_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_corpus(tmp_path, "2.14.1", [entry()])
    Interpreter.wrong, Interpreter.calls = {}, []
    runtime = SimpleNamespace(Interpreter=Interpreter, OpResolverType=OpResolverType)
    monkeypatch.setitem(sys.modules, "some_runtime", runtime)
    job = tmp_path / "job.json"
    job.write_text(
        json.dumps(
            JOB | {"module": "some_runtime", "corpus": str(tmp_path), "models": ["relu.float32"]}
        )
    )
    probe.main(str(job))
    lines = [line for line in capsys.readouterr().out.splitlines() if line]
    said = [json.loads(line[len(MARK) :]) for line in lines]
    assert said[0]["numpy"] == np.__version__
    assert said[0]["heap_is_checked"] is False
    assert said[1] == {"model": "relu.float32", "stage": "read"}
    before, after = (line for line in said if "found" in line)
    assert said.index(before) < said.index(
        {"model": "relu.float32", "stage": "reference kernels: load"}
    )
    assert (before["found"]["failures"], after["found"]["failures"]) == ([], [])
    assert said[-1] == {"end": True}
