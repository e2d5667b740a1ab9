"""Try a user's own model on a wheel: whether it runs, how fast, and what it needs."""

from __future__ import annotations

import dataclasses
import math
import mmap
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from builders.cache import sha256_of
from builders.errors import UsageError
from builders.wheelname import parse_name
from smoke_lambda.inside.flatbuffer import NotAModelError, OperatorCode, operator_codes
from smoke_lambda.inside.probing import LACKS_CODE, LACKS_VERSION, judged
from smoke_lambda.limits import Limits
from smoke_lambda.measure import LEAST_MB, STEP_MB, least
from smoke_lambda.ops import OpsTable, load_ops, shown
from smoke_lambda.reasons import EXPLAIN, Reason, reasons
from smoke_lambda.site import Place, Site, Step, silent

PROBE = "smoke_lambda.inside.model_probe"
SECONDS = 300.0
MOST_MB = 10_240  # the most that Lambda offers
MEGABYTE = 1 << 20

# Leave room for the handler, Lambda's client and a larger input.
HEADROOM = 1.25
ADVISED_STEP_MB = 64

# The messages of TensorFlow Lite 2.x about a missing custom operator, in lite/core/subgraph.cc.
LACKS_CUSTOM = (
    re.compile(r"[Uu]nresolved custom op: (\S+?)\.?(?:\s|$)"),
    # An operator that only TensorFlow itself has; its name follows.
    re.compile(r"Select TensorFlow op.*?\((Flex\w+)\)", re.DOTALL),
)
# The runtime repeats its message when it has tried again without a delegate.
REPEATED = re.compile(r"(.+?)\1+", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Lack:
    """An operator that a runtime lacks."""

    name: str
    version: int | None = None
    """The operator's version; None for a custom operator."""
    first: str = ""
    """The oldest TensorFlow version in ops.toml that has the operator; empty if none has."""
    text: str
    """The description for people."""


@dataclass(frozen=True, kw_only=True)
class ModelReport:
    """The result of a model on one wheel."""

    model: str
    wheel: str
    sha256: str
    python: str
    numpy: str
    place: str
    log: str
    error: str = ""
    """Why the model does not run: the stage, and the runtime's message. Empty if it runs."""
    missing: tuple[Lack, ...] = ()
    """The operators that the runtime lacks."""
    custom: tuple[str, ...] = ()
    """The custom operators that the model has."""
    operators: dict[str, tuple[int, int]] = field(default_factory=dict)
    """The number of operators of each kind, and the number of them that XNNPACK took."""
    xnnpack: float | None = None
    """The share of all operators that XNNPACK took, 0 to 1."""
    reasons: tuple[Reason, ...] = ()
    """Why XNNPACK did not take the others."""
    inputs: tuple[dict[str, Any], ...] = ()
    outputs: tuple[dict[str, Any], ...] = ()
    load_ms: float | None = None
    first_ms: float | None = None
    warm_ms: float | None = None
    resident_bytes: int | None = None
    """The peak memory of the process, including the runtime's and NumPy's."""
    peak_bytes: int | None = None
    """The peak memory of the process's cgroup; None if it has none."""
    least_mb: int | None = None
    """The least memory in which the model runs alone, exact to STEP_MB, if memory is limited."""
    advised_mb: int | None = None
    """The Lambda memory size to choose, if memory is limited."""

    @property
    def ok(self) -> bool:
        """True if the model runs."""
        return not self.error

    def as_json(self) -> dict[str, Any]:
        """Return the report in types that JSON knows, with the verdict."""
        return dataclasses.asdict(self) | {"ok": self.ok}


def check_model(model: Path, sample: Path | None) -> list[OperatorCode]:
    """Check the files before anything is made for them; return the model's operator kinds.

    Raises:
        UsageError: a file does not exist, `model` is no model, or `sample` is no NumPy file.
    """
    for path in (model, *([sample] if sample else [])):
        if not path.is_file():
            raise UsageError(f"there is no file {path}")
    if sample is not None and _begins(sample, 6) != b"\x93NUMPY":
        raise UsageError(f"{sample} is not a NumPy array", remedy="write it with numpy.save")
    try:
        return _operator_codes(model)
    except NotAModelError as error:
        raise UsageError(
            f"{model} is not a TensorFlow Lite model: {error}",
            remedy="a repository's page or a Git LFS pointer may have been saved in its stead",
        ) from error


def _begins(file: Path, count: int) -> bytes:
    with file.open("rb") as opened:
        return opened.read(count)


def _operator_codes(model: Path) -> list[OperatorCode]:
    """Return a model's operator kinds. The file is mapped: it may have gigabytes of weights.

    Raises:
        NotAModelError: see operator_codes.
    """
    if not model.stat().st_size:  # nothing can be mapped
        return operator_codes(b"")
    with (
        model.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
    ):
        return operator_codes(mapped)


def try_model(
    site: Site, model: Path, sample: Path | None, *, on_step: Step = silent
) -> ModelReport:
    """Run a model on a wheel, with the newest NumPy of its Lambda runtime.

    Args:
        sample: a NumPy file for the first input. All inputs without a file are made up.

    Returns:
        The report. If the model does not run, the report says so and no error is raised.

    Raises:
        UsageError: a file does not exist, `model` is no model, or `sample` is no NumPy file.
        SmokeError, EngineError: the wheel does not install.
    """
    kinds = check_model(model, sample)
    on_step("environment")
    with site.installed() as here:
        arguments = [here.shown(path) for path in (model, sample) if path is not None]
        on_step("model")
        found = looked(here, arguments)
        if here.is_limited and "error" not in found:
            on_step("the least memory")
            found |= _memory(here, arguments, found["resident_bytes"])
    return ModelReport(
        model=model.name,
        wheel=site.wheel.name,
        sha256=sha256_of(site.wheel),
        python=site.runtime.python,
        numpy=site.runtime.numpy.on_lambda,
        place=site.name,
        log=str(site.log),
        custom=tuple(kind.custom for kind in kinds if kind.custom),
        **_summed(found, partial(lacking, kinds=kinds, wheel=site.wheel)),
    )


def lacking(
    words: Sequence[str],
    *,
    kinds: Sequence[OperatorCode],
    wheel: Path,
    table: OpsTable | None = None,
) -> tuple[Lack, ...]:
    """Return the operators that the runtime's messages name as missing, each once.

    Args:
        kinds: the model's operator kinds. They give the versions of an operator that is newer
            than the runtime's schema, because the message has only the operator's number.
        wheel: the wheel, whose file name has the TensorFlow version.
        table: the operators of each TensorFlow version; by default, those of ops.toml.

    Raises:
        UsageError: the table is malformed.
    """
    table = load_ops() if table is None else table
    builtin: dict[tuple[str, int], None] = {}
    custom: dict[str, None] = {}
    for text in words:
        for name, version in LACKS_VERSION.findall(text):
            builtin[name, int(version)] = None
        for code in map(int, LACKS_CODE.findall(text)):
            builtin |= {(table.name(code), k.version): None for k in kinds if k.builtin == code}
        for pattern in LACKS_CUSTOM:
            custom |= dict.fromkeys(pattern.findall(text))
    tensorflow = str(parse_name(wheel.name).version)
    return (
        *(_lack(name, version, tensorflow, table) for name, version in builtin),
        *(Lack(name=name, text=f"{name} (custom)") for name in custom),
    )


def _lack(name: str, version: int, tensorflow: str, table: OpsTable) -> Lack:
    first = table.first(name, version)
    known = f"TensorFlow {tensorflow} has {shown(table.versions(tensorflow, name))}; "
    where = f"the first here that has it is {first}" if first else "none here has it"
    return Lack(
        name=name,
        version=version,
        first=first,
        text=f"{name} version {version} "
        f"({known if tensorflow in table.tensorflows else ''}{where})",
    )


def advised(least_mb: int, resident_bytes: int) -> int:
    """Return the memory to give a function with that model, in MB."""
    # Lambda's minimum is a floor, not a measurement.
    measured = least_mb if least_mb > LEAST_MB else 0
    needed = max(measured, resident_bytes / MEGABYTE) * HEADROOM
    steps = math.ceil(needed / ADVISED_STEP_MB) * ADVISED_STEP_MB
    return min(MOST_MB, max(LEAST_MB, steps))


def looked(
    place: Place, arguments: Sequence[str], memory_mb: int = MOST_MB, *, probe: str = PROBE
) -> dict[str, Any]:
    """Return what a probe finds about a model; if it fails, "error" and the "stage" it was at."""
    limits = Limits(memory_mb=memory_mb)
    status, output = place.look(
        probe, *arguments, limits=limits, timeout=SECONDS, variables=EXPLAIN
    )
    fault, found = judged(status, output)
    return {"error": fault, "stage": "the process ended"} if fault else found | {"said": output}


def _memory(place: Place, arguments: Sequence[str], resident_bytes: int) -> dict[str, Any]:
    """Return the least and the advised memory.

    The search ends a little above the memory that the model used when there was plenty.
    """
    above = math.ceil(HEADROOM * resident_bytes / MEGABYTE / STEP_MB) * STEP_MB

    def works(memory_mb: int) -> bool:
        return "error" not in looked(place, arguments, memory_mb)

    found = least(works, most_mb=min(MOST_MB, max(above, 2 * STEP_MB)))
    return {"least_mb": found, "advised_mb": advised(found or above, resident_bytes)}


def _summed(
    found: dict[str, Any], lacks: Callable[[Sequence[str]], tuple[Lack, ...]]
) -> dict[str, Any]:
    """Return a probe's findings as fields of the report; `lacks` reads the runtime's messages."""
    fields = {key: value for key, value in found.items() if key not in ("stage", "missing")}
    for key in ("operators", "open", "said"):
        fields.pop(key, None)
    if "error" in found:
        words = " ".join(found["error"].split())
        repeated = REPEATED.fullmatch(words)
        fields["missing"] = lacks([*found.get("missing", ()), words])
        fields["error"] = f"{found['stage']}: {repeated[1] if repeated else words}"
    nodes = found.get("operators", [])
    total, taken = Counter(name for name, _ in nodes), Counter(n for n, was in nodes if was)
    if nodes:
        fields["operators"] = {name: (count, taken[name]) for name, count in total.items()}
        fields["xnnpack"] = taken.total() / total.total()
        fields["reasons"] = reasons(nodes, found.get("open", ()), found.get("said", ""))
    return fields
