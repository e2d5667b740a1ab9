"""The committed corpus: what the gate relies on."""

from __future__ import annotations

import zipfile

import pytest

from builders.tables import read_toml
from smoke_lambda.conform.coverage import coverage
from smoke_lambda.conform.settings import CORPUS, TOLERANCES
from smoke_lambda.inside.conform.corpus import load, read_index
from smoke_lambda.ops import load_ops
from smoke_lambda.train.generate import least
from smoke_lambda.train.patterns import FAMILIES
from smoke_lambda.train.writing import index_text

INDEX = read_index(CORPUS)
MOST_BYTES = 6_000_000
FLAVOURS = {"float32", "float16", "dynamic", "int8"}


def test_it_is_small() -> None:
    assert sum(path.stat().st_size for path in CORPUS.iterdir()) < MOST_BYTES


def test_there_are_patterns_of_every_family_and_flavour() -> None:
    assert {model.family for model in INDEX.models} == set(FAMILIES)
    assert {model.flavour for model in INDEX.models} == FLAVOURS
    assert coverage(INDEX, load_ops(), INDEX.tensorflow).patterns >= 120


def test_every_operator_is_known_of_the_version_that_converted_it() -> None:
    found = coverage(INDEX, load_ops(), INDEX.tensorflow)
    assert found.foreign == ()
    assert len(found.operators) > 120


def test_every_tolerance_has_a_row_with_its_reason() -> None:
    rows = read_toml(TOLERANCES)
    assert {model.tolerance for model in INDEX.models} <= rows.keys()
    for row in rows.values():
        assert row.keys() == {"absolute", "relative", "steps", "reason"}
        assert row["reason"]


def test_the_archives_hold_what_the_index_says() -> None:
    archives = {path.stem: zipfile.ZipFile(path) for path in CORPUS.glob("*.zip")}
    members = {(family, name) for family, a in archives.items() for name in a.namelist()}
    assert members == {
        (model.family, f"{model.name}.{kind}")
        for model in INDEX.models
        for kind in ("tflite", "npz")
    }


@pytest.mark.parametrize("model", INDEX.models[::20], ids=lambda model: model.name)
def test_a_model_and_its_cases_can_be_read(model) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001
    content, cases = load(CORPUS, model)
    assert content[4:8] == b"TFL3"
    assert len(cases) == len(model.cases) > 0
    assert all(case.outputs for case in cases)


def test_the_index_is_as_it_is_written() -> None:
    assert index_text(INDEX.tensorflow, INDEX.models) == (CORPUS / "index.json").read_text()


def test_answers_are_large_enough_to_tell_by() -> None:
    numbers = [m for m in least(INDEX) if m.family not in ("signatures", "select", "rank")]
    assert numbers[0].largest > 0.001


def test_the_two_graphs_that_broke_build_1_are_there() -> None:
    patterns = {model.pattern for model in INDEX.models}
    assert {"mean-keepdims-conv2d", "mean-keepdims-conv2d-sigmoid-mul"} <= patterns
