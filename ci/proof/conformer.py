"""Compare the answers of wheels with TensorFlow's; a smoker runs the wheels."""

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
    """The content of a wheel according to its file name.

    Attributes:
        project: the normalized project name (PEP 503).
        version: the wheel's version; in our own wheels, that of TensorFlow.
        module: the module that has the `Interpreter`.
    """

    project: str
    version: str
    module: str

    @property
    def expectations(self) -> str:
        """The name, without `.json`, of the file that tells how many nodes XNNPACK should take."""
        return self.version if self.project == OWN else f"{self.project}-{self.version}"

    @property
    def tensorflow(self) -> str:
        """The wheel's TensorFlow version; empty if the wheel is not ours."""
        return self.version if self.project == OWN else ""

    @staticmethod
    def of(project: str, version: str) -> Subject:
        """Return the subject for a wheel of that project and version.

        Raises:
            UsageError: settings.toml does not have the project.
        """
        peers = load_settings().peers
        if project not in peers:
            raise UsageError(
                f"{project} is not known here",
                remedy=f"wheels of {' and '.join(sorted(peers))} are",
            )
        return Subject(project=project, version=version, module=peers[project].module)

    def runs(self, model: Model) -> bool:
        """True if the wheel's TensorFlow is new enough for a model.

        The answer follows ops.toml alone: if a wheel lacks an operator that it should have, the
        model still runs and fails.
        """
        if self.tensorflow not in load_ops().tensorflows:
            return True
        ops = load_ops().tensorflows[self.tensorflow]
        if not all(version in ops.get(name, ()) for name, version in model.operators):
            return False
        ours, first = Version(self.tensorflow), Version(model.since or "0")
        return ours.release[:2] >= first.release[:2]


def subject_of(wheel: Path) -> Subject:
    """Return the subject of a wheel, by its file name.

    Raises:
        UsageError: settings.toml does not have the wheel's project, or the name is no wheel's.
    """
    name = parse_name(wheel.name)
    return Subject.of(name.project, str(name.version))


def numpy_of(wheel: Path, runtime: Runtime, *, peer: bool) -> str:
    """Return the NumPy version to run a wheel with.

    It is Lambda's version for our wheels. For a peer it is the oldest or newest version of the
    smoke test, as settings.toml says: the one that the peer was compiled for.
    """
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
    """Return the models to run on a wheel.

    Args:
        part: the name of a part in settings.toml, or `1 in N`.
        judge_delegation: True to compare the number of nodes that XNNPACK takes.
        pattern: a text that the models' names must contain; empty for all models.

    Raises:
        UsageError: no model is left, or settings.toml does not have the part.
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
    """Return the part of the corpus to run on each target, by the target's identifier.

    All Pythons of a TensorFlow version and architecture have the same core. On one Python the
    whole corpus runs: the Python in settings.toml, or else the first that can run. On the others
    only a sample runs. If an architecture is emulated, both parts are smaller.
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
    """Run models on a wheel.

    Args:
        peer: True if the wheel is another project's. It then runs with the NumPy that it needs.

    Returns:
        The report, and by model the number of nodes that XNNPACK took and that the model has.

    Raises:
        ConformError: the wheel does not install.
        SmokeError, EngineError, FetchError: the wheel cannot run here.
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
