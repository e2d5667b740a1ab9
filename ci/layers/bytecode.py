"""Bytecode of the Python files in a layer, so that no start of a function compiles them.

A layer is read-only: Python would compile each file at each cold start, and keep nothing. The
bytecode is `unchecked-hash` (PEP 552): Python loads it without a look at the source or its date.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from builders.cache import Cache, key_of
from builders.errors import SmokeError, UsageError
from builders.interpreters import Interpreter, find_interpreter
from builders.matrix import Runtime
from builders.process import run

OPT = PurePosixPath("/opt")
"""Where Lambda has what is in layers; tracebacks name it."""


def interpreter_of(runtime: Runtime) -> Interpreter:
    """The Python that writes a runtime's bytecode; any architecture's is the same.

    Raises:
        UsageError: this machine has none.
    """
    found = find_interpreter(runtime.python)
    if found is None:
        raise UsageError(
            f"this machine has no Python {runtime.python} to write bytecode with",
            remedy=f"install it (uv python install {runtime.python}), or add --no-bytecode: "
            "each cold start then compiles NumPy again",
        )
    return found


def bytecode_of(
    files: Mapping[str, bytes], folder: str, runtime: Runtime, cache: Cache, log: Path
) -> dict[str, bytes]:
    """The bytecode of the Python files among some files.

    Args:
        files: by their paths in a folder of a layer.
        folder: that folder, such as `python`.

    Returns:
        Files by their paths in the same folder: `numpy/__pycache__/….pyc`. The same Python
        writes the same bytes.

    Raises:
        UsageError: this machine does not have that Python.
        SmokeError: a file cannot be compiled.
    """
    python = interpreter_of(runtime)
    sources = {path: data for path, data in files.items() if path.endswith(".py")}

    def make(product: Path) -> None:
        for path, data in sources.items():
            (product / path).parent.mkdir(parents=True, exist_ok=True)
            (product / path).write_bytes(data)
        command: list[str | Path] = [python.executable, "-s", "-m", "compileall", "-q"]
        command += ["--invalidation-mode", "unchecked-hash", "-d", str(OPT / folder), product]
        run(
            command,
            log=log,
            failure=SmokeError,
            what=f"compiling the Python files for {runtime.name}",
            # The order of a set is in its bytecode.
            env={"PYTHONHASHSEED": "0"},
            keep_open=cache.held_locks,
        )
        for path in sources:
            (product / path).unlink()

    digests = {path: hashlib.sha256(data).hexdigest() for path, data in sources.items()}
    key = key_of([digests, folder, python.version])
    product = cache.product("layer-bytecode", key, make)
    return {
        path.relative_to(product).as_posix(): path.read_bytes()
        for path in sorted(product.rglob("*.pyc"))
    }
