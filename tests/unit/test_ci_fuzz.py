"""The fuzzer: what it tries, what it calls a fault, and that it keeps what it finds."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from PIL import Image

from builders.errors import UsageError
from ci.commands import fuzz as command
from ci.fuzz import campaign, handler, images
from ci.fuzz.campaign import Case, Finding
from smoke_lambda import events

ANSWER = {"class": 7, "scores": [0.1], "model": "m"}
REFUSAL = {"error": "send an image", "statusCode": 400}


def proxied(body: object, status: int) -> dict[str, Any]:
    return {"statusCode": status, "body": json.dumps(body)}


@pytest.mark.parametrize(
    ("event", "reply"),
    [
        ({}, ANSWER),
        ({}, REFUSAL),
        ({"requestContext": {}}, proxied(ANSWER, 200)),
        ({"requestContext": {}}, proxied(REFUSAL, 400)),
    ],
)
def test_replies_that_are_right(event: object, reply: object) -> None:
    assert handler.fault_of_reply(event, reply) == ""


@pytest.mark.parametrize(
    ("event", "reply", "words"),
    [
        ({}, None, "another form"),
        ({}, "text", "another form"),
        ({}, {"error": "no"}, "another form"),
        ({}, {**REFUSAL, "more": 1}, "another form"),
        ({}, {**REFUSAL, "error": "<x at 0x7f00>"}, "not plain"),
        ({}, {**REFUSAL, "error": "é"}, "not plain"),
        ({}, {**REFUSAL, "error": "x" * 301}, "not plain"),
        ({"requestContext": {}}, ANSWER, "another form"),
        ({"requestContext": {}}, proxied(ANSWER, 400), "has status 400"),
        ({"requestContext": {}}, proxied(REFUSAL, 200), "another form"),
    ],
)
def test_replies_that_are_wrong(event: object, reply: object, words: str) -> None:
    assert words in handler.fault_of_reply(event, reply)


def found(**fields: object) -> dict[str, Any]:
    good = {"reply": json.dumps(ANSWER), "raised": "", "cpu": 0.1, "wall": 0.1, "peak": 90}
    return {**good, "connected": ["93.184.216.34"], "outside": [], **fields}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, ""),
        ({"raised": "KeyError"}, "it raised KeyError"),
        ({"cpu": 11.0}, "11.0 s of CPU"),
        ({"peak": 2000}, "it took 2000 MB"),
        ({"reply": '"' + "x" * 10_001 + '"'}, "characters"),
        ({"connected": ["10.0.0.7"]}, "connected to 10.0.0.7"),
        ({"outside": ["('8.8.8.8', 1)"]}, "past every check"),
    ],
)
def test_what_a_case_may_cost(fields: dict[str, object], words: str) -> None:
    fault = handler.judged({"event": {}}, found(**fields))
    assert words in fault
    assert bool(words) == bool(fault)


@pytest.mark.parametrize("address", [*handler.INSIDE, "64:ff9b::a9fe:a9fe", "3fff::1", "224.0.0.1"])
def test_addresses_inside(address: str) -> None:
    assert not handler.is_outside(address)


def test_addresses_outside() -> None:
    assert all(map(handler.is_outside, handler.OUTSIDE))


@settings(max_examples=20, deadline=None)
@given(handler.cases())
def test_a_case_is_json(case: Case) -> None:
    text = json.dumps(case)
    assert text.isascii()
    assert json.dumps(json.loads(text)) == text
    assert len(text) < 30_000_000


def test_the_originals_are_images() -> None:
    kinds = [Image.open(io.BytesIO(file)).format for file in images.originals()]
    assert {"PNG", "JPEG", "WEBP", "GIF"} <= set(kinds)


def test_mended_checksums_are_pillows() -> None:
    file = next(file for file in images.originals() if file.startswith(b"\x89PNG"))
    broken = file[:29] + bytes(4) + file[33:]
    assert broken != file
    assert images.with_checksums(broken) == file
    assert images.with_checksums(b"other") == b"other"


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("cut", b"\xff\xd8\xff\xdaAB"),
        ("put", b"\xff\xd8\xff\xdaABnewCD\xff\xd9"),
        ("number", b"\xff\xd8\xff\xdaAB\x00\x02\xff\xd9"),
        ("drop", b"\xff\xd8\xff\xd9"),
        ("repeat", b"\xff\xd8" + b"\xff\xdaABCD" * 3 + b"\xff\xd9"),
    ],
)
def test_changes(kind: str, expected: bytes) -> None:
    change = images.Change(kind, 0.6, 1.0, 2, 2, b"new")
    assert change.made(b"\xff\xd8\xff\xdaABCD\xff\xd9") == expected


def test_a_repetition_is_bounded() -> None:
    change = images.Change("repeat", 0.0, 1.0, 2, 100_000, b"")
    assert len(change.made(b"\xff\xd8" + bytes(500) + b"\xff\xd9")) <= images.MOST


class Numbers:
    """A target that fails on a number above a thousand."""

    def __init__(self) -> None:
        self.tried: list[int] = []

    @property
    def told(self) -> str:
        return ""

    @property
    def cases(self) -> SearchStrategy[Case]:
        return st.fixed_dictionaries({"number": st.integers(0, 100_000)})

    def fault(self, case: Case) -> str:
        self.tried.append(case["number"])
        return "too large" if case["number"] > 1000 else ""


def test_a_failing_case_is_made_small() -> None:
    ran = campaign.run("numbers", Numbers(), seconds=60, first_seed=5)
    assert ran.finding == Finding(
        target="numbers", seed=ran.seeds[-1], fault="too large", case={"number": 1001}
    )
    assert ran.seeds[0] == 5


def test_a_seed_gives_the_same_cases() -> None:
    def tried(seed: int) -> list[int]:
        target = Numbers()
        campaign.run("numbers", target, seconds=60, first_seed=seed)
        return target.tried

    assert tried(5) == tried(5)
    assert tried(5) != tried(6)


def test_rounds_until_the_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(10_000))
    monkeypatch.setattr("ci.fuzz.campaign.time.monotonic", lambda: float(next(now)))
    target = Numbers()
    monkeypatch.setattr(target, "fault", lambda _case: "")
    ran = campaign.run("numbers", target, seconds=120, first_seed=1)
    assert ran.finding is None
    assert ran.seeds == [1, 2, 3]


def test_a_fault_of_the_fuzzer_is_not_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    target = Numbers()
    monkeypatch.setattr(target, "fault", lambda case: case["nothing"])
    with pytest.raises(KeyError):
        campaign.run("numbers", target, seconds=60, first_seed=1)


@pytest.fixture
def numbers(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    @contextmanager
    def opened(_options: object) -> Iterator[Numbers]:
        yield Numbers()

    monkeypatch.setattr(command, "TARGETS", {"handler": opened, "numbers": opened})
    return lambda *arguments: command.main([*arguments])


def test_a_finding_is_kept_and_can_be_tried_again(
    numbers: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "found"
    assert numbers("numbers", "--seed", "5", "--out", str(out)) == command.FOUND
    (file,) = out.iterdir()
    said = capsys.readouterr().out
    assert "numbers: seed 5" in said
    assert "failed: too large" in said
    assert f"again: ./scripts/fuzz numbers --replay {file}" in said
    assert campaign.loaded(file).case == {"number": 1001}
    assert numbers("numbers", "--replay", str(file)) == command.FOUND
    assert capsys.readouterr().out == "too large\n"
    assert numbers("handler", "--replay", str(file)) == UsageError.exit_code
    assert "a case for numbers" in capsys.readouterr().err


def test_no_time_no_case(numbers: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert numbers("numbers", "--seconds", "0") == 0
    assert "numbers: no case" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["", "[]", "{}"])
def test_a_file_that_is_no_finding(
    numbers: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    file = tmp_path / "file.json"
    file.write_text(text)
    assert numbers("numbers", "--replay", str(file)) == UsageError.exit_code
    assert "holds no finding" in capsys.readouterr().err


def test_a_handler_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["handler", "--app", "no/app.py"]) == UsageError.exit_code
    assert "there is no no/app.py" in capsys.readouterr().err


def test_a_form_of_the_events_is_one() -> None:
    form = events.form(b"data", "a.png")
    assert form.startswith(b"--boundary\r\n")
    assert b'filename="a.png"' in form
    assert form.count(b"--boundary") == 3
