"""The processes that run models beside a wheel: a crash ends one of them, and has a name."""

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
    # Its last words go to the standard error, not to a terminal.
    "LIBC_FATAL_STDERR_": "1",
    # NumPy's threads would only be in the way.
    "OPENBLAS_NUM_THREADS": "1",
}
# What a model needs is not the question. Threads are to run side by side.
LIMITS = Limits(memory_mb=4096, cpus=2)

# So many models of a process are run again where they fail; more have one cause.
REPEATED = 5


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """Models with answers, and what is expected of them.

    Attributes:
        folder: has the index and the archives.
        part: names the choice of `models`.
        models: those to run.
        delegated: nodes that XNNPACK should take, by model; None: that is not judged.
        digest: of models, answers and tolerances.
        growing: the one of `models` whose batch is to grow, too.
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
    """Processes at a place with a wheel, and what they said.

    Attributes:
        emulated: whether the processor is.
        module: has the `Interpreter`.
        start: what runs there: `python`, `numpy`, `heap_is_checked`.
        models: what was found of each model that ran to its end, by name.
        failures: of those that did not.
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
        """Run all models; those after one that ends its process go on in another."""
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
        """A crash of the last of these models; whether it was its own is found out alone.

        What one model writes beyond its memory may end the next.
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
        """Run what failed in a process once more, alone.

        A failure that does not come again says so, which helps to find its cause; it stays one.
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
            What ended it, and how many models it has done, that one counted.
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
        """See _process; `status` is None where it did not end in time."""
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
    """A failure of a model of a corpus."""
    return Failure(
        model=model.name, pattern=model.pattern, flavour=model.flavour, what=what, detail=detail
    )


def _lines(output: str) -> Iterator[dict[str, Any]]:
    for line in output.splitlines():
        if line.startswith(MARK):
            try:
                said = json.loads(line[len(MARK) :])
            except ValueError:  # it died as it wrote
                continue
            yield said


def _last_words(output: str) -> str:
    """The last line that is not the probe's own."""
    lines = [line.strip() for line in output.splitlines() if not line.startswith(MARK)]
    return next((line for line in reversed(lines) if line), "it said nothing")
