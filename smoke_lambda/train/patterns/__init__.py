"""The patterns, by family: the modules of this folder, each of which has `patterns()`."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from smoke_lambda.train.pattern import Pattern

RANDOM = "random"
"""The family of the graphs of random_graphs.py."""

FAMILIES = tuple(sorted({RANDOM, *(p.stem for p in Path(__file__).parent.glob("[a-z]*.py"))}))
"""Their names; the modules import TensorFlow, this one does not."""


def patterns_of(family: str) -> list[Pattern]:
    """The patterns of a family, by name.

    Raises:
        ValueError: two have the same name.
    """
    module = importlib.import_module(f"{__name__}.{family}")
    found: dict[str, Pattern] = {}
    for each in module.patterns():
        if found.setdefault(each.name, each) is not each:
            raise ValueError(f"{family} has two patterns {each.name}")
    return [found[name] for name in sorted(found)]
