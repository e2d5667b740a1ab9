"""Damaged models: how they are made, and what happens if one ends its process."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings

from builders.errors import UsageError
from ci.fuzz import models
from ci.fuzz.models import Models, cases, chosen, damaged, target

pytestmark = pytest.mark.usefixtures("allow_subprocess")

# Stands in for the worker: the content of the model decides how the worker ends.
WORKER = """
import base64, os, sys, time
for line in sys.stdin:
    what = base64.b64decode(line).decode()
    for stage in ("load by content", "load by path", "allocate", "done"):
        print(stage, flush=True)
        if what == stage:
            os.abort()
"""


@pytest.fixture
def tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Models]:
    worker = tmp_path / "worker.py"
    worker.write_text(WORKER)
    monkeypatch.setattr(models, "WORKER", worker)
    made = Models(Path(sys.executable), {})
    yield made
    made.close()


def test_a_process_that_ends_while_it_loads_is_a_finding(tried: Models) -> None:
    assert tried.judge(b"fine") == ""
    assert tried.judge(b"load by path") == (
        "the process ends as it loads a model: load by path: status -6"
    )
    assert tried.judge(b"fine") == ""
    assert tried.told == ""


def test_one_that_ends_later_is_counted(tried: Models) -> None:
    assert tried.judge(b"allocate") == ""
    assert tried.judge(b"allocate") == ""
    assert tried.told == "allocate: status -6 (2 times)"


def test_a_model_is_cut_and_changed_where_a_case_says() -> None:
    content = bytes(range(100))
    case = {"model": "x", "keep": 500_000, "edits": [[20_000, "ffff"], [990_000, "aabb"]]}
    assert damaged(content, case) == b"\0\1\xff\xff" + content[4:50]
    assert damaged(content, {"model": "x", "keep": None, "edits": []}) == content
    over_the_end = {"model": "x", "keep": None, "edits": [[990_000, "aabb"]]}
    assert damaged(content, over_the_end) == content[:99] + b"\xaa"


@settings(max_examples=50)
@given(cases(["x"]))
def test_every_case_gives_a_model(case: dict[str, object]) -> None:
    assert len(damaged(bytes(100), case)) <= 100


def test_the_models_are_in_the_corpus() -> None:
    assert tuple(chosen()) == models.NAMES


def test_a_wheel_must_be_named() -> None:
    with pytest.raises(UsageError, match="--wheel"), target(None):
        pass
