"""Make the models of upstream's tests as Bazel does, with TensorFlow's own converter."""

from __future__ import annotations

import ast
import json
from dataclasses import dataclass
from pathlib import Path

from builders.cache import Cache, key_of, recipe, sha256_of
from builders.errors import ArchiveError, SmokeError
from builders.process import run

RULE = "tf_to_tflite"
CONVERTER = Path(__file__).with_name("convert.py")
# The option that tf_to_tflite in tensorflow/lite/build_def.bzl gives to the command.
V1 = "--enable_v1_converter"


@dataclass(frozen=True)
class Conversion:
    """One call of tf_to_tflite.

    Attributes:
        graph: the graph file, in the folder of the BUILD file.
        model: the model file to make.
        options: the converter's options.
    """

    graph: str
    model: str
    options: tuple[str, ...]

    def arguments(self, testdata: Path, folder: Path) -> list[str]:
        """Return the arguments with which TensorFlow's command writes the model into a folder."""
        graph = f"--graph_def_file={testdata / self.graph}"
        return [V1, graph, f"--output_file={folder / self.model}", *self.options]


def read_conversions(build: str) -> list[Conversion]:
    """Return the conversions in a BUILD file.

    The text is parsed as Python, since Starlark's syntax is a part of Python's.

    Raises:
        ArchiveError: the text cannot be read, or has no conversion.
    """
    found = []
    try:
        for statement in ast.parse(build).body:
            match statement:
                case ast.Expr(ast.Call(ast.Name(id=name), _, keywords)) if name == RULE:
                    values = {k.arg: ast.literal_eval(k.value) for k in keywords}
                    options = tuple(values["options"])
                    found.append(Conversion(values["src"], values["out"], options))
    except (SyntaxError, ValueError, KeyError, TypeError) as error:
        raise ArchiveError(f"a BUILD file's {RULE} cannot be read: {error}") from error
    if not found:
        raise ArchiveError(f"a BUILD file has no {RULE}")
    return found


def make_models(testdata: Path, python: Path, requirements: Path, cache: Cache, log: Path) -> Path:
    """Convert the models, if the cache does not have them.

    Args:
        testdata: upstream's folder `testdata`, with its BUILD file.
        python: the Python of the environment with TensorFlow.
        requirements: the lock of that environment.

    Returns:
        The folder of the models.

    Raises:
        SmokeError: TensorFlow's converter failed.
    """
    conversions = read_conversions((testdata / "BUILD").read_text(encoding="utf-8"))

    def make(folder: Path) -> None:
        jobs = folder / "jobs.json"
        jobs.write_text(json.dumps([each.arguments(testdata, folder) for each in conversions]))
        run(
            [python, "-I", CONVERTER, jobs],
            log=log,
            failure=SmokeError,
            what="converting the models of upstream's tests",
            env={"TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": ""},
            keep_open=cache.held_locks,
        )
        jobs.unlink()

    key = {
        "conversions": [
            (sha256_of(testdata / each.graph), each.model, each.options) for each in conversions
        ],
        "requirements": sha256_of(requirements),
        "recipe": recipe(CONVERTER, Path(__file__)),
    }
    return cache.product("upstream-models", key_of(key), make)
