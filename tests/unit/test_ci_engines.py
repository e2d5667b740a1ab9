"""Measuring the engines: times of commands, a simulation of workers, a page."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.cache import Cache
from builders.core import Core
from builders.engines.bazel import Bazel
from builders.engines.engine import Engine
from builders.engines.graph import Archive, Compilation, Graph
from builders.engines.ninja import NINJA
from builders.errors import CompileError, UsageError
from builders.matrix import load_matrix
from ci.commands import core as command
from ci.engines import compare
from ci.engines.again import Made, Watched, differences, ninja_tasks
from ci.engines.compare import BEGIN, END, Comparison, compare_engines, page, write_document
from ci.engines.simulation import Task, critical_path, makespan, scaled

# a and b need the header; the archive needs all three.
TASKS = [
    Task(name="header", seconds=2),
    Task(name="a.o", seconds=3, after=("header",)),
    Task(name="b.o", seconds=5, after=("header",)),
    Task(name="c.o", seconds=4),
    Task(name="x.a", seconds=1, after=("a.o", "b.o", "c.o")),
]


@pytest.mark.parametrize(("workers", "seconds"), [(1, 15), (2, 10), (3, 8), (200, 8)])
def test_a_free_worker_takes_what_can_start(workers: int, seconds: float) -> None:
    assert makespan(TASKS, workers) == seconds


def test_the_critical_path_is_what_no_worker_makes_shorter() -> None:
    assert [task.name for task in critical_path(TASKS)] == ["header", "b.o", "x.a"]
    assert critical_path(TASKS[::-1]) == critical_path(TASKS)
    assert critical_path([]) == []


@st.composite
def graphs(draw: st.DrawFn) -> list[Task]:
    tasks: list[Task] = []
    for number in range(draw(st.integers(1, 12))):
        after = draw(st.sets(st.integers(0, number - 1))) if number else set()
        seconds = draw(st.integers(0, 9))
        tasks.append(Task(name=str(number), seconds=seconds, after=tuple(map(str, after))))
    return tasks


@given(graphs(), st.integers(1, 15))
def test_no_simulation_is_better_than_the_longest_chain_or_worse_than_its_bound(
    tasks: list[Task], workers: int
) -> None:
    whole = sum(task.seconds for task in tasks)
    longest = sum(task.seconds for task in critical_path(tasks))
    found = makespan(tasks, workers)
    assert max(longest, whole / workers) <= found + 1e-9
    # Graham's bound of list scheduling.
    assert found <= whole / workers + longest * (1 - 1 / workers) + 1e-9
    assert makespan(tasks, 1) == whole
    assert makespan(tasks, len(tasks)) == longest


def test_what_cannot_be_simulated_is_told() -> None:
    with pytest.raises(ValueError, match="no worker"):
        makespan(TASKS, 0)
    ring = [Task(name="a", seconds=1, after=("b",)), Task(name="b", seconds=1, after=("a",))]
    with pytest.raises(ValueError, match="wait for one another"):
        makespan(ring, 1)


def test_times_are_scaled_to_what_the_processors_took() -> None:
    found = scaled(TASKS, 30)
    assert [task.seconds for task in found] == [4, 6, 10, 8, 2]
    assert [task.after for task in found] == [task.after for task in TASKS]


def test_ninja_keeps_how_long_each_command_took(tmp_path: Path) -> None:
    pch = f"{tmp_path}/p.pch"
    graph = Graph(
        headers=(
            Compilation(output="p.pch", source="p.hxx", words=("zig", "-emit-pch", "-o", pch)),
        ),
        objects=(Compilation(output="a.o", source="a.cc", words=("zig", "-include-pch", pch)),),
        archives=(Archive(output="x.a", words=("zig", "ar", "qc", "x.a", "a.o")),),
        generators=(),
    )
    (tmp_path / ".ninja_log").write_text(
        "# ninja log v7\n0\t900\t1\ta.o\tf0\n0\t1500\t1\tp.pch\tf1\n"
        # Made twice: the later one counts.
        "1500\t4000\t2\ta.o\tf2\n4000\t4100\t3\tx.a\tf3\n0\t7\t4\tmade.c\tf4\n"
    )
    job: Any = SimpleNamespace(build=tmp_path, graph=graph)
    assert ninja_tasks(job) == [
        Task(name="p.pch", seconds=1.5),
        Task(name="a.o", seconds=2.5, after=("p.pch",)),
        Task(name="x.a", seconds=0.1, after=("a.o",)),
    ]


def core(folder: Path, archive: bytes = b"x", **record: object) -> Core:
    (folder / "lib").mkdir(parents=True)
    (folder / "lib/libtflite.a").write_bytes(archive)
    found = {"inputs": {"tensorflow": "1"}, "components": [], **record}
    (folder / "core.json").write_text(json.dumps(found))
    return Core(path=folder, record=found)


def test_only_the_engine_may_differ(tmp_path: Path) -> None:
    one = core(tmp_path / "one", engine="ninja 1")
    assert differences(one, core(tmp_path / "two", engine="bazel 7")) == []
    other = core(tmp_path / "three", b"y", engine="bazel 7", inputs={})
    (other.path / "more").touch()
    assert differences(one, other) == ["core.json", "lib/libtflite.a", "more"]


def made(seconds: float, compiling: float, found: Core | None = None) -> Made:
    watched = Watched(NINJA, compiling, compiling * 2, TASKS)
    return Made(core=found or Core(Path(), {}), seconds=seconds, watched=watched)


COMPARISON = Comparison(
    name="tf1.2.3-x86_64",
    made={
        "CMake": made(700, 600),
        "Bazel, this machine": made(800, 650),
        "Bazel, cached": made(20, 9),
    },
    tasks=TASKS,
)


def test_the_page_has_the_times_the_simulation_and_the_longest_chain() -> None:
    lines = page(COMPARISON).splitlines()
    assert "| CMake | 11:40 | 10:00 | 20:00 |" in lines
    # One worker runs all of it in 15 s, two in 10 s; the rest of the core takes 20 s.
    assert "| 1 | 15s | 35s |" in lines
    assert "| 2 | 10s | 30s |" in lines
    assert "| 200 | 8.0s | 28s |" in lines
    assert lines[-1].endswith("`header` (2.0s), then `b.o` (5.0s), then `x.a` (1.0s).")


def test_the_page_goes_into_a_document(tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    document.write_text(f"before\n{BEGIN}old\n{END}\nafter\n")
    write_document(COMPARISON, document)
    text = document.read_text()
    assert text.startswith(f"before\n{BEGIN}\nThe core of `tf1.2.3-x86_64`")
    assert text.endswith(f"`x.a` (1.0s).\n\n{END}\nafter\n")


class Runner:
    """A runner with a cache and jobs, and with sources that nobody reads."""

    def __init__(self, cache: Cache) -> None:
        self.cache = cache

    def trees(self, _tensorflow: object) -> Path:
        return self.cache.root / "trees"


def test_each_core_is_made_in_a_folder_of_its_own_and_all_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, object, Path]] = []

    def made_again(title: str, engine: Engine, *arguments: object) -> Made:
        folder = arguments[-1]
        assert isinstance(folder, Path)
        calls.append((title, engine, folder))
        return made(2, 1, core(folder, engine=engine.identity))

    monkeypatch.setattr(compare, "made_again", made_again)
    monkeypatch.setattr(Bazel, "identity", "bazel 9")
    runner: Any = Runner(Cache(tmp_path))
    row = load_matrix().recommended
    found = compare_engines(row, "x86_64", runner, Bazel())
    assert list(found.made) == [title for title, _, _ in calls]
    assert [title.partition(", ")[2] for title, _, _ in calls][1:] == [
        "this machine",
        "all in its cache",
    ]
    (_, cmake, _), (_, clean, _), (_, again_, _) = calls
    assert cmake is NINJA
    assert clean == again_
    assert isinstance(clean, Bazel)
    assert clean.disk is not None
    assert len({len(str(folder)) for _, _, folder in calls}) == 3
    assert sum(task.seconds for task in found.tasks) == pytest.approx(2)
    assert not list((tmp_path / "work").iterdir())
    # With a server, the server keeps the results.
    compare_engines(row, "x86_64", runner, Bazel(executor="grpc://farm:1"))
    far = calls[-1][1]
    assert isinstance(far, Bazel)
    assert far.disk is None
    assert calls[-2][0] == "Bazel 9, workers"


def test_another_core_is_an_error(tmp_path: Path) -> None:
    one = made(1, 1, core(tmp_path / "one"))
    other = made(1, 1, core(tmp_path / "other", b"y"))
    with pytest.raises(CompileError, match=r"^Bazel made another tf1 than CMake: 1 files differ"):
        compare._check("tf1", "Bazel", one, other)


def test_cmake_is_not_compared_with_itself() -> None:
    with pytest.raises(UsageError, match="leave out --engine cmake"):
        command.run(["compare", "2.14.1", "x86_64", "--engine", "cmake"])
