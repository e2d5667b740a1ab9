"""The handler (smoke_lambda/app.py) for another runtime: the same text, but for what it imports.

    python -m smoke_lambda.onnx.handler

writes smoke_lambda/onnx/app.py, the one for ONNX Runtime, which is a file of its own to copy: it
has smoke_lambda/inside/onnx_interpreter.py in it. There is one handler, so a request means the
same to every runtime.
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
# Words of the handler about its own runtime, and what they are here.
WORDS = {
    "classifies one image with TensorFlow Lite.": "classifies one image with ONNX Runtime.",
    "it needs numpy, Pillow and tflite_runtime.": "it needs numpy, Pillow and onnxruntime.",
    DEFAULT_MODEL: '"digits-float32.onnx"',
}
SECTION = (
    "# --- The runtime, behind the interface that the rest of this file uses -------------------"
)


def handler_of(module: str) -> str:
    """The handler with another runtime of TensorFlow Lite's interface.

    Args:
        module: has `Interpreter`.
    """
    text = HANDLER.read_text()
    return replaced(text, IMPORT, f"from {module} import Interpreter\n")


def onnx_handler() -> str:
    """The handler with ONNX Runtime."""
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
    """The imports of a module, but for those of the future; and what follows them."""
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
    """A text with the one place of some words changed.

    Raises:
        UsageError: there is none, or more than one: the handler has changed.
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
