"""Comparing runtimes for a function: what pip installs, how times are judged, what is shown."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from builders.errors import FetchError, SmokeError, UsageError
from builders.matrix import load_matrix
from ci.bench.measure import Network
from ci.commands import compare as command
from ci.compare import measure
from ci.compare.contenders import Contender, chosen, own_wheels
from ci.compare.document import document
from ci.compare.judge import FASTER, SAME, SLOWER, fastest, million_cost, quantile, ratio
from ci.compare.measure import Bench, Row
from ci.compare.models import Given, Subject, Variant, check_given, own_names, read_made
from ci.compare.page import page, plot
from ci.compare.places import NotInstalledError
from ci.compare.report import rows_of
from ci.compare.resolve import Package, Resolution, packages_of, platform_tags, reason_of
from ci.compare.settings import Price, load_price, load_settings
from ci.compare.show import model_cells, ratio_text
from smoke_lambda.limits import Limits

RUNTIME = load_matrix().runtime("3.11")
PRICE = load_price("x86_64")


def test_the_tags_of_a_linux_are_those_of_its_glibc_and_older() -> None:
    tags = platform_tags("2.26", "aarch64")
    assert tags[0] == "manylinux_2_26_aarch64"
    assert tags[-1] == "linux_aarch64"
    assert "manylinux_2_27_aarch64" not in tags
    place = tags.index("manylinux_2_17_aarch64")
    assert tags[place + 1] == "manylinux2014_aarch64"


def test_no_wheel_is_a_reason_and_no_network_is_an_error(tmp_path: Path) -> None:
    said = (
        "ERROR: Could not find a version that satisfies the requirement x (from versions: none)\n"
        "ERROR: No matching distribution found for tflite-runtime==2.14.0\n"
    )
    reason = reason_of(said, "tflite-runtime == 2.14.0", RUNTIME, tmp_path / "log")
    assert reason == "no wheel of tflite-runtime==2.14.0 for Python 3.11 with glibc 2.26"
    with pytest.raises(FetchError, match="pip cannot resolve x: timed out"):
        reason_of("WARNING: again\ntimed out\n", "x", RUNTIME, tmp_path / "log")


def reported(name: str, version: str, file: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "version": version},
        "download_info": {
            "url": f"file:///index/{file}",
            "archive_info": {"hashes": {"sha256": "0" * 64}},
        },
    }


def test_the_runtime_is_the_first_of_its_packages_whatever_pip_lists_first() -> None:
    report = {
        "install": [
            reported("Pillow", "13.0.0", "pillow-13.0.0-cp312.whl"),
            reported("ai_edge.litert", "2.3.0", "ai_edge_litert-2.3.0%2Bx.whl"),
        ]
    }
    found = packages_of(report, "ai-edge-litert")
    assert [each.name for each in found] == ["ai-edge-litert", "pillow"]
    assert found[0].file == "ai_edge_litert-2.3.0+x.whl"
    answer = Resolution(packages=found)
    assert Resolution.of_text(answer.as_text()) == answer


def test_a_ratio_whose_spread_has_one_in_it_says_nothing() -> None:
    ours, theirs = [1.0, 0.9, 1.1, 1.0, 1.05], [1.0] * 5
    found = ratio(ours, theirs, 0.5)
    assert found is not None
    assert (found.value, found.low, found.high) == (1.0, 1.0, 1.05)
    assert found.verdict == SAME
    faster, slower = ratio([0.5] * 4, [1.0] * 4, 0.5), ratio([2.0] * 4, [1.0] * 4, 0.5)
    assert faster is not None
    assert slower is not None
    assert (faster.verdict, slower.verdict) == (FASTER, SLOWER)
    assert ratio([], [1.0], 0.5) is None


def test_a_wide_ratio_is_not_ranked_although_its_median_is_lower() -> None:
    found = ratio([0.5, 0.9, 1.2, 1.3], [1.0] * 4, 0.5)
    assert found is not None
    assert found.low < 1 < found.high
    assert ratio_text({**vars(found), "verdict": found.verdict}).startswith("same (")


def test_quantiles_are_between_neighbours() -> None:
    assert [quantile([1.0, 2.0, 3.0, 4.0], part) for part in (0, 0.25, 0.5, 1)] == [1, 1.75, 2.5, 4]


def test_a_million_requests_cost_what_aws_bills() -> None:
    price = replace(PRICE, gb_second=0.00001, million_requests=0.2)
    # 1769 MB for 10 ms, a million times, are 17,275 GB-seconds.
    assert million_cost(9.1, 300, price) == pytest.approx(1769 / 1024 * 10_000 * 0.00001 + 0.2)
    assert million_cost(0.01, 128, price) == million_cost(0.9, 128, price), "a millisecond at least"
    assert million_cost(1, 3538, price) - 0.2 == pytest.approx(
        2 * (million_cost(1, 1, price) - 0.2)
    )


def test_prices_are_dated_and_arm64_is_cheaper() -> None:
    arm64 = load_price("aarch64")
    assert isinstance(arm64, Price)
    assert arm64.gb_second < PRICE.gb_second
    assert PRICE.source.startswith("https://aws.amazon.com/")


def test_the_runtimes_have_modules_and_formats() -> None:
    settings = load_settings()
    assert [each.project for each in settings.runtimes] == [
        "tflite-runtime",
        "ai-edge-litert",
        "onnxruntime",
        "tensorflow-cpu",
    ]
    assert {each.format for each in settings.runtimes} == {"tflite", "onnx"}


def test_the_last_build_of_each_version_is_compared_newest_first(tmp_path: Path) -> None:
    for name in ("2.14.1-1", "2.14.1-2", "2.22.0.dev20260518-1"):
        (tmp_path / f"tflite_runtime-{name}-cp312-cp312-manylinux2014_x86_64.whl").touch()
    (tmp_path / "tflite_runtime-2.14.1-3-cp311-cp311-manylinux2014_x86_64.whl").touch()
    found = own_wheels(load_matrix().runtime("3.12"), "x86_64", tmp_path)
    assert [wheel.name[:36] for wheel in found] == [
        "tflite_runtime-2.22.0.dev20260518-1-",
        "tflite_runtime-2.14.1-2-cp312-cp312-",
    ]


def contender(name: str, *, own: bool = False, form: str = "tflite") -> Contender:
    return Contender(name=name, requirement=name, module=name, format=form, own=own)


def test_ours_stay_where_others_are_chosen() -> None:
    all_of_them = [contender("2.22 build 2", own=True), contender("onnxruntime 1"), contender("x")]
    assert [each.name for each in chosen(all_of_them, ["onnx"])] == [
        "2.22 build 2",
        "onnxruntime 1",
    ]
    with pytest.raises(UsageError, match="no runtime has 'torch' in its name"):
        chosen(all_of_them, ["torch"])


def test_files_are_refused_before_anything_is_made(tmp_path: Path) -> None:
    onnx, other = tmp_path / "m.onnx", tmp_path / "m.pb"
    onnx.touch()
    other.touch()
    with pytest.raises(UsageError, match="there is no file"):
        check_given(Given(name="x", model=tmp_path / "none.tflite"))
    with pytest.raises(UsageError, match="nothing makes a TensorFlow Lite model of it"):
        check_given(Given(name="x", model=onnx))
    with pytest.raises(UsageError, match="no model that is known here"):
        check_given(Given(name="x", model=other))
    keras = tmp_path / "m.keras"
    keras.touch()
    with pytest.raises(UsageError, match="no ONNX file by its name"):
        check_given(Given(name="x", model=keras, onnx=other))


def test_what_was_made_is_read(tmp_path: Path) -> None:
    made = {
        "tflite": {"label": "", "file": "model.tflite", "cases": "cases.npz"},
        "onnx": [{"label": "converted", "file": "c.onnx", "cases": "cases.npz", "error": "no"}],
        "picture": [8, 8, 1],
    }
    (tmp_path / "made.json").write_text(json.dumps(made))
    found = read_made(Given(name="x", model=Path("x.tflite")), tmp_path)
    assert found.picture == (8, 8, 1)
    assert [each.label for each in found.of("onnx")] == ["converted"]
    assert found.of("onnx")[0].error == "no"


class FakePlace:
    """A runtime that answers as the test asks."""

    image_bytes = None
    is_limited = True

    def __init__(self, name: str, *, own: bool = False, form: str = "tflite") -> None:
        self.contender = contender(name, own=own, form=form)
        self.name = self.module = name
        self.limits = Limits()

    def limited(self, limits: Limits) -> FakePlace:
        found = FakePlace(self.name)
        found.limits = limits
        return found


class FakeWorker:
    def __init__(self, name: str, order: list[str]) -> None:
        self.name, self.order = name, order

    def ask(self, do: str, **request: Any) -> dict[str, Any]:  # noqa: ANN401
        self.order.append(f"{self.name} {do} {request.get('threads', '')}".strip())
        if self.name == "dead":
            return {"error": "its process ended"}
        answers: dict[str, dict[str, Any]] = {
            "load": {"nodes": [3, 4]},
            "compare": {"apart": 0.25},
            "time": {"cpu_ms": [1.0, 2.0, 9.0], "wall_ms": [3.0]},
        }
        return answers[do]

    def end(self) -> None:
        self.order.append(f"{self.name} end")


def subject(tmp_path: Path) -> Subject:
    variants = [
        Variant(format=form, label=label, model=tmp_path / "m", cases=tmp_path / "c", error=error)
        for form, label, error in (
            ("tflite", "", ""),
            ("onnx", "converted", ""),
            ("onnx", "own", "it cannot be quantized"),
        )
    ]
    return Subject(
        name="net", variants=tuple(variants), picture=None, answers=tmp_path / "a", sample=None
    )


def measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: list[str], order: list[str]
) -> list[Row]:
    """Measure fake runtimes; each starts if it has at least 300 MB, and uses 100 MB."""
    from contextlib import contextmanager

    @contextmanager
    def workers(places: list[FakePlace], _log: Path) -> Any:  # noqa: ANN401
        yield [FakeWorker(place.name, order) for place in places]

    def start_once(place: FakePlace, _network: Network, _log: Path) -> dict[str, Any]:
        if place.limits.memory_mb < 300:
            raise SmokeError("it does not start")
        parts = dict.fromkeys((*measure.INIT_PARTS, "start", "first"), 2.0)
        return {"parts": {}, "cpu_parts": parts, "faults": 1, "peak_bytes": 400 << 20}

    monkeypatch.setattr(measure, "workers", workers)
    monkeypatch.setattr(measure, "start_once", start_once)
    bench = Bench(
        settings=replace(load_settings(), turns=2, starts=2),
        cpus=[4, 7],
        work=tmp_path,
        log=tmp_path / "log",
        tell=lambda _what: None,
    )
    places: list[Any] = [
        FakePlace(name, own=name == "ours", form="onnx" if "onnx" in name else "tflite")
        for name in names
    ]
    return bench.measure(subject(tmp_path), places)


def test_all_runtimes_take_turns_in_both_orders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    rows = measured(tmp_path, monkeypatch, ["ours", "onnx"], order)
    assert order[:8] == [
        *("ours load 1", "ours compare", "onnx load 1", "onnx compare"),
        *("ours time", "onnx time", "onnx time", "ours time"),
    ]
    ours, converted, own = rows
    assert ours.cpu_ms == {1: [2.0, 2.0], 2: [2.0, 2.0]}, "the median of each turn"
    assert (ours.nodes, ours.apart) == ((3, 4), 0.25)
    assert ours.init_ms == 8.0, "without the start of the interpreter"
    assert ours.first_ms == 2.0
    assert ours.least_mb is not None
    assert 300 <= ours.least_mb <= 316, "to sixteen megabytes"
    assert not converted.error
    assert own.error == "it cannot be quantized"


def test_a_runtime_that_dies_is_a_row_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = measured(tmp_path, monkeypatch, ["ours", "dead"], [])
    assert [row.error for row in rows] == ["", "its process ended"]
    data = rows_of(rows, PRICE, load_settings())
    assert data[1] == {"runtime": "dead", "own": False, "error": "its process ended"}
    assert data[0]["warm_1"]["ratio"] is None, "the first row is what others are compared with"
    assert model_cells(data[1]) == ["dead", "its process ended"]


def row(name: str, cpu_ms: list[float], *, own: bool = False) -> Row:
    variant = Variant(format="tflite", label="", model=Path("m"), cases=Path("c"))
    place: Any = FakePlace(name, own=own)
    found = Row(place=place, variant=variant, cpu_ms={1: cpu_ms}, wall_ms={1: cpu_ms})
    found.apart, found.nodes = 1e-7, (9, 10)
    return found


def test_the_fastest_are_those_that_nothing_is_faster_than() -> None:
    rows = [row("a", [2.0, 2.0, 2.0]), row("b", [1.0, 1.1, 1.0]), row("c", [1.1, 1.0, 1.0])]
    assert [each.place.name for each in fastest(rows, 0.5)] == ["b", "c"]
    assert fastest([Row(place=rows[0].place, variant=rows[0].variant, error="x")], 0.5) == []


def sample() -> dict[str, Any]:
    """Return a report in which another runtime wins, and one cannot be installed."""
    rows = [row("2.22 build 2", [2.0] * 4, own=True), row("onnxruntime <1>", [1.0] * 4)]
    data = rows_of(rows, PRICE, load_settings())
    data.append({"runtime": "broken", "own": False, "error": "it ended"})
    return {
        "date": "2026-01-01",
        "machine": {"processor": "P", "cpus": 2, "kernel": "6", "load": 0.5},
        "where": "an image",
        "command": "./scripts/compare --document",
        "python": "3.12",
        "glibc": "2.34",
        "arch": "x86_64",
        "price": {**vars(PRICE), "date": PRICE.date.isoformat()},
        "turns": 2,
        "spread": 0.5,
        "runtimes": [
            {"name": "tflite-runtime", "own": False, "reason": "no wheel", "note": ""},
            {
                "name": "2.22 build 2",
                "own": True,
                "reason": "",
                "note": "",
                "numpy": "2.5.5",
                "packages": {},
                "download_bytes": 20_000_000,
                "installed_bytes": 80_000_000,
                "image_bytes": None,
            },
        ],
        "models": [{"model": "net", "rows": data, "fastest": ["onnxruntime <1>"]}],
    }


def test_the_document_says_where_another_runtime_wins() -> None:
    text = document(sample())
    assert text.startswith("<!-- Written by ./scripts/compare --document; not to be edited. -->")
    assert "- **net**: onnxruntime <1>. It wins over our newest wheel: 0.50 of its time." in text
    assert "broken: it ended." in text
    assert "| tflite-runtime |  |  |  |  | no wheel |" in text


def test_the_document_names_what_a_run_did_not_come_to() -> None:
    assert "The run ended before" not in document(sample())
    text = document(sample(), ["xception.int8"])
    assert "The run ended before it came to xception.int8." in text
    assert {"digits.int8", "xception.float32", "mobilenetv2.int8"} <= set(own_names())


def test_what_a_run_kept_is_shown_without_measuring(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept, page_file = tmp_path / "compare.json", tmp_path / "out.html"
    kept.write_text(json.dumps(sample()))
    assert command.run(["--from", str(kept), "--html", str(page_file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == sample()
    assert "<svg" in page_file.read_text()
    kept.write_text("{}")
    with pytest.raises(UsageError, match="nothing that a comparison kept"):
        command.run(["--from", str(kept)])


def test_the_page_escapes_names_and_draws_ratios_to_scale() -> None:
    data = sample()
    text = page(data)
    assert "onnxruntime &lt;1&gt;" in text
    assert "<1>" not in text
    assert not re.search(r"<script|https?://(?!aws\.amazon\.com)", text)
    drawn = plot(data["models"][0]["rows"][:2])
    first, second = drawn["bars"]
    assert second["width"] == pytest.approx(first["width"] / 2, abs=0.2)
    assert first["x"] + first["width"] == pytest.approx(drawn["one"])


@pytest.mark.parametrize("arguments", [[], ["some.tflite", "--document"]])
def test_one_model_is_compared_or_our_own(arguments: list[str]) -> None:
    with pytest.raises(UsageError, match="give one model"):
        command.run(arguments)


def test_bad_files_are_named_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no file"):
        command.run([str(tmp_path / "none.tflite")])
    assert not list(tmp_path.iterdir())


class FakeRegistry:
    log = Path("log")

    def with_old_numpy(self, each: Contender) -> Contender:
        return replace(each, note="with NumPy 1")


class FakePlaces:
    def __init__(self, installs: bool = True) -> None:
        self.installs = installs

    def install(self, each: Contender) -> FakePlace:
        if not self.installs:
            raise NotInstalledError("no  such\ntag")
        found = FakePlace(each.name)
        found.contender = each
        return found


def numpy_of(version: str) -> Contender:
    package = Package(name="numpy", version=version, file="n.whl", sha256="0")
    return replace(contender("old"), packages=(package,))


def fault_of(place: FakePlace, *_: object) -> str:
    return "" if place.contender.note else "numpy.core.multiarray failed to import"


def test_what_needs_numpy_1_gets_it_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "works", fault_of)
    places: Any = FakePlaces()
    registry: Any = FakeRegistry()
    found, row = command.installed_one(places, registry, numpy_of("2.2.6"), subject(tmp_path))
    assert found is not None
    assert row.note == "with NumPy 1"
    found, row = command.installed_one(places, registry, numpy_of("1.26.4"), subject(tmp_path))
    assert found is None
    assert row.reason == "numpy.core.multiarray failed to import"


def test_what_does_not_install_has_its_reason_in_a_line(tmp_path: Path) -> None:
    places: Any = FakePlaces(installs=False)
    registry: Any = FakeRegistry()
    found, row = command.installed_one(places, registry, numpy_of("2.2.6"), subject(tmp_path))
    assert (found, row.reason) == (None, "no such tag")
