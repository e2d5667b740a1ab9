"""Known faults of upstream, which are notes of a comparison rather than failures: known.toml."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

from packaging.version import Version

from builders.tables import Row, is_version, read_toml
from smoke_lambda.inside.conform.corpus import Model

DATA = Path(__file__).with_name("known.toml")


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One row of known.toml; the head of that file explains the fields."""

    model: str
    operator: str
    way: str
    before: str
    reason: str

    def covers(self, tensorflow: str, model: Model, detail: str) -> bool:
        """True if a failure of a TensorFlow version's wheel is this fault."""
        if self.before and Version(tensorflow) >= Version(self.before):
            return False
        return self.fits(model) and detail.startswith(self.way)

    def fits(self, model: Model) -> bool:
        """True if a model can have this fault."""
        operators = {name for name, _ in model.operators}
        has = not self.operator or self.operator in operators
        return has and fnmatchcase(model.name, self.model)


@cache
def load_faults(path: Path = DATA) -> tuple[Fault, ...]:
    """Return all rows of known.toml.

    Raises:
        UsageError: the file is malformed; the message names the row.
    """
    top = Row(path.name, read_toml(path))
    faults = tuple(_fault(row) for row in top.rows("fault", "model"))
    top.done()
    return faults


def reason_of(tensorflow: str, model: Model, detail: str) -> str:
    """Return why a failure is upstream's own; empty if it is not known to be."""
    found = (f.reason for f in load_faults() if f.covers(tensorflow, model, detail))
    return next(found, "")


def _fault(row: Row) -> Fault:
    fault = Fault(
        model=row.take("model", str, bool),
        operator=row.take("operator", str, bool, default=""),
        way=row.take("way", str),
        before=row.take("before", str, is_version, default=""),
        reason=row.take("reason", str, bool),
    )
    row.done()
    return fault
