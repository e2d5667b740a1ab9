"""What a comparison with TensorFlow found, as data: for the summary, for --json and for records."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Something that is wrong with one model.

    Attributes:
        model: its name; empty: the runtime does not even start.
        pattern, flavour: see smoke_lambda.inside.conform.corpus.Model.
        what: the kind of failure, such as `crash SIGABRT`, `wrong answer`, `not delegated`.
        detail: where it came, what was expected and what was found.
    """

    model: str
    pattern: str
    flavour: str
    what: str
    detail: str

    def __str__(self) -> str:
        """One line for people."""
        return f"{self.model or 'the runtime'}: {self.what}: {self.detail}"


@dataclass(frozen=True, kw_only=True)
class ConformReport:
    """A wheel and the models that were run on it.

    Attributes:
        place: what identifies where it ran.
        corpus: the digest of the models, answers and tolerances.
        part: which part of the corpus: a name of settings.toml, or how it was chosen.
        models: how many ran to their end, or failed.
        asked: how many should run.
        operators: builtin operators of those models, sorted.
        versions: how many kinds there are, an operator in each version being one.
        uncovered: builtin operators that the runtime has and no model of these has.
        nodes: of all models' first graphs.
        delegated: how many of those XNNPACK took.
        expected_delegation: whether it is known how many it should take.
        heap_checked: whether the C library's heap checks were on.
        memory_measured: of how many models the memory was watched.
        notes: what is worth a look, and no failure.
        seconds: of the whole.
    """

    wheel: str
    sha256: str
    python: str
    numpy: str
    place: str
    corpus: str
    part: str
    models: int
    asked: int
    operators: tuple[str, ...]
    versions: int
    uncovered: tuple[str, ...]
    nodes: int
    delegated: int
    expected_delegation: bool
    heap_checked: bool
    memory_measured: int
    failures: tuple[Failure, ...]
    notes: tuple[str, ...]
    seconds: float
    log: str

    @property
    def ok(self) -> bool:
        """Whether all models were run, at least one, and all is right."""
        return self.models == self.asked > 0 and not self.failures

    @property
    def delegated_share(self) -> float:
        """The share of nodes that XNNPACK took, 0 to 1."""
        return self.delegated / self.nodes if self.nodes else 0.0

    def as_json(self) -> dict[str, Any]:
        """The report in types that JSON knows, with the verdict."""
        shares = {"delegated_share": self.delegated_share, "ok": self.ok}
        return dataclasses.asdict(self) | shares


def summed_up(failures: Sequence[dict[str, Any]], most: int = 5) -> str:
    """Failures in one line: how many of each kind, and the first of them in full."""
    if not failures:
        return "no model was run"
    kinds = Counter(failure["what"] for failure in failures)
    counts = ", ".join(f"{count} {what}" for what, count in kinds.most_common())
    models = len({failure["model"] for failure in failures})
    first = "; ".join(str(Failure(**failure)) for failure in failures[:most])
    more = f"; and {len(failures) - most} more" if len(failures) > most else ""
    return f"{models} models fail ({counts}): {first}{more}"
