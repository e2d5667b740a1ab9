"""Compare wheels with TensorFlow, where a smoker runs them."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from packaging.version import Version

from builders.errors import ConformError, UsageError
from builders.matrix import Runtime, Target
from builders.wheelname import parse_name
from ci.proof.smoker import Smoker
from smoke_lambda.conform import delegated
from smoke_lambda.conform.report import ConformReport
from smoke_lambda.conform.run import all_models, conform, corpus_digest
from smoke_lambda.conform.session import Corpus
from smoke_lambda.conform.settings import (
    CORPUS,
    EMULATED,
    OWN,
    SAMPLE,
    WHOLE,
    load_settings,
    load_tolerances,
    one_in,
    part_number,
    part_of,
)
from smoke_lambda.inside.conform.corpus import Model
from smoke_lambda.ops import load_ops as read_ops
from smoke_lambda.site import Step

load_ops = cache(read_ops)


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What a wheel's name says of what is in it.

    Attributes:
        project: normalized (PEP 503).
        version: of TensorFlow, in our own wheels.
        module: has its `Interpreter`.
    """

    project: str
    version: str
    module: str

    @property
    def expectations(self) -> str:
        """The name of the file of how many nodes XNNPACK should take."""
        return self.version if self.project == OWN else f"{self.project}-{self.version}"

    @property
    def tensorflow(self) -> str:
        """Its TensorFlow version; empty where it is not known."""
        return self.version if self.project == OWN else ""

    @staticmethod
    def of(project: str, version: str) -> Subject:
        """What a wheel of that project and version has.

        Raises:
            UsageError: no project of settings.toml.
        """
        peers = load_settings().peers
        if project not in peers:
            raise UsageError(
                f"{project} is not known here",
                remedy=f"wheels of {' and '.join(sorted(peers))} are",
            )
        return Subject(project=project, version=version, module=peers[project].module)

    def runs(self, model: Model) -> bool:
        """True if its TensorFlow is new enough for a model.

        What a wheel must have by ops.toml and has not is a failure.
        """
        if self.tensorflow not in load_ops().tensorflows:
            return True
        ops = load_ops().tensorflows[self.tensorflow]
        if not all(version in ops.get(name, ()) for name, version in model.operators):
            return False
        ours, first = Version(self.tensorflow), Version(model.since or "0")
        return ours.release[:2] >= first.release[:2]


def subject_of(wheel: Path) -> Subject:
    """What is in a wheel, by its name.

    Raises:
        UsageError: no project of settings.toml.
    """
    name = parse_name(wheel.name)
    return Subject.of(name.project, str(name.version))


def numpy_of(wheel: Path, runtime: Runtime, *, peer: bool) -> str:
    """The NumPy to run a wheel with: Lambda's for ours, what it was compiled for for others'."""
    if not peer:
        return runtime.numpy.on_lambda
    oldest = load_settings().peers[subject_of(wheel).project].numpy == "oldest"
    return runtime.numpy.smoke_versions[0 if oldest else -1]


def corpus_of(
    subject: Subject,
    part: str,
    runtime: Runtime,
    *,
    judge_delegation: bool,
    folder: Path = CORPUS,
    pattern: str = "",
) -> Corpus:
    """The models to run of a wheel.

    Args:
        part: a name of settings.toml, or `1 in N`.
        pattern: a part of the models' names; empty: all.

    Raises:
        UsageError: no model is left, or there is no such part.
        ConformError: the corpus cannot be read.
    """
    number = part_number(runtime.python)
    words = part.split()
    share, number = (int(words[2]), 0) if words[:2] == ["1", "in"] else (one_in(part), number)
    fitting = [model for model in all_models(folder) if subject.runs(model)]
    models = [model for model in part_of(fitting, share, number) if pattern in model.name]
    if not models:
        raise UsageError(
            f"no model of the corpus has {pattern!r} in its name"
            if pattern
            else f"the part '{part}' of the corpus has no models"
        )
    growing = load_settings().growing.model
    return Corpus(
        folder=folder,
        part=f"{part}, named *{pattern}*" if pattern else part,
        models=models,
        delegated=delegated.read(subject.expectations) if judge_delegation else None,
        digest=corpus_digest(folder),
        tolerances=load_tolerances(folder=folder),
        growing=next((m for m in models if part == WHOLE and m.name == growing), None),
    )


def parts_of(
    targets: Sequence[Target], can_run: Callable[[Runtime, str], bool]
) -> Mapping[str, str]:
    """Which part of the corpus runs on which target, by identifier.

    All Pythons of an architecture have the same core: on one of them everything runs, the one of
    settings.toml or else the first that can be run; on the others, a part of it.
    """
    cores: dict[tuple[str, str], list[Target]] = {}
    for target in targets:
        if can_run(target.runtime, target.arch):
            cores.setdefault((target.tensorflow.version, target.arch), []).append(target)
    found = {}
    for (_, arch), members in cores.items():
        main = next((t for t in members if t.runtime.python == load_settings().python), members[0])
        for target in members:
            part = WHOLE if target is main else SAMPLE
            found[target.identifier] = part if arch == platform.machine() else EMULATED[part]
    return found


def compare(
    smoker: Smoker,
    wheel: Path,
    runtime: Runtime,
    corpus: Corpus,
    *,
    peer: bool = False,
    log: Path,
    on_step: Step,
) -> tuple[ConformReport, Mapping[str, delegated.Nodes]]:
    """Run models on a wheel; gives the report, and the nodes that XNNPACK took, by model.

    Args:
        peer: whether it is a runtime that is not ours, which gets what it requires.

    Raises:
        ConformError: it does not install.
        SmokeError, EngineError, FetchError: it cannot be run here.
    """
    subject = subject_of(wheel)
    numpy = numpy_of(wheel, runtime, peer=peer)
    on_step("environment")
    with (
        smoker.site(wheel, runtime, log=log) as site,
        site.installed(numpy, failure=ConformError) as place,
    ):
        return conform(
            site,
            place,
            corpus,
            tensorflow=subject.tensorflow,
            module=subject.module,
            on_step=on_step,
        )
