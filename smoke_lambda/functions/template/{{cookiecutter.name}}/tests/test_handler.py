"""Sends every event to the handler: python3 -m unittest discover tests, where requirements are."""

from __future__ import annotations

import json
import math
import sys
import unittest
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(FOLDER))

import app  # noqa: E402 - it is found by the line above

EVENTS = sorted((FOLDER / "events").glob("*.json"))
# What the function answered when it was made; processors differ in the last digits.
ANSWER = FOLDER / "tests" / "answer.json"
TOLERANCE = 1e-3


def answered(event: Any) -> Any:  # noqa: ANN401
    """The handler's answer to an event, whichever way it came."""
    reply = app.handler(event, None)
    return json.loads(reply["body"]) if "requestContext" in event else reply


def near(one: Any, other: Any) -> bool:  # noqa: ANN401
    """Whether two answers are the same, but for the last digits of numbers."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(near(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(near, one, other))
    if isinstance(one, float) or isinstance(other, float):
        return math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    return bool(one == other)


class Handler(unittest.TestCase):
    """The handler, called as Lambda calls it."""

    def test_every_form_of_request_has_the_same_answer(self) -> None:
        """Direct, function URL, API Gateway."""
        self.assertEqual(len(EVENTS), 4)
        answers = [answered(json.loads(event.read_text())) for event in EVENTS]
        for event, answer in zip(EVENTS, answers):
            with self.subTest(event.name):
                self.assertNotIn("error", answer)
                self.assertTrue(near(answer, answers[0]), f"{answer} is not {answers[0]}")

    @unittest.skipUnless(ANSWER.is_file(), "no answer was recorded")
    def test_the_answer_is_that_of_the_day_on_which_it_was_made(self) -> None:
        """So that a new runtime or model is noticed."""
        answer = answered(json.loads((FOLDER / "events" / "direct.json").read_text()))
        recorded = json.loads(ANSWER.read_text())
        self.assertTrue(near(answer, recorded), f"{answer} is not {recorded}")

    def test_a_bad_request_is_refused(self) -> None:
        """With a reason, and a status."""
        self.assertEqual(app.handler({}, None)["statusCode"], 400)


if __name__ == "__main__":
    unittest.main()
