"""How wheels are timed and judged: ci/bench, and the process that does it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
import types
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from builders.cache import Cache
from builders.errors import BenchError, SmokeError, UsageError
from builders.matrix import Runtime, load_matrix
from ci.bench import candidates as candidates_module
from ci.bench import numpys as numpys_module
from ci.bench import plot
from ci.bench.candidates import NOT_TOLD, Candidate, Worker, is_peer, name_of, xnnpack_of
from ci.bench.judge import Pair, bar_of, gated_pairs, is_too_slow, pairs_of, verdicts
from ci.bench.measure import Measured, Network, Timing, measure
from ci.bench.numpys import (
    IMAGE,
    LAYER,
    NumPys,
    Packages,
    Tried,
    numpys_document,
    time_numpys,
    unpacked,
)
from ci.bench.page import document, page
from ci.bench.report import Machine, Report, cell
from ci.bench.settings import GROUPS, Bar, Gate, Settings, load_settings
from ci.bench.starts import PARTS, Start, bytecode, time_starts
from ci.commands import bench
from ci.layers.layer_zip import Layer, write_layer
from ci.proof.conformer import subject_of
from smoke_lambda.conform.networks import Network as AnyNetwork
from smoke_lambda.conform.networks import load_networks, model_names
from smoke_lambda.inside import timing

OURS = Path("tflite_runtime-2.22.0.dev20260518-2-cp311-cp311-manylinux_2_17_x86_64.whl")
PYPI = Path("tflite_runtime-2.14.0-cp311-cp311-manylinux2014_x86_64.whl")
LITERT = Path("ai_edge_litert-2.3.0-cp311-cp311-manylinux_2_27_x86_64.whl")
BAR = Bar(wheel="2.22.0.dev20260518", peer="ai-edge-litert", mean={"float": 1.0}, worst=2.0)


def candidate(wheel: Path) -> Candidate:
    subject = subject_of(wheel)
    name = name_of(wheel, subject)
    return Candidate(
        name=name, wheel=wheel, subject=subject, numpy="2.0.0", python=Path(sys.executable)
    )


def network(name: str = "net.float32", flavour: str = "float32") -> Network:
    return Network(name=name, flavour=flavour, model=Path("m.tflite"), cases=Path("m.npz"))


def took(*cpu_ms: float, nodes: tuple[int, int] = (10, 10)) -> Timing:
    return Timing(nodes=nodes, cpu_ms=list(cpu_ms), wall_ms=list(cpu_ms))


def measured(ours: Timing, theirs: Timing, *, threads: int = 1, **of: str) -> Measured:
    return Measured(network=network(**of), threads=threads, timings=(ours, theirs))


def test_runtimes_have_names_that_tell_them_apart() -> None:
    names = [candidate(wheel).name for wheel in (OURS, PYPI, LITERT)]
    assert names == [
        "2.22.0.dev20260518 build 2",
        "tflite-runtime 2.14.0",
        "ai-edge-litert 2.3.0",
    ]
    assert [is_peer(subject_of(wheel), wheel) for wheel in (OURS, PYPI, LITERT)] == [
        False,
        True,
        True,
    ]


def test_the_least_times_are_compared() -> None:
    assert measured(took(5.0, 3.0, 9.0), took(2.0, 8.0)).ratio(0, 1) == 1.5
    assert measured(Timing(error="it ended"), took(2.0)).ratio(0, 1) is None


@pytest.mark.parametrize(
    ("flavour", "nodes", "group"),
    [
        ("float32", (10, 10), "float"),
        ("float16", (9, 10), "float"),
        ("float32", (0, 10), "partly delegated"),
        ("dynamic", (0, 10), "dynamic"),
        ("int8", (10, 10), "int8"),
    ],
)
def test_networks_are_grouped_by_what_runs_them(
    flavour: str, nodes: tuple[int, int], group: str
) -> None:
    assert measured(took(1.0, nodes=nodes), took(1.0), flavour=flavour).group == group


def test_a_group_has_its_geometric_mean_and_its_worst_network() -> None:
    rows = [
        measured(took(2.0), took(1.0), name="a"),
        measured(took(0.5), took(1.0), name="b"),
        measured(took(3.0), took(1.0), name="c", flavour="int8"),
        measured(took(9.0), took(1.0), name="d", threads=2),
    ]
    found = {(v.group, v.threads): v for v in verdicts(rows, Pair(ours=0, theirs=1, bar=BAR))}
    assert found.keys() == {("float", 1), ("int8", 1), ("all", 1), ("float", 2), ("all", 2)}
    assert found["float", 1].mean == pytest.approx(1.0)
    assert found["float", 1].worst == (2.0, "a")
    assert found["float", 1].ok
    assert found["all", 1].mean == pytest.approx(3.0 ** (1 / 3))
    assert not found["int8", 1].ok, "3.0 is above what any network may have"
    assert found["float", 2].bar is None, "bars are of one thread"


def test_bars_are_for_our_wheels_against_peers() -> None:
    settings = load_settings()
    ours, pypi, litert = map(candidate, (OURS, PYPI, LITERT))
    bar = bar_of(ours, litert, settings)
    assert bar is not None
    assert bar.peer == "ai-edge-litert"
    assert bar_of(ours, pypi, settings) is None, "nothing is asked of that pair"
    assert bar_of(pypi, litert, settings) is None
    assert bar_of(ours, ours, settings) is None
    assert [(p.ours, p.theirs) for p in pairs_of([ours, pypi, litert], 1, settings)] == [
        (0, 1),
        (0, 2),
    ]


def test_a_ratio_above_its_bar_is_measured_again() -> None:
    pairs = [Pair(ours=0, theirs=1, bar=BAR)]
    assert is_too_slow(measured(took(1.1), took(1.0)), pairs)
    assert not is_too_slow(measured(took(0.9), took(1.0)), pairs)
    assert not is_too_slow(measured(took(1.1), took(1.0), threads=2), pairs)
    assert not is_too_slow(measured(Timing(error="x"), took(1.0)), pairs)
    assert not is_too_slow(measured(took(9.0), took(1.0)), [Pair(ours=0, theirs=1, bar=None)])


class FakeWorker:
    """Answers as a process would, and records the requests."""

    def __init__(self, name: str, order: list[str], **answers: dict[str, Any]) -> None:
        self.name, self.order, self.answers = name, order, answers

    def ask(self, do: str, **_request: object) -> dict[str, Any]:
        self.order.append(f"{self.name} {do}")
        return self.answers.get(do, {})


def fakes(order: list[str], **second: dict[str, Any]) -> list[Any]:
    answers: dict[str, dict[str, Any]] = {
        "load": {"nodes": [3, 4]},
        "time": {"cpu_ms": [1.0], "wall_ms": [2.0]},
        "compare": {"apart": 0.5},
    }
    return [FakeWorker("a", order, **answers), FakeWorker("b", order, **{**answers, **second})]


def settings_of(turns: int, again: int = 1) -> Settings:
    return Settings(
        python="3.11",
        turns=turns,
        turn_seconds=0.1,
        again=again,
        starts=1,
        peers=(),
        bars=(),
        gate=Gate(networks=(), worst=1.5),
    )


def test_runtimes_take_turns_in_both_orders(tmp_path: Path) -> None:
    order: list[str] = []
    found = measure(network(), 1, fakes(order), settings_of(2), tmp_path, lambda _: False)
    assert order[:4] == ["a load", "b load", "a save", "b compare"]
    assert order[4:] == ["a time", "b time", "b time", "a time"]
    assert [timing.nodes for timing in found.timings] == [(3, 4), (3, 4)]
    assert [timing.apart for timing in found.timings] == [0.0, 0.5]
    assert [timing.cpu_ms for timing in found.timings] == [[1.0, 1.0], [1.0, 1.0]]


def test_what_is_too_slow_gets_more_turns(tmp_path: Path) -> None:
    order: list[str] = []
    measure(network(), 1, fakes(order), settings_of(2, again=3), tmp_path, lambda _: True)
    assert order.count("a time") == 2 + 6


@pytest.mark.parametrize("do", ["load", "time"])
def test_a_runtime_that_fails_has_no_time_and_stops_no_other(tmp_path: Path, do: str) -> None:
    order: list[str] = []
    workers = fakes(order, **{do: {"error": "its process ended: -11 (SIGSEGV)"}})
    found = measure(network(), 1, workers, settings_of(4), tmp_path, lambda _: False)
    assert found.timings[1].error == "its process ended: -11 (SIGSEGV)"
    assert found.ratio(0, 1) is None
    assert len(found.timings[0].cpu_ms) == 4
    assert order.count("b time") == (0 if do == "load" else 1)
    assert "SIGSEGV" in cell(found.timings[1])


def report(*rows: Measured, bar: Bar | None = BAR) -> Report:
    return Report(
        machine=Machine(processor="x", cpus=2, kernel="6", load=0.1),
        candidates=(candidate(OURS), candidate(LITERT)),
        pairs=(Pair(ours=0, theirs=1, bar=bar),),
        networks=rows,
        starts={},
    )


def test_a_report_is_good_where_no_bar_is_passed_and_our_wheels_answer() -> None:
    assert report(measured(took(0.9), took(1.0))).ok
    assert not report(measured(took(1.1), took(1.0))).ok
    assert not report(measured(Timing(error="it ended"), took(1.0))).ok
    assert report(measured(took(0.9), Timing(error="it ended"))).ok
    data = report(measured(took(0.9), took(1.0))).as_json()
    assert data["comparisons"][0]["of"] == "2.22.0.dev20260518 build 2"
    least = data["networks"][0]["runtimes"]["ai-edge-litert 2.3.0"]["cpu_ms"]["least"]
    assert least == 1.0


class FakeInterpreter:
    def __init__(self, model_path: str, num_threads: int) -> None:
        self.made = (model_path, num_threads)
        self.shape: tuple[int, ...] = (1, 2)
        self.value = np.zeros(2, np.float32)

    def get_input_details(self) -> list[dict[str, Any]]:
        return [{"index": 0, "shape": np.array(self.shape)}]

    def get_output_details(self) -> list[dict[str, Any]]:
        return [{"index": 1}]

    def _get_ops_details(self) -> list[dict[str, Any]]:
        return [{"op_name": "ADD", "index": 0, "inputs": [0], "outputs": [1]}]

    def resize_tensor_input(self, _index: int, shape: tuple[int, ...]) -> None:
        self.shape = shape

    def allocate_tensors(self) -> None: ...

    def set_tensor(self, _index: int, value: np.ndarray[Any, Any]) -> None:
        assert value.shape == self.shape
        self.value = value

    def invoke(self) -> None: ...

    def get_tensor(self, _index: int) -> np.ndarray[Any, Any]:
        return self.value * 2


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> timing.Worker:
    module = types.ModuleType("fake_runtime")
    module.Interpreter = FakeInterpreter  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "fake_runtime", module)
    monkeypatch.setattr("os.sched_setaffinity", lambda _pid, _cpus: None)
    monkeypatch.setattr(timing, "SAMPLE_SECONDS", 0.0)
    return timing.Worker("fake_runtime")


def test_a_process_loads_times_and_compares(worker: timing.Worker, tmp_path: Path) -> None:
    cases = tmp_path / "cases.npz"
    with zipfile.ZipFile(cases, "w") as members, members.open("0.in.0.npy", "w") as member:
        np.save(member, np.array([[1, 2], [3, 4]], np.float32))
    assert worker.load("m.tflite", str(cases), 1, [0]) == {"nodes": [0, 1]}
    assert worker.interpreter.shape == (2, 2), "resized to the case"
    times = worker.time(0.0)
    assert len(times["cpu_ms"]) == len(times["wall_ms"]) == 1
    worker.save(str(tmp_path / "a.npz"))
    assert worker.compare(str(tmp_path / "a.npz")) == {"apart": 0.0}
    worker.interpreter.value = worker.interpreter.value + 1
    assert worker.compare(str(tmp_path / "a.npz"))["apart"] == pytest.approx(0.25)


Starting = Callable[[str], Candidate]


@pytest.fixture
def starting(monkeypatch: pytest.MonkeyPatch) -> Starting:
    """Make every process of a candidate run a line of Python instead."""

    def start(code: str) -> Candidate:
        command = [sys.executable, "-c", code]
        monkeypatch.setattr(Candidate, "command", lambda *_arguments: command)
        return candidate(OURS)

    return start


@pytest.mark.usefixtures("allow_subprocess")
@pytest.mark.parametrize(
    ("code", "answer"),
    [
        ('input(); print("noise"); print(\'timing: {"nodes": [1, 2]}\')', {"nodes": [1, 2]}),
        # Two lines at once, and then it waits: as the real one.
        (
            "import os; input(); os.write(1, b'\\ntiming: {\"nodes\": [3]}\\n'); input()",
            {"nodes": [3]},
        ),
        ("import os; os.abort()", {"error": "its process ended: -6 (SIGABRT)"}),
        ("input()", {"error": "its process ended: 0"}),
    ],
)
def test_what_a_process_says_or_how_it_ends(
    starting: Starting,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    code: str,
    answer: dict[str, Any],
) -> None:
    monkeypatch.setattr(candidates_module, "ANSWER_SECONDS", 30.0)
    worker = Worker(candidate=starting(code), log=tmp_path / "log")
    try:
        assert worker.ask("load") == answer
    finally:
        worker.end()


@pytest.mark.usefixtures("allow_subprocess")
def test_an_answer_that_comes_with_other_lines_is_read_at_once(
    starting: Starting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candidates_module, "ANSWER_SECONDS", 20.0)
    code = """
