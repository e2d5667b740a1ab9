"""Convert a Keras model, in the environment of a TensorFlow that can read it."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from builders.cache import Cache
from builders.errors import SmokeError, UsageError
from builders.interpreters import find_interpreter
from builders.process import run
from ci.proof.tensorflow_environment import REQUIREMENTS, tensorflow_python
from smoke_lambda.conform.environment import REFUSED, TENSORFLOW_VARIABLES
from smoke_lambda.functions.preprocessing import Scaling
from smoke_lambda.lock import CONVERT, TRAIN_PYTHON

ROOT = Path(__file__).parents[2]
MODULE = "smoke_lambda.train.keras_conversion"
FLAVOURS = ("float32", "float16", "dynamic", "int8")
ENDINGS = (".keras", ".h5")
EXAMPLES = (".png", ".jpg", ".jpeg", ".npy")
FEWEST, MOST = 2, 500


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """The options of one conversion.

    Attributes:
        model: the Keras model.
        flavour: one of FLAVOURS.
        representative: the example files that calibrate an int8 model.
        shapes: the shapes of inputs with open dimensions, by the input's name; the empty name
            stands for all inputs.
    """

    model: Path
    flavour: str
    representative: Sequence[Path] = ()
    shapes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    scaling: Scaling = field(default_factory=Scaling)
    resize: str = "nearest"


def examples(folder: Path | None, flavour: str) -> list[Path]:
    """Return the example files that calibrate an int8 model; none for another flavour.

    Raises:
        UsageError: an int8 model has no folder or too few examples, or another flavour has a
            folder.
    """
    if (flavour == "int8") != (folder is not None):
        raise UsageError(
            "int8 is calibrated with examples"
            if folder is None
            else "--representative is for --convert int8",
            remedy="name a folder of pictures or .npy files with --representative"
            if folder is None
            else "leave it out, or add --convert int8",
        )
    if folder is None:
        return []
    found = sorted(p for p in folder.glob("*") if p.suffix.lower() in EXAMPLES)
    if len(found) < FEWEST:
        raise UsageError(
            f"{folder} has {len(found)} examples", remedy="put some hundred pictures there"
        )
    return found[:MOST]


def requirements_of(model: Path) -> Path:
    """Return the lock of the environment with the same Keras generation as the model.

    Raises:
        UsageError: the file is not a Keras model.
    """
    if model.suffix == ".h5":
        return REQUIREMENTS
    try:
        with zipfile.ZipFile(model) as archive:
            version = str(json.loads(archive.read("metadata.json"))["keras_version"])
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise UsageError(
            f"{model} is no model of Keras: {error}", remedy="save it with model.save"
        ) from None
    return REQUIREMENTS if version.startswith("2.") else CONVERT.with_suffix(".txt")


def convert(conversion: Conversion, out: Path, cache: Cache, log: Path) -> None:
    """Convert a model, with a batch size of one.

    Args:
        out: the file to write.

    Raises:
        UsageError: the file is not a Keras model, or TensorFlow cannot convert it.
        SmokeError: this machine has no Python for TensorFlow, or the conversion fails otherwise.
    """
    requirements = requirements_of(conversion.model)
    interpreter = find_interpreter(TRAIN_PYTHON)
    if interpreter is None:
        raise SmokeError(
            f"this machine has no Python {TRAIN_PYTHON} to convert with",
            remedy=f"install it (pyenv install {TRAIN_PYTHON}), or convert the model yourself",
        )
    python = tensorflow_python(interpreter, cache, log, requirements)
    job = out.with_suffix(".json")
    job.write_text(
        json.dumps(
            {
                "model": str(conversion.model.absolute()),
                "out": str(out.absolute()),
                "flavour": conversion.flavour,
                "representative": [str(path.absolute()) for path in conversion.representative],
                "shapes": {name: list(shape) for name, shape in conversion.shapes.items()},
                "scaling": conversion.scaling.as_json(),
                "resize": conversion.resize,
            }
        )
    )
    said: list[str] = []

    def note(line: str) -> None:
        if line.startswith(REFUSED):
            said.append(line.removeprefix(REFUSED))

    try:
        run(
            [python, "-B", "-m", MODULE, job.absolute()],
            log=log,
            failure=SmokeError,
            what=f"converting {conversion.model.name}",
            cwd=ROOT,
            env={**TENSORFLOW_VARIABLES, "PYTHONPATH": str(ROOT)},
            on_line=note,
            keep_open=cache.held_locks,
        )
    except SmokeError:
        if not said:
            raise
        raise UsageError(
            f"{conversion.model.name}: {said[-1]}", remedy=f"the whole log is {log}"
        ) from None
