"""How wheels are compared with TensorFlow: settings.toml, and the parts of the corpus."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from builders.errors import UsageError
from builders.tables import Row, read_toml
from smoke_lambda.inside.conform.corpus import Model

HERE = Path(__file__).parent
DATA = HERE / "settings.toml"
TOLERANCES = HERE / "tolerance.toml"
CORPUS = HERE / "corpus"
OWN_TOLERANCES_FILE = "tolerance.json"
"""Beside the index of a corpus whose models have tolerances of their own."""
OWN = "tflite-runtime"
"""The project whose module our wheels have."""

WHOLE, SAMPLE = "whole", "sample"
EMULATED = {WHOLE: "emulated", SAMPLE: "emulated-sample"}
"""The part that stands for another where the processor is emulated."""


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A runtime, by its project.

    Attributes:
        module: has its `Interpreter`.
        numpy: `oldest` or `newest` of the Python's; those of our own wheels are Lambda's.
    """

    module: str
    numpy: str


@dataclass(frozen=True, kw_only=True)
class Growing:
    """The model whose batch grows, and for how long.

    Attributes:
        model: its first dimension is open.
    """

    model: str
    seconds: int


@dataclass(frozen=True, kw_only=True)
class Settings:
    """See settings.toml.

    Attributes:
        python: on which the whole corpus runs, where it is among the targets.
        memory: numbers for smoke_lambda/inside/conform/probe.py.
        parts: of how many models one is taken, by the part's name.
    """

    threads: Sequence[int]
    models_per_process: int
    seconds_per_model: float
    emulated_factor: float
    python: str
    memory: Mapping[str, float]
    parts: Mapping[str, int]
    peers: Mapping[str, Peer]
    growing: Growing


@cache
def load_settings(path: Path = DATA) -> Settings:
    """Read and validate the settings.

    Raises:
        UsageError: they are malformed; the message names the place.
    """
    row = Row(path.name, read_toml(path))
    memory = Row(f"{path.name}: memory", row.take("memory", dict))
    growing = Row(f"{path.name}: growing", row.take("growing", dict))
    settings = Settings(
        threads=tuple(row.take("threads", list, bool)),
        models_per_process=row.take("models_per_process", int, _positive),
        seconds_per_model=row.take("seconds_per_model", int, _positive),
        emulated_factor=row.take("emulated_factor", int, _positive),
        python=row.take("python", str, bool),
        memory={
            name: memory.take(name, int, _positive)
            for name in ("calls", "warm", "bytes", "times", "seconds")
        },
        parts={
            name: Row(f"{path.name}: part.{name}", part).take("one_in", int, _positive)
            for name, part in row.take("part", dict).items()
        },
        peers={
            name: _peer(Row(f"{path.name}: peer.{name}", peer))
            for name, peer in row.take("peer", dict).items()
        },
        growing=Growing(
            model=growing.take("model", str, bool),
            seconds=growing.take("seconds", int, _positive),
        ),
    )
    memory.done()
    growing.done()
    row.done()
    return settings


def load_tolerances(
    path: Path = TOLERANCES, folder: Path | None = None
) -> Mapping[str, Mapping[str, Any]]:
    """The rows of tolerance.toml, and those of a corpus of its own, by name."""
    rows = read_toml(path)
    own = folder / OWN_TOLERANCES_FILE if folder else None
    return rows | (json.loads(own.read_text(encoding="utf-8")) if own and own.is_file() else {})


def part_of(models: Sequence[Model], one_in: int, number: int = 0) -> list[Model]:
    """Each `one_in`-th model, in their order; another set for each `number` below `one_in`.

    Which set a model is in depends on names alone, and the models of a pattern are spread.
    """
    ranked = sorted(models, key=lambda model: hashlib.sha256(model.name.encode()).digest())
    chosen = {model.name for model in ranked[number % one_in :: one_in]}
    return [model for model in models if model.name in chosen]


def part_number(python: str) -> int:
    """The set that a Python such as `3.11` takes."""
    return int(python.partition(".")[2])


def _peer(row: Row) -> Peer:
    peer = Peer(
        module=row.take("module", str, bool),
        numpy=row.take("numpy", str, lambda text: text in ("oldest", "newest")),
    )
    row.done()
    return peer


def _positive(number: float) -> bool:
    return number > 0


def one_in(part: str) -> int:
    """Of how many models a part takes one.

    Raises:
        UsageError: there is no such part.
    """
    parts = load_settings().parts
    if part not in parts:
        raise UsageError(f"there is no part {part!r} of the corpus", remedy=f"one of {[*parts]}")
    return parts[part]
