"""Make the models of a family and their cases; started by smoke_lambda/train/generate.py.

    python -m smoke_lambda.train.making FAMILY FOLDER

Runs in the environment of requirements/train.txt.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import tensorflow as tf  # type: ignore[import-untyped]

from builders.errors import UsageError, UserError
from smoke_lambda.inside.conform.corpus import Array, Model
from smoke_lambda.inside.flatbuffer import CUSTOM, operator_codes
from smoke_lambda.ops import OpsTable, load_ops
from smoke_lambda.train import random_graphs
from smoke_lambda.train.answers import Answers, answers, check
from smoke_lambda.train.conversion import converted
from smoke_lambda.train.pattern import DYNAMIC, FLOAT16, FLOAT32, INT8, Draw, Pattern
from smoke_lambda.train.patterns import RANDOM, patterns_of
from smoke_lambda.train.writing import Entry, digest, write_corpus

SEED = 20260101
# How far from TensorFlow's own answer, of the largest, a conversion may be: a wrong one, or a
# wrong kernel, is much farther off.
OWN_TOLERANCES = {FLOAT32: 1e-4, FLOAT16: 0.01, DYNAMIC: 0.1, INT8: 0.25}


def settle() -> None:
    """Make TensorFlow give the same results every time; call it first."""
    # The converter warns of each int8 model's inputs, whose ranges the calibration gives.
    warnings.simplefilter("ignore")
    tf.get_logger().setLevel("ERROR")
    tf.keras.utils.set_random_seed(SEED)
    tf.config.experimental.enable_op_determinism()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def version() -> str:
    """TensorFlow's."""
    return str(tf.__version__)


def main(arguments: Sequence[str]) -> int:
    """The command line; returns its exit code."""
    family, folder = arguments
    settle()
    try:
        write_corpus(Path(folder), version(), entries(family))
    except UserError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def entries(family: str) -> Iterator[Entry]:
    """Every model of a family, by pattern and flavour.

    Raises:
        UsageError: a pattern cannot be converted, or its answers say nothing.
    """
    table = load_ops()
    if family == RANDOM:
        for seed, graph in random_graphs.patterns():
            yield from entries_of(family, graph, table, seed)
        return
    for pattern in patterns_of(family):
        yield from entries_of(family, pattern, table)


def entries_of(
    family: str,
    pattern: Pattern,
    table: OpsTable,
    seed: int = 0,
    near: Container[str] = tuple(OWN_TOLERANCES),
) -> Iterator[Entry]:
    """A pattern in each of its flavours.

    Args:
        seed: of a random graph.
        near: the flavours that must answer about what TensorFlow itself does.

    Raises:
        UsageError: it cannot be converted, or its answers say nothing.
    """
    with explained(pattern.name):
        own = own_answers(pattern)
    for flavour in pattern.flavours:
        name = f"{pattern.name}.{flavour}"
        with explained(name):
            content = converted(pattern, flavour)
            found = answers(content, pattern)
        check(name, pattern, found, own if flavour in near else None, OWN_TOLERANCES[flavour])
        model = described(family, pattern, flavour, content, found, table)
        yield Entry(model._replace(seed=seed), content, found.cases)


@contextmanager
def explained(name: str) -> Iterator[None]:
    """Name what TensorFlow fails at; it raises whatever it likes.

    Raises:
        UsageError: it failed.
    """
    try:
        yield
    except Exception as error:
        raise UsageError(f"{name}: {type(error).__name__}: {str(error)[:2000]}") from error


def described(
    family: str,
    pattern: Pattern,
    flavour: str,
    content: bytes,
    found: Answers,
    table: OpsTable,
) -> Model:
    """What the index is to say of a model."""
    cases = tuple(case.names for case in found.cases)
    return Model(
        name=f"{pattern.name}.{flavour}",
        pattern=pattern.name,
        family=family,
        flavour=flavour,
        sha256=digest(content),
        since="",
        operators=operators(content, table),
        stateful=found.stateful,
        signatures=tuple(dict.fromkeys(case.signature for case in cases)),
        tolerance=f"{flavour}-{pattern.tolerance}" if pattern.tolerance else flavour,
        seed=0,
        largest=found.largest,
        cases=cases,
    )


def operators(content: bytes, table: OpsTable) -> tuple[tuple[str, int], ...]:
    """The builtin operators of a model with their versions, sorted."""
    codes = [code for code in operator_codes(content) if code.builtin != CUSTOM]
    return tuple(sorted({(table.name(code.builtin), code.version) for code in codes}))


def own_answers(pattern: Pattern) -> list[list[Array]] | None:
    """What TensorFlow itself answers to the cases; None where that is not to be compared."""
    if not pattern.own:
        return None
    tf.keras.backend.clear_session()
    built = pattern.build(Draw(pattern.name))
    found = []
    for values in pattern.samples():
        if isinstance(built, tf.keras.Model):
            answered = built(values if len(values) > 1 else values[0], training=False)
        else:
            answered = built(*map(tf.constant, values))
        found.append([np.asarray(tensor) for tensor in tf.nest.flatten(answered)])
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
