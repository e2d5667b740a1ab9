"""Writes the digits' models in ONNX's format, for the smoke test of the function with ONNX Runtime.

    python -m smoke_lambda.train.onnx_digits

Runs in the environment of requirements/convert.txt.
"""

from __future__ import annotations

import sys
from pathlib import Path

import tensorflow as tf  # type: ignore[import-untyped]

from smoke_lambda import events
from smoke_lambda.train.exchange import convert_tflite, describe

FOLDER = Path(__file__).parents[1] / "onnx" / "models"
MODELS = ("digits-float32", "digits-int8")


def main() -> int:
    """Convert each."""
    for name in MODELS:
        model, target = events.MODELS / f"{name}.tflite", FOLDER / f"{name}.onnx"
        convert_tflite(model, target)
        interpreter = tf.lite.Interpreter(model_path=str(model))
        describe(target, interpreter.get_input_details() + interpreter.get_output_details())
    return 0


if __name__ == "__main__":
    sys.exit(main())
