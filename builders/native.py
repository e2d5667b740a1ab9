"""The native runner: runs every step of a build on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Semaphore
from typing import TypeVar

from builders.cache import Cache
from builders.core import Core, core_key, make_core
from builders.engines.engine import Engine
from builders.engines.ninja import NINJA
from builders.errors import UsageError
from builders.extension import Headers, extension_key, make_extension
from builders.fetch import Fetcher, Progress
from builders.headers import PythonHeaders, locked_wheel, python_headers, wheel_headers
from builders.locking.coherence import UPSTREAM
from builders.locking.tree import is_made, made_lock
from builders.matrix import Target, TensorFlow
from builders.precompiled import KIND as PRECOMPILED
from builders.precompiled import precompiled_headers, precompiled_key
from builders.progress import Reporter, Step, describe
from builders.sbom import Part
from builders.sources import Lock, Source, fetch_sources, is_locked, load_lock
from builders.toolchain import Toolchain
from builders.trees import make_trees, trees_key
from builders.wheel import WheelInputs, make_wheel
from builders.wheelname import parse_name

T = TypeVar("T")

HEADER_LICENCES = {"numpy": "BSD-3-Clause", "pybind11": "BSD-3-Clause"}


@dataclass
class NativeRunner:
    """Makes wheels on this machine; a step's product comes from the cache if it is there.

    Attributes:
        origin: an origin of the locks, or `auto`.
        jobs: the number of compilers at once.
        logs: the folder of the steps' log files.
        python_headers: the include folder of the target's Python, if it is given.
        offline: use no network; a file that is not in the cache or on the shelf is an error.
        shelf: a folder of earlier downloads (see builders.shelf).
        upstream_warnings: keep the warnings of upstream's Python files (see breakages.toml).
        engine: the build engine that compiles the core.
    """

    cache: Cache
    reporter: Reporter
    logs: Path
    origin: str = "auto"
    jobs: int = 1
    python_headers: Path | None = None
    offline: bool = False
    shelf: Path | None = None
    upstream_warnings: bool = False
    engine: Engine = NINJA
    toolchain: Toolchain = field(init=False)
    fetcher: Fetcher = field(init=False)
    _sources: dict[str, tuple[Source, ...]] = field(default_factory=dict)
    _fetching: Step | None = None
    # As many as may run at once, of all wheels that are made at once.
    _compilers: Semaphore = field(init=False)

    def __post_init__(self) -> None:
        self._compilers = Semaphore(self.jobs)
        self.toolchain = Toolchain(self.cache)
        self.fetcher = Fetcher(
            self.cache,
            retry_unreachable=self.origin == "upstream",
            offline=self.offline,
            shelf=self.shelf,
            progress=self._download_progress,
        )

    @property
    def wheels_at_once(self) -> int:
        """As many as there are compilers: what one wheel does not use, another one does."""
        return self.jobs

    def sources(self, tensorflow: TensorFlow) -> tuple[Source, ...]:
        """Download the components of a TensorFlow version, and return them."""
        if tensorflow.version not in self._sources:
            told: list[str] = []
            lock = self.lock(tensorflow)
            with self.reporter.step(f"fetch tf{tensorflow.version}") as self._fetching:
                self._sources[tensorflow.version] = fetch_sources(
                    lock, self.origin, self.fetcher, told
                )
            for line in told:
                self.reporter.say(f"[yellow]![/] {line}")
        return self._sources[tensorflow.version]

    def lock(self, tensorflow: TensorFlow) -> Lock:
        """Return our lock of a TensorFlow version, or else one made from TensorFlow's own tree."""
        found = self._known_lock(tensorflow)
        if found is not None:
            return found
        if self.origin not in ("auto", UPSTREAM):
            raise UsageError(
                f"TensorFlow {tensorflow.version} is declared: its sources are known upstream only",
                remedy=f"leave out --origin {self.origin}",
            )
        # There is no other origin to fall back to, so ask unreachable hosts again.
        fetcher = replace(self.fetcher, retry_unreachable=True)
        with self.reporter.step(f"lock tf{tensorflow.version}") as self._fetching:
            return made_lock(tensorflow, self.cache, fetcher, self._download_progress("its tree"))

    def _known_lock(self, tensorflow: TensorFlow) -> Lock | None:
        if is_locked(tensorflow.version):
            return load_lock(tensorflow.version)
        if is_made(tensorflow, self.cache):
            return made_lock(tensorflow, self.cache, self.fetcher, lambda _done, _total: None)
        return None

    def core(self, tensorflow: TensorFlow, arch: str) -> Core:
        """Return the core of a TensorFlow version and architecture.

        If the core is in the cache, made here or handed over, no source is fetched.
        """
        sources = self._sources_of_cached_core(tensorflow, arch) or self.sources(tensorflow)
        key = core_key(tensorflow, arch, sources, self.toolchain)
        name = f"core tf{tensorflow.version}-{arch}"
        if not self.cache.has("core", key):
            self.trees(tensorflow)
        return self._shown(
            name,
            "objects",
            self.cache.has("core", key),
            lambda progress: make_core(
                tensorflow,
                arch,
                sources,
                lambda: self.trees(tensorflow),
                cache=self.cache,
                toolchain=self.toolchain,
                jobs=self.jobs,
                log=self.log(name),
                progress=progress,
                engine=self.engine,
            ),
        )

    def trees(self, tensorflow: TensorFlow) -> Path:
        """Return the folder of the unpacked and patched sources of a TensorFlow version."""
        sources = self.sources(tensorflow)
        cached = self.cache.has("trees", trees_key(tensorflow.version, sources))
        return self._shown(
            f"sources tf{tensorflow.version}",
            "bytes",
            cached,
            lambda progress: make_trees(
                tensorflow.version, sources, self.cache, self.fetcher, lambda _name: progress
            ),
        )

    def prepare(self, target: Target) -> None:
        """Make the core and all headers of a target, and precompile those that Pythons share."""
        core = self.core(target.tensorflow, target.arch)
        headers = self.headers(target)
        key = extension_key(target, core.path.name, headers, self.toolchain)
        if not self.cache.has("extension", key):
            self._precompile(target, core)

    def _precompile(self, target: Target, core: Core) -> None:
        name = f"headers tf{target.tensorflow.version}-{target.arch}"
        self._shown(
            name,
            "commands",
            self.cache.has(PRECOMPILED, precompiled_key(target, core, self.toolchain)),
            lambda _progress: precompiled_headers(
                target, core, cache=self.cache, toolchain=self.toolchain, log=self.log(name)
            ),
        )

    def wheel(self, target: Target) -> Path:
        """Return the wheel of a target."""
        return self.wheel_from(target, self.core(target.tensorflow, target.arch))

    def wheel_from(self, target: Target, core: Core) -> Path:
        """Return the wheel of a target, linked with that core."""
        headers = self.headers(target)
        name = f"wheel {target.identifier}"
        key = extension_key(target, core.path.name, headers, self.toolchain)

        def make(progress: Progress) -> Path:
            extension = make_extension(
                target,
                core,
                headers,
                cache=self.cache,
                toolchain=self.toolchain,
                compilers=self._compilers,
                log=self.log(name),
                progress=progress,
            )
            parts = self._compiled_with(target)
            inputs = WheelInputs(target, core, extension, parts, self.upstream_warnings)
            return make_wheel(inputs, self.cache, self.toolchain)

        return self._shown(name, "commands", self.cache.has("extension", key), make)

    def headers(self, target: Target) -> Headers:
        """Return the headers that a target's extension is compiled from."""
        numpy, numpy_sha256 = wheel_headers("numpy", target, self.cache, self.fetcher)
        pybind11, pybind11_sha256 = wheel_headers("pybind11", target, self.cache, self.fetcher)
        return Headers(
            python=self._python_headers(target),
            numpy=numpy,
            numpy_sha256=numpy_sha256,
            pybind11=pybind11,
            pybind11_sha256=pybind11_sha256,
        )

    def _python_headers(self, target: Target) -> PythonHeaders:
        if self.python_headers is not None:
            return PythonHeaders((self.python_headers,), "given")
        log = self.log(f"headers {target.identifier}")
        return python_headers(target.runtime, target.arch, self.cache, log, offline=self.offline)

    def is_cached(self, kind: str, target: Target) -> bool:
        """True if the step `fetch`, `sources`, `core` or `wheel` of a target has nothing to do."""
        tensorflow = target.tensorflow
        sources = self._sources_of_cached_core(tensorflow, target.arch)
        sources = sources or self._likely_sources(tensorflow)
        if sources is None:
            return False
        core = core_key(tensorflow, target.arch, sources, self.toolchain)
        if kind in ("sources", "core"):
            trees = self.cache.has("trees", trees_key(tensorflow.version, sources))
            return self.cache.has("core", core) or (kind == "sources" and trees)
        if kind == "wheel":
            if not all(
                self.cache.has("headers", self._header_key(p, target)) for p in HEADER_LICENCES
            ):
                return False
            key = extension_key(target, core, self.headers(target), self.toolchain)
            return self.cache.has("extension", key)
        return True

    def _likely_sources(self, tensorflow: TensorFlow) -> tuple[Source, ...] | None:
        """Return the components of the first origin that is all in the cache; None if none is."""
        for sources in self._admitted_sources(tensorflow):
            if all(source.origin.is_fetched(self.cache) for source in sources):
                return sources
        return None

    def _sources_of_cached_core(
        self, tensorflow: TensorFlow, arch: str
    ) -> tuple[Source, ...] | None:
        """Return the components of the first origin whose core is in the cache; None if none is."""
        for sources in self._admitted_sources(tensorflow):
            if self.cache.has("core", core_key(tensorflow, arch, sources, self.toolchain)):
                return sources
        return None

    def _admitted_sources(self, tensorflow: TensorFlow) -> Iterator[tuple[Source, ...]]:
        """Yield the components of each origin that may be used, the preferred origin first."""
        lock = self._known_lock(tensorflow)
        if lock is None:
            return
        for origin in lock.origins if self.origin == "auto" else (self.origin,):
            yield lock.sources(origin)

    @staticmethod
    def _header_key(project: str, target: Target) -> str:
        return locked_wheel(project, target).sha256[:16]

    def log(self, step: str) -> Path:
        """The log file of a step."""
        return self.logs / f"{step.replace(' ', '-')}.log"

    def _compiled_with(self, target: Target) -> list[Part]:
        parts = []
        for project, licence in HEADER_LICENCES.items():
            wheel = locked_wheel(project, target)
            name = parse_name(wheel.pypi)
            parts.append(
                Part(
                    name=name.project,
                    version=str(name.version),
                    licence=licence,
                    origin="pypi",
                    location=wheel.location,
                    sha256=wheel.sha256,
                )
            )
        return parts

    def _shown(self, name: str, unit: str, cached: bool, make: Callable[[Progress], T]) -> T:
        """Run a step, and show it on the console unless its product is in the cache."""
        if cached:
            return make(lambda _done, _total: None)
        with self.reporter.step(name) as step:
            return make(
                lambda done, total: self.reporter.show(
                    step, describe(done, total, unit, step.seconds)
                )
            )

    def _download_progress(self, name: str) -> Progress:
        """Return the progress callback of a file; it shows on the line of the step that fetches."""
        started = time.monotonic()

        def progress(done: int, total: int | None) -> None:
            if self._fetching is not None:
                detail = describe(done, total, "bytes", time.monotonic() - started)
                self.reporter.show(self._fetching, f"{name}: {detail}")

        return progress
