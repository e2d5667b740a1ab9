"""Times networks in several runtimes, in turns, so that the machine's other load meets them all."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from ci.bench.candidates import Worker
from ci.bench.settings import DYNAMIC, FLOAT, INT8, PARTLY, Settings
from smoke_lambda.inside.conform.corpus import Model, read_index

DELEGATED = 0.9
"""The share of nodes that XNNPACK must take for a network to count as delegated."""


@dataclass(frozen=True, kw_only=True)
class Network:
    """The files of a model of a corpus.

    Attributes:
        flavour: see smoke_lambda/inside/conform/corpus.py.
    """

    name: str
    flavour: str
    model: Path
    cases: Path


@dataclass(kw_only=True)
class Timing:
    """The measurements of one network in one runtime.

    Attributes:
        nodes: the number of nodes that XNNPACK took, and of all nodes.
        cpu_ms: the CPU time of an inference, by sample.
        wall_ms: the wall time of an inference, by sample.
        apart: the largest difference between the answers and the first runtime's, divided by the
            largest number in these.
        error: why there is no time.
    """

    nodes: tuple[int, int] = (0, 0)
    cpu_ms: list[float] = field(default_factory=list)
    wall_ms: list[float] = field(default_factory=list)
    apart: float = 0.0
    error: str = ""

    @property
    def share(self) -> float:
        """The share of the nodes that XNNPACK took, 0 to 1."""
        return self.nodes[0] / max(self.nodes[1], 1)

    def as_json(self) -> dict[str, Any]:
        """Return plain data, with the least and the median of the times in milliseconds."""
        found: dict[str, Any] = {"nodes": list(self.nodes), "apart": self.apart}
        if self.error:
            return found | {"error": self.error}
        for name, times in (("cpu_ms", self.cpu_ms), ("wall_ms", self.wall_ms)):
            found[name] = {"least": min(times), "median": median(times), "samples": len(times)}
        return found


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The timings of a network in every runtime, with a number of threads.

    Attributes:
        timings: one per runtime, in the order of the runtimes.
    """

    network: Network
    threads: int
    timings: tuple[Timing, ...]

    def ratio(self, of: int, by: int) -> float | None:
        """Return the least CPU time of one runtime divided by another's; None without both."""
        ours, theirs = self.timings[of], self.timings[by]
        if ours.error or theirs.error:
            return None
        return min(ours.cpu_ms) / min(theirs.cpu_ms)

    @property
    def group(self) -> str:
        """The network's group, one of settings.GROUPS."""
        if self.network.flavour in (DYNAMIC, INT8):
            return self.network.flavour
        shares = [timing.share for timing in self.timings if not timing.error]
        return FLOAT if min(shares, default=0.0) >= DELEGATED else PARTLY


def unpacked(corpus: Path, folder: Path, is_wanted: Callable[[str], bool]) -> Iterator[Network]:
    """Unpack into a folder the networks of a corpus whose names are wanted."""
    for model in read_index(corpus).models:
        if is_wanted(model.name):
            yield _unpacked(corpus, folder, model)


def _unpacked(corpus: Path, folder: Path, model: Model) -> Network:
    with zipfile.ZipFile(corpus / f"{model.family}.zip") as members:
        found, cases = (
            Path(members.extract(f"{model.name}{ending}", folder)) for ending in (".tflite", ".npz")
        )
    return Network(name=model.name, flavour=model.flavour, model=found, cases=cases)


def measure(
    network: Network,
    threads: int,
    workers: Sequence[Worker],
    settings: Settings,
    folder: Path,
    is_too_slow: Callable[[Measured], bool],
) -> Measured:
    """Time a network in each runtime.

    Args:
        folder: the folder for the answers.
        is_too_slow: True for a result above its limit; the network is then timed again, longer.
    """
    timings = tuple(_loaded(worker, network, threads) for worker in workers)
    found = Measured(network=network, threads=threads, timings=timings)
    _compare(workers, timings, folder / "answers.npz")
    _take_turns(workers, timings, settings.turns, settings.turn_seconds)
    if is_too_slow(found):
        _take_turns(workers, timings, settings.turns * settings.again, settings.turn_seconds)
    return found


def _loaded(worker: Worker, network: Network, threads: int) -> Timing:
    answer = worker.ask(
        "load",
        model=str(network.model),
        cases=str(network.cases),
        threads=threads,
        cpus=sorted(os.sched_getaffinity(0))[:threads],
    )
    if "error" in answer:
        return Timing(error=answer["error"])
    taken, total = answer["nodes"]
    return Timing(nodes=(taken, total))


def _compare(workers: Sequence[Worker], timings: Sequence[Timing], answers: Path) -> None:
    """Note how far the answers are from those of the first runtime that has any."""
    pairs = [(w, t) for w, t in zip(workers, timings, strict=True) if not t.error]
    for number, (worker, timing) in enumerate(pairs):
        if number == 0:
            worker.ask("save", path=str(answers))
        else:
            timing.apart = worker.ask("compare", path=str(answers)).get("apart", float("inf"))


def _take_turns(
    workers: Sequence[Worker], timings: Sequence[Timing], turns: int, seconds: float
) -> None:
    pairs = list(zip(workers, timings, strict=True))
    for turn in range(turns):
        for worker, timing in pairs if turn % 2 == 0 else reversed(pairs):
            if timing.error:
                continue
            answer = worker.ask("time", seconds=seconds)
            timing.error = answer.get("error", "")
            timing.cpu_ms += answer.get("cpu_ms", [])
            timing.wall_ms += answer.get("wall_ms", [])
