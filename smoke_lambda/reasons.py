"""Why XNNPACK leaves nodes of a model to the built-in kernels, from the runtime's output."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

EXPLAIN: Mapping[str, str] = {"TFLITE_XNNPACK_EXPLAIN": "1"}
"""With this variable, our runtimes print the delegate's own reasons; others print nothing."""

# Such as `unsupported type INT64 in tensor #3 in node #4`, perhaps after a log level.
_SAID = re.compile(r"^(?:[A-Z]+: )?(?P<words>.*\bnode #(?P<node>\d+).*)$")
_NUMBERS = re.compile(r"\s*\b(?:in |of )?node #\d+")
_TENSOR = re.compile(r"tensor #\d+")

OPEN_SHAPE = "the graph has an open shape here: convert it with a fixed size"
NOT_AMONG = "the operator or its attributes are not among XNNPACK's"
NOTHING = "nothing was reported"


@dataclass(frozen=True, kw_only=True)
class Reason:
    """Why XNNPACK did not take nodes of one operator.

    Attributes:
        count: the number of such nodes.
    """

    operator: str
    reason: str
    count: int


def reasons(
    operators: Sequence[tuple[str, bool]], open_nodes: Collection[int], output: str
) -> tuple[Reason, ...]:
    """Return the reasons, the most frequent first.

    Args:
        operators: the name of each node and True if a delegate took it, in node order.
        open_nodes: the numbers of nodes with a tensor that has an open dimension.
        output: everything that the runtime wrote.
    """
    said = _said(output)
    other = NOT_AMONG if said else NOTHING
    found = Counter(
        (name, said.get(number) or (OPEN_SHAPE if number in open_nodes else other))
        for number, (name, taken) in enumerate(operators)
        if not taken
    )
    return tuple(
        Reason(operator=name, reason=reason, count=count)
        for (name, reason), count in found.most_common()
    )


def _said(output: str) -> dict[int, str]:
    """Return the first line about each node. Without numbers, so that like reasons are equal."""
    found: dict[int, str] = {}
    for line in output.splitlines():
        match = _SAID.match(line.strip())
        if match:
            words = _TENSOR.sub("a tensor", _NUMBERS.sub("", match["words"]))
            found.setdefault(int(match["node"]), " ".join(words.split()))
    return found
