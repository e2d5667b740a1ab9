"""./scripts/test: which checks run, and which end it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ci.commands import test

UNIT, MAIN, INTEGRATION = "unit tests", "main job", "integration tests"


def checks(
    monkeypatch: pytest.MonkeyPatch, results: dict[str, int], *arguments: str
) -> tuple[int, list[str]]:
    """Run the command with these exit codes of its checks; return its own, and what it ran."""
    ran: list[str] = []

    def run(name: str, command: Sequence[str], env: dict[str, str] | None = None) -> int:
        assert command
        assert env is None or env
        ran.append(name)
        return results.get(name, 0)

    monkeypatch.setattr(test, "run", run)
    monkeypatch.setattr(test, "products", lambda wheels: {"TFLITE_WHEELS": str(wheels)})
    status = test.check(list(arguments))
    return status, [name for name in ran if name in (UNIT, MAIN, INTEGRATION)]


@pytest.mark.parametrize(
    ("results", "arguments", "status", "ran"),
    [
        ({}, (), 0, [UNIT, MAIN, INTEGRATION]),
        ({}, ("--unit",), 0, [UNIT]),
        ({"types": 1}, (), 1, []),
        ({UNIT: 1}, (), 1, [UNIT]),
        ({MAIN: 8}, (), 8, [UNIT, MAIN]),
        ({INTEGRATION: 1}, (), 1, [UNIT, MAIN, INTEGRATION]),
        # Words that select integration tests alone, unit tests alone, and none.
        ({UNIT: 5}, ("--", "-k", "podman"), 0, [UNIT, MAIN, INTEGRATION]),
        ({INTEGRATION: 5}, ("--", "-k", "fetch"), 0, [UNIT, MAIN, INTEGRATION]),
        ({UNIT: 5, INTEGRATION: 5}, ("--", "-k", "none"), 5, [UNIT, MAIN, INTEGRATION]),
        ({UNIT: 5}, ("--unit", "--", "-k", "podman"), 5, [UNIT]),
        # Without words, no test at all is a mistake.
        ({UNIT: 5}, (), 5, [UNIT]),
    ],
)
def test_the_first_check_that_fails_ends_the_command(
    monkeypatch: pytest.MonkeyPatch,
    results: dict[str, int],
    arguments: tuple[str, ...],
    status: int,
    ran: list[str],
) -> None:
    assert checks(monkeypatch, results, *arguments) == (status, ran)


@pytest.mark.usefixtures("allow_subprocess")
def test_a_check_tells_its_name_and_its_end(capfd: pytest.CaptureFixture[str]) -> None:
    assert test.run("one", ["sh", "-c", "exit 3"]) == 3
    assert test.run("two", ["sh", "-c", "exit 5"]) == 5
    assert test.run("three", ["sh", "-c", 'test "$NAME" = given'], env={"NAME": "given"}) == 0
    said = capfd.readouterr().out.splitlines()
    assert said == ["== one", "== one: failed", "== two", "== two: none selected", "== three"]
