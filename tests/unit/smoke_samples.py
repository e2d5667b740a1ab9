"""Stand-ins for sites and places, for tests of the code that drives them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from builders.matrix import load_matrix
from smoke_lambda.inside.probing import NO_VARIABLES, PROBE_SECONDS
from smoke_lambda.limits import Limits
from smoke_lambda.site import Function, Place, Site

RUNTIME = load_matrix().runtime("3.12")


class Nowhere:
    """A place that can do only what a test adds."""

    numpy = "2.0"
    is_limited = False

    def install(self, wheel: Path) -> str:
        raise AssertionError(wheel)

    def function(
        self, model: str, variables: Mapping[str, str]
    ) -> AbstractContextManager[Function]:
        raise AssertionError(model, variables)

    def probe(self, models: Sequence[str]) -> tuple[str, dict[str, Any]]:
        raise AssertionError(models)

    def shown(self, file: Path) -> str:
        raise AssertionError(file)

    def look(
        self,
        module: str,
        *arguments: str,
        limits: Limits | None = None,
        timeout: float = PROBE_SECONDS,
        variables: Mapping[str, str] = NO_VARIABLES,
    ) -> tuple[int | None, str]:
        raise AssertionError(module, arguments, limits, timeout, variables)

    def measures(self) -> dict[str, Any]:
        raise AssertionError


def site_of(
    folder: Path, at: Callable[[str], Place], *, numpys: Sequence[str] = (), emulated: bool = False
) -> Site:
    """Make a site in Docker for a wheel in the folder.

    Args:
        at: returns the place with a version of NumPy.
    """
    wheel = folder / "t-1-cp312-cp312-manylinux_2_17_x86_64.whl"
    wheel.touch()
    return Site(
        wheel=wheel,
        runtime=RUNTIME,
        name="docker base",
        arch="x86_64",
        numpys=numpys,
        log=folder / "logs" / "log",
        make=lambda numpy: nullcontext(at(numpy)),
        emulated=emulated,
    )
