"""The last word on a workflow's jobs."""

from __future__ import annotations

import json

import pytest

from builders.errors import UsageError, UserError
from ci.commands.gate import VARIABLE, main, run
from ci.jobs.gate import failures

PLAN = {"result": "success", "outputs": {"build": "true", "publish": "false"}}
JOBS = {
    "plan": PLAN,
    "lint": {"result": "success", "outputs": {}},
    "wheel": {"result": "success", "outputs": {}},
    "publish": {"result": "skipped", "outputs": {}},
}
CONDITIONS = {"build": ["wheel"], "publish": ["publish"]}


def test_all_passed() -> None:
    assert failures(JOBS, CONDITIONS) == []


@pytest.mark.parametrize(
    ("job", "result", "words"),
    [
        ("lint", "failure", "lint: expected success, found failure"),
        ("lint", "cancelled", "lint: expected success, found cancelled"),
        ("lint", "skipped", "lint: expected success, found skipped"),
        ("plan", "failure", "plan: expected success, found failure"),
        ("wheel", "skipped", "wheel: expected success, found skipped"),
        ("publish", "success", "publish: expected skipped, found success"),
        ("publish", "failure", "publish: expected skipped, found failure"),
    ],
)
def test_one_that_did_not_pass_is_named(job: str, result: str, words: str) -> None:
    jobs = JOBS | {job: JOBS[job] | {"result": result}}
    assert failures(jobs, CONDITIONS) == [words]


def test_what_the_plan_leaves_out_must_be_skipped() -> None:
    jobs = JOBS | {"plan": PLAN | {"outputs": {"build": "false", "publish": "true"}}}
    assert failures(jobs, CONDITIONS) == [
        "wheel: expected skipped, found success",
        "publish: expected success, found skipped",
    ]


def test_a_plan_that_failed_decides_nothing() -> None:
    jobs = {name: {"result": "skipped", "outputs": {}} for name in JOBS}
    jobs["plan"] = {"result": "failure", "outputs": {}}
    assert len(failures(jobs, CONDITIONS)) == len(JOBS)


def test_jobs_that_the_gate_does_not_need() -> None:
    with pytest.raises(UsageError, match="no job 'plan'"):
        failures({"lint": JOBS["lint"]}, {})
    with pytest.raises(UsageError, match="does not need a job 'smoke'"):
        failures(JOBS, {"build": ["smoke"]})


def test_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    conditions = ["--when", "build=wheel", "--when", "publish=publish"]
    monkeypatch.setenv(VARIABLE, json.dumps(JOBS))
    assert run(conditions) == 0
    assert "all required jobs passed: lint, plan" in capsys.readouterr().out
    monkeypatch.setenv(VARIABLE, json.dumps(JOBS | {"lint": {"result": "failure"}}))
    assert main(conditions) == UserError.exit_code
    assert "lint: expected success, found failure" in capsys.readouterr().err
    with pytest.raises(UsageError, match="expected OUTPUT=JOB"):
        run(["--when", "build"])
    monkeypatch.delenv(VARIABLE)
    with pytest.raises(UsageError, match="is not JSON"):
        run(conditions)
