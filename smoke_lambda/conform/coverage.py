"""The builtin operators, and their versions, that the models of a corpus cover."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from smoke_lambda.inside.conform.corpus import Index
from smoke_lambda.ops import OpsTable


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """The operators of a TensorFlow version that a corpus covers.

    Attributes:
        tensorflow: the TensorFlow version.
        models: the number of models, by flavour.
        patterns: the number of patterns that the models are made from.
        operators: the versions of each operator that the models have, by name.
        missing: the operators of that TensorFlow version that no model has.
        foreign: the operators of models that are not known in that TensorFlow version.
    """

    tensorflow: str
    models: dict[str, int]
    patterns: int
    operators: dict[str, tuple[int, ...]]
    missing: tuple[str, ...]
    foreign: tuple[str, ...]

    def lines(self) -> list[str]:
        """Return the coverage as lines for people."""
        flavours = ", ".join(f"{count} {flavour}" for flavour, count in self.models.items())
        versions = sum(map(len, self.operators.values()))
        found = [
            f"{sum(self.models.values())} models ({flavours}) of {self.patterns} patterns",
            f"{len(self.operators)} builtin operators in {versions} versions",
        ]
        if self.missing:
            names = ", ".join(self.missing)
            found.append(f"{self.tensorflow} also has {len(self.missing)} operators: {names}")
        if self.foreign:
            found.append(f"not known of {self.tensorflow}: {', '.join(self.foreign)}")
        return found


def coverage(index: Index, table: OpsTable, tensorflow: str) -> Coverage:
    """Return what a corpus covers of the operators of a TensorFlow version."""
    versions: dict[str, set[int]] = {}
    for model in index.models:
        for name, version in model.operators:
            versions.setdefault(name, set()).add(version)
    theirs = table.tensorflows.get(tensorflow, {})
    return Coverage(
        tensorflow=tensorflow,
        models=dict(sorted(Counter(model.flavour for model in index.models).items())),
        patterns=len({(model.family, model.pattern) for model in index.models}),
        operators={name: tuple(sorted(versions[name])) for name in sorted(versions)},
        missing=tuple(sorted(theirs.keys() - versions.keys())),
        foreign=tuple(
            f"{name} version {version}"
            for name in sorted(versions)
            for version in sorted(versions[name])
            if version not in theirs.get(name, ())
        ),
    )
