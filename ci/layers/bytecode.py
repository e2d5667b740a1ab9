"""Makes the bytecode of the Python files in a layer, so that no cold start compiles them.

A layer is read-only: without bytecode, Python compiles each file at each cold start and cannot
keep the result. The bytecode is `unchecked-hash` (PEP 552): Python loads it without checking the
source or its date.
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
"""The folder in which Lambda unpacks layers; tracebacks name it."""


def interpreter_of(runtime: Runtime) -> Interpreter:
    """Return the Python that writes a runtime's bytecode, which suits all architectures.

    Raises:
        UsageError: this machine has no such Python.
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
    """Return the bytecode of the Python files among some files.

    Args:
        files: the files, by their paths in a folder of a layer.
        folder: that folder, such as `python`.

    Returns:
        The bytecode files, by their paths in the same folder: `numpy/__pycache__/….pyc`. The
        same Python writes the same bytes.

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
            # A fixed seed, because bytecode contains sets in the order of their hashes.
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
