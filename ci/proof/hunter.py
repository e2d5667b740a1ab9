"""Hunt for random graphs on which a wheel and TensorFlow disagree (`conform --hunt`)."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from builders.cache import Cache
from builders.child import Child
from builders.errors import UsageError
from builders.interpreters import find_interpreter
from builders.matrix import Runtime
from ci.proof.conformer import Subject
from ci.proof.smoker import Smoker
from ci.proof.tensorflow_environment import REQUIREMENTS, tensorflow_python
from smoke_lambda.conform.environment import TENSORFLOW_VARIABLES
from smoke_lambda.conform.graph import Graph, as_data
from smoke_lambda.conform.hunt import Failure, Hunt, hunt
from smoke_lambda.conform.run import all_models, conform, corpus_digest
from smoke_lambda.conform.session import Corpus
from smoke_lambda.inside.conform import MARK
from smoke_lambda.lock import TRAIN_PYTHON
from smoke_lambda.site import Place, Site, Step, silent

ROOT = Path(__file__).parents[2]


@dataclass(kw_only=True)
class Maker:
    """A process with TensorFlow that makes a corpus of each graph it gets.

    Some graphs crash TensorFlow, which ends the process. The next graph starts it again.

    Attributes:
        python: the Python of the environment of requirements/train.txt.
        folder: the folder for the corpora.
        log: the file for the error output of the process.
        unfit: the number of graphs that TensorFlow could not convert or answer.
    """

    python: Path
    folder: Path
    log: Path
    unfit: int = 0
    _starts: int = 0
    _child: Child | None = None

    def corpus(self, graph: Graph) -> Path | None:
        """Return the folder of the corpus for a graph; None if TensorFlow cannot make one."""
        child = self._running()
        child.send(json.dumps(as_data(graph)).encode())
        if said := child.marked(MARK.encode()):
            answer = json.loads(said)
            if "made" in answer:
                return Path(answer["made"])
        else:
            self.stop()
        self.unfit += 1
        return None

    def stop(self) -> None:
        """End the process."""
        if self._child is not None:
            self._child.close(0)
            self._child = None

    def _running(self) -> Child:
        if self._child is None:
            self._starts += 1
            folder = self.folder / str(self._starts)
            folder.mkdir()
            self._child = Child(
                [self.python, "-B", "-m", "smoke_lambda.train.hunting", folder],
                folder=ROOT,
                environment={**os.environ, **TENSORFLOW_VARIABLES, "PYTHONPATH": str(ROOT)},
                errors=self.log,
            )
        return self._child


def train_python(cache: Cache, log: Path, requirements: Path = REQUIREMENTS) -> Path:
    """Return the Python of the environment that makes models; make it if the cache has none.

    Args:
        requirements: the lock of the environment: requirements/train.txt, or another one with
            TensorFlow.

    Raises:
        UsageError: this machine has no interpreter of the needed version.
    """
    interpreter = find_interpreter(TRAIN_PYTHON)
    if interpreter is None:
        raise UsageError(
            f"no Python {TRAIN_PYTHON}, for TensorFlow", remedy="install one, such as with pyenv"
        )
    return tensorflow_python(interpreter, cache, log, requirements)


@contextmanager
def making(cache: Cache, log: Path) -> Iterator[Maker]:
    """Give a maker, which is stopped when the `with` block ends.

    Raises:
        UsageError: this machine has no interpreter of the needed version.
    """
    python = train_python(cache, log)
    with TemporaryDirectory(prefix="tflite-hunt-") as folder:
        maker = Maker(python=python, folder=Path(folder), log=log)
        try:
            yield maker
        finally:
            maker.stop()


def hunt_on(
    smoker: Smoker,
    wheel: Path,
    runtime: Runtime,
    subject: Subject,
    maker: Maker,
    *,
    seconds: float,
    first_seed: int,
    keep: Path,
    log: Path,
    on_step: Step,
) -> Hunt:
    """Try random graphs on a wheel until the time is up.

    Args:
        keep: the folder for graphs that fail, made small: for each, a corpus with graph.json.
        log: the file for the output of the processes.

    Raises:
        SmokeError, EngineError, FetchError: the wheel cannot run here.
    """
    with smoker.site(wheel, runtime, log=log) as site, site.installed() as place:

        def run_model(graph: Graph) -> str:
            on_step(f"seed {graph.seed}, {len(graph.nodes)} operators")
            folder = maker.corpus(graph)
            if folder is None:
                return ""
            said = _said(site, place, folder, subject)
            if said:
                kept = keep / f"graph{graph.seed:04}"
                shutil.rmtree(kept, ignore_errors=True)
                shutil.copytree(folder, kept)
                (kept / "graph.json").write_text(json.dumps(as_data(graph), indent=1) + "\n")
            shutil.rmtree(folder)
            return said

        def tell(failure: Failure) -> None:
            on_step(f"graph{failure.graph.seed:04} fails: {failure.said}")

        return hunt(seconds, first_seed, run_model, on_failure=tell)


def _said(site: Site, place: Place, folder: Path, subject: Subject) -> str:
    corpus = Corpus(
        folder=folder,
        part="hunt",
        models=[model for model in all_models(folder) if subject.runs(model)],
        delegated=None,
        digest=corpus_digest(folder),
    )
    if not corpus.models:
        return ""
    report, _ = conform(
        site,
        place,
        corpus,
        tensorflow=subject.tensorflow,
        module=subject.module,
        on_step=silent,
    )
    return "; ".join(str(failure) for failure in report.failures)
