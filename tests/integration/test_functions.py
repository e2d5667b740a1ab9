"""./scripts/function, as a new user runs it: from a model to a function that answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from support import fetcher, script

from builders.cache import Cache, default_root
from builders.errors import UserError
from builders.interpreters import find_interpreter
from ci.proof.tensorflow_environment import REQUIREMENTS, tensorflow_python
from smoke_lambda.bench import INT8
from smoke_lambda.conform.environment import TENSORFLOW_VARIABLES
from smoke_lambda.conform.networks import load_networks, member_of
from smoke_lambda.events import MODELS
from smoke_lambda.functions.context import Made, Wheel, function_context
from smoke_lambda.functions.facts import Facts, Signature, Tensor
from smoke_lambda.functions.plan import Choice, make_plan
from smoke_lambda.functions.preprocessing import scaling_of, scalings
from smoke_lambda.functions.render import APP, render
from smoke_lambda.functions.samples import sample_of
from smoke_lambda.inside.flatbuffer import CODE_VERSION, field_position, operator_codes
from smoke_lambda.lock import CONVERT, TRAIN_PYTHON

MODES = {"tf", "caffe", "torch", "none"}
LABELS = ("dress", "shirt", "hat")
CLOSE = 1e-6
PICTURES = 10
HELPED = {"xception", "resnet50", "vgg16", "inception_v3"}
HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def keras(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the Python of an environment with TensorFlow and Keras 2; skip if there is none."""
    return environment(REQUIREMENTS, tmp_path_factory)


