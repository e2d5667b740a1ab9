"""Run models beside a wheel in several processes: a crash ends one, and is traced to its model."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from smoke_lambda.conform import delegated
from smoke_lambda.conform.report import Failure
from smoke_lambda.conform.settings import load_settings, load_tolerances
from smoke_lambda.inside.conform import MARK
from smoke_lambda.inside.conform.corpus import Model
from smoke_lambda.inside.probing import named
from smoke_lambda.limits import Limits
from smoke_lambda.site import Place, Step

PROBE = "smoke_lambda.inside.conform.probe"
GROWING = "smoke_lambda.inside.conform.growing"

# https://www.gnu.org/software/libc/manual/html_node/Heap-Consistency-Checking.html
HEAP_CHECKS = {
    "LD_PRELOAD": "libc_malloc_debug.so.0",
    "MALLOC_CHECK_": "3",
    "MALLOC_PERTURB_": "165",
    # The C library's last message goes to the standard error, not to a terminal.
    "LIBC_FATAL_STDERR_": "1",
    # NumPy's threads would only be in the way.
    "OPENBLAS_NUM_THREADS": "1",
}
# Memory is plentiful: the need of a model is not tested. Two CPUs let threads run side by side.
LIMITS = Limits(memory_mb=4096, cpus=2)

# The most failed models of a process that are run again. If more fail, they have one cause.
REPEATED = 5


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """Models with answers, and what is expected of them.

    Attributes:
        folder: the folder with the index and the archives.
        part: the name of the choice of `models`.
        models: the models to run.
        delegated: the nodes that XNNPACK should take, by model; None if that is not judged.
        digest: the digest of the models, answers and tolerances.
        growing: the model of the corpus whose batch also grows; None for no such model.
    """

    folder: Path
    part: str
    models: Sequence[Model]
    delegated: Mapping[str, delegated.Nodes] | None
    digest: str
    growing: Model | None = None
    tolerances: Mapping[str, Mapping[str, Any]] = field(default_factory=load_tolerances)


@dataclass(kw_only=True)
class Session:
    """Processes at a place with a wheel, and their results.

    Attributes:
        emulated: True if the processor is emulated.
        module: the module with the `Interpreter`.
        start: the environment of the processes: `python`, `numpy`, `heap_is_checked`.
        models: the findings about each model that ran to its end, by name.
        failures: the failures that ended a process, and those of the model with growing batches.
    """

    corpus: Corpus
    place: Place
    emulated: bool
    module: str
    on_step: Step
    start: dict[str, Any] = field(default_factory=dict)
    models: dict[str, dict[str, Any]] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)

    def run(self) -> None:
        """Run all models. If a model ends its process, the next ones run in another."""
        todo = list(self.corpus.models)
        size = load_settings().models_per_process
        shown = [
            self.place.shown(path)
            for path in sorted(self.corpus.folder.iterdir())
            if path.is_file()
        ]
        folder = str(Path(shown[0]).parent) if shown else ""
        while todo:
            now = todo[:size]
            number = len(self.corpus.models) - len(todo) + 1
            self.on_step(f"model {number} of {len(self.corpus.models)}")
            failure, done = self._process(folder, now)
            if failure is not None and done == 0:
                self.failures.append(failure)
                return
            if failure is not None:
                self.failures.append(self._confirmed(folder, now[:done], failure))
            self._repeat(folder, now[:done])
            todo = todo[done:]
        if self.corpus.growing is not None:
            self._grow(folder, self.corpus.growing)

    def _confirmed(self, folder: str, models: Sequence[Model], failure: Failure) -> Failure:
        """Return the failure of the last of these models, which is run again alone.

        The crash may not be its own: an earlier model may have written beyond its memory.
        """
        *before, last = models
        if not before:
            return failure
        again, _ = self._process(folder, [last])
        if again is not None:
            return again
        words = f"{failure.detail} (alone it runs; in that process was before it {before[-1].name})"
        return failure_of(last, failure.what, words)

    def _repeat(self, folder: str, models: Sequence[Model]) -> None:
        """Run the models that failed in a process once more, alone.

        A failure that does not come again is marked, which helps to find its cause. It remains
        a failure.
        """
        failed = [model for model in models if self.models.get(model.name, {}).get("failures")]
        for model in failed[:REPEATED]:
            first = self.models[model.name]
            self._process(folder, [model])
            again = {failure["detail"] for failure in self.models[model.name]["failures"]}
            for failure in first["failures"]:
                if failure["detail"] not in again:
                    failure["detail"] += " (alone, this did not come again)"
            self.models[model.name] = first

    def _grow(self, folder: str, model: Model) -> None:
        """Give a model ever larger batches; see smoke_lambda/inside/conform/growing.py."""
        seconds = load_settings().growing.seconds
        self.on_step(f"batches that grow, {seconds} s")
        status, output = self.place.look(
            GROWING,
            self.module,
            folder,
            model.name,
            str(seconds),
            limits=LIMITS,
            timeout=seconds + load_settings().seconds_per_model,
        )
        said = list(_lines(output))
        if status != 0 or not said:
            what = "hangs" if status is None else f"crash {named(status)}"
            self.failures.append(failure_of(model, what, f"growing: {_last_words(output)}"))
        elif said[-1]["wrong"]:
            words = "{wrong} of {runs} batches that grew, as of sizes {sizes}".format(**said[-1])
            self.failures.append(failure_of(model, "wrong answer", words))

    def _process(self, folder: str, models: Sequence[Model]) -> tuple[Failure | None, int]:
        """Run models in one process.

        Returns:
            The failure that ended the process (None if there is none), and the number of models
            that are done, including the failed one.
        """
        settings = load_settings()
        job = {
            "module": self.module,
            "corpus": folder,
            "models": [model.name for model in models],
            "tolerances": self.corpus.tolerances,
            "threads": settings.threads,
            # An emulator's own memory grows, too.
            "memory": None if self.emulated else settings.memory,
        }
        factor = settings.emulated_factor if self.emulated else 1
        with TemporaryDirectory(prefix="tflite-conform-") as work:
            path = Path(work) / "job.json"
            path.write_text(json.dumps(job))
            status, output = self.place.look(
                PROBE,
                self.place.shown(path),
                limits=LIMITS,
                timeout=settings.seconds_per_model * len(models) * factor,
                variables=HEAP_CHECKS,
            )
        return self._read(models, status, output)

    def _read(
        self, models: Sequence[Model], status: int | None, output: str
    ) -> tuple[Failure | None, int]:
        """Read a process's output; see _process. `status` is None if it did not end in time."""
        last: dict[str, Any] = {}
        for last in _lines(output):
            if "python" in last:
                self.start = last
            elif "found" in last:
                self.models[last["model"]] = last["found"]
        if status == 0 and "end" in last:
            return None, len(models)
        words = _last_words(output)
        names = [model.name for model in models]
        if "end" in last:
            number = len(names) - 1
        elif "model" in last:
            number = names.index(last["model"])
        else:
            start = Failure(model="", pattern="", flavour="", what="does not start", detail=words)
            return start, 0
        what = "hangs" if status is None else f"crash {named(status)}"
        detail = f"{last.get('stage', 'after it')}: {words}"
        return failure_of(models[number], what, detail), number + 1


def failure_of(model: Model, what: str, detail: str) -> Failure:
    """Return a failure of a model of a corpus."""
    return Failure(
        model=model.name, pattern=model.pattern, flavour=model.flavour, what=what, detail=detail
    )


def _lines(output: str) -> Iterator[dict[str, Any]]:
    for line in output.splitlines():
        if line.startswith(MARK):
            try:
                said = json.loads(line[len(MARK) :])
            except ValueError:  # the process died while it wrote
                continue
            yield said


def _last_words(output: str) -> str:
    """Return the last line that is not the probe's own."""
    lines = [line.strip() for line in output.splitlines() if not line.startswith(MARK)]
    return next((line for line in reversed(lines) if line), "it said nothing")
