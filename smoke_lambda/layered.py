"""Lay out a zipped function and its layers as Lambda does."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path

from smoke_lambda.limits import open_to_all

OPT, TASK = "opt", "task"
PYTHON = "python"
"""The folder of a layer with the packages for one Python; Lambda has it on Python's path.

Source: https://docs.aws.amazon.com/lambda/latest/dg/packaging-layers.html
"""


def lay_out(folder: Path, layers: Sequence[Path], into: Path) -> None:
    """Unpack layers into `OPT`, and copy a function's files into `TASK`.

    Args:
        folder: the function's folder; its subfolders are not a part of the zip.
    """
    for layer in layers:
        with zipfile.ZipFile(layer) as archive:
            archive.extractall(into / OPT)
    (into / TASK).mkdir()
    for path in folder.iterdir():
        if path.suffix in (".py", ".tflite") or path.name == "labels.txt":
            shutil.copyfile(path, into / TASK / path.name)
    open_to_all(into)
