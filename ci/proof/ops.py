"""Ask wheels which builtin operators they have, and compare the answers with the record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from builders.cache import Cache
from builders.errors import SmokeError
from builders.fetch import Fetcher
from builders.matrix import Runtime
from builders.progress import Reporter
from builders.wheelname import name_of
from ci.proof.smoker import NativeSmoker, Smoker, wheel_runtime
from smoke_lambda.ops import Ops, OpsTable, found_by_probe, shown

PROBE = "smoke_lambda.inside.ops_probe"


def ask(
    wheels: Sequence[Path], cache: Cache, reporter: Reporter
) -> Mapping[str, tuple[Mapping[str, int], Ops]]:
    """Return the operator numbers and the operators of each TensorFlow version of the wheels.

    Raises:
        UsageError: a file is not a wheel.
        SmokeError: a wheel does not answer, or differs from another wheel of its version.
    """
    runtimes = [wheel_runtime(wheel) for wheel in wheels]
    smoker = NativeSmoker(cache, Fetcher(cache))
    found: dict[str, tuple[Mapping[str, int], Ops]] = {}
    for wheel, runtime in zip(wheels, runtimes, strict=True):
        with reporter.step(f"ask {wheel.name}"):
            log = cache.root / "logs" / f"ops-{runtime.tag}.log"
            answer = operators_of(wheel, smoker, runtime, log)
        if found.setdefault(str(name_of(wheel).version), answer) != answer:
            raise SmokeError(f"{wheel.name} has other operators than the wheels before it")
    return found


def operators_of(
    wheel: Path, smoker: Smoker, runtime: Runtime, log: Path
) -> tuple[Mapping[str, int], Ops]:
    """Return the numbers of all operators that a wheel knows, and the builtin ones that it has.

    Raises:
        SmokeError: the wheel cannot run here, or does not answer.
    """
    with smoker.site(wheel, runtime, log=log) as site, site.installed() as place:
        return found_by_probe(*place.look(PROBE))


def differences(old: OpsTable, new: OpsTable) -> Iterator[str]:
    """Yield the changes from one table to another, as sentences."""
    for version, ops in new.tensorflows.items():
        if version not in old.tensorflows:
            yield f"TensorFlow {version}: {len(ops)} operators, new"
            continue
        for name in dict.fromkeys([*ops, *old.tensorflows[version]]):
            before, now = (shown(table.versions(version, name)) for table in (old, new))
            if before != now:
                yield f"TensorFlow {version}: {name} {now}, was {before}"
    for name, code in new.codes.items():
        if name not in old.codes and all(v in old.tensorflows for v in new.tensorflows):
            yield f"{name} is new, number {code}"
