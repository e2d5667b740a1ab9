"""Packs a model's weights into a file, and tries it, on any Python from 3.8 on.

    python -m smoke_lambda.inside.prepacking MODEL.tflite FOLDER

The runtime names the file, in FOLDER, by the digest of the model. The last line is "found: " and
JSON: "file", its "bytes", and the milliseconds of CPU time that it takes to allocate "without_ms"
and "with_ms" the file; or "error": why there is none.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from tflite_runtime.interpreter import Interpreter  # type: ignore[import-not-found]

from smoke_lambda.inside.compat_probe import SEED, sample
from smoke_lambda.inside.probing import BUILD_PACKED, MARK, READ_PACKED

TIMES = 5


class PrepackError(Exception):
    """No file can be made, or none that may be used."""


def allocated(model: str) -> tuple[Any, float]:
    """An interpreter with its memory, and the milliseconds of CPU time that this took."""
    interpreter = Interpreter(model_path=model, num_threads=1)
    start = time.process_time()
    interpreter.allocate_tensors()
    return interpreter, (time.process_time() - start) * 1000


def answers(interpreter: Any) -> list[Any]:  # noqa: ANN401
    """What it answers to inputs that are always the same: an array for each output."""
    random = np.random.RandomState(SEED)
    for detail in interpreter.get_input_details():
        interpreter.set_tensor(detail["index"], sample(detail, random))
    interpreter.invoke()
    return [interpreter.get_tensor(each["index"]) for each in interpreter.get_output_details()]


def same(one: list[Any], other: list[Any]) -> bool:
    """Whether arrays are the same, bit for bit."""
    return all(
        a.dtype == b.dtype and a.shape == b.shape and a.tolist() == b.tolist()
        if a.dtype == object
        else a.tobytes() == b.tobytes()
        for a, b in zip(one, other)
    )


def packed(model: str, folder: Path) -> Path:
    """The file of a model, made now.

    Raises:
        PrepackError: the runtime made none; it has said why.
    """
    os.environ[BUILD_PACKED] = str(folder)
    try:
        interpreter, _ = allocated(model)
        del interpreter
    finally:
        del os.environ[BUILD_PACKED]
    files = list(folder.glob("*.packed"))
    if len(files) != 1:
        raise PrepackError("XNNPACK packs no weights of this model")
    return files[0]


def tried(model: str, file: Path) -> dict[str, float]:
    """How long allocating takes without and with a file, in milliseconds of CPU time.

    Raises:
        PrepackError: the runtime does not use it, or answers something else with it.
    """
    least = {"without_ms": float("inf"), "with_ms": float("inf")}
    plain, _ = allocated(model)
    expected = answers(plain)
    is_repeatable = same(expected, answers(plain))
    for _ in range(TIMES):
        os.environ.pop(READ_PACKED, None)
        least["without_ms"] = min(least["without_ms"], allocated(model)[1])
        os.environ[READ_PACKED] = str(file)
        interpreter, taken = allocated(model)
        least["with_ms"] = min(least["with_ms"], taken)
    if str(file) not in Path("/proc/self/maps").read_text():
        raise PrepackError("the runtime does not use the file that it made")
    if is_repeatable and not same(expected, answers(interpreter)):
        raise PrepackError("the runtime answers something else with packed weights")
    return least


def main(model: str, folder: str) -> None:
    """Make the file, try it, and tell."""
    found: dict[str, Any] = {}
    try:
        file = packed(model, Path(folder))
        found = {"file": file.name, "bytes": file.stat().st_size, **tried(model, file)}
    except (PrepackError, RuntimeError, ValueError, OSError) as error:
        found = {"error": str(error)}
    print("\n" + MARK + json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
