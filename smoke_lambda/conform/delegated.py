"""The number of nodes that XNNPACK takes of each model: delegated/<TensorFlow version>.json.

`./scripts/conform --write-delegated WHEEL` writes the file, from a wheel whose answers are right.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from builders.cache import write_atomically
from builders.errors import UsageError

FOLDER = Path(__file__).with_name("delegated")
FEWER = "not delegated"

Nodes = tuple[int, int]
"""The number of delegated nodes of a model's first graph, and the number of all its nodes."""


def path_of(version: str, folder: Path = FOLDER) -> Path:
    """Return the file of a TensorFlow version, or of a peer's `project-version`."""
    return folder / f"{version}.json"


def read(version: str, folder: Path = FOLDER) -> Mapping[str, Nodes]:
    """Return the expected nodes by model; empty if there is no file.

    Raises:
        UsageError: the file is malformed.
    """
    path = path_of(version, folder)
    if not path.is_file():
        return {}
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return {name: (int(taken), int(nodes)) for name, (taken, nodes) in data.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise UsageError(
            f"{path.name} is malformed: {error}", remedy="write it with --write-delegated"
        ) from error


def write(version: str, found: Mapping[str, Nodes], folder: Path = FOLDER) -> Path:
    """Write the nodes that were found, one model per line; return the file."""
    lines = [f" {json.dumps(name)}: {json.dumps(found[name])}" for name in sorted(found)]
    path = path_of(version, folder)
    write_atomically(path, ("{\n" + ",\n".join(lines) + "\n}\n").encode())
    return path


def compared(
    expected: Mapping[str, Nodes], found: Mapping[str, Nodes]
) -> Iterator[tuple[str, str, bool]]:
    """Yield each unexpected model: its name, a description, and True if that is a failure."""
    for name, (taken, nodes) in found.items():
        if name not in expected:
            yield name, "nothing is known of how many nodes XNNPACK should take", False
            continue
        wanted, of = expected[name]
        if of != nodes:
            words = f"expected a graph of {of} nodes, found {nodes}: use --write-delegated again"
            yield name, words, True
        elif taken != wanted:
            words = f"expected {wanted} of {of} nodes, found {taken}"
            yield name, words, taken < wanted
