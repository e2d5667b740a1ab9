"""The models of a comparison: the files that each runtime runs, and the expected answers.

smoke_lambda/train/exchange.py makes them, in an environment with TensorFlow's and ONNX's tools.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from builders.cache import Cache, key_of, recipe, sha256_of
from builders.cli import Session
from builders.errors import SmokeError, UsageError
from builders.process import run
from ci.bench.measure import Network, unpacked
from ci.compare.settings import HERE, ONNX, TFLITE
from ci.proof.networks import networks_corpus
from smoke_lambda import events
from smoke_lambda.conform.environment import TENSORFLOW_VARIABLES
from smoke_lambda.conform.networks import load_networks
from smoke_lambda.lock import CONVERT
from smoke_lambda.model import check_model

ROOT = Path(__file__).parents[2]
NETWORKS = HERE / "networks.toml"
KERAS = (".keras", ".h5")
LOCK = CONVERT.with_suffix(".txt")
MAKER = ROOT / "smoke_lambda" / "train"
RECIPE = (MAKER / "exchange.py", MAKER / "answers.py")
DIGITS = ("digits-float32", "digits-int8")
INT8 = "int8"


@dataclass(frozen=True, kw_only=True)
class Given:
    """A given model, and the files that belong to it.

    Attributes:
        name: the name for people.
        model: the file of TensorFlow Lite or Keras.
        onnx: the user's own ONNX file of the same network.
        float32: the same network in float32, if the model is not in float32.
        picture: the model's input.
        cases: inputs and answers in the form of a corpus, instead of a picture.
    """

    name: str
    model: Path
    onnx: Path | None = None
    float32: Path | None = None
    picture: Path | None = None
    cases: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One file of a model, in the format of some runtimes.

    Attributes:
        format: tflite or onnx.
        label: how the file was made, if there are several; empty for the model itself.
        model: the file.
        cases: the file's inputs, in the form that smoke_lambda.inside.timing reads.
        error: why there is no file.
    """

    format: str
    label: str
    model: Path
    cases: Path
    error: str = ""

    def network(self, name: str) -> Network:
        """Return this variant as a network of ci.bench."""
        return Network(name=name, flavour="", model=self.model, cases=self.cases)


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One model of a comparison.

    Attributes:
        picture: the height, width and channels of its one input; None if that is no picture.
        answers: the file of the reference kernels' answers, in real numbers.
    """

    name: str
    variants: tuple[Variant, ...]
    picture: tuple[int, ...] | None
    answers: Path
    sample: Path | None

    def of(self, form: str) -> list[Variant]:
        """Return the variants of a format."""
        return [each for each in self.variants if each.format == form]


def check_given(given: Given) -> None:
    """Check the given files before anything is made from them.

    Raises:
        UsageError: a file is missing, or is of another kind.
    """
    for path in (given.model, given.onnx, given.picture):
        if path is not None and not path.is_file():
            raise UsageError(f"there is no file {path}")
    if given.model.suffix == ".tflite":
        check_model(given.model, None)
    elif given.model.suffix == ".onnx":
        raise UsageError(
            f"{given.model} is ONNX's: nothing makes a TensorFlow Lite model of it",
            remedy="give the .tflite or .keras of the same network, and this one with --onnx",
        )
    elif given.model.suffix not in KERAS:
        raise UsageError(
            f"{given.model} is no model that is known here", remedy="give a .tflite, .keras or .h5"
        )
    if given.onnx is not None and given.onnx.suffix != ".onnx":
        raise UsageError(f"{given.onnx} is no ONNX file by its name")


def subject_of(given: Given, python: Path, cache: Cache, log: Path) -> Subject:
    """Return the models, inputs and answers for a given model; make them if not in the cache.

    Args:
        python: the interpreter of the environment of requirements/convert.txt.

    Raises:
        SmokeError: TensorFlow cannot read or run the model.
    """
    files = {
        name: path
        for name, path in asdict(given).items()
        if isinstance(path, Path) and name != "name"
    }

    def make(folder: Path) -> None:
        job = folder / "job.json"
        paths = {name: str(path.absolute()) for name, path in files.items()}
        job.write_text(json.dumps(dict.fromkeys(FILES, "") | paths | {"folder": str(folder)}))
        run(
            [python, "-m", "smoke_lambda.train.exchange", job],
            log=log,
            failure=SmokeError,
            what=f"making models of {given.name}",
            cwd=ROOT,
            env={**TENSORFLOW_VARIABLES, "PYTHONPATH": str(ROOT), "TF_USE_LEGACY_KERAS": "0"},
            keep_open=cache.held_locks,
        )

    key = {
        "files": {name: (path.suffix, sha256_of(path)) for name, path in files.items()},
        "requirements": sha256_of(LOCK),
        "recipe": recipe(*RECIPE),
    }
    folder = cache.product("compare-models", key_of(key), make)
    return read_made(given, folder)


FILES = ("model", "onnx", "float32", "picture", "cases")
"""The files of a job; see smoke_lambda/train/exchange.py."""


def read_made(given: Given, folder: Path) -> Subject:
    """Read the models, inputs and answers that were made in a folder."""
    made: Mapping[str, Any] = json.loads((folder / "made.json").read_text())
    entries = [(TFLITE, made["tflite"]), *((ONNX, each) for each in made["onnx"])]
    return Subject(
        name=given.name,
        variants=tuple(
            Variant(
                format=form,
                label=each["label"],
                model=folder / each["file"],
                cases=folder / each["cases"],
                error=each.get("error", ""),
            )
            for form, each in entries
        ),
        picture=tuple(made["picture"]) if made["picture"] else None,
        answers=folder / "answers.npz",
        sample=given.picture,
    )


def own_names() -> list[str]:
    """Return the names of the models that `own_models` gives."""
    return [name.replace("-", ".") for name in DIGITS] + [
        f"{each.name}.{flavour}"
        for each in load_networks(NETWORKS).built
        for flavour in each.flavours
    ]


def own_models(session: Session, folder: Path, log: Path) -> Iterator[Given]:
    """Give the models of docs/compare.md: the digits, and the networks of networks.toml.

    Args:
        folder: the folder for the networks' files.

    Raises:
        SmokeError: TensorFlow cannot convert or run a network.
    """
    for name in DIGITS:
        yield Given(
            name=name.replace("-", "."),
            model=events.MODELS / f"{name}.tflite",
            float32=events.MODELS / f"{DIGITS[0]}.tflite" if INT8 in name else None,
            picture=events.IMAGES / events.SAMPLE,
        )
    corpus = networks_corpus(load_networks(NETWORKS), session, log)
    found = {each.name: each for each in unpacked(corpus, folder, lambda _name: True)}
    for name, network in found.items():
        plain = found.get(f"{name.rpartition('.')[0]}.float32")
        yield Given(
            name=name,
            model=network.model,
            float32=plain.model if network.flavour == INT8 and plain else None,
            cases=network.cases,
        )