import os, sys
for line in sys.stdin:
    os.write(1, b"noise" + bytes([10]) * 2 + b'timing: {"n": 1}' + bytes([10]))
"""
    worker = Worker(candidate=starting(code), log=tmp_path / "log")
    try:
        assert [worker.ask("time") for _ in range(3)] == [{"n": 1}] * 3
    finally:
        worker.end()


@pytest.mark.usefixtures("allow_subprocess")
def test_a_process_that_does_not_answer_is_ended(
    starting: Starting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candidates_module, "ANSWER_SECONDS", 0.2)
    worker = Worker(candidate=starting("import time; time.sleep(60)"), log=tmp_path / "log")
    assert "no answer" in worker.ask("load")["error"]


@pytest.mark.usefixtures("allow_subprocess")
def test_a_start_that_does_not_answer_is_an_error(
    starting: Starting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ci.bench.starts.ANSWER_SECONDS", 0.2)
    runs: Sequence[Candidate] = [starting("import time; time.sleep(60)")]
    with pytest.raises(SmokeError, match="does not start"):
        time_starts(network(), runs, 1, tmp_path / "log")


@pytest.mark.usefixtures("allow_subprocess")
def test_the_first_start_fills_the_caches_and_does_not_count(
    starting: Starting, tmp_path: Path
) -> None:
    parts = '{"start": 1, "numpy": 2, "import": 3, "create": 4, "allocate": 5, "first": 6}'
    said = f'timing: {{"parts": {parts}, "faults": 7, "peak_bytes": 8}}'
    runs: Sequence[Candidate] = [starting(f"print({said!r})")]
    (found,) = time_starts(network(), runs, 2, tmp_path / "log")
    assert found.total == 21
    assert found.as_json()["least_ms"]["allocate"] == 5
    assert found.as_json()["processes"] == 2


def test_an_unknown_peer_is_named_with_those_that_are_known() -> None:
    with pytest.raises(UsageError, match="neither a wheel's file nor a known peer") as caught:
        load_settings().peer("onnxruntime")
    assert "ai-edge-litert" in str(caught.value.remedy)


def test_settings_are_validated(tmp_path: Path) -> None:
    path = tmp_path / "bench.toml"
    path.write_text("turns = 1\n")
    with pytest.raises(UsageError, match=r"bench.toml"):
        load_settings(path)


# --- The gate of CI -------------------------------------------------------------------


def test_the_gate_has_two_networks_of_each_group() -> None:
    gate = load_settings().gate
    networks = load_networks()
    all_of_them: list[AnyNetwork] = [*networks.published, *networks.built, *networks.drawn]
    known = {name: each for each in all_of_them for name in model_names(each)}
    assert set(gate.networks) <= set(known)
    assert all(known[name].quick for name in gate.networks), "CI makes no others"
    flavours = [name.partition(".")[2] for name in gate.networks]
    assert len(gate.networks) == 2 * len(GROUPS)
    # A run finds out which float networks XNNPACK takes as a whole.
    assert {flavour: flavours.count(flavour) for flavour in set(flavours)} == {
        "float32": 4,
        "dynamic": 2,
        "int8": 2,
    }


def test_the_gate_compares_each_wheel_with_its_published_one() -> None:
    other = Path(OURS.name.replace("311", "312"))
    pairs = gated_pairs(
        [candidate(each) for each in (OURS, other, OURS, other)], settings_of(turns=2)
    )
    assert [(pair.ours, pair.theirs) for pair in pairs] == [(0, 2), (1, 3)]
    slow = measured(took(1.6), took(1.0))
    assert is_too_slow(slow, [replace(pairs[0], theirs=1)])
    assert not report(slow, bar=pairs[0].bar).ok
    assert report(measured(took(1.4), took(1.0)), bar=pairs[0].bar).ok


def test_the_published_wheel_is_the_one_of_the_same_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = "tf2.22.0.dev20260518-cp311-x86_64"
    current = [
        types.SimpleNamespace(target="tf2.14.1-cp311-x86_64", file="a.whl"),
        types.SimpleNamespace(target=target, file="b.whl"),
    ]
    manifest = types.SimpleNamespace(current=current)
    monkeypatch.setattr(bench, "read_manifest", lambda _folder: manifest)
    assert bench.published(OURS, load_matrix(), tmp_path) == tmp_path / "b.whl"
    del current[1]
    with pytest.raises(UsageError, match=f"no wheel of the target of {OURS.name}"):
        bench.published(OURS, load_matrix(), tmp_path)


@pytest.mark.parametrize("more", [["--against", str(PYPI)], ["--only", "mlp"]])
def test_the_gate_is_always_the_same(tmp_path: Path, more: list[str]) -> None:
    (tmp_path / OURS.name).touch()
    with pytest.raises(UsageError, match="--check has its own networks"):
        bench.run([str(tmp_path / OURS.name), "--check", *more])


@pytest.mark.parametrize(("ratio", "fails"), [(1.4, False), (1.6, True)])
def test_the_gate_fails_where_a_network_is_slow(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    ratio: float,
    fails: bool,
) -> None:
    (pair,) = gated_pairs([candidate(OURS), candidate(OURS)], settings_of(turns=2))
    found = report(measured(took(ratio), took(1.0)), bar=pair.bar)
    monkeypatch.setattr(bench, "_report", lambda *_: found)
    (tmp_path / OURS.name).touch()
    arguments = [str(tmp_path / OURS.name), "--check", "--html", str(tmp_path / "x.html")]
    with pytest.raises(BenchError) if fails else nullcontext():
        assert bench.run(arguments) == 0
    assert f"{ratio:.3f}" in capsys.readouterr().out
    assert f"bench {OURS.name} --check" in (tmp_path / "x.html").read_text()


# --- What is written of a run ---------------------------------------------------------


def started() -> Start:
    parts = dict(zip(PARTS, (10.0, 20.0, 1.0, 2.0, 3.0, 4.0), strict=True))
    return Start(parts=[parts], faults=[7], peak_bytes=[50_000_000])


def whole() -> Report:
    found = report(
        measured(took(2.2), took(1.0), name="slow<net>.float32"),
        measured(took(0.5, nodes=(1, 4)), took(1.0), name="fast.int8", flavour="int8"),
        measured(Timing(error="it ended"), took(1.0), name="broken.float32"),
    )
    return replace(found, starts={"fast.int8": [started(), started()]})


def test_the_page_is_one_file_with_plots() -> None:
    text = page(whole(), "./scripts/bench <wheel>")
    assert "./scripts/bench &lt;wheel&gt;" in text
    assert "<script" not in text
    assert not re.search(r"(src|href)=.(?!data:)", text)
    style = re.search(r"<style>(.*)</style>", text, re.DOTALL)
    assert style
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in text
    plots = [
        ElementTree.fromstring(svg) for svg in re.findall(r"<svg viewBox.*?</svg>", text, re.S)
    ]
    labels = [each.get("aria-label") or "" for each in plots if each.get("role") == "img"]
    assert [label.partition(",")[0] for label in labels] == [
        "mean CPU time of each group",
        "CPU time of each network",
        "parts of a start with fast.int8",
    ]
    networks = next(each for each in plots if "each network" in (each.get("aria-label") or ""))
    shown = [each.text for each in networks.iter("text")]
    assert {"slow<net>.float32", "2.20", "fast.int8", "0.50"} <= set(shown)
    assert "broken.float32" not in shown
    kinds = [each.get("class") for each in networks.iter("rect")]
    assert kinds == ["over", "faster"]


def test_the_document_has_every_ratio_and_how_to_have_it_again() -> None:
    text = document(whole(), "./scripts/bench wheel.whl --document")
    assert text.startswith("<!-- Written by ./scripts/bench --document; not to be edited. -->\n")
    assert "```\n./scripts/bench wheel.whl --document\n```" in text
    assert "| float | 1 | 2.20 | 2.20 (slow<net>.float32) | mean ≤ 1.00, worst ≤ 2.00 |" in text
    assert "| fast.int8 | 0.500 (25%) | 1.000 (100%) |" in text
    assert "| broken.float32 | it ended | 1.000 (100%) |" in text
    assert (
        "| ai-edge-litert 2.3.0 | 2.0.0 | 10.0 | 20.0 | 1.0 | 2.0 | 3.0 | 4.0 | 40.0 | 50 |" in text
    )
    # No two blank lines, and one newline at the end: as people write it.
    assert "\n\n\n" not in text
    assert text.endswith("|\n")


def test_half_and_twice_are_as_far_from_one() -> None:
    bars = [plot.Bar(name=str(r), ratio=r, most=None) for r in (0.5, 2.0)]
    svg = ElementTree.fromstring(plot.ratios("two", bars))
    faster, slower = (float(each.get("width") or 0) for each in svg.iter("rect"))
    assert faster == pytest.approx(slower, abs=0.2)
    assert faster > 50


def test_the_command_names_files_as_anybody_has_them(tmp_path: Path) -> None:
    wheel = tmp_path / "a b.whl"
    wheel.touch()
    told = bench.command_of([str(wheel), "--against", "docs/ci.md", "--threads", "1"])
    assert told == "./scripts/bench 'a b.whl' --against docs/ci.md --threads 1"


def test_the_networks_that_nobody_asked_for_are_not_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = types.SimpleNamespace(check=False, networks="quick", only="unet.int8")
    chosen, is_wanted = bench._networks(options, load_settings(), Cache(tmp_path))  # type: ignore[arg-type]
    assert [each.name for each in chosen.drawn] == ["unet"]
    assert not chosen.built
    assert [is_wanted(name) for name in ("unet.int8", "unet.dynamic")] == [True, False]
    monkeypatch.setattr(bench, "is_made", lambda *_: True)
    chosen, _ = bench._networks(options, load_settings(), Cache(tmp_path))  # type: ignore[arg-type]
    assert chosen == load_networks().quick(), "what is there is used"


def test_xnnpacks_version_is_what_the_sbom_says(tmp_path: Path) -> None:
    wheel = tmp_path / "a.whl"
    with zipfile.ZipFile(wheel, "w") as members:
        members.writestr("a/__init__.py", "")
    assert xnnpack_of(wheel) == NOT_TOLD
    sbom = {
        "components": [{"name": "ruy", "version": "1"}, {"name": "xnnpack", "version": "a" * 40}]
    }
    with zipfile.ZipFile(wheel, "a") as members:
        members.writestr("a-1.dist-info/sboms/tflite.cdx.json", json.dumps(sbom))
    assert xnnpack_of(wheel) == "aaaaaaa"


# --- Starts with each NumPy, and in a layer -------------------------------------------


def tried(numpy: str, total: float, source: str = IMAGE) -> Tried:
    parts = dict.fromkeys(PARTS, 0.0) | {"numpy": total}
    start = Start(parts=[parts], faults=[1], peak_bytes=[50_000_000])
    runtime = load_matrix().runtime("3.11")
    return Tried(runtime=runtime, wheel="a.whl", source=source, numpy=numpy, start=start)


def numpys() -> NumPys:
    return NumPys(
        machine=Machine(processor="x", cpus=2, kernel="6", load=0.1),
        network="mlp.float32",
        tried=(
            tried("1.23.2", 90.0),
            tried("2.2.6", 80.0),
            tried("2.4.6", 70.0),
            tried("2.2.6", 60.0, LAYER),
        ),
    )


def test_the_fastest_numpy_is_one_that_the_runtime_can_have() -> None:
    found = numpys()
    assert [each.is_installable for each in found.tried] == [True, True, False, True]
    assert found.as_json()["fastest"] == {"python3.11": "2.2.6"}
    text = numpys_document(found, "./scripts/bench a.whl --numpys --document")
    assert "| python3.11 | image | **2.2.6** | 0.0 | 80.0 |" in text
    assert "| python3.11 | image | 2.4.6 | 0.0 | 70.0 |" in text
    assert "| python3.11 | layer | 2.2.6 | 0.0 | 60.0 |" in text
    assert text.endswith("```\n./scripts/bench a.whl --numpys --document\n```\n")


def test_a_layer_is_compared_with_an_image_of_the_same_numpy() -> None:
    found = numpys()
    assert found.layer_ratios() == {"python3.11": 0.75}
    assert found.as_json()["layer_of_image"] == {"python3.11": 0.75}
    text = numpys_document(found, "./scripts/bench a.whl --numpys --document")
    assert "0.75 on the mean; 0.75 (python3.11)." in text


def layer_of(tmp_path: Path) -> Layer:
    """Make a layer that has a module, and says which NumPy it has."""
    name = "numpy-2.2.6-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"
    return write_layer(
        tmp_path / "layer.zip",
        {"python/only_here.py": b"print('from the layer')\n"},
        arch="x86_64",
        packages={"3.11": (OURS.name, name)},
    )


def test_a_layers_packages_are_found_where_they_are_unpacked(tmp_path: Path) -> None:
    runtime = load_matrix().runtime("3.11")
    there = unpacked(layer_of(tmp_path), runtime, candidate(OURS))
    assert there.numpy == "2.2.6"
    assert there.name.endswith(" from the layer")
    assert list(there.command("only_here"))[:2] == ["env", f"PYTHONPATH={tmp_path}/layer/python"]
    assert (tmp_path / "layer/python/only_here.py").is_file()
    assert bytecode(there) == {}


def test_each_numpy_has_an_environment_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str]] = []

    @contextmanager
    def installed(
        wheels: Sequence[Path], runtime: Runtime, _cache: Cache, _log: Path, versions: Sequence[str]
    ) -> Iterator[list[Candidate]]:
        asked.extend((runtime.python, version) for version in versions)
        yield [
            replace(candidate(wheel), numpy=version)
            for wheel, version in zip(wheels, versions, strict=True)
        ]

    monkeypatch.setattr(numpys_module, "installed", installed)
    monkeypatch.setattr(
        numpys_module,
        "installed_by_pip",
        lambda base: Packages(base=base, source=IMAGE, folder=tmp_path, numpy=base.numpy),
    )
    monkeypatch.setattr(
        numpys_module, "time_starts", lambda _network, found, *_: [started() for _ in found]
    )
    runtime = load_matrix().runtime("3.11")
    found = time_numpys(
        {OURS: (runtime, layer_of(tmp_path))},
        network(),
        3,
        Cache(tmp_path),
        tmp_path / "log",
        lambda _: None,
    )
    versions = runtime.numpy.smoke_versions
    assert asked == [("3.11", version) for version in versions]
    assert [each.numpy for each in found.tried] == [*versions, "2.2.6"]
    assert [each.source for each in found.tried] == [*[IMAGE] * len(versions), LAYER]


def test_starts_find_bytecode_that_the_first_of_them_left() -> None:
    variables = bytecode(candidate(OURS))
    assert variables["PYTHONDONTWRITEBYTECODE"] == ""
    assert Path(variables["PYTHONPYCACHEPREFIX"]).parent == Path(sys.executable).parents[1]


def test_numpys_are_compared_with_nothing_else(tmp_path: Path) -> None:
    (tmp_path / OURS.name).touch()
    with pytest.raises(UsageError, match="--numpys compares NumPys"):
        bench.run([str(tmp_path / OURS.name), "--numpys", "--check"])
