"""The base images of Lambda's Pythons: AWS's images, a named one, or stand-ins made here."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from builders.architecture import docker_platform
from builders.cache import Cache
from builders.docker_engine import Engine
from builders.errors import EngineError, UserError
from builders.fetch import Fetcher
from builders.matrix import Runtime
from builders.progress import Reporter
from ci.images.standin.make import DIFFERS, Maker, choose_recipe, reference

# https://gallery.ecr.aws/lambda/python
AWS = "public.ecr.aws/lambda/python:{python}"


@dataclass
class BaseImages:
    """Finds, pulls or makes the base image of a Python.

    Attributes:
        logs: the folder of log files.
        named: an image to use instead of AWS's; `{python}` in it stands for X.Y.
        stand_ins: True if a stand-in is made when AWS's image cannot be pulled.
        offline: True to pull and make nothing, and take only images of the engine's store.
    """

    engine: Engine
    cache: Cache
    reporter: Reporter
    logs: Path
    named: str = ""
    stand_ins: bool = True
    offline: bool = False
    # The reason why AWS's registry cannot be used; the registry is asked once.
    _no_registry: str = ""
    _got: dict[tuple[str, str], str] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def here(self, runtime: Runtime, arch: str) -> str | None:
        """Return the image that is in the engine's store now; None if there is none."""
        for name in self._candidates(runtime, arch):
            if name == reference(runtime, arch):
                if self._maker().is_there(runtime, arch):
                    return name
            elif self.engine.image_arch(name) == arch:
                return name
        return None

    def get(self, runtime: Runtime, arch: str) -> str:
        """Return the image of a Python; pull or make it if necessary.

        Raises:
            EngineError: the image can neither be pulled nor made.
            DiskFullError: the engine's store is full.
        """
        with self._lock:
            key = (runtime.python, arch)
            if key not in self._got:
                self._got[key] = self.here(runtime, arch) or self._had(runtime, arch)
            return self._got[key]

    def can_have(self, runtime: Runtime, arch: str) -> bool:
        """True if an image is there, or may be pulled or made; nothing is pulled or made here."""
        if self.here(runtime, arch):
            return True
        if self.offline:
            return False
        if self.named or not (self._no_registry or runtime.upcoming):
            return True
        return self.stand_ins and _can_be_made(runtime, arch)

    def _candidates(self, runtime: Runtime, arch: str) -> Iterator[str]:
        if self.named:
            yield self.named.format(python=runtime.python)
            return
        yield AWS.format(python=runtime.python)
        if self.stand_ins and _can_be_made(runtime, arch):
            yield reference(runtime, arch)

    def _had(self, runtime: Runtime, arch: str) -> str:
        if self.offline:
            raise EngineError(
                f"no base image of Python {runtime.python} in the engine's store",
                remedy="pull it, or run ./scripts/standin, where there is a network",
            )
        name = next(self._candidates(runtime, arch))
        try:
            return self._pulled(name, runtime, arch)
        except EngineError as error:
            if self.named or not self.stand_ins:
                raise EngineError(
                    f"the base image {name} cannot be pulled",
                    remedy="name another with --base, or choose --runner docker, which makes "
                    "a stand-in, or --runner native",
                ) from error
        with self.reporter.step(f"stand-in {runtime.tag}-{arch}"):
            return self._maker().make(runtime, arch)

    def _pulled(self, name: str, runtime: Runtime, arch: str) -> str:
        if self._no_registry and not self.named:
            raise EngineError(self._no_registry)
        with self.reporter.step(f"pull {name}") as step:
            try:
                self.engine.pull(
                    name,
                    log=self.logs / f"pull-{runtime.tag}-{arch}.log",
                    platform=docker_platform(arch),
                    on_line=lambda line: self.reporter.show(step, line),
                )
            except EngineError:
                if not runtime.upcoming and not self.named:
                    self._no_registry = f"{name} cannot be pulled here"
                    if self.stand_ins:
                        self.reporter.say(f"[yellow]![/] {self._no_registry}: {DIFFERS}")
                raise
        return name

    def _maker(self) -> Maker:
        return Maker(
            engine=self.engine,
            cache=self.cache,
            fetcher=Fetcher(self.cache),
            log=self.logs / "standin.log",
        )


def _can_be_made(runtime: Runtime, arch: str) -> bool:
    try:
        choose_recipe(runtime, arch)
    except UserError:
        return False
    return True
