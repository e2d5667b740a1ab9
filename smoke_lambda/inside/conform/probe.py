"""Run models of the corpus beside a wheel and compare, on any Python from 3.8 on.

    python -m smoke_lambda.inside.conform.probe JOB.json

smoke_lambda/conform/session.py makes JOB.json. Each line that the probe itself prints begins with
"conform: " and continues in JSON. The first line has the versions of Python and NumPy. Then, for
each model, there is a line before each stage, which tells where a crash happened, and a line with
all findings.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from smoke_lambda.inside.conform import MARK
from smoke_lambda.inside.conform.comparing import difference
from smoke_lambda.inside.conform.corpus import Case, Model, load, read_index
from smoke_lambda.inside.probe import operators
from smoke_lambda.inside.probing import LACKS_VERSION

# From glibc 2.34 on, the heap checks are in a library of their own.
CHECKS_LIBRARY = "libc_malloc_debug"
CHECKS_APART = (2, 34)

if TYPE_CHECKING:
    from collections.abc import Callable

    # Python 3.8 supports this type in annotations only.
    Tell = Callable[[str], None]


class How(NamedTuple):
    """One way to run a model."""

    name: str
    resolver: str
    """The name of a member of OpResolverType."""
    threads: int


PLAIN, REFERENCE = "BUILTIN", "BUILTIN_REF"
OTHER_WAYS = (
    How("without XNNPACK", "BUILTIN_WITHOUT_DEFAULT_DELEGATES", 1),
    How("reference kernels", REFERENCE, 1),
)


def ways(threads: Sequence[int]) -> Iterator[How]:
    """Yield a way with the default delegate per number of threads, then the ways without it."""
    for number in threads:
        yield How(f"{number} thread" + ("" if number == 1 else "s"), PLAIN, number)
    yield from OTHER_WAYS


class Subject:
    """One model in one runtime, and its failures."""

    def __init__(
        self,
        runtime: Any,  # noqa: ANN401
        content: bytes,
        cases: Sequence[Case],
        stateful: bool,
        tell: Tell,
    ) -> None:
        self.runtime = runtime
        self.content = content
        self.cases = cases
        self.stateful = stateful
        self.tell = tell
        self.failures: list[dict[str, str]] = []

    def fail(self, what: str, detail: str) -> None:
        """Record a failure."""
        self.failures.append({"what": what, "detail": " ".join(detail.split())})

    def interpreter(self, how: How) -> Any:  # noqa: ANN401
        """Return a new interpreter, ready to run."""
        resolver = getattr(self.runtime.OpResolverType, how.resolver)
        made = self.runtime.Interpreter(
            model_content=self.content,
            num_threads=how.threads,
            experimental_op_resolver_type=resolver,
        )
        made.allocate_tensors()
        return made

    def try_way(self, how: How, tolerance: Mapping[str, float]) -> Any | None:  # noqa: ANN401
        """Run every case; return the interpreter if all answers are right, else None."""
        self.tell(f"{how.name}: load")
        try:
            interpreter = self.interpreter(how)
        except (RuntimeError, ValueError) as error:
            # Some operators have no reference kernel.
            if how.resolver != REFERENCE or not LACKS_VERSION.search(str(error)):
                self.fail("not loaded", f"{how.name}: {error}")
            return None
        for time_ in ("first time", "second time") if how.resolver == PLAIN else ("once",):
            if self.stateful and time_ == "second time":
                interpreter = self.interpreter(how)
            for number, case in enumerate(self.cases):
                if not self.is_right(interpreter, number, case, tolerance, how, time_):
                    return None
        if how.resolver == PLAIN and not self.stateful and self.resize(interpreter, how):
            first = (interpreter, 0, self.cases[0], tolerance, how, "after a resize and back")
            return interpreter if self.is_right(*first) else None
        return interpreter

    def is_right(
        self,
        interpreter: Any,  # noqa: ANN401
        number: int,
        case: Case,
        tolerance: Mapping[str, float],
        how: How,
        when: str,
    ) -> bool:
        """Run a case and compare its outputs. Record a failure if it is not right."""
        stage = f"{how.name}, case {number}, {when}"
        self.tell(stage)
        try:
            outputs = answer(interpreter, case)
        except (RuntimeError, ValueError, TypeError) as error:
            self.fail("does not run", f"{stage}: {str(error) or type(error).__name__}")
            return False
        for name, found, expected in zip(case.names.outputs, outputs, case.outputs):
            wrong = difference(found, expected, tolerance)
            if wrong:
                self.fail(wrong["what"], f"{stage}: output {name}: {wrong['detail']}")
                return False
        return True

    def resize(self, interpreter: Any, how: How) -> bool:  # noqa: ANN401
        """Enlarge each open dimension of the first graph's inputs by one, and run.

        A model may refuse: it need not work for all sizes. Return True if a resize was tried.
        """
        if self.cases[0].signature is not None:
            return False
        details = interpreter.get_input_details()
        shapes = [_larger(detail) for detail in details]
        if all(_shape(detail) == shape for detail, shape in zip(details, shapes)):
            return False
        self.tell(f"{how.name}: resize")
        try:
            _resize(interpreter, details, shapes)
            for detail in interpreter.get_input_details():
                if np.dtype(detail["dtype"]).kind in "biufc":
                    zeros = np.zeros(_shape(detail), detail["dtype"])
                    interpreter.set_tensor(detail["index"], zeros)
            interpreter.invoke()
        except (RuntimeError, ValueError, TypeError):
            pass
        return True

    def growth(self, bar: Mapping[str, float]) -> int | None:
        """Return the bytes that the process grows by over many calls; None if they take too long.

        A leak grows each time, while memory that the heap keeps does not. So a failure is
        recorded only if the process grows too much in every round.
        """
        calls = int(bar["calls"])
        interpreter = self.interpreter(How("", PLAIN, 1))
        start = time.perf_counter()
        for _ in range(int(bar["warm"])):
            answer(interpreter, self.cases[0])
        each = (time.perf_counter() - start) / int(bar["warm"])
        if each * calls > bar["seconds"]:
            return None
        self.tell(f"memory over {calls} calls")
        grown = 0
        for _ in range(int(bar["times"])):
            before = resident_bytes()
            for _ in range(calls):
                answer(interpreter, self.cases[0])
            grown = resident_bytes() - before
            if grown <= bar["bytes"]:
                return grown
        self.fail(
            "memory growth",
            f"{grown} bytes over {calls} calls, allowed {bar['bytes']}",
        )
        return grown


def answer(interpreter: Any, case: Case) -> list[Any]:  # noqa: ANN401
    """Return the outputs of a case, in its order."""
    if case.signature is not None:
        runner = interpreter.get_signature_runner(case.signature)
        found = runner(**dict(zip(case.names.inputs, case.inputs)))
        return [found[name] for name in case.names.outputs]
    details = interpreter.get_input_details()
    shapes = [[*np.shape(array)] for array in case.inputs]
    if [_shape(detail) for detail in details] != shapes:
        _resize(interpreter, details, shapes)
    for detail, array in zip(interpreter.get_input_details(), case.inputs):
        interpreter.set_tensor(detail["index"], array)
    interpreter.invoke()
    return [interpreter.get_tensor(d["index"]) for d in interpreter.get_output_details()]


def _resize(interpreter: Any, details: Sequence[Any], shapes: Sequence[list[int]]) -> None:  # noqa: ANN401
    for detail, shape in zip(details, shapes):
        interpreter.resize_tensor_input(detail["index"], shape)
    interpreter.allocate_tensors()


def _shape(detail: Mapping[str, Any]) -> list[int]:
    return [int(size) for size in detail["shape"]]


def _larger(detail: Mapping[str, Any]) -> list[int]:
    now = _shape(detail)
    signature = [int(size) for size in detail.get("shape_signature", now)]
    if len(signature) != len(now):
        return now
    return [size + 1 if declared == -1 else size for size, declared in zip(now, signature)]


def visit(
    runtime: Any,  # noqa: ANN401
    folder: Path,
    model: Model,
    job: Mapping[str, Any],
    tell: Tell,
) -> Iterator[dict[str, Any]]:
    """Yield the findings about a model.

    They are yielded at the end, and also before the reference kernels run: some of those
    kernels end the process.
    """
    start = time.perf_counter()
    content, cases = load(folder, model)
    subject = Subject(runtime, content, cases, model.stateful, tell)
    tolerance = job["tolerances"][model.tolerance]
    delegated = grown = None

    def found() -> dict[str, Any]:
        return {
            "failures": subject.failures,
            "delegated": delegated,
            "grown_bytes": grown,
            "seconds": time.perf_counter() - start,
        }

    works = True
    for how in ways(job["threads"]):
        if how.resolver == PLAIN and not works:
            continue  # more threads would give the same failure again
        if how.resolver == REFERENCE:
            yield found()
        if delegated is None and how.resolver == PLAIN:
            delegated = _delegated(subject, how)
        right = subject.try_way(how, tolerance) is not None
        works = works and (right or how.resolver != PLAIN)
    if works and not model.stateful and job["memory"]:
        grown = subject.growth(job["memory"])
    yield found()


def _delegated(subject: Subject, how: How) -> list[int] | None:
    """Return how many nodes of the first graph a delegate takes, and how many there are."""
    subject.tell(f"{how.name}: count delegated nodes")
    try:
        nodes = operators(subject.interpreter(how))
    except (RuntimeError, ValueError):
        return None  # try_way records the failure
    return [sum(taken for _, taken in nodes), len(nodes)]


def resident_bytes() -> int:
    """Return the resident memory of this process in bytes, from proc_pid_statm(5)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def heap_is_checked() -> bool:
    """True if the C library's heap checks are on."""
    name, version = platform.libc_ver()
    if name != "glibc" or not os.environ.get("MALLOC_CHECK_"):
        return False
    if tuple(int(part) for part in version.split(".")[:2]) < CHECKS_APART:
        return True
    return CHECKS_LIBRARY in Path("/proc/self/maps").read_text()


def say(**found: Any) -> None:  # noqa: ANN401
    """Print a line of the probe's own. First end a line that the runtime may have begun."""
    print("\n" + MARK + json.dumps(found), flush=True)


def main(path: str) -> None:
    """Visit all models of a job."""
    job = json.loads(Path(path).read_text(encoding="utf-8"))
    runtime = importlib.import_module(job["module"])
    folder = Path(job["corpus"])
    models = {model.name: model for model in read_index(folder).models}
    say(python=platform.python_version(), numpy=np.__version__, heap_is_checked=heap_is_checked())
    for name in job["models"]:

        def tell(stage: str, name: str = name) -> None:
            say(model=name, stage=stage)

        tell("read")
        for found in visit(runtime, folder, models[name], job, tell):
            say(model=name, found=found)
    say(end=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
