"""The results of a comparison with TensorFlow, as data for the summary, --json and records."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A failure of one model.

    Attributes:
        model: the model's name; empty if the runtime does not even start.
        pattern, flavour: see smoke_lambda.inside.conform.corpus.Model.
        what: the kind of failure, such as `crash SIGABRT`, `wrong answer`, `not delegated`.
        detail: the stage of the failure, what was expected and what was found.
    """

    model: str
    pattern: str
    flavour: str
    what: str
    detail: str

    def __str__(self) -> str:
        """Return the failure as one line for people."""
        return f"{self.model or 'the runtime'}: {self.what}: {self.detail}"


@dataclass(frozen=True, kw_only=True)
class ConformReport:
    """The results of the models that were run on a wheel.

    Attributes:
        place: the name of the site where the wheel ran.
        corpus: the digest of the models, answers and tolerances.
        part: the part of the corpus: a name of settings.toml, or how it was chosen.
        models: the number of models that ran to their end or failed.
        asked: the number of models that should run.
        operators: the builtin operators of the models that ran to their end, sorted.
        versions: the number of operator versions in those models, summed over the operators.
        uncovered: the builtin operators of the TensorFlow version that none of those models has.
        nodes: the number of nodes in the first graphs of all models.
        delegated: the number of those nodes that XNNPACK took.
        expected_delegation: True if the number that XNNPACK should take is known.
        heap_checked: True if the C library's heap checks were on.
        memory_measured: the number of models whose memory growth was measured.
        notes: findings that are worth a look but are no failures.
        seconds: the duration of the whole comparison.
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
        """True if all models were run, there was at least one, and none failed."""
        return self.models == self.asked > 0 and not self.failures

    @property
    def delegated_share(self) -> float:
        """The share of nodes that XNNPACK took, 0 to 1."""
        return self.delegated / self.nodes if self.nodes else 0.0

    def as_json(self) -> dict[str, Any]:
        """Return the report in types that JSON knows, with the verdict."""
        shares = {"delegated_share": self.delegated_share, "ok": self.ok}
        return dataclasses.asdict(self) | shares


def summed_up(failures: Sequence[dict[str, Any]], most: int = 5) -> str:
    """Return failures as one line: how many of each kind, and the first `most` in full."""
    if not failures:
        return "no model was run"
    kinds = Counter(failure["what"] for failure in failures)
    counts = ", ".join(f"{count} {what}" for what, count in kinds.most_common())
    models = len({failure["model"] for failure in failures})
    first = "; ".join(str(Failure(**failure)) for failure in failures[:most])
    more = f"; and {len(failures) - most} more" if len(failures) > most else ""
    return f"{models} models fail ({counts}): {first}{more}"
