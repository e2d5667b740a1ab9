"""Tries a function before it is handed over, and measures its time and memory."""

from __future__ import annotations

import dataclasses
import json
import math
import statistics
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builders.architecture import aws_name
from builders.errors import SmokeError
from smoke_lambda.functions.context import FULL_PROCESSOR_MB, LONGEST_TIMEOUT, TIMEOUT
from smoke_lambda.functions.prices import Prices
from smoke_lambda.limits import Limits
from smoke_lambda.measure import LEAST_MB, least
from smoke_lambda.model import advised
from smoke_lambda.site import Host, Measured, Step, silent

WARM = 20
WARM_SECONDS = 10.0
DIRECT = "events/direct.json"
# The timeout allows a cold start to take this many times as long, for a busier machine.
PATIENCE = 4
MEGABYTE = 1 << 20

Own = Callable[[Limits], AbstractContextManager[Measured]]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """The results of trying a function with one processor, under Lambda's limits if possible.

    Attributes:
        answer: the answer to the direct event.
        xnnpack: the share of the model's operators that XNNPACK runs, 0 to 1.
        init_ms: the time of the start, by the emulator.
        cold_ms: the time of the first request, with the start.
        warm_ms: the median time of later requests.
        resident_bytes: the peak memory of the function's processes.
        least_mb: the least memory with which it answers; None if it was not measured.
        memory_mb: the memory to choose.
        timeout: the timeout to choose, in seconds.
    """

    place: str
    arch: str
    answer: Any
    xnnpack: float | None
    init_ms: float | None
    cold_ms: float | None
    warm_ms: float | None
    resident_bytes: int
    least_mb: int | None
    memory_mb: int
    timeout: int

    def as_json(self, prices: Prices) -> dict[str, Any]:
        """Return the results in JSON's types, with the cost of a million requests."""
        return dataclasses.asdict(self) | {
            "million_dollars": self.costs(prices),
            "prices": {"region": prices.region, "read": str(prices.read), "source": prices.source},
        }

    def costs(self, prices: Prices) -> dict[str, float]:
        """Return the cost of a million warm requests in dollars, by AWS's name of the architecture.

        For the other architecture, this is its price for the time measured here.
        """
        if self.warm_ms is None:
            return {}
        return {
            arch: prices.million(arch, self.memory_mb, self.warm_ms) for arch in prices.gb_second
        }

    def lines(self, prices: Prices) -> list[str]:
        """Return sentences for the function's README."""
        found = [f"It was tried {self.place}."]
        if self.warm_ms is not None and self.cold_ms is not None:
            found.append(
                f"A cold start took {self.cold_ms:.0f} ms, a later request {self.warm_ms:.1f} ms."
            )
        if self.xnnpack is not None:
            found.append(f"XNNPACK runs {self.xnnpack:.0%} of the operators.")
        if self.least_mb is not None:
            found.append(f"It answers with {self.least_mb} MB.")
        for arch, dollars in self.costs(prices).items():
            if arch == aws_name(self.arch):
                found.append(
                    f"A million such requests with {self.memory_mb} MB cost ${dollars:.2f} "
                    f"([{prices.region}, {prices.read}]({prices.source}))."
                )
        return found


def try_function(
    place: Host,
    folder: Path,
    *,
    name: str,
    arch: str,
    xnnpack: float | None,
    memory_mb: int = 0,
    on_step: Step = silent,
) -> Trial:
    """Run the function of a folder, and send it the folder's events.

    Args:
        name: the name of the place, for people.
        memory_mb: the memory that the user chose; 0 to choose it here.

    Raises:
        SmokeError: the function does not answer, or its answers to the events differ.
        EngineError: the function's image cannot be built.
    """
    on_step("making the function")
    own = place.own(folder, sorted(folder.glob("layers/*.zip")))
    events = {path.name: json.loads(path.read_text()) for path in folder.glob("events/*.json")}
    direct = events[Path(DIRECT).name]
    start_mb = max(memory_mb, FULL_PROCESSOR_MB)
    with own(Limits(memory_mb=start_mb)) as function:
        on_step("first request")
        answer = answered(function, direct)
        for path, event in events.items():
            on_step(path)
            if answered(function, event) != answer:
                raise SmokeError(f"the function's answer to {path} is not that to {DIRECT}")
        on_step("latency")
        cold, warm = function.ms[0], _warm(function, direct)
        init, resident = function.init_ms(), function.resident_bytes()
    smallest = None
    if place.is_limited and not place.is_emulated:
        on_step("the least memory")
        smallest = least(lambda mb: _answers(own, direct, mb), most_mb=start_mb)
    wanted = advised(smallest or LEAST_MB, resident)
    timed = not place.is_emulated
    return Trial(
        place=name,
        arch=arch,
        answer=answer,
        xnnpack=xnnpack,
        init_ms=init if timed else None,
        cold_ms=cold if timed else None,
        warm_ms=warm if timed else None,
        resident_bytes=resident,
        least_mb=smallest,
        memory_mb=memory_mb or max(wanted, FULL_PROCESSOR_MB),
        timeout=min(LONGEST_TIMEOUT, max(TIMEOUT, math.ceil(PATIENCE * cold / 1000))),
    )


def answered(function: Measured, event: Mapping[str, Any]) -> Any:  # noqa: ANN401
    """Return the function's answer to an event; if the event is an HTTP request, decode the body.

    Raises:
        SmokeError: the function gives no answer, an error, or numbers that are not finite.
    """
    try:
        reply = function.invoke(event)
        if isinstance(reply, dict) and "requestContext" in event and "body" in reply:
            reply = json.loads(reply["body"])
    except (OSError, ValueError) as error:
        raise SmokeError(f"the function does not answer: {error}") from None
    if not isinstance(reply, dict) or {"error", "errorMessage"} & reply.keys():
        said = reply.get("error") or reply.get("errorMessage") if isinstance(reply, dict) else reply
        raise SmokeError(f"the function answers: {said}")
    try:
        json.dumps(reply, allow_nan=False)
    except ValueError:
        raise SmokeError("the function answers with numbers that are not finite") from None
    return reply


def _warm(function: Measured, event: Mapping[str, Any]) -> float:
    before = len(function.ms)
    while len(function.ms) < before + WARM and sum(function.ms[before:]) < 1000 * WARM_SECONDS:
        function.invoke(event)
    return statistics.median(function.ms[before:])


def _answers(own: Own, event: Mapping[str, Any], memory_mb: int) -> bool:
    """Return True if the function answers twice with `memory_mb` of memory."""
    try:
        with own(Limits(memory_mb=memory_mb)) as function:
            for _ in range(2):
                answered(function, event)
    except (OSError, SmokeError):
        return False
    return True
