"""Makes the corpus of real networks; started by smoke_lambda/conform/networks.py.

    python -m smoke_lambda.train.networks_making JOB.json

Runs in the environment of requirements/train.txt.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import numpy as np
import tensorflow as tf  # type: ignore[import-untyped]

from smoke_lambda.conform.environment import BEGUN
from smoke_lambda.conform.settings import OWN_TOLERANCES_FILE
from smoke_lambda.ops import OpsTable, load_ops
from smoke_lambda.train.answers import answers, check, dequantized
from smoke_lambda.train.architectures import ARCHITECTURES
from smoke_lambda.train.making import (
    OWN_TOLERANCES,
    described,
    entries_of,
    settle,
    version,
)
from smoke_lambda.train.pattern import (
    DYNAMIC,
    FLOAT32,
    INT8,
    Draw,
    Input,
    Pattern,
    draw_weights,
    x,
)
from smoke_lambda.train.writing import Entry, write_corpus

NETWORK = "network"
ROUNDED = (DYNAMIC, INT8)
ROUNDINGS = 3
"""How far two answers of a network in int8 may be apart: each is as far from the float32 answer as
its roundings bring it, and one runtime may round twice as badly as the other."""


def main(arguments: list[str]) -> int:
    """The command line; returns its exit code."""
    job = json.loads(Path(arguments[0]).read_text())
    folder = Path(job["corpus"])
    settle()
    tolerances: dict[str, dict[str, float]] = {}
    write_corpus(folder, version(), entries(job, tolerances))
    (folder / OWN_TOLERANCES_FILE).write_text(json.dumps(tolerances, indent=1) + "\n")
    return 0


def entries(job: Mapping[str, Any], tolerances: dict[str, dict[str, float]]) -> Iterator[Entry]:
    """All networks of a job.

    Args:
        tolerances: gets a row for each network whose tolerance is its own, by its name.
    """
    table = load_ops()
    patterns = [("keras", built(each)) for each in job["built"]]
    patterns += [("drawn", drawn_network(each)) for each in job["drawn"]]
    total = len(job["published"]) + len(patterns)
    for number, each in enumerate(job["published"], 1):
        begun(number, total, each["name"])
        yield published(each, table)
    for number, (family, pattern) in enumerate(patterns, total - len(patterns) + 1):
        begun(number, total, pattern.name)
        # A hundred layers make much of what the other flavours round: 3 % in MobileNet's float16.
        made = [*entries_of(family, pattern, table, near=(FLOAT32,))]
        exact = next(entry for entry in made if entry.model.flavour == FLOAT32)
        for entry in made:
            if entry.model.flavour not in ROUNDED:
                yield entry
                continue
            name = entry.model.name
            tolerances[name] = tolerance_of(entry, exact)
            yield entry._replace(model=entry.model._replace(tolerance=name))


def begun(number: int, total: int, name: str) -> None:
    """Say which network is made next; to make all takes minutes."""
    print(f"{BEGUN}{number}/{total} networks: {name}", flush=True)


def tolerance_of(entry: Entry, exact: Entry) -> dict[str, float]:
    """How far from TensorFlow's answer a network in int8 may be.

    Args:
        exact: the same network in float32.
    """
    details = tf.lite.Interpreter(model_content=entry.content).get_output_details()
    apart = scale = 0.0
    for ours, theirs in zip(entry.cases, exact.cases, strict=True):
        for detail, rounded, value in zip(details, ours.outputs, theirs.outputs, strict=True):
            apart = max(apart, float(np.abs(dequantized(rounded, detail) - value).max()))
            scale = max(scale, float(detail["quantization"][0]))
    allowed = ROUNDINGS * apart
    return {"absolute": allowed, "steps": int(np.ceil(allowed / scale)) if scale else 0}


def published(job: Mapping[str, str], table: OpsTable) -> Entry:
    """A network as it is: its inputs are drawn, its own shapes and types.

    Raises:
        UsageError: its answers say nothing.
    """
    content = Path(job["path"]).read_bytes()
    inputs = tuple(map(drawn, tf.lite.Interpreter(model_content=content).get_input_details()))
    pattern = Pattern(
        name=job["name"],
        build=lambda _k: None,
        inputs=inputs,
        tolerance=NETWORK,
        optimized=True,
        constant=True,
    )
    found = answers(content, pattern)
    check(job["name"], pattern, found, None, OWN_TOLERANCES[FLOAT32])
    types = {array.dtype.name for case in found.cases for array in case.outputs}
    flavour = "int8" if types & {"int8", "uint8"} else FLOAT32
    model = described(job["family"], pattern, flavour, content, found, table)
    return Entry(model, content, found.cases)


def drawn(entry: Mapping[str, Any]) -> Input:
    """An input of a network; images and sounds are between -1 and 1, or any int8."""
    kind = np.dtype(entry["dtype"])
    low, high = (np.iinfo(kind).min, np.iinfo(kind).max) if kind.kind in "iu" else (-1, 1)
    return Input(tuple(map(int, entry["shape"])), kind.name, low, high)


def built(job: Mapping[str, Any]) -> Pattern:
    """A network of Keras, its normalizations measured on drawn images."""
    shape = (job["size"], job["size"], 3)
    images = x(job["batch"] or None, *shape, low=0, high=256)

    def build(draw: Draw) -> tf.keras.Model:
        make = getattr(tf.keras.applications, job["application"])
        image = tf.keras.Input(shape, batch_size=job["batch"] or None, name="x0")
        # The scores before the softmax, which would make them all alike.
        options = {"weights": None, "classes": 100, "classifier_activation": None}
        model = make(input_tensor=image, **options)
        draw_weights(model, draw)
        measured(model, draw)
        return model

    return Pattern(
        name=job["name"],
        build=build,
        inputs=(images,),
        flavours=tuple(job["flavours"]),
        sizes=(1,) if job["batch"] else (1, 2),
        tolerance=NETWORK,
        optimized=True,
    )


def drawn_network(job: Mapping[str, Any]) -> Pattern:
    """A network of architectures.py."""
    make, inputs = ARCHITECTURES[job["name"]]

    def build(draw: Draw) -> tf.keras.Model:
        model = make()
        draw_weights(model, draw)
        return model

    return Pattern(
        name=job["name"],
        build=build,
        inputs=(inputs,),
        flavours=tuple(job["flavours"]),
        sizes=(1,),
        tolerance=NETWORK,
        optimized=True,
    )


def measured(model: tf.keras.Model, draw: Draw) -> None:
    """Set the moving statistics of normalizations to those of drawn images.

    Without that, what the image was is lost on the way through a hundred layers.
    """
    for layer in model.layers:
        if isinstance(layer, tf.keras.layers.BatchNormalization):
            layer.momentum = 0.0
    # Layers that are dropped at random are dropped alike each time.
    tf.keras.utils.set_random_seed(draw.seed)
    batch = model.inputs[0].shape[0] or 4
    model(draw.array((batch, *model.inputs[0].shape[1:]), 0, 256, "float32"), training=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
