"""What the HTTP sides of server and gateway share."""

from __future__ import annotations

import json

import pytest

from smoke_lambda.serving.errors import HTTP, Code, ServingError, first_line, http_status
from smoke_lambda.serving.http_server import Gate, error_response


def test_a_gate_lets_in_as_many_as_it_may() -> None:
    gate = Gate(2)
    with gate, gate:
        with pytest.raises(ServingError) as caught, gate:
            pass
        assert caught.value.code is Code.RESOURCE_EXHAUSTED
        assert gate.inside == 2
    assert gate.inside == 0
    with gate:
        assert gate.inside == 1


def test_every_code_has_a_status() -> None:
    assert {http_status(code) for code in Code} <= {*HTTP.values(), 500}
    assert http_status(Code.RESOURCE_EXHAUSTED) == http_status(Code.UNAVAILABLE) == 503
    assert http_status(Code.UNKNOWN) == 500


@pytest.mark.parametrize(("status", "again"), [(503, "1"), (400, None)])
def test_who_is_refused_for_now_is_told_to_come_again(status: int, again: str | None) -> None:
    response = error_response(status, "why")
    assert isinstance(response.body, bytes)
    assert json.loads(response.body) == {"error": "why"}
    assert response.headers.get("Retry-After") == again


def test_what_a_runtime_says_is_made_short() -> None:
    assert first_line(RuntimeError("one\ntwo")) == "one"
    assert first_line(RuntimeError()) == "RuntimeError"
    assert len(first_line(RuntimeError("x" * 1000))) == 300
