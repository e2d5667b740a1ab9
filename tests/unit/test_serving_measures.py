"""What ./scripts/serve --load counts: answers, and the time in which they came."""

import importlib
import sys
import time
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from smoke_lambda.serving.protos.serving_pb2 import PredictRequest

SECONDS = 0.05
ANSWER = 0.1


class Slow:
    """A client whose answers take longer than the whole measurement."""

    def request(self, _inputs: object) -> PredictRequest:
        return PredictRequest()

    def send(self, _request: object, _timeout: float) -> None:
        time.sleep(ANSWER)


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    wheel: Any = ModuleType("tflite_runtime.interpreter")
    wheel.Interpreter = object
    monkeypatch.setitem(sys.modules, "tflite_runtime", ModuleType("tflite_runtime"))
    monkeypatch.setitem(sys.modules, "tflite_runtime.interpreter", wheel)
    monkeypatch.delitem(sys.modules, "smoke_lambda.serving.load", raising=False)
    module = importlib.import_module("smoke_lambda.serving.load")
    yield module
    del sys.modules["smoke_lambda.serving.load"]


def test_an_answer_that_comes_after_the_end_takes_its_time(load: ModuleType) -> None:
    answered = load.served(Slow(), {}, 2, SECONDS)
    assert len(answered.times) == 2
    assert answered.seconds >= ANSWER
    found = load.row(2, answered, [ANSWER])
    assert found["per_second"] <= 2 / ANSWER
    assert found["of_direct"] <= 2


def test_the_time_of_clients_is_told_for_a_request(load: ModuleType) -> None:
    answered = load.Answered(times=[0.01] * 4, seconds=1.0, cpu_seconds=0.002)
    assert load.row(1, answered, [0.01])["clients_cpu_ms"] == 0.5
