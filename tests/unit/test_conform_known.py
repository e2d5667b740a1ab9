"""Faults of upstream's own: only what is known is excused, in the versions that have it."""

from __future__ import annotations

from pathlib import Path

import pytest

from builders.errors import UsageError
from smoke_lambda.conform.known import load_faults, reason_of
from smoke_lambda.conform.run import all_models

REFERENCE = "reference kernels, case 0, once: expected 1, found 2"
MODELS = {model.name: model for model in all_models()}
PLAIN = "1 thread, case 0, first time: expected 1, found 2"


@pytest.mark.parametrize(
    ("tensorflow", "model", "detail", "known"),
    [
        ("2.14.1", "sum-all.int8", REFERENCE, True),
        ("2.22.0.dev20260518", "sum-all.int8", REFERENCE, True),
        ("2.14.1", "sum-all.int8", PLAIN, False),
        ("2.14.1", "sum-all.float32", REFERENCE, False),
        ("2.14.1", "graph0049.int8", "reference kernels: load: it said nothing", True),
        ("2.14.1", "if.float16", PLAIN, True),
        ("2.22.0.dev20260518", "if.float16", PLAIN, False),
        ("2.14.1", "conv2d-same.float32", PLAIN, False),
        ("2.14.1", "conv2d-same.int8", REFERENCE, False),
    ],
)
def test_only_a_known_fault_is_excused(
    tensorflow: str, model: str, detail: str, known: bool
) -> None:
    assert bool(reason_of(tensorflow, MODELS[model], detail)) is known


def test_each_row_is_about_a_model_of_the_corpus() -> None:
    for fault in load_faults():
        assert any(map(fault.fits, MODELS.values())), fault


def test_a_malformed_row_is_named(tmp_path: Path) -> None:
    file = tmp_path / "known.toml"
    file.write_text('[[fault]]\nmodel = "x"\nway = ""\n')
    with pytest.raises(UsageError, match=r"known.toml|fault x"):
        load_faults(file)
