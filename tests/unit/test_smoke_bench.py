"""The smoke test itself, in made-up places."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from smoke_samples import Nowhere, site_of

from smoke_lambda import bench, events, measure
from smoke_lambda.bench import FLOAT32, INT8, Bench
from smoke_lambda.inside import probing
from smoke_lambda.limits import Limits
from smoke_lambda.report import SmokeRun

TAKEN = {FLOAT32: [["CONV_2D", True]], INT8: [["CONV_2D", True], ["SOFTMAX", False]]}


class Perfect:
    """A function that knows the answer to every event."""

    server = "http://127.0.0.1:1"

    def __init__(self, model: str) -> None:
        self.model = model
        known = events.known_answers()[model]
        private = model == FLOAT32
        self.cases = list(events.cases(known, self.server, private=private))
        self.asked = 0
        self.known = known

    def invoke(self, _event: object) -> Any:  # noqa: ANN401 - any JSON
        case = self.cases[self.asked]
        self.asked += 1
        if case.reason:
            body: dict[str, Any] = {"error": f"because it {case.reason}", "statusCode": 400}
        else:
            image = events.SAMPLE if case.image == events.PHOTO else case.image
            top1 = events.PHOTO_CLASS if case.image == events.PHOTO else self.known.top1[image]
            scores = [*self.known.scores[image]]
            body = {"class": top1, "scores": scores, "model": self.model}
        if not case.http:
            return body
        headers = {"Content-Type": "application/json"}
        status = body.get("statusCode", 200)
        return {"statusCode": status, "headers": headers, "body": json.dumps(body)}

    def init_ms(self) -> float | None:
        return 5.0


class Dead(Perfect):
    """A function whose runtime does not start."""

    def invoke(self, _event: object) -> Any:  # noqa: ANN401 - any JSON
        self.asked += 1
        raise ConnectionResetError("gone")


class Place(Nowhere):
    """A place that behaves as the test asks."""

    def __init__(
        self,
        *,
        install: str = "",
        function: type[Perfect] = Perfect,
        probe: str = "",
        **found: Any,  # noqa: ANN401 - what a probe finds
    ) -> None:
        self.fault, self.probe_fault, self.kind = install, probe, function
        self.found = {"numpy": self.numpy, "operators": TAKEN, "import_ms": 1.0, **found}
        self.functions: list[Perfect] = []
        self.variables: list[Mapping[str, str]] = []

    def install(self, _wheel: Path) -> str:
        return self.fault

    @contextmanager
    def function(self, model: str, variables: Mapping[str, str]) -> Iterator[Perfect]:
        self.functions.append(self.kind(model))
        self.variables.append(variables)
        yield self.functions[-1]

    def probe(self, _models: Sequence[str]) -> tuple[str, dict[str, Any]]:
        return self.probe_fault, {} if self.probe_fault else self.found

    def measures(self) -> dict[str, Any]:
        return {"least_mb": 128}


def run(place: Place) -> SmokeRun:
    steps: list[str] = []
    return Bench(place=place, on_step=steps.append).run(Path("a.whl"))


def failed(found: SmokeRun) -> list[str]:
    return [check.name for check in found.checks if not check.ok]


def test_a_wheel_that_does_all_right() -> None:
    place = Place()
    found = run(place)
    assert failed(found) == []
    assert found.ok
    assert len(found.checks) == 4 + sum(len(f.cases) for f in place.functions)
    assert found.measures == {"least_mb": 128}
    assert found.xnnpack == {FLOAT32: 1.0, INT8: 0.5}
    assert found.init_ms == dict.fromkeys(events.known_answers(), 5.0)
    private = [v["ALLOW_PRIVATE_URLS"] for v in place.variables]
    assert private == ["1" if f.model == FLOAT32 else "0" for f in place.functions]


def test_a_wheel_that_does_not_install_is_not_run() -> None:
    place = Place(install="expected a wheel that installs")
    found = run(place)
    assert failed(found) == ["install"]
    assert place.functions == []


def test_a_function_that_is_dead_is_asked_once_and_never_measured() -> None:
    place = Place(function=Dead)
    found = run(place)
    assert [function.asked for function in place.functions] == [1] * len(events.known_answers())
    assert len(failed(found)) == len(events.known_answers())
    assert "ConnectionResetError" in found.checks[1].detail
    assert found.measures == {}


@pytest.mark.parametrize(
    ("place", "name", "words"),
    [
        (Place(probe="expected exit status 0, found 139"), "probe", "found 139"),
        (Place(numpy="1.9"), "NumPy", "expected 2.0, found 1.9"),
        (
            Place(operators=TAKEN | {INT8: [["CONV_2D", False], ["SOFTMAX", False]]}),
            f"{INT8}: XNNPACK",
            "found left: CONV_2D",
        ),
        (
            Place(operators=TAKEN | {FLOAT32: [["SOFTMAX", False]]}),
            f"{FLOAT32}: XNNPACK",
            "found left: SOFTMAX",
        ),
    ],
    ids=["probe", "NumPy", "int8", "float32"],
)
def test_what_a_look_from_inside_finds(place: Place, name: str, words: str) -> None:
    found = run(place)
    assert failed(found) == [name]
    assert words in next(check.detail for check in found.checks if not check.ok)
    assert found.measures == {}


def test_a_wheel_is_run_with_each_numpy(tmp_path: Path) -> None:
    asked = []

    def at(numpy: str) -> Place:
        asked.append(numpy)
        place = Place(numpy=numpy)
        place.numpy = numpy
        return place

    report = bench.smoke(site_of(tmp_path, at, numpys=("1.26", "2.0")))
    assert report.ok
    assert (report.place, report.log) == ("docker base", str(tmp_path / "logs" / "log"))
    assert asked == ["1.26", "2.0"]
    assert [run.numpy for run in report.runs] == asked


@pytest.mark.parametrize(
    ("status", "output", "fault"),
    [
        (0, 'INFO: delegate\nfound: {"numpy": "1"}\n', ""),
        (0, 'found: {"numpy": "1"}\na late warning\n', ""),
        (0, "INFO: delegate", "found 0: INFO: delegate"),
        (1, "Traceback\nImportError: no", "found 1: ImportError: no"),
        (-11, "", "found -11 (SIGSEGV)"),
        (137, "", "found 137 (SIGKILL)"),
        (None, "", "found none in time"),
    ],
)
def test_what_a_probe_says(status: int | None, output: str, fault: str) -> None:
    said, found = probing.judged(status, output)
    assert fault in said
    assert bool(said) == bool(fault)
    assert found == ({} if fault else {"numpy": "1"})


@pytest.mark.parametrize("needed", [1, 128, 129, 144, 200, 333, 512])
def test_the_least_memory(needed: int) -> None:
    tried = []

    def works(memory_mb: int) -> bool:
        tried.append(memory_mb)
        return memory_mb >= needed

    found = measure.least(works)
    assert found is not None
    assert needed <= found < max(needed, 128) + measure.STEP_MB
    assert found in tried
    assert len(tried) <= 7


def test_what_needs_more_memory_than_there_is() -> None:
    assert measure.least(lambda memory_mb: memory_mb >= 513) is None


class Timed(Perfect):
    """A function whose first answer takes long."""

    def __init__(self) -> None:
        super().__init__(FLOAT32)
        self.ms: list[float] = []

    def invoke(self, _event: object) -> Any:  # noqa: ANN401 - any JSON
        self.ms.append(2.0 if self.ms else 300.0)
        return {"class": 7}

    def peak_bytes(self) -> int | None:
        return 1

    def resident_bytes(self) -> int:
        return 2


class Limited:
    """A place where functions need a certain amount of memory."""

    def __init__(self, needed_mb: int) -> None:
        self.needed_mb = needed_mb

    @contextmanager
    def function(
        self, _model: str, _variables: Mapping[str, str], limits: Limits
    ) -> Iterator[Timed]:
        if limits.memory_mb < self.needed_mb:
            raise OSError("it was killed")
        yield Timed()


def test_measures() -> None:
    found = measure.measure(Limited(200), cpus=8)
    assert found["least_mb"] == 208
    assert [at["vcpus"] for at in found["at"]] == [1, 2]
    assert found["at"][0] == {
        "vcpus": 1,
        "init_ms": 5.0,
        "first_ms": 300.0,
        "warm_ms": 2.0,
        "peak_bytes": 1,
        "resident_bytes": 2,
    }
    assert [at["vcpus"] for at in measure.measure(Limited(1), cpus=1)["at"]] == [1]
