"""Train the digit classifier and write the models, images and known answers.

    python -m smoke_lambda.train.digits            # writes models/ and images/
    python -m smoke_lambda.train.digits --check    # exit 1 if they would differ

Runs in an environment of its own, Python 3.11 with requirements/train.txt. The
known answers are those of TensorFlow's reference kernels: neither XNNPACK nor
the runtime under test has a part in them.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# Read when TensorFlow is imported: oneDNN's kernels differ from one CPU to the next.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

OUT = Path(__file__).parents[1]
SEED = 20260101
EPOCHS = 20

# A known answer leads the runner-up by at least this much, so that no rounding of a
# correct runtime changes the class.
MARGIN = 0.3

# The digit that is also there as a JPEG, larger than the model's input.
PHOTO = 0

# How far a runtime's score may be from the reference's, by model. float32: sums
# in another order. dynamic: activations are quantized at run time, or not at
# all, as the kernel likes. int8: two steps of the softmax's output, 1/256 each.
TOLERANCE = {"float32": 1e-5, "dynamic": 0.02, "int8": 2 / 256}


def dataset() -> tuple[Any, Any, Any, Any]:
    """The digits as pixels 0..1 that survive a PNG, split into train and test.

    Returns:
        train images, train labels, test images, test labels; images are
        float32 [n, 8, 8, 1] holding k/255, labels int64 [n].
    """
    import numpy as np
    from sklearn.datasets import load_digits  # type: ignore[import-not-found]
    from sklearn.model_selection import (  # type: ignore[import-not-found]
        train_test_split,
    )

    digits = load_digits()
    pixels = np.round(digits.images * (255 / 16)).astype(np.float32) / np.float32(255)
    train_x, test_x, train_y, test_y = train_test_split(
        pixels[..., np.newaxis],
        digits.target,
        test_size=0.25,
        random_state=SEED,
        stratify=digits.target,
    )
    return train_x, train_y, test_x, test_y


def train(images: Any, labels: Any) -> Any:  # noqa: ANN401 - Keras has no types
    """Fit a small convolutional net of operators that XNNPACK knows.

    Args:
        images: float32 [n, 8, 8, 1], 0..1.
        labels: int64 [n], 0..9.

    Returns:
        The Keras model; its output is float32 [n, 10], a softmax.
    """
    import tensorflow as tf  # type: ignore[import-untyped]

    layers = tf.keras.layers
    model = tf.keras.Sequential(
        [
            layers.Input((8, 8, 1), name="image"),
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.DepthwiseConv2D(3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(24, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(32, activation="relu"),
            layers.Dense(10, activation="softmax", name="scores"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(images, labels, batch_size=32, epochs=EPOCHS, verbose=0)
    return model


def convert(model: Any, images: Any) -> dict[str, bytes]:  # noqa: ANN401
    """The model as TFLite files.

    Args:
        model: the Keras model.
        images: float32 [n, 8, 8, 1], to calibrate the int8 model's ranges with.

    Returns:
        The bytes of each file by the model's name: float32, dynamic, int8.
    """
    import tensorflow as tf

    def converter() -> Any:  # noqa: ANN401
        return tf.lite.TFLiteConverter.from_keras_model(model)

    plain = converter()
    dynamic = converter()
    dynamic.optimizations = [tf.lite.Optimize.DEFAULT]
    int8 = converter()
    int8.optimizations = [tf.lite.Optimize.DEFAULT]
    int8.representative_dataset = lambda: ([image[None]] for image in images)
    int8.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    int8.inference_input_type = int8.inference_output_type = tf.int8
    return {
        "float32": plain.convert(),
        "dynamic": dynamic.convert(),
        "int8": int8.convert(),
    }


def reference_scores(model: bytes, images: Any) -> Any:  # noqa: ANN401
    """What TensorFlow's reference kernels answer.

    Args:
        model: a TFLite file.
        images: float32 [n, 8, 8, 1], 0..1.

    Returns:
        float64 [n, 10], dequantized.
    """
    import numpy as np
    import tensorflow as tf

    interpreter = tf.lite.Interpreter(
        model_content=model,
        experimental_op_resolver_type=tf.lite.experimental.OpResolverType.BUILTIN_REF,
    )
    interpreter.allocate_tensors()
    (entry,), (exit_,) = interpreter.get_input_details(), interpreter.get_output_details()
    answers = []
    for image in images:
        scale, zero = entry["quantization"]
        sample = np.clip(np.round(image / scale) + zero, -128, 127) if scale else image
        interpreter.set_tensor(entry["index"], sample[None].astype(entry["dtype"]))
        interpreter.invoke()
        scores = interpreter.get_tensor(exit_["index"])[0].astype(np.float64)
        scale, zero = exit_["quantization"]
        answers.append((scores - zero) * scale if scale else scores)
    return np.stack(answers)


def leads(scores: Any, labels: Any) -> Any:  # noqa: ANN401
    """By how much the right class leads the best other one; negative where it does not.

    Args:
        scores: float64 [n, 10].
        labels: int64 [n], 0..9.

    Returns:
        float64 [n].
    """
    import numpy as np

    rows = np.arange(len(labels))
    others = scores.copy()
    others[rows, labels] = -np.inf
    return scores[rows, labels] - others.max(axis=1)


def generate() -> dict[str, bytes]:
    """Train, convert and ask.

    Returns:
        The bytes of every file by its path below this folder.
    """
    import numpy as np
    import tensorflow as tf
    from PIL import Image

    tf.keras.utils.set_random_seed(SEED)
    tf.config.experimental.enable_op_determinism()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)

    train_x, train_y, test_x, test_y = dataset()
    models = convert(train(train_x, train_y), train_x[:200])
    answers = {name: reference_scores(model, test_x) for name, model in models.items()}
    for name, scores in answers.items():
        accuracy = (scores.argmax(axis=1) == test_y).mean()
        print(f"{name}: {len(models[name])} bytes, accuracy {accuracy:.4f} on {len(test_y)} images")

    # Of each class, the image that float32 is least sure of among those that every
    # model gets right: scores of exactly 0 and 1 would show no error of arithmetic.
    right = np.all([leads(scores, test_y) >= MARGIN for scores in answers.values()], axis=0)
    surest = np.where(right, answers["float32"].max(axis=1), np.inf)
    chosen = {d: int(np.where(test_y == d, surest, np.inf).argmin()) for d in range(10)}

    files = {f"models/digits-{name}.tflite": model for name, model in models.items()}
    for digit, row in chosen.items():
        png = io.BytesIO()
        pixels = np.round(test_x[row, ..., 0] * 255).astype(np.uint8)
        picture = Image.fromarray(pixels)
        picture.save(png, "PNG")
        files[f"images/{digit}.png"] = png.getvalue()
        if digit == PHOTO:
            jpeg = io.BytesIO()
            picture.resize((64, 64), Image.Resampling.NEAREST).save(jpeg, "JPEG", quality=95)
            files[f"images/{digit}.jpg"] = jpeg.getvalue()
    known = {
        f"digits-{name}": {
            "tolerance": TOLERANCE[name],
            "answers": {
                f"{digit}.png": {
                    "top1": int(scores[row].argmax()),
                    "scores": [round(score, 7) for score in scores[row].tolist()],
                }
                for digit, row in chosen.items()
            },
        }
        for name, scores in answers.items()
    }
    files["models/known.json"] = (json.dumps(known, indent=1) + "\n").encode()
    return files


def write(files: Mapping[str, bytes], folder: Path) -> None:
    """Write every file below a folder."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def differences(files: Mapping[str, bytes], folder: Path) -> list[str]:
    """One line for each file that is missing from the folder or not the same there."""
    found = []
    for name, content in files.items():
        path = folder / name
        if not path.is_file():
            found.append(f"{name}: missing")
        elif path.read_bytes() != content:
            found.append(f"{name}: differs ({path.stat().st_size} bytes, now {len(content)})")
    return found


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="smoke_lambda.train.digits", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--check", action="store_true", help="compare with the committed files")
    parser.add_argument("--out", type=Path, default=OUT, help="folder to write to")
    options = parser.parse_args(arguments)
    files = generate()
    if not options.check:
        write(files, options.out)
        return 0
    found = differences(files, options.out)
    for line in found:
        print(line, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