@pytest.fixture(scope="module")
def models(keras: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder with models of Keras 2, pictures and Keras' answers to them."""
    return models_of(keras, tmp_path_factory)


@pytest.fixture(scope="module")
def newer_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the same folder with Keras 3, whose files another TensorFlow reads."""
    keras = environment(CONVERT.with_suffix(".txt"), tmp_path_factory)
    folder = models_of(keras, tmp_path_factory)
    with zipfile.ZipFile(folder / "clothes.keras") as archive:
        version = json.loads(archive.read("metadata.json"))["keras_version"]
    assert version.startswith("3.")
    return folder


def environment(requirements: Path, temporary: pytest.TempPathFactory) -> Path:
    """Return the Python of an environment with TensorFlow; skip if there is none."""
    interpreter = find_interpreter(TRAIN_PYTHON)
    if interpreter is None:
        pytest.skip(f"TensorFlow needs Python {TRAIN_PYTHON}: pyenv install {TRAIN_PYTHON}")
    log = temporary.mktemp("log") / "tensorflow.log"
    try:
        return tensorflow_python(interpreter, Cache(default_root()), log, requirements)
    except UserError as error:
        pytest.skip(f"TensorFlow cannot be installed: {error}")


def models_of(keras: Path, temporary: pytest.TempPathFactory) -> Path:
    """Make a folder with models, labels, pictures and answers, in the given environment."""
    folder = temporary.mktemp("models")
    side(keras, "models", folder)
    (folder / "labels.txt").write_text("\n".join(LABELS) + "\n")
    return folder


def side(python: Path, *arguments: str | Path) -> str:
    """Run keras_side.py; return its output."""
    done = subprocess.run(
        [python, "-B", HERE / "keras_side.py", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **TENSORFLOW_VARIABLES},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def made(out: Path, *arguments: str | Path) -> dict[str, Any]:
    """Make a function with ./scripts/function; return the command's JSON."""
    options = ("--runner", "native", "--python", TRAIN_PYTHON, "--json")
    done = script("function", *arguments, *options, "--out", out)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert (out / "model.tflite").is_file()
    assert json.loads((out / "tests" / "answer.json").read_text()) == found["trial"]["answer"]
    return found


def classes(models: Path) -> dict[str, float]:
    """Return Keras' answer to the first picture."""
    scores = json.loads((models / "answers.json").read_text())["clothes"]
    return dict(zip(LABELS, scores, strict=True))


@pytest.mark.integration
@pytest.mark.parametrize("package", ["image", "zip"])
def test_from_a_model_of_keras_and_a_picture(models: Path, tmp_path: Path, package: str) -> None:
    labels = ("--labels", models / "labels.txt", "--package", package)
    sample = ("--preprocess", "xception", "--sample", models / "0.png")
    found = made(tmp_path / "clothes", models / "clothes.keras", *labels, *sample)
    wanted = classes(models)
    trial = found["trial"]
    assert trial["answer"] == pytest.approx(wanted, abs=1e-4)
    assert list(trial["answer"]) == sorted(wanted, key=lambda label: -wanted[label])
    assert trial["xnnpack"] == 1
    assert trial["million_dollars"]["arm64"] < trial["million_dollars"]["x86_64"]
    layers = sorted(path.name for path in tmp_path.glob("clothes/layers/*.zip"))
    assert len(layers) == (2 if package == "zip" else 0)


@pytest.mark.integration
@pytest.mark.parametrize(("flavour", "near"), [("float32", 1e-4), ("dynamic", 0.05)])
def test_from_a_model_of_keras_3(
    newer_models: Path, tmp_path: Path, flavour: str, near: float
) -> None:
    arguments = ("--convert", flavour, "--labels", newer_models / "labels.txt")
    sample = ("--preprocess", "xception", "--sample", newer_models / "0.png")
    found = made(tmp_path / "made", newer_models / "clothes.keras", *arguments, *sample)
    assert found["trial"]["answer"] == pytest.approx(classes(newer_models), abs=near)
    assert found["trial"]["xnnpack"] == 1


@pytest.mark.integration
@pytest.mark.parametrize("flavour", ["float16", "dynamic", "int8"])
def test_a_converted_model_is_near_the_original(models: Path, tmp_path: Path, flavour: str) -> None:
    examples: tuple[str | Path, ...] = ()
    arguments = ("--convert", flavour, "--preprocess", "xception", "--sample", models / "0.png")
    labels = ("--labels", models / "labels.txt")
    if flavour == "int8":
        pictures = tmp_path / "pictures"
        pictures.mkdir()
        for path in (*models.glob("*.png"), *models.glob("*.jpg")):
            (pictures / path.name).write_bytes(path.read_bytes())
        examples = ("--representative", pictures)
    out = tmp_path / "made"
    found = made(out, models / "clothes.keras", *arguments, *labels, *examples)
    wanted = classes(models)
    assert found["trial"]["answer"] == pytest.approx(wanted, abs=0.05)
    sizes = out.joinpath("model.tflite").stat().st_size
    assert sizes < (models / "clothes.keras").stat().st_size
    assert ("def stored(" in (out / APP).read_text()) == (flavour == "int8")


@pytest.mark.integration
@pytest.mark.parametrize("name", ["price.tflite", "price.keras"])
def test_numbers_in_and_numbers_out(models: Path, tmp_path: Path, name: str) -> None:
    answers = json.loads((models / "answers.json").read_text())
    request = tmp_path / "request.json"
    request.write_text(json.dumps({"input": answers["features"]}))
    found = made(tmp_path / "price", models / name, "--sample", request)
    (output,) = found["trial"]["answer"]["outputs"].values()
    assert output[0] == pytest.approx(answers["price"][0], abs=1e-5)


@pytest.mark.integration
def test_a_model_of_somebody_else_with_several_outputs(tmp_path: Path) -> None:
    (network,) = (each for each in load_networks().published if each.name == "hand_landmark_lite")
    model = tmp_path / "hand.tflite"
    try:
        model.write_bytes(member_of(network, fetcher()))
    except UserError as error:
        pytest.skip(f"the model cannot be had here: {error}")
    found = made(tmp_path / "hand", model, "--preprocess", "0..1")
    outputs = found["trial"]["answer"]["outputs"]
    assert [len(value[0]) for value in outputs.values()] == [63, 1, 1, 63]
    one = made(tmp_path / "one", model, "--preprocess", "0..1", "--output", "Identity_1")
    assert list(one["trial"]["answer"]["outputs"]) == ["Identity_1"]


@pytest.mark.integration
@pytest.mark.parametrize(
    ("name", "arguments", "reason"),
    [
        ("clothes.keras", ("--preprocess", "vgg16", "--labels", "one.txt"), "1 labels"),
        ("clothes.keras", (), "how does the model want pictures to be scaled"),
        ("price.tflite", ("--preprocess", "xception"), "no input is a picture"),
    ],
)
def test_what_does_not_fit_the_model_leaves_nothing(
    models: Path, tmp_path: Path, name: str, arguments: tuple[str, ...], reason: str
) -> None:
    (tmp_path / "one.txt").write_text("one\n")
    words = [str(tmp_path / word) if word.endswith(".txt") else word for word in arguments]
    options = ("--runner", "native", "--python", TRAIN_PYTHON, "--out", tmp_path / "made")
    done = script("function", models / name, *words, *options)
    assert done.returncode == 2
    assert reason in done.stderr.splitlines()[-1]
    assert [path.name for path in tmp_path.iterdir()] == ["one.txt"]


@pytest.mark.integration
def test_an_operator_that_nobody_has_is_named(tmp_path: Path) -> None:
    # A model's file omits version 1 of an operator; this model's convolution has a later version.
    data = bytearray((MODELS / f"{INT8}.tflite").read_bytes())
    code = next(code for code in operator_codes(data) if code.version > 1)
    data[field_position(data, code.position, CODE_VERSION)] = 99
    (tmp_path / "new.tflite").write_bytes(data)
    options = ("--runner", "native", "--python", TRAIN_PYTHON, "--out", tmp_path / "made")
    done = script("function", tmp_path / "new.tflite", "--preprocess", "0..1", *options)
    assert done.returncode == 2
    assert "CONV_2D version 99" in done.stderr.splitlines()[-1]
    assert "none here has it" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["new.tflite"]


def app_of(network: str) -> str:
    """Return the handler for a network that takes pictures."""
    kind: dict[str, Any] = {"dtype": "float32", "scale": 0.0, "zero_point": 0, "position": 0}
    picture: dict[str, Any] = {"name": "x", "shape": (1, 32, 32, 3), "open_shape": (1, 32, 32, 3)}
    scores: dict[str, Any] = {"name": "y", "shape": (1, 9), "open_shape": (1, 9)}
    whole = Signature(
        name="", inputs=(Tensor(**picture, **kind),), outputs=(Tensor(**scores, **kind),)
    )
    scaling = scaling_of(network)
    plan = make_plan(Facts(whole=whole, signatures=()), Choice(scaling=scaling))
    function = Made(
        name="x",
        plan=plan,
        sample=sample_of(plan, None).as_json(),
        preprocess=network,
        scaling=scaling,
        resize="nearest",
        package="image",
    )
    wheel = Wheel(file="x.whl", sha256="0" * 64, python="3.11", arch="x86_64")
    return render(APP, function_context(function, "2", wheel))


@pytest.mark.integration
def test_the_preprocessing_of_every_network_is_that_of_keras(keras: Path, tmp_path: Path) -> None:
    helper = tmp_path / "helper"
    install = ["-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes", "--target"]
    done = subprocess.run(
        [sys.executable, *install, helper, "-r", HERE / "keras_image_helper.txt"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"keras-image-helper cannot be installed: {done.stderr.strip()[-200:]}")
    networks = sorted(scalings().keys() - MODES)
    handlers = tmp_path / "handlers"
    handlers.mkdir()
    for network in networks:
        (handlers / f"{network}.py").write_text(app_of(network))
    found = json.loads(side(keras, "preprocessing", handlers, helper).splitlines()[-1])
    assert sorted(found) == networks
    for network, row in found.items():
        assert row["pictures"] == PICTURES
        assert row["keras"] <= CLOSE, network
        assert ("helper" in row) == (network in HELPED)
        assert row.get("helper", 0) <= CLOSE, network
