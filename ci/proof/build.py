"""Make the wheels of some targets, prove them, and put them into a folder with their records."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from builders.cache import CACHE_VARIABLE
from builders.errors import DiskFullError, UserError
from builders.matrix import Target
from ci.proof.prove import Proof, Prover
from ci.proof.source_state import source_state

T = TypeVar("T")

# The unpacked sources, a core's objects, the compiler's cache, and some reserve.
NEEDED_BYTES = 4_000_000_000


class Build:
    """The build of one command's targets, from sources to proven wheels in a folder."""

    def __init__(
        self, prover: Prover, targets: Sequence[Target], out: Path, *, keep_going: bool
    ) -> None:
        self.prover = prover
        self.runner = prover.runner
        self.targets = targets
        self.out = out
        self.keep_going = keep_going
        self.proofs: list[Proof] = []

    def run(self) -> list[UserError]:
        """Make and prove every wheel.

        Returns:
            The failures: those of building if `keep_going` is set, and those of the proofs.

        Raises:
            UserError: a wheel cannot be built, and `keep_going` is not set.
        """
        _check_space(self.runner.cache.root)
        prepared = [self._tried(self.runner.prepare, target) for target in self.targets]
        ready = [target for target, error in prepared if error is None]
        with ThreadPoolExecutor(self.runner.wheels_at_once) as pool:
            made = list(pool.map(lambda target: self._tried(self.runner.wheel, target), ready))
        failures = [error for _, error in (*prepared, *made) if isinstance(error, UserError)]
        wheels = [(target, wheel) for target, wheel in made if isinstance(wheel, Path)]
        for proof in self.prover.prove(wheels, jobs=self.runner.jobs):
            self.proofs.append(proof)
            self._publish(proof)
            failure = proof.failure
            if failure is not None:
                failures.append(failure)
        self.proofs.sort(key=lambda proof: self.targets.index(proof.target))
        return failures

    def _tried(self, make: Callable[[Target], T], target: Target) -> tuple[Target, T | UserError]:
        """Return what a step made of a target, or, with `keep_going`, the step's error."""
        try:
            return target, make(target)
        except UserError as error:
            if not self.keep_going:
                raise
            return target, error

    def _publish(self, proof: Proof) -> None:
        """Put a wheel into the output folder, and its record into the folder `records` there."""
        records = self.out / "records"
        records.mkdir(parents=True, exist_ok=True)
        record = records / f"{proof.wheel.name}.json"
        # The record comes first: a record without its wheel is harmless, but a wheel with the
        # record of another is not.
        found = proof.as_json() | {"source": source_state(proof.target.tensorflow)}
        record.write_text(json.dumps(found, indent=2))
        temporary = self.out / f".{proof.wheel.name}.new"
        shutil.copyfile(proof.wheel, temporary)
        temporary.replace(self.out / proof.wheel.name)


def _check_space(root: Path) -> None:
    free = shutil.disk_usage(root).free
    if free < NEEDED_BYTES:
        raise DiskFullError(
            f"{root} has {free / 1e9:.1f} GB free, and a build needs {NEEDED_BYTES / 1e9:.0f} GB",
            remedy=f"free some, or set {CACHE_VARIABLE} to a folder elsewhere",
        )
