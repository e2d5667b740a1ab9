"""Converts models with TensorFlow's own command, inside TensorFlow's environment.

    python -I convert.py JOBS

JOBS is a JSON file: for each model, a list of the command's arguments. One process converts all
models, since TensorFlow takes seconds to import.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path


def main(jobs: str) -> None:
    """Run the command once per job."""
    tflite_convert = importlib.import_module("tensorflow.lite.python.tflite_convert")
    for arguments in json.loads(Path(jobs).read_text()):
        # The command's function reads its arguments from sys.argv.
        sys.argv[1:] = arguments
        tflite_convert.run_main(None)


if __name__ == "__main__":
    main(*sys.argv[1:])
