"""Decides whether every required job of a workflow passed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from builders.errors import UsageError

PLAN = "plan"


def failures(
    jobs: Mapping[str, Mapping[str, Any]], conditions: Mapping[str, Sequence[str]]
) -> list[str]:
    """Return a line for each job with a wrong result.

    A job must have succeeded. A job with a condition must have succeeded if the plan says `true`,
    and must have been skipped if it says `false`: a job that runs without need is wrong, too.

    Args:
        jobs: the jobs of GitHub's `needs` context, with the job that makes the plan.
        conditions: an output of the plan (`true` or `false`) -> the jobs that it decides on.

    Raises:
        UsageError: there is no plan, or no such job.
    """
    if PLAN not in jobs:
        raise UsageError(f"there is no job {PLAN!r} among those that the gate needs")
    outputs = jobs[PLAN].get("outputs", {})
    expected = dict.fromkeys(jobs, "success")
    for output, names in conditions.items():
        for name in names:
            if name not in jobs:
                raise UsageError(f"the gate does not need a job {name!r}")
            if outputs.get(output) == "false":
                expected[name] = "skipped"
            elif outputs.get(output) != "true":
                expected[name] = f"the plan's word in {output!r}"
    return [
        f"{name}: expected {expected[name]}, found {job.get('result')}"
        for name, job in jobs.items()
        if job.get("result") != expected[name]
    ]
