from __future__ import annotations

from conform_samples import entry

from smoke_lambda.conform.coverage import coverage
from smoke_lambda.inside.conform.corpus import Index
from smoke_lambda.ops import parsed

CODES = {"ADD": 0, "RELU": 19, "WHILE": 119}
TABLE = parsed(CODES, {"2.14.1": {"ADD": range(1, 5), "RELU": range(1, 2), "WHILE": range(1, 2)}})
INDEX = Index(
    "2.14.1",
    (
        entry("relu.float32").model,
        entry("relu.int8", operators=(("ADD", 4),)).model,
        entry("add.int8", "broadcast").model,
    ),
)


def test_operators_and_versions_are_counted() -> None:
    found = coverage(INDEX, TABLE, "2.14.1")
    assert found.operators == {"ADD": (1, 4), "RELU": (2,)}
    assert found.models == {"float32": 1, "int8": 2}
    assert found.patterns == 2


def test_what_no_model_covers_is_named() -> None:
    found = coverage(INDEX, TABLE, "2.14.1")
    assert found.missing == ("WHILE",)
    assert found.foreign == ("RELU version 2",)
    assert found.lines() == [
        "3 models (1 float32, 2 int8) of 2 patterns",
        "2 builtin operators in 3 versions",
        "2.14.1 also has 1 operators: WHILE",
        "not known of 2.14.1: RELU version 2",
    ]


def test_a_corpus_that_covers_all_says_no_more() -> None:
    table = parsed(CODES, {"2.14.1": {"ADD": range(1, 5), "RELU": range(1, 3)}})
    assert len(coverage(INDEX, table, "2.14.1").lines()) == 2
