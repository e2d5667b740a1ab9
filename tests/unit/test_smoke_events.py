"""The events, the known answers, and the judge, which must find every fault."""

from __future__ import annotations

import dataclasses
import json
import math
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from smoke_lambda import bench, events
from smoke_lambda.events import Case, judge

MODEL = "digits-int8"
KNOWN = events.known_answers()[MODEL]
IMAGE = "4.png"
SCORES = list(KNOWN.scores[IMAGE])
GOOD = {"class": 4, "scores": SCORES, "model": MODEL}
PLAIN = Case(name="plain", event={"image": ""}, image=IMAGE)
HTTP = Case(name="http", event=events.http_event("", is_base64=True), image=IMAGE)
BAD = Case(name="bad", event={}, reason="send an object")
BAD_HTTP = dataclasses.replace(HTTP, reason="has no body")


def proxied(body: object, status: object = 200) -> dict[str, Any]:
    headers = {"Content-Type": "application/json"}
    return {"statusCode": status, "headers": headers, "body": json.dumps(body)}


def refusal(reason: str) -> dict[str, Any]:
    return {"error": reason, "statusCode": 400}


@pytest.mark.parametrize(
    ("case", "reply"),
    [
        (PLAIN, GOOD),
        (HTTP, proxied(GOOD)),
        (BAD, refusal("please send an object")),
        (BAD_HTTP, proxied(refusal("the request has no body"), 400)),
        (dataclasses.replace(PLAIN, image=events.PHOTO), {**GOOD, "class": 0}),
    ],
)
def test_right_answers(case: Case, reply: object) -> None:
    assert judge(case, reply, MODEL, KNOWN) == ""


def changed(**fields: object) -> dict[str, Any]:
    return {**GOOD, **fields}


def moved(by: float) -> list[float]:
    return [SCORES[0] + by, *SCORES[1:]]


@pytest.mark.parametrize(
    ("case", "reply", "words"),
    [
        (PLAIN, changed(**{"class": 5}), "expected class 4, found 5"),
        (PLAIN, changed(**{"class": 4.0}), "expected an integer"),
        (PLAIN, changed(**{"class": True}), "expected an integer"),
        (PLAIN, changed(model="other"), "expected model digits-int8"),
        (PLAIN, changed(scores=moved(0.01)), "expected 0 to 0.0078125, found 0.01"),
        (PLAIN, changed(scores=moved(math.nan)), "found nan"),
        (PLAIN, changed(scores=SCORES[:9]), "expected 10 numbers"),
        (PLAIN, changed(scores=["0"] * 10), "expected 10 numbers"),
        (PLAIN, changed(scores="0"), "and a list"),
        (PLAIN, {"class": 4}, "expected an answer"),
        (PLAIN, None, "expected an answer"),
        (PLAIN, proxied(GOOD), "expected an answer"),
        (PLAIN, refusal("no"), "expected an answer"),
        (HTTP, GOOD, "expected a proxy's reply"),
        (HTTP, "text", "expected a proxy's reply"),
        (HTTP, {**proxied(GOOD), "body": GOOD}, "expected a proxy's reply"),
        (HTTP, {**proxied(GOOD), "headers": {}}, "expected a proxy's reply"),
        (HTTP, proxied(GOOD, 500), "expected an answer"),
        (BAD, GOOD, "found {'class'"),
        (BAD, refusal("another reason"), "...send an object..."),
        (BAD, {"error": "send an object"}, "'statusCode': 400"),
        (BAD, {"errorType": "KeyError", "errorMessage": "send an object"}, "KeyError"),
        (BAD, refusal("send an object\nTraceback (most recent call last)"), "Traceback"),
        (BAD, refusal("send an object, not <object object at 0x7f0012345678>"), "at 0x"),
        (BAD, refusal("send an object, not \ud800"), "send an object"),
        (BAD, refusal("send an object" + " again" * 100), "again again"),
        (BAD_HTTP, proxied(refusal("has no body"), 200), "expected {'error'"),
    ],
)
def test_wrong_answers(case: Case, reply: object, words: str) -> None:
    assert words in judge(case, reply, MODEL, KNOWN)


def test_the_known_answers_can_tell_right_from_wrong() -> None:
    for model, known in events.known_answers().items():
        assert (events.MODELS / f"{model}.tflite").stat().st_size < 100_000
        assert sorted(known.top1.values()) == list(range(events.CLASSES))
        for image, scores in known.scores.items():
            best, second = sorted(scores, reverse=True)[:2]
            assert scores.index(best) == known.top1[image]
            assert best - second > 4 * known.tolerance
            assert sum(scores) == pytest.approx(1, abs=0.02)
        # Scores of 0 and 1 alone would not show an error of arithmetic.
        assert sum(0.02 < max(scores) < 0.98 for scores in known.scores.values()) >= 8


def test_every_model_has_known_answers() -> None:
    files = {path.stem for path in events.MODELS.glob("*.tflite")}
    assert (
        files == set(events.known_answers()) == {"digits-float32", "digits-dynamic", "digits-int8"}
    )
    assert set(bench.MAY_REMAIN) < files


def test_every_known_image_is_there() -> None:
    images = {path.name for path in events.IMAGES.iterdir()}
    for known in events.known_answers().values():
        assert set(known.scores) | {events.PHOTO} == images


@pytest.mark.parametrize("private", [True, False])
def test_cases_have_names_of_their_own_and_are_json(private: bool) -> None:
    cases = list(events.cases(KNOWN, "http://127.0.0.1:1", private=private))
    names = [case.name for case in cases]
    assert len(set(names)) == len(names)
    for case in cases:
        assert json.loads(json.dumps(case.event)) == case.event
        assert bool(case.image) != bool(case.reason), case.name


def test_the_loopback_server_is_asked_only_where_it_may() -> None:
    def asking(private: bool) -> list[Case]:
        cases = events.cases(KNOWN, "http://127.0.0.1:1", private=private)
        return [case for case in cases if "127.0.0.1:1" in str(case.event)]

    assert any(case.image for case in asking(private=True))
    assert [case.reason for case in asking(private=False)] == ["not public"]


def test_the_bomb_is_small_and_whole() -> None:
    data = events.bomb(30_000, 30_000)
    assert len(data) < 100
    kind_and_data, checksum = data[12:29], data[29:33]
    assert int.from_bytes(checksum, "big") == zlib.crc32(kind_and_data)


def test_payload_2_without_a_body_lacks_the_key() -> None:
    make: Callable[..., dict[str, Any]] = events.http_event
    assert "body" not in make(None, is_base64=False)
    assert events.rest_event(None, is_base64=False)["body"] is None
