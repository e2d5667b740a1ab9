"""Makes the handler for another runtime: the text of smoke_lambda/app.py with other imports.

    python -m smoke_lambda.onnx.handler

writes smoke_lambda/onnx/app.py, the handler for ONNX Runtime. Users can copy this file alone,
because it contains smoke_lambda/inside/onnx_interpreter.py. All handlers come from one text, so a
request means the same to every runtime.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

from builders.cache import write_atomically
from builders.errors import UsageError

HERE = Path(__file__).parent
SMOKE = HERE.parent
HANDLER = SMOKE / "app.py"
INTERPRETER = SMOKE / "inside" / "onnx_interpreter.py"
OUTPUT = HERE / "app.py"

GENERATED = "# Written by ./scripts/update from smoke_lambda/app.py; not to be edited.\n"
IMPORT = "from tflite_runtime.interpreter import Interpreter  # type: ignore[import-not-found]\n"
NUMPY = "import numpy as np\n"
DEFAULT_MODEL = '"digits-float32.tflite"'
# Text of the handler about its runtime, and the replacement for ONNX Runtime.
WORDS = {
    "classifies one image with TensorFlow Lite.": "classifies one image with ONNX Runtime.",
    "it needs numpy, Pillow and tflite_runtime.": "it needs numpy, Pillow and onnxruntime.",
    DEFAULT_MODEL: '"digits-float32.onnx"',
}
SECTION = (
    "# --- The runtime, behind the interface that the rest of this file uses -------------------"
)


def handler_of(module: str) -> str:
    """Return the handler for another runtime that has TensorFlow Lite's interface.

    Args:
        module: the module with the class `Interpreter`.
    """
    text = HANDLER.read_text()
    return replaced(text, IMPORT, f"from {module} import Interpreter\n")


def onnx_handler() -> str:
    """Return the handler for ONNX Runtime."""
    text = HANDLER.read_text()
    for old, new in WORDS.items():
        text = replaced(text, old, new)
    imports, body = parts(INTERPRETER.read_text())
    wanted = [line for line in imports if line not in text]
    text = replaced(text, IMPORT, "")
    text = replaced(text, NUMPY, NUMPY + "".join(f"{line}\n" for line in wanted))
    loading = "# Loaded once per container, outside the handler"
    text = replaced(text, loading, f"{SECTION}\n\n{body}\n\n\n{loading}")
    return GENERATED + text


def parts(module: str) -> tuple[list[str], str]:
    """Return a module's imports, except those from `__future__`, and the text that follows them."""
    tree = ast.parse(module)
    lines = module.splitlines()
    found = [
        node
        for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom)
        and getattr(node, "module", "") != "__future__"
    ]
    imports = ["\n".join(lines[node.lineno - 1 : node.end_lineno]) for node in found]
    return imports, "\n".join(lines[found[-1].end_lineno or 0 :]).strip()


def replaced(text: str, old: str, new: str) -> str:
    """Return a text with `old`, which must be there exactly once, replaced by `new`.

    Raises:
        UsageError: `old` is missing or there several times, because the handler has changed.
    """
    if text.count(old) != 1:
        raise UsageError(
            f"{HANDLER.name} has {text.count(old)} times what is to be changed: {old.strip()!r}",
            remedy="see smoke_lambda/onnx/handler.py",
        )
    return text.replace(old, new)


def main() -> int:
    """Write the handler for ONNX Runtime."""
    write_atomically(OUTPUT, onnx_handler().encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
