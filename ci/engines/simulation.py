"""Simulate the time of a build with a number of workers, from the time of each command."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True)
class Task:
    """A command of a build graph.

    Attributes:
        name: the file that the command makes.
        seconds: the time that the command takes.
        after: the names of the tasks that must end before.
    """

    name: str
    seconds: float
    after: tuple[str, ...] = ()


def makespan(tasks: Sequence[Task], workers: int) -> float:
    """Return the seconds from the start of the first task to the end of the last.

    A free worker takes the first task, in the given order, whose `after` tasks have ended. This is
    list scheduling: R. L. Graham, "Bounds on Multiprocessing Timing Anomalies", 1969.

    Raises:
        ValueError: a task can never start, or there is no worker.
    """
    if workers < 1:
        raise ValueError("no worker")
    place = {task.name: number for number, task in enumerate(tasks)}
    missing = [len(set(task.after)) for task in tasks]
    users: list[list[int]] = [[] for _ in tasks]
    for number, task in enumerate(tasks):
        for name in set(task.after):
            users[place[name]].append(number)
    ready = [number for number, count in enumerate(missing) if not count]
    running: list[tuple[float, int]] = []
    now, ended = 0.0, 0
    while ready or running:
        while ready and len(running) < workers:
            number = heapq.heappop(ready)
            heapq.heappush(running, (now + tasks[number].seconds, number))
        now, number = heapq.heappop(running)
        ended += 1
        for user in users[number]:
            missing[user] -= 1
            if not missing[user]:
                heapq.heappush(ready, user)
    if ended < len(tasks):
        raise ValueError("tasks wait for one another")
    return now


def critical_path(tasks: Sequence[Task]) -> list[Task]:
    """Return the longest chain of tasks that wait for one another.

    No number of workers is faster than this chain.
    """
    by_name = {task.name: task for task in tasks}
    longest: dict[str, tuple[float, str]] = {}
    for task in _in_order(tasks, by_name):
        before = max(task.after, key=lambda name: longest[name][0], default="")
        seconds = longest[before][0] if before else 0.0
        longest[task.name] = (seconds + task.seconds, before)
    name = max(longest, key=lambda name: longest[name][0], default="")
    path = []
    while name:
        path.append(by_name[name])
        name = longest[name][1]
    return path[::-1]


def scaled(tasks: Sequence[Task], seconds: float) -> list[Task]:
    """Return the tasks with their times scaled so that the sum is `seconds`.

    If more tasks ran at once than there are processors, each took longer than it would take
    alone. The processor time of the whole build is the right sum.
    """
    factor = seconds / sum(task.seconds for task in tasks)
    return [replace(task, seconds=task.seconds * factor) for task in tasks]


def _in_order(tasks: Iterable[Task], by_name: Mapping[str, Task]) -> Iterable[Task]:
    """Yield each task after those that it needs."""
    done: set[str] = set()
    for task in tasks:
        stack = [(task, iter(task.after))]
        while stack:
            current, needs = stack[-1]
            name = next(itertools.dropwhile(done.__contains__, needs), None)
            if name is not None:
                stack.append((by_name[name], iter(by_name[name].after)))
                continue
            stack.pop()
            if current.name not in done:
                done.add(current.name)
                yield current
