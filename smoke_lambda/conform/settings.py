"""The settings for comparing wheels with TensorFlow: settings.toml, and parts of the corpus."""

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
"""The file beside the index of a corpus whose models have tolerances of their own."""
OWN = "tflite-runtime"
"""The project that has the same module as our wheels."""

WHOLE, SAMPLE = "whole", "sample"
EMULATED = {WHOLE: "emulated", SAMPLE: "emulated-sample"}
"""The part that replaces another part if the processor is emulated."""


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A runtime that a project publishes.

    Attributes:
        module: the module with the runtime's `Interpreter`.
        numpy: `oldest` or `newest` of the Python's NumPy versions; our own wheels use Lambda's.
    """

    module: str
    numpy: str


@dataclass(frozen=True, kw_only=True)
class Growing:
    """The model whose batch grows, and for how long.

    Attributes:
        model: the name of the model, whose first dimension is open.
    """

    model: str
    seconds: int


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of settings.toml.

    Attributes:
        python: the Python on which the whole corpus runs, if it is among the targets.
        memory: the numbers for the memory check of smoke_lambda/inside/conform/probe.py.
        parts: by the part's name, the number n of which one in n models is taken.
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
        UsageError: the settings are malformed; the message names the place.
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
    """Return the rows of tolerance.toml and the own rows of a corpus, if any, by name."""
    rows = read_toml(path)
    own = folder / OWN_TOLERANCES_FILE if folder else None
    return rows | (json.loads(own.read_text(encoding="utf-8")) if own and own.is_file() else {})


def part_of(models: Sequence[Model], one_in: int, number: int = 0) -> list[Model]:
    """Return one in `one_in` models, in order. Each `number` below `one_in` gives another set.

    The set of a model depends on names alone, and the models of a pattern are spread over sets.
    """
    ranked = sorted(models, key=lambda model: hashlib.sha256(model.name.encode()).digest())
    chosen = {model.name for model in ranked[number % one_in :: one_in]}
    return [model for model in models if model.name in chosen]


def part_number(python: str) -> int:
    """Return the number of the set that a Python such as `3.11` takes."""
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
    """Return n if a part takes one in n models.

    Raises:
        UsageError: there is no such part.
    """
    parts = load_settings().parts
    if part not in parts:
        raise UsageError(f"there is no part {part!r} of the corpus", remedy=f"one of {[*parts]}")
    return parts[part]
