"""Looks at a model with the runtime that the function will have."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from builders.errors import UsageError
from smoke_lambda.functions.facts import Facts, facts_of
from smoke_lambda.inside.flatbuffer import OperatorCode
from smoke_lambda.inside.probing import share
from smoke_lambda.model import lacking, looked
from smoke_lambda.site import Place

PROBE = "smoke_lambda.inside.function_probe"


def look_at(place: Place, model: Path, kinds: Sequence[OperatorCode], wheel: Path) -> Facts:
    """Return the inputs and outputs of a model.

    Args:
        place: the place where the wheel is installed.
        kinds: the model's operator kinds.

    Raises:
        UsageError: the runtime cannot load the model; the message names the missing operators.
    """
    found = looked(place, [place.shown(model)], probe=PROBE)
    if "error" not in found:
        return facts_of(found)
    words = " ".join(found["error"].split())
    lacks = lacking([*found.get("missing", ()), words], kinds=kinds, wheel=wheel)
    if lacks:
        raise UsageError(
            f"the model needs what {wheel.name} lacks: {', '.join(lack.text for lack in lacks)}",
            remedy="choose a version that has it, or convert the model without it (OPERATORS.md)",
        )
    raise UsageError(f"the model does not load: {words}", remedy="convert it anew")


def delegated(place: Place, model: Path) -> float | None:
    """Return the share of operators that XNNPACK runs, 0 to 1; None if the model has none."""
    found = looked(place, [place.shown(model)])
    nodes = found.get("operators", ())
    return share(nodes) if nodes else None
