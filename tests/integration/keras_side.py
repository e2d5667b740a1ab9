"""Does the work of test_functions.py that needs TensorFlow, in TensorFlow's environment.

python keras_side.py models FOLDER      writes models and their answers
python keras_side.py preprocessing FOLDER HELPER
                                        compares handlers with Keras and keras-image-helper
"""

# ruff: noqa: ANN401 - TensorFlow has no types
from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import tensorflow as tf  # type: ignore[import-untyped]
from PIL import Image

SIDE = 32
PICTURES = 10
# The helper's names for networks.
HELPED = ("xception", "resnet50", "vgg16", "inception_v3")


def pictures(folder: Path) -> list[Path]:
    """Write ten pictures of several sizes, modes and formats."""
    random = np.random.default_rng(7)
    found = []
    for number in range(PICTURES):
        height, width = random.integers(SIDE // 2, 6 * SIDE, 2)
        small = random.integers(0, 256, (5, 7, 3), np.uint8)
        image = Image.fromarray(small).resize((int(width), int(height)), Image.Resampling.BICUBIC)
        image = image.convert("L") if number == 3 else image
        path = folder / f"{number}.{'jpg' if number % 2 else 'png'}"
        image.save(path)
        found.append(path)
    return found


def loaded(path: Path) -> Any:
    """Return a picture as Keras loads it: [1, SIDE, SIDE, 3], float32."""
    image = tf.keras.utils.load_img(path, target_size=(SIDE, SIDE))
    return tf.keras.utils.img_to_array(image)[np.newaxis]


def models(folder: Path) -> None:
    """Write a classifier of pictures without a softmax, and a model of numbers."""
    tf.keras.utils.set_random_seed(3)
    paths = pictures(folder)
    image = tf.keras.Input((SIDE, SIDE, 3), name="picture")
    x = tf.keras.layers.Conv2D(8, 3, strides=2, activation="relu")(image)
    x = tf.keras.layers.Flatten()(x)
    classifier = tf.keras.Model(image, tf.keras.layers.Dense(3, name="logits")(x))
    classifier.save(folder / "clothes.keras")
    numbers = tf.keras.Input((4,), name="features")
    price = tf.keras.Model(numbers, tf.keras.layers.Dense(1, name="price")(numbers))
    price.save(folder / "price.keras")
    converter = tf.lite.TFLiteConverter.from_keras_model(price)
    (folder / "price.tflite").write_bytes(converter.convert())
    scaled = tf.keras.applications.xception.preprocess_input(loaded(paths[0]))
    features = [[0.5, -1.0, 2.0, 3.25]]
    answers = {
        "clothes": tf.nn.softmax(classifier(scaled)).numpy()[0].tolist(),
        "features": features[0],
        "price": price(np.array(features, np.float32)).numpy().tolist(),
    }
    (folder / "answers.json").write_text(json.dumps(answers))


class Interpreter:
    """A model of pictures, for a handler that only preprocesses them."""

    def __init__(self, model_path: str) -> None:
        """As the runtime's."""

    def allocate_tensors(self) -> None:
        """As the runtime's."""

    def get_input_details(self) -> list[dict[str, Any]]:
        """As the runtime's."""
        shape = np.array([1, SIDE, SIDE, 3])
        return [{"index": 0, "shape": shape, "dtype": np.float32, "quantization": (0.0, 0)}]

    def get_output_details(self) -> list[dict[str, Any]]:
        """As the runtime's."""
        return [{"index": 1}]


def handler(path: Path) -> Any:
    """Import a handler's module."""
    runtime: Any = ModuleType("tflite_runtime.interpreter")
    runtime.Interpreter = Interpreter
    sys.modules["tflite_runtime"] = ModuleType("tflite_runtime")
    sys.modules["tflite_runtime.interpreter"] = runtime
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def preprocessing(folder: Path, helper: str) -> None:
    """Print how far each handler, <network>.py, differs at most from Keras and the helper."""
    sys.path.append(helper)
    helpers: Any = importlib.import_module("keras_image_helper")
    paths = pictures(folder)
    found = {}
    for file in sorted(folder.glob("*.py")):
        app = handler(file)
        network = getattr(tf.keras.applications, file.stem)
        largest, by_helper = 0.0, 0.0
        for path in paths:
            ours = app.preprocess(app.decode(path.read_bytes()))
            theirs = network.preprocess_input(loaded(path))
            largest = max(largest, float(np.abs(ours - theirs).max()))
            if file.stem in HELPED:
                create = helpers.create_preprocessor(file.stem, target_size=(SIDE, SIDE))
                by_helper = max(by_helper, float(np.abs(ours - create.from_path(path)).max()))
        found[file.stem] = {"keras": largest, "pictures": len(paths)}
        if file.stem in HELPED:
            found[file.stem]["helper"] = by_helper
    print(json.dumps(found))


if __name__ == "__main__":
    if sys.argv[1] == "models":
        models(Path(sys.argv[2]))
    else:
        preprocessing(Path(sys.argv[2]), sys.argv[3])
