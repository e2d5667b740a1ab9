"""How a function is tried, with a stand-in for the place where it runs."""

# ruff: noqa: ANN401 - the stand-ins take and give what the real ones do
from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from function_samples import context

from builders.errors import SmokeError
from smoke_lambda.functions.prices import load_prices
from smoke_lambda.functions.trial import try_function
from smoke_lambda.functions.writing import write_function
from smoke_lambda.layered import OPT, TASK, lay_out
from smoke_lambda.limits import Limits
from smoke_lambda.site import Host, Measured

ANSWER = {"dress": 0.9, "hat": 0.1}


class Function:
    """Answers each event with the same reply, in the event's form."""

    def __init__(self, host: Place) -> None:
        self.host = host
        self.ms: list[float] = []

    def invoke(self, event: Any) -> Any:
        self.ms.append(800.0 if not self.ms else 30.2)
        reply = self.host.reply(event)
        is_http = "requestContext" in event
        return {"statusCode": 200, "body": json.dumps(reply)} if is_http else reply

    def init_ms(self) -> float:
        return 500.0

    def resident_bytes(self) -> int:
        return 300 << 20

    def peak_bytes(self) -> None:
        return None


class Place:
    """A place where a function needs a certain amount of memory."""

    is_limited = True
    is_emulated = False
    needs_mb = 256

    def __init__(self, reply: Callable[[Any], Any] = lambda _event: ANSWER) -> None:
        self.reply = reply
        self.layers: Sequence[Path] = ()

    def own(
        self, folder: Path, layers: Sequence[Path] = ()
    ) -> Callable[[Limits], AbstractContextManager[Measured]]:
        assert (folder / "Dockerfile").is_file()
        self.layers = layers
        return self._run

    @contextmanager
    def _run(self, limits: Limits) -> Iterator[Measured]:
        if limits.memory_mb < self.needs_mb:
            raise SmokeError("killed")
        yield cast(Measured, Function(self))


def tried(folder: Path, place: Place, **options: Any) -> Any:
    write_function(folder, context("labelled"))
    host = cast(Host, place)
    return try_function(host, folder, name="here", arch="x86_64", xnnpack=0.5, **options)


def test_what_was_found_is_told(tmp_path: Path) -> None:
    trial = tried(tmp_path, Place())
    assert trial.answer == ANSWER
    assert (trial.init_ms, trial.cold_ms, trial.warm_ms) == (500, 800, 30.2)
    assert (trial.least_mb, trial.memory_mb, trial.timeout) == (256, 1769, 15)
    prices = load_prices()
    lines = " ".join(trial.lines(prices))
    assert "A cold start took 800 ms, a later request 30.2 ms." in lines
    assert "XNNPACK runs 50% of the operators." in lines
    assert "It answers with 256 MB." in lines
    assert f"${prices.million('x86_64', 1769, 31):.2f}" in lines
    data = trial.as_json(prices)
    assert data["million_dollars"]["arm64"] == prices.million("arm64", 1769, 31)
    assert json.loads(json.dumps(data))["prices"]["read"] == str(prices.read)


def test_a_larger_model_gets_more_memory_and_a_slower_one_more_time(tmp_path: Path) -> None:
    place = Place()
    place.needs_mb = 1700
    trial = tried(tmp_path, place)
    assert trial.least_mb == 1712
    assert trial.memory_mb == 2176
    assert tried(tmp_path, place, memory_mb=3008).memory_mb == 3008


def test_where_a_processor_is_emulated_times_are_none(tmp_path: Path) -> None:
    place = Place()
    place.is_emulated = True
    trial = tried(tmp_path, place)
    assert (trial.init_ms, trial.cold_ms, trial.warm_ms, trial.least_mb) == (None,) * 4
    assert trial.costs(load_prices()) == {}


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ({"error": "no picture", "statusCode": 400}, "the function answers: no picture"),
        ({"errorMessage": "boom"}, "the function answers: boom"),
        ("text", "the function answers: text"),
        ({"dress": float("nan")}, "numbers that are not finite"),
    ],
)
def test_a_function_that_fails_is_not_handed_over(tmp_path: Path, reply: Any, reason: str) -> None:
    with pytest.raises(SmokeError, match=reason):
        tried(tmp_path, Place(lambda _event: reply))


def test_another_answer_by_http_is_a_fault(tmp_path: Path) -> None:
    def differs(event: Any) -> Any:
        return {"dress": 1.0} if "requestContext" in event else ANSWER

    with pytest.raises(SmokeError, match=r"is not that to events/direct\.json"):
        tried(tmp_path, Place(differs))


def test_a_zip_is_tried_with_its_layers(tmp_path: Path) -> None:
    (tmp_path / "layers").mkdir()
    for name in ("b", "a"):
        with zipfile.ZipFile(tmp_path / "layers" / f"{name}.zip", "w") as archive:
            archive.writestr(f"python/{name}/__init__.py", "")
    place = Place()
    tried(tmp_path, place)
    assert [path.name for path in place.layers] == ["a.zip", "b.zip"]
    (tmp_path / "model.tflite").write_bytes(b"model")
    into = tmp_path / "into"
    into.mkdir()
    lay_out(tmp_path, place.layers, into)
    assert (into / OPT / "python" / "a" / "__init__.py").is_file()
    assert sorted(path.name for path in (into / TASK).iterdir()) == ["app.py", "model.tflite"]
