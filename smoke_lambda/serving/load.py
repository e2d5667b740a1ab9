"""Compares the speed of a model server on this machine with direct calls of the interpreter.

    python -m smoke_lambda.serving.load HOST:PORT NAME MODEL.tflite SECONDS [CLIENTS...]

Prints JSON. Direct calls take turns with requests to the server, so that other work of the machine
slows both. Their ratio is therefore more reliable than the times.
"""

from __future__ import annotations

import json
import statistics
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tflite_runtime.interpreter import Interpreter  # type: ignore[import-not-found]

from smoke_lambda.serving.client import Client
from smoke_lambda.serving.codec import Array

CLIENTS = (1, 4, 16)
DIRECT_SHARE = 0.2
CALL_SECONDS = 30.0


@dataclass(frozen=True)
class Answered:
    """The answers to the requests of some clients.

    Attributes:
        times: the time of each request, in seconds.
        seconds: the time in which all requests were answered.
        cpu_seconds: the processor time of the clients, which the server could not use.
    """

    times: Sequence[float]
    seconds: float
    cpu_seconds: float


def direct(model: str, inputs: Mapping[str, Array], seconds: float) -> list[float]:
    """Call an interpreter with one thread repeatedly; return the time of each call, in seconds."""
    interpreter = Interpreter(model_path=model, num_threads=1)
    interpreter.allocate_tensors()
    index = interpreter.get_input_details()[0]["index"]
    output = interpreter.get_output_details()[0]["index"]
    (array,) = inputs.values()

    def call() -> None:
        interpreter.set_tensor(index, array)
        interpreter.invoke()
        interpreter.get_tensor(output)

    call()
    return timed(call, time.monotonic() + seconds)


def timed(call: Callable[[], object], end: float) -> list[float]:
    """Call repeatedly until `end` (time.monotonic); return the time of each call, in seconds."""
    found = []
    while time.monotonic() < end:
        begun = time.perf_counter()
        call()
        found.append(time.perf_counter() - begun)
    return found


def served(client: Client, inputs: Mapping[str, Array], clients: int, seconds: float) -> Answered:
    """Send requests from `clients` threads.

    The request is encoded once: clients share the processors with the server. The last answers may
    come after `seconds`, by up to the time of a request.
    """
    found: list[float] = []
    request = client.request(inputs).SerializeToString()
    begun, cpu_begun = time.monotonic(), time.process_time()
    end = begun + seconds

    def work() -> None:
        found.extend(timed(lambda: client.send(request, CALL_SECONDS), end))

    threads = [threading.Thread(target=work) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Answered(found, time.monotonic() - begun, time.process_time() - cpu_begun)


def row(clients: int, answered: Answered, alone: Sequence[float]) -> dict[str, Any]:
    """Return one row of the report, with times in milliseconds.

    `of_direct` is the number of answers by the number that direct calls, one after the other, give
    in the same time. `clients_cpu_ms` is the clients' processor time for a request.

    Args:
        clients: how many clients sent requests.
        alone: the time of each direct call, in seconds.
    """
    times, seconds = answered.times, answered.seconds
    cuts = statistics.quantiles(times, n=100) if len(times) > 1 else [*times] * 99
    p50 = statistics.median(alone)
    return {
        "clients": clients,
        "requests": len(times),
        "per_second": round(len(times) / seconds, 1),
        **{f"p{part}_ms": round(1000 * cuts[part - 1], 3) for part in (50, 95, 99)},
        "clients_cpu_ms": round(1000 * answered.cpu_seconds / len(times), 3),
        "direct_p50_ms": round(1000 * p50, 3),
        "of_direct": round(len(times) / seconds * p50, 3),
    }


def main(arguments: Sequence[str]) -> int:
    """Measure, and print the report."""
    server, name, model, text, *numbers = arguments
    counts = [int(number) for number in numbers] or CLIENTS
    seconds = float(text) / len(counts)
    client = Client(server, name, retry_seconds=CALL_SECONDS)
    described = client.describe(CALL_SECONDS)
    shape = (1, *described.input.shape[1:])
    random = np.random.default_rng(1).random(shape)
    scaled = random if described.input.dtype.kind == "f" else random * 100
    inputs = {described.input_name: scaled.astype(described.input.dtype)}
    served(client, inputs, 1, min(1.0, seconds / 4))
    rows = []
    for count in counts:
        alone = direct(model, inputs, DIRECT_SHARE * seconds / 2)
        answered = served(client, inputs, count, (1 - DIRECT_SHARE) * seconds)
        alone += direct(model, inputs, DIRECT_SHARE * seconds / 2)
        rows.append(row(count, answered, alone))
    print(json.dumps(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
