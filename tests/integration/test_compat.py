"""Wheels really tried: the package index's last one, and one of ours."""

from __future__ import annotations

import json
import platform
from typing import Any

import pytest
from support import RECOMMENDED, records, script, wheels_folder
from test_smoke_wheels import interpreter, published

from builders.matrix import load_matrix
from smoke_lambda.events import known_answers

pytestmark = pytest.mark.integration

RUNTIME = load_matrix().runtime("3.11")


def tried(*wheels: object) -> tuple[int, list[dict[str, Any]]]:
    done = script("compat", "--json", *map(str, wheels))
    assert "Traceback" not in done.stderr
    surveys = json.loads(done.stdout)
    for survey in surveys:
        survey["ran"] = {row["numpy"]: row for row in survey["rows"] if row["state"] == "ran"}
        assert tuple(survey["ran"]) == RUNTIME.numpy.smoke_versions
    return done.returncode, surveys


def outcomes(row: dict[str, Any]) -> dict[str, str]:
    return {cell["model"]: cell["outcome"] for cell in row["models"]}


def test_the_published_wheel_and_ours() -> None:
    record = records().get(f"tf{RECOMMENDED.version}-{RUNTIME.tag}-{platform.machine()}")
    if record is None:
        pytest.skip(f"no wheel of Python {RUNTIME.python}: ./scripts/build makes it")
    interpreter(RUNTIME.python)
    status, (theirs, ours) = tried(published(), wheels_folder() / record["wheel"])
    assert status == 10

    assert not theirs["ok"]
    on_lambda = {row["lambda_reason"] for row in theirs["ran"].values() if not row["lambda_ok"]}
    assert len(on_lambda) == 1
    assert "needs GLIBC_2.29 > 2.26" in on_lambda.pop()
    old, *new = theirs["ran"].values()
    assert set(outcomes(old).values()) == {"ok"}
    for row in new:
        assert set(outcomes(row).values()) == {"crashed"}
        assert all("_ARRAY_API not found" in cell["detail"] for cell in row["models"])

    assert ours["ok"], ours["faults"]
    for row in ours["ran"].values():
        assert row["works"]
        assert outcomes(row) == dict.fromkeys(known_answers(), "ok")
