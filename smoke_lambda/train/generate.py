"""Make the corpus: convert every pattern in its flavours, and ask the reference kernels.

    python -m smoke_lambda.train.generate   # writes conform/corpus/
    python -m smoke_lambda.train.generate --check     # exit 1 if it would differ
    python -m smoke_lambda.train.generate --only conv pool --out /tmp/corpus

Runs in the environment that trains the models of the smoke test: Python 3.11 with
requirements/train.txt. Each family is made by a process of its own, so that the names that
TensorFlow counts up do not depend on the others. The same bytes come out on the same kind of
processor.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from builders.errors import UsageError, UserError
from smoke_lambda.conform.coverage import coverage
from smoke_lambda.conform.environment import TENSORFLOW_VARIABLES
from smoke_lambda.conform.settings import CORPUS
from smoke_lambda.inside.conform.corpus import INDEX, Index, Model, load, read_index
from smoke_lambda.ops import load_ops
from smoke_lambda.train.patterns import FAMILIES
from smoke_lambda.train.writing import Entry, differences, write_corpus

ROOT = Path(__file__).parents[2]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="smoke_lambda.train.generate", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--check", action="store_true", help="compare with the committed files")
    parser.add_argument("--only", nargs="+", choices=FAMILIES, metavar="FAMILY", default=FAMILIES)
    parser.add_argument("--out", type=Path, default=CORPUS, help="folder to write to")
    options = parser.parse_args(arguments)
    try:
        return make(options.out, options.only, check=options.check)
    except UserError as error:
        print(error, file=sys.stderr)
        return error.exit_code


def make(folder: Path, families: Sequence[str], *, check: bool) -> int:
    """Write the corpus, or compare it; the exit code.

    Raises:
        UserError: a pattern cannot be converted, or its answers say nothing.
    """
    with tempfile.TemporaryDirectory() as temporary:
        made = [family_in(Path(temporary) / family, family) for family in families]
        tensorflow = read_index(made[0]).tensorflow
        fresh = [entry for part in made for entry in chosen(part, families)]
        if not check:
            write_corpus(folder, tensorflow, [*others(folder, families), *fresh])
            for line in summary(folder):
                print(line)
            return 0
        ours, theirs = Path(temporary) / "ours", Path(temporary) / "theirs"
        write_corpus(ours, tensorflow, fresh)
        write_corpus(theirs, read_index(folder).tensorflow, chosen(folder, families))
        found = differences(ours, theirs)
    for line in found:
        print(line, file=sys.stderr)
    return 1 if found else 0


def family_in(folder: Path, family: str) -> Path:
    """Make a family's models, in a folder of their own.

    Raises:
        UsageError: it cannot be made; what TensorFlow said has been printed.
    """
    began = time.monotonic()
    command = [sys.executable, "-B", "-m", "smoke_lambda.train.making", family, str(folder)]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **TENSORFLOW_VARIABLES}, check=False
    )
    if done.returncode:
        raise UsageError(f"family {family} cannot be made", remedy="see the message above")
    count = len(read_index(folder).models)
    print(f"{family}: {count} models, {time.monotonic() - began:.0f} s", flush=True)
    return folder


def chosen(folder: Path, families: Sequence[str]) -> Iterator[Entry]:
    """What a corpus has of some families."""
    for model in read_index(folder).models:
        if model.family in families:
            yield Entry(model, *load(folder, model))


def others(folder: Path, families: Sequence[str]) -> Iterator[Entry]:
    """What a corpus has of the families that exist and are not among these."""
    if (folder / INDEX).is_file():
        yield from chosen(folder, [name for name in FAMILIES if name not in families])


def summary(folder: Path) -> list[str]:
    """What there is in a corpus, in lines."""
    index = read_index(folder)
    size = sum(path.stat().st_size for path in folder.iterdir())
    lines = coverage(index, load_ops(), index.tensorflow).lines()
    smallest = [model.name for model in least(index) if model.largest < 0.01]
    lines += [f"answers below 0.01: {', '.join(smallest)}"] if smallest else []
    return [*lines, f"{size:,} bytes in {len(list(folder.iterdir()))} files"]


def least(index: Index) -> list[Model]:
    """The models, those with the smallest answers first."""
    return sorted(index.models, key=lambda model: model.largest)


if __name__ == "__main__":
    sys.exit(main())
