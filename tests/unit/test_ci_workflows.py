"""The workflow files: their pins and permissions, and that all they name exists."""

from __future__ import annotations

import importlib
import itertools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from builders.matrix import load_matrix
from ci.commands import gate
from ci.commands.matrix import ROOT
from ci.jobs.gate import failures
from ci.jobs.plan import github_output, plan, published
from ci.jobs.rules import load_rules

FOLDER = ROOT / ".github" / "workflows"
FILES = sorted(FOLDER.glob("*.yml"))
WORKFLOWS = {path.name: yaml.safe_load(path.read_text()) for path in FILES}

Job = dict[str, Any]

EVERY_JOB = [
    pytest.param(workflow, name, job, id=f"{file}-{name}")
    for file, workflow in WORKFLOWS.items()
    for name, job in workflow["jobs"].items()
]
every_job = pytest.mark.parametrize(("workflow", "name", "job"), EVERY_JOB)


def test_there_are_workflows() -> None:
    assert set(WORKFLOWS) == {"ci.yml", "nightly.yml"}


def test_each_action_is_pinned_by_its_commit_and_the_same_everywhere() -> None:
    lines = [line for path in FILES for line in path.read_text().splitlines() if "uses:" in line]
    pins: dict[str, set[tuple[str, str]]] = {}
    for line in lines:
        pin = re.search(r"uses: ([\w./-]+)@([0-9a-f]{40}) # (v\d+\.\d+\.\d+)$", line)
        assert pin, line
        pins.setdefault(pin[1], set()).add((pin[2], pin[3]))
    assert "actions/checkout" in pins
    assert all(len(of_one) == 1 for of_one in pins.values()), pins


@pytest.mark.parametrize("workflow", WORKFLOWS.values(), ids=WORKFLOWS)
def test_a_workflow_has_no_permissions_and_one_run_at_a_time(workflow: Job) -> None:
    assert workflow["permissions"] == {}
    assert "github.workflow" in workflow["concurrency"]["group"]


# Each permission to write, and why it is needed: see the comments there.
WRITES = {
    "publish": {"contents", "id-token", "attestations"},
    "deploy": {"pages", "id-token"},
}


@every_job
def test_a_job_is_limited(workflow: Job, name: str, job: Job) -> None:
    assert workflow
    assert 0 < job["timeout-minutes"] <= 60
    assert {p for p, level in job["permissions"].items() if level == "write"} == WRITES.get(
        name, set()
    )
    assert set(job["permissions"].values()) <= {"read", "write"}
    if "strategy" in job:
        assert job["strategy"]["fail-fast"] is False
    for step in job["steps"]:
        if "actions/checkout@" in step.get("uses", ""):
            assert step["with"]["persist-credentials"] is False
        # A value reaches a shell as a variable, never as part of the script.
        assert "${{" not in step.get("run", "")


@every_job
def test_whatever_an_expression_names_is_there(workflow: Job, name: str, job: Job) -> None:
    needs = needed(job)
    steps = {step["id"] for step in job["steps"] if "id" in step}
    text = yaml.safe_dump(job)
    for other, output in re.findall(r"needs\.(\w+)\.outputs\.(\w+)", text):
        assert other in needs, name
        assert output in workflow["jobs"][other]["outputs"]
    for step in re.findall(r"steps\.(\w+)\.outputs", text):
        assert step in steps
    used = set(re.findall(r"\$\{\{ matrix\.(\w+)", text))
    assert used <= matrix_keys(job)
    for other in needs:
        assert other in workflow["jobs"]


@pytest.mark.parametrize("workflow", WORKFLOWS.values(), ids=WORKFLOWS)
def test_the_plans_outputs_are_what_the_command_prints(workflow: Job) -> None:
    printed = {line.split("=", 1)[0] for line in github_output(a_plan()).splitlines()}
    for name, expression in workflow["jobs"]["plan"]["outputs"].items():
        assert expression == f"${{{{ steps.matrix.outputs.{name} }}}}"
        assert name in printed


@pytest.mark.parametrize("workflow", WORKFLOWS.values(), ids=WORKFLOWS)
def test_the_gate_needs_every_job_and_agrees_with_their_conditions(workflow: Job) -> None:
    jobs = dict(workflow["jobs"])
    last = jobs.pop("gate")
    assert needed(last) == set(jobs)
    assert last["if"] == "always()"
    (command,) = commands(last)
    words = itertools.pairwise(command[1:])
    conditions = dict(gate._condition(value) for flag, value in words if flag == "--when")
    for output, names in conditions.items():
        # Directly, or by needing a job that is skipped then.
        for name in names:
            assert output in ancestors_conditions(jobs, name)
    for name, job in jobs.items():
        for output in re.findall(r"outputs\.(\w+) == 'true'", job.get("if", "")):
            assert name in conditions[output]
    for answers in itertools.product(("true", "false"), repeat=len(conditions)):
        outputs = dict(zip(conditions, answers, strict=True))
        results = {
            name: {"result": "success", "outputs": outputs if name == "plan" else {}}
            for name in jobs
        }
        for output, names in conditions.items():
            for name in names:
                if outputs[output] == "false":
                    results[name]["result"] = "skipped"
        assert failures(results, conditions) == []


@every_job
def test_a_command_has_the_options_that_it_is_given(
    workflow: Job, name: str, job: Job, capsys: pytest.CaptureFixture[str]
) -> None:
    assert workflow
    for command in commands(job):
        script, *arguments = command
        path = ROOT / "scripts" / script
        (module,) = re.findall(r'_bootstrap\.start\("([\w.]+)"', path.read_text())
        verb = [a for a in arguments[:1] if script == "core"]
        with pytest.raises(SystemExit) as ended:
            importlib.import_module(module).main([*verb, "--help"])
        assert ended.value.code == 0
        text = capsys.readouterr().out
        for flag in (a for a in arguments if a.startswith("--")):
            assert flag in text, f"{name}: {script} {flag}"


@every_job
def test_a_shell_does_nothing_but_start_our_commands(workflow: Job, name: str, job: Job) -> None:
    assert workflow
    for line in lines(job):
        assert line.startswith(("./scripts/", "git ")), f"{name}: {line}"


def needed(job: Job) -> set[str]:
    needs = job.get("needs", [])
    return {needs} if isinstance(needs, str) else set(needs)


def ancestors_conditions(jobs: dict[str, Job], name: str) -> set[str]:
    found = set(re.findall(r"outputs\.(\w+) == 'true'", jobs[name].get("if", "")))
    return found.union(*(ancestors_conditions(jobs, other) for other in needed(jobs[name])))


def a_plan() -> dict[str, Any]:
    matrix = load_matrix()
    there = published(Path(__file__).parents[2] / "wheels")
    return plan(list(matrix.targets()), load_rules(matrix).runners, {}, "push", there)


def matrix_keys(job: Job) -> set[str]:
    include = job.get("strategy", {}).get("matrix", {}).get("include", "")
    return {
        key
        for output in re.findall(r"fromJSON\(needs\.plan\.outputs\.(\w+)\)", include)
        for key in a_plan()[output][0]
    }


def lines(job: Job) -> Iterator[str]:
    """Yield every shell line of a job, with continued lines joined."""
    for step in job["steps"]:
        yield from step.get("run", "").replace("\\\n", " ").splitlines()


def commands(job: Job) -> Iterator[list[str]]:
    """Yield our commands in a job's steps, without ./scripts/."""
    for line in lines(job):
        words = shlex.split(line)
        if words[0].startswith("./scripts/"):
            yield [words[0].removeprefix("./scripts/"), *words[1:]]
