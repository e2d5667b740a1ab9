"""Ask wheels which builtin operators they have, and compare that with what is recorded."""

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
    """The numbers and operators of each TensorFlow version among the wheels.

    Raises:
        UsageError: a file is no wheel.
        SmokeError: a wheel cannot be asked, or differs from another of its version.
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
    """The builtin operators that a wheel has, and the numbers of all that it knows.

    Raises:
        SmokeError: it cannot be run here, or does not say.
    """
    with smoker.site(wheel, runtime, log=log) as site, site.installed() as place:
        return found_by_probe(*place.look(PROBE))


def differences(old: OpsTable, new: OpsTable) -> Iterator[str]:
    """What changed from one table to another, in words."""
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
