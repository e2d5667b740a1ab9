"""Compare a wheel with TensorFlow: run the corpus on the wheel, and judge the findings."""

from __future__ import annotations

import time
from functools import cache
from pathlib import Path

from builders.cache import digest_files, sha256_of
from builders.errors import ConformError
from smoke_lambda.conform import delegated
from smoke_lambda.conform.coverage import coverage
from smoke_lambda.conform.known import reason_of
from smoke_lambda.conform.report import ConformReport, Failure
from smoke_lambda.conform.session import Corpus, Session, failure_of
from smoke_lambda.conform.settings import CORPUS, TOLERANCES
from smoke_lambda.inside.conform.corpus import Index, Model, read_index
from smoke_lambda.ops import load_ops
from smoke_lambda.site import Place, Site, Step


@cache
def corpus_digest(folder: Path = CORPUS) -> str:
    """Return the digest of the models, answers and tolerances."""
    return digest_files(folder, TOLERANCES)


def all_models(folder: Path = CORPUS) -> tuple[Model, ...]:
    """Return the models of a corpus.

    Raises:
        ConformError: the corpus cannot be read.
    """
    try:
        return read_index(folder).models
    except ValueError as error:
        raise ConformError(str(error)) from error


def conform(
    site: Site,
    place: Place,
    corpus: Corpus,
    *,
    tensorflow: str,
    module: str,
    on_step: Step,
) -> tuple[ConformReport, dict[str, delegated.Nodes]]:
    """Run models on a wheel at its site.

    Args:
        place: a place of the site, with the wheel installed.
        tensorflow: the wheel's TensorFlow version, which decides the operators that it has.
        module: the module with the `Interpreter`.
        on_step: is called with the name of each step when it begins.

    Returns:
        The report, and the nodes that were delegated, by model. If the wheel is bad, the report
        says so and no error is raised.

    Raises:
        SmokeError, EngineError: nothing can be run there.
    """
    started = time.monotonic()
    found = Session(
        corpus=corpus, place=place, emulated=site.emulated, module=module, on_step=on_step
    )
    found.run()
    failures, notes, nodes = _judged(corpus, found, tensorflow)
    ran = [model for model in corpus.models if model.name in found.models]
    covered = coverage(Index(tensorflow, tuple(ran)), load_ops(), tensorflow)
    report = ConformReport(
        wheel=site.wheel.name,
        sha256=sha256_of(site.wheel),
        python=found.start.get("python", ""),
        numpy=found.start.get("numpy", place.numpy),
        place=site.name,
        corpus=corpus.digest,
        part=corpus.part,
        models=len(found.models.keys() | {failure.model for failure in found.failures} - {""}),
        asked=len(corpus.models),
        operators=tuple(covered.operators),
        versions=sum(len(versions) for versions in covered.operators.values()),
        uncovered=covered.missing,
        nodes=sum(of for _, of in nodes.values()),
        delegated=sum(taken for taken, _ in nodes.values()),
        expected_delegation=bool(corpus.delegated),
        heap_checked=found.start.get("heap_is_checked", False),
        memory_measured=sum(said["grown_bytes"] is not None for said in found.models.values()),
        failures=tuple(failures),
        notes=tuple(notes),
        seconds=time.monotonic() - started,
        log=str(site.log),
    )
    return report, nodes


def _judged(
    corpus: Corpus, found: Session, tensorflow: str
) -> tuple[list[Failure], list[str], dict[str, delegated.Nodes]]:
    """Return the failures in the corpus's order, the notes, and the delegated nodes by model."""
    by_name = {model.name: model for model in corpus.models}
    nodes = {
        name: (said["delegated"][0], said["delegated"][1])
        for name, said in found.models.items()
        if said["delegated"]
    }
    met = found.failures + [
        failure_of(by_name[name], **failure)
        for name, said in found.models.items()
        for failure in said["failures"]
    ]
    failures, notes = [], []
    for failure in met:
        model = by_name.get(failure.model)
        if model and (reason := reason_of(tensorflow, model, failure.detail)):
            notes.append(f"{failure.model}: {failure.what}, which is upstream's: {reason}")
        else:
            failures.append(failure)
    if corpus.delegated:
        for name, words, is_failure in delegated.compared(corpus.delegated, nodes):
            if is_failure:
                failures.append(failure_of(by_name[name], delegated.FEWER, words))
            else:
                notes.append(f"{name}: {words}")
    order = {name: number for number, name in enumerate(by_name)}
    failures.sort(key=lambda failure: order.get(failure.model, -1))
    return failures, notes, nodes
