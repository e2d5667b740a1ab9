"""The context of the templates: answers to cookiecutter's questions, and the data behind them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builders.architecture import aws_name, docker_platform
from builders.matrix import Matrix, Runtime
from smoke_lambda import events
from smoke_lambda.functions.plan import generic_plan
from smoke_lambda.functions.preprocessing import Scaling, scalings
from smoke_lambda.functions.render import OPTIONS, TEMPLATE
from smoke_lambda.functions.samples import made_up, named, of_file, tone
from smoke_lambda.lock import FUNCTION_PACKAGES, lock_path, packages_of

COOKIECUTTER = TEMPLATE / "cookiecutter.json"
REQUIREMENTS = TEMPLATE / "templates" / "requirements"
PACKAGES = ("image", "zip")
# Pillow's filters; Keras' load_img uses `nearest` by default.
RESIZES = ("nearest", "bilinear", "bicubic", "lanczos", "box", "hamming")
FULL_PROCESSOR_MB = 1769
"""With this much memory or more, in MB, a function has a whole processor.

Source: https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html
"""
TIMEOUT = 15
LONGEST_TIMEOUT = 29  # in seconds; no API waits longer
RANGE = "0..1"
MADE_BY = "Made by ./scripts/function; it is yours to change."
SKELETON_MADE_BY = "Made from a template; it is yours to change."


@dataclass(frozen=True, kw_only=True)
class Wheel:
    """A wheel that a function installs.

    Attributes:
        url: the address from which pip gets the wheel; empty if the wheel is in the function's
            folder.
    """

    file: str
    sha256: str
    python: str
    arch: str
    url: str = ""

    @property
    def key(self) -> str:
        """The wheel's key in `_wheels`."""
        return f"{self.python}-{aws_name(self.arch)}"

    def as_json(self) -> dict[str, str]:
        """Return the wheel as a dictionary for the templates."""
        return {"file": self.file, "sha256": self.sha256, "url": self.url}


def common(
    tensorflow: str, architectures: Iterable[str], wheels: Iterable[Wheel]
) -> dict[str, Any]:
    """Return the part of the context that every function has and cookiecutter does not ask for."""
    arches = {aws_name(arch): arch for arch in architectures}
    return {
        "_tensorflow": tensorflow,
        "_wheels": {wheel.key: wheel.as_json() for wheel in wheels},
        "_wheel_arches": arches,
        "_platforms": {name: docker_platform(arch) for name, arch in arches.items()},
    }


@dataclass(frozen=True, kw_only=True)
class Made:
    """All that was decided about a function of a model.

    Attributes:
        name: the name of the function, of its image and of its role.
        preprocess: the preprocessing, as the user named it.
        package: one of PACKAGES.
        measured: the results of measurements, as lines for the function's README.
    """

    name: str
    plan: Mapping[str, Any]
    sample: Mapping[str, Any]
    preprocess: str
    scaling: Scaling
    resize: str
    package: str
    memory_mb: int = FULL_PROCESSOR_MB
    timeout: int = TIMEOUT
    measured: Sequence[str] = ()


def function_context(made: Made, tensorflow: str, wheel: Wheel) -> dict[str, Any]:
    """Return the context of a model's function."""
    kind = "input"
    labels = " labels.txt" if made.plan["answer"] == "labels" else ""
    return common(tensorflow, [wheel.arch], [wheel]) | {
        "name": made.name,
        "python": wheel.python,
        "arch": aws_name(wheel.arch),
        "package": made.package,
        "input": kind,
        "preprocess": made.preprocess,
        "resize": made.resize,
        "_top": made.plan["top"],
        "_is_made": True,
        "_made_by": MADE_BY,
        "_layers_from": "the layers are in layers/",
        "_files": f"app.py model.tflite{labels}",
        "_plans": {kind: made.plan},
        "_samples": {kind: made.sample},
        "_scalings": {made.preprocess: made.scaling.as_json()},
        "_memory": made.memory_mb,
        "_timeout": made.timeout,
        "_measured": list(made.measured),
    }


def cookiecutter_json(matrix: Matrix, wheels: Sequence[Wheel]) -> str:
    """Return cookiecutter.json: the skeleton's questions, and the other values for its templates.

    Args:
        wheels: the published wheels of the recommended TensorFlow version.
    """
    pythons = list(dict.fromkeys(wheel.python for wheel in wheels))
    pythons.sort(key=lambda python: tuple(map(int, python.split("."))), reverse=True)
    sample = of_file("image", (events.IMAGES / events.SAMPLE).read_bytes())
    numbers = made_up([{"name": "input", "kind": "json", "shape": [1, 4]}], 0)
    sound = of_file("audio", tone(16000, 160))
    layer = "./scripts/layer of the repository makes the layers; --out names the folder layers/"
    data = {
        "name": "my-function",
        "python": pythons,
        "arch": ["x86_64", "arm64"],
        "package": list(PACKAGES),
        "input": ["image", "json", "audio"],
        "preprocess": [RANGE, *scalings()],
        "resize": list(RESIZES),
        "_copy_without_render": ["*.tflite"],
        "_jinja2_env_vars": OPTIONS,
        "_top": 5,
        "_is_made": False,
        "_made_by": SKELETON_MADE_BY,
        "_layers_from": layer,
        "_files": "app.py model.tflite",
        "_memory": FULL_PROCESSOR_MB,
        "_timeout": TIMEOUT,
        "_measured": [],
        **common(matrix.recommended.version, matrix.architectures, wheels),
        "_scalings": {RANGE: Scaling(divisor=255.0).as_json()}
        | {name: scaling.as_json() for name, scaling in scalings().items()},
        "_plans": {
            "image": generic_plan("image", answer="class"),
            "json": generic_plan("json"),
            "audio": generic_plan("audio"),
        },
        "_samples": {
            "image": sample.as_json(),
            "json": named(numbers).as_json(),
            "audio": sound.as_json(),
        },
    }
    return json.dumps(data, indent=1) + "\n"


def requirements(runtimes: Iterable[Runtime]) -> dict[Path, str]:
    """Return the pins and hashes of a function's packages besides the wheel, by file."""
    return {
        REQUIREMENTS / f"{runtime.tag}-{package}.txt": packages_of(
            lock_path(runtime, runtime.numpy.on_lambda)
        )[package]
        for runtime in runtimes
        for package in FUNCTION_PACKAGES
    }
