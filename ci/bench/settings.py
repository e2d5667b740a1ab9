"""The settings of bench.toml: how wheels are timed, and the limits of their CPU time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from builders.errors import UsageError
from builders.tables import Row, is_sha256, is_version, read_toml

DATA = Path(__file__).with_name("bench.toml")
ALL = "all"
FLOAT, PARTLY, DYNAMIC, INT8 = "float", "partly delegated", "dynamic", "int8"
GROUPS = (FLOAT, DYNAMIC, INT8, PARTLY)
"""The groups of networks; as a rule, all weights of a group use the same kernels."""


@dataclass(frozen=True, kw_only=True)
class Peer:
    """The PyPI wheel of a runtime that is not ours."""

    project: str
    version: str
    file: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Bar:
    """The limits of a wheel's CPU time divided by a peer's.

    Attributes:
        wheel: the wheel's TensorFlow version.
        peer: the peer's project.
        mean: the largest permitted geometric mean, by group.
        worst: the largest permitted ratio of any network.
    """

    wheel: str
    peer: str
    mean: Mapping[str, float]
    worst: float


@dataclass(frozen=True, kw_only=True)
class Gate:
    """The limit for wheels that CI made; it is so wide that only a mistake exceeds it.

    Attributes:
        networks: the names of the models that are timed.
        worst: the largest permitted ratio of a model's time to that of the published wheel of the
            same target.
    """

    networks: tuple[str, ...]
    worst: float


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of bench.toml.

    Attributes:
        turn_seconds: the length of one wheel's turn, in seconds.
        again: the factor for the number of turns if a ratio above its bar is measured again.
        starts: the number of processes that are started to time the parts of a start.
    """

    python: str
    turns: int
    turn_seconds: float
    again: int
    starts: int
    peers: tuple[Peer, ...]
    bars: tuple[Bar, ...]
    gate: Gate

    def peer(self, project: str) -> Peer:
        """Return the peer of a project; raise UsageError if there is none."""
        for peer in self.peers:
            if peer.project == project:
                return peer
        raise UsageError(
            f"{project} is neither a wheel's file nor a known peer",
            remedy=f"known are {', '.join(peer.project for peer in self.peers)}",
        )

    def bar(self, wheel: str, peer: str) -> Bar | None:
        """Return the limits for a TensorFlow version against a project; None if there are none."""
        return next((b for b in self.bars if (b.wheel, b.peer) == (wheel, peer)), None)


@cache
def load_settings(path: Path = DATA) -> Settings:
    """Read and validate bench.toml.

    Raises:
        UsageError: the file is malformed; the message names the place.
    """
    row = Row(path.name, read_toml(path))
    peers = tuple(map(_peer, row.rows("peer", "project")))
    settings = Settings(
        python=row.take("python", str, bool),
        turns=row.take("turns", int, lambda n: n >= 2),
        turn_seconds=row.take("turn_seconds", float, lambda s: s > 0),
        again=row.take("again", int, lambda n: n >= 1),
        starts=row.take("starts", int, lambda n: n >= 1),
        peers=peers,
        gate=_gate(Row(f"{path.name}: gate", row.take("gate", dict))),
        bars=tuple(
            _bar(each, {peer.project for peer in peers}) for each in row.rows("bar", "wheel")
        ),
    )
    row.done()
    return settings


def _peer(row: Row) -> Peer:
    peer = Peer(
        project=row.take("project", str, bool),
        version=row.take("version", str, is_version),
        file=row.take("file", str, lambda name: name.endswith(".whl")),
        sha256=row.take("sha256", str, is_sha256),
    )
    row.done()
    return peer


def _gate(row: Row) -> Gate:
    gate = Gate(
        networks=row.strings("networks"),
        worst=row.take("worst", float, lambda ratio: ratio > 1),
    )
    row.done()
    return gate


def _bar(row: Row, projects: set[str]) -> Bar:
    groups = {*GROUPS, ALL}
    bar = Bar(
        wheel=row.take("wheel", str, is_version),
        peer=row.take("peer", str, projects.__contains__),
        mean=row.take("mean", dict, lambda means: means.keys() <= groups),
        worst=row.take("worst", float, lambda ratio: ratio > 0),
    )
    row.done()
    return bar
