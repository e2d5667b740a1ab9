"""The error that a client gets if a request cannot be answered: a gRPC code and a reason."""

from __future__ import annotations

from typing import TypeAlias

import grpc

Code: TypeAlias = grpc.StatusCode


class ServingError(Exception):
    """A request was refused, or it failed.

    Args:
        code: the code that TensorFlow Serving uses for this error.
        reason: the reason, in words for the client.
    """

    def __init__(self, code: Code, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def invalid(reason: str) -> ServingError:
    """Return the error of a request that is at fault."""
    return ServingError(Code.INVALID_ARGUMENT, reason)


def not_found(reason: str) -> ServingError:
    """Return the error that there is no such model or version."""
    return ServingError(Code.NOT_FOUND, reason)


def exhausted(reason: str) -> ServingError:
    """Return the error that the server is full: the client may try another server, or later."""
    return ServingError(Code.RESOURCE_EXHAUSTED, reason)


def unavailable(reason: str) -> ServingError:
    """Return the error that the server cannot answer now: the client may try another server."""
    return ServingError(Code.UNAVAILABLE, reason)


def too_late(reason: str) -> ServingError:
    """Return the error that the request's time is over."""
    return ServingError(Code.DEADLINE_EXCEEDED, reason)


# TensorFlow Serving's table (its model_servers/http_server.cc), with one change: a full server
# answers 503 instead of 429, because load balancers and clients try again after a 503.
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
    """Return the HTTP status for a code."""
    return HTTP.get(code, 500)


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, at most 300 characters."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
