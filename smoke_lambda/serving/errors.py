"""What a client is told when a request cannot be answered: a code of gRPC's, and a reason."""

from __future__ import annotations

from typing import TypeAlias

import grpc

Code: TypeAlias = grpc.StatusCode


class ServingError(Exception):
    """A request that is refused, or that failed.

    Args:
        code: the code that TensorFlow Serving has for it.
        reason: in words for the client.
    """

    def __init__(self, code: Code, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def invalid(reason: str) -> ServingError:
    """The request is at fault."""
    return ServingError(Code.INVALID_ARGUMENT, reason)


def not_found(reason: str) -> ServingError:
    """There is no such model, or version."""
    return ServingError(Code.NOT_FOUND, reason)


def exhausted(reason: str) -> ServingError:
    """The server has more requests than it takes: the client may try another, or later."""
    return ServingError(Code.RESOURCE_EXHAUSTED, reason)


def unavailable(reason: str) -> ServingError:
    """The server does not answer now: the client may try another."""
    return ServingError(Code.UNAVAILABLE, reason)


def too_late(reason: str) -> ServingError:
    """The request's time was over."""
    return ServingError(Code.DEADLINE_EXCEEDED, reason)


# TensorFlow Serving's table (its model_servers/http_server.cc), but that a full server is 503,
# which load balancers and clients try again, and not 429.
HTTP = {
    Code.CANCELLED: 499,
    Code.INVALID_ARGUMENT: 400,
    Code.DEADLINE_EXCEEDED: 504,
    Code.NOT_FOUND: 404,
    Code.RESOURCE_EXHAUSTED: 503,
    Code.UNIMPLEMENTED: 501,
    Code.INTERNAL: 500,
    Code.UNAVAILABLE: 503,
}


def http_status(code: Code) -> int:
    """The HTTP status that stands for a code."""
    return HTTP.get(code, 500)


def first_line(error: Exception) -> str:
    """The beginning of what an error says, which can be long."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
