"""Make the environment with the real TensorFlow, with which wheels are compared."""

from __future__ import annotations

from pathlib import Path

from builders.cache import Cache, key_of, sha256_of
from builders.interpreters import Interpreter
from smoke_lambda.lock import TRAIN
from smoke_lambda.native import make_environment

# The TensorFlow that trains the models of the smoke test. Its converter also makes the models of
# upstream's tests, and those tests import its modules besides the interpreter.
REQUIREMENTS = TRAIN.with_suffix(".txt")


def tensorflow_python(
    interpreter: Interpreter, cache: Cache, log: Path, requirements: Path = REQUIREMENTS
) -> Path:
    """Return the Python of an environment with TensorFlow; make it if the cache has none.

    Args:
        requirements: a lock with a TensorFlow in it.
    """
    key = {
        "requirements": sha256_of(requirements),
        "python": (str(interpreter.executable), interpreter.version, interpreter.arch),
    }

    def make(folder: Path) -> None:
        make_environment(interpreter.executable, requirements, folder / "environment", log)

    folder = cache.product("tensorflow-environment", key_of(key), make)
    return folder / "environment" / "bin" / "python"
