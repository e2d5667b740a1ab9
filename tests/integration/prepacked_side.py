"""Uses packed weights in a wheel's environment, as test_prepack.py asks: HOW MODEL.

Prints JSON: the digests of the answers, and whether a file of packed weights is mapped.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from tflite_runtime.interpreter import Interpreter  # type: ignore[import-not-found]


def loaded(model: str, batch: int = 0) -> Any:  # noqa: ANN401
    interpreter = Interpreter(model_path=model, num_threads=1)
    if batch:
        resize(interpreter, batch)
    else:
        interpreter.allocate_tensors()
    return interpreter


def resize(interpreter: Any, batch: int) -> None:  # noqa: ANN401
    for detail in interpreter.get_input_details():
        interpreter.resize_tensor_input(detail["index"], [batch, *detail["shape"][1:]])
    interpreter.allocate_tensors()


def answer(interpreter: Any) -> str:  # noqa: ANN401
    random = np.random.RandomState(1)
    for detail in interpreter.get_input_details():
        values = random.randint(-100, 100, detail["shape"])
        scale = 1 if np.issubdtype(detail["dtype"], np.integer) else 0.01
        interpreter.set_tensor(detail["index"], (values * scale).astype(detail["dtype"]))
    interpreter.invoke()
    outputs = [interpreter.get_tensor(each["index"]) for each in interpreter.get_output_details()]
    return hashlib.sha256(b"".join(each.tobytes() for each in outputs)).hexdigest()


def once(model: str) -> list[str]:
    return [answer(loaded(model))]


def content(model: str) -> list[str]:
    with open(model, "rb") as file:  # noqa: PTH123
        interpreter = Interpreter(model_content=file.read(), num_threads=1)
    interpreter.allocate_tensors()
    return [answer(interpreter)]


def two(model: str) -> list[str]:
    first, second = loaded(model), loaded(model)
    answers = [answer(first), answer(second)]
    del first
    return [*answers, answer(second)]


def threads(model: str) -> list[str]:
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(lambda _: answer(loaded(model)), range(8)))


def fork(model: str) -> list[str]:
    interpreter = loaded(model)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, answer(interpreter).encode())
        os._exit(0)
    os.waitpid(child, 0)
    return [os.read(reading, 100).decode(), answer(interpreter)]


def resized(model: str) -> list[str]:
    interpreter = loaded(model)
    before = answer(interpreter)
    resize(interpreter, 3)
    larger = answer(interpreter)
    resize(interpreter, 1)
    return [before, larger, answer(interpreter)]


def main(how: str, model: str) -> None:
    ways = {each.__name__: each for each in (once, content, two, threads, fork, resized)}
    kept = loaded(model)
    answers = ways[how](model)
    with open("/proc/self/maps") as maps:  # noqa: PTH123
        is_mapped = ".packed" in maps.read()
    del kept
    print(json.dumps({"answers": answers, "mapped": is_mapped}))


if __name__ == "__main__":
    main(*sys.argv[1:])
