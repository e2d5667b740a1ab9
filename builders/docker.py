"""The Docker runner: runs the native runner's steps in stages of builders/Dockerfile."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from builders import errors
from builders.architecture import docker_platform
from builders.cache import Cache, key_of, recipe
from builders.docker_engine import Engine, pip_secrets
from builders.errors import CompileError, EngineError, FetchError, UserError
from builders.fetch import MIRRORS_VARIABLE, UPSTREAM_VARIABLE, Fetcher, debian_mirrors
from builders.matrix import Runtime, Target, TensorFlow
from builders.progress import Reporter, Step

HERE = Path(__file__).parent
DOCKERFILE = HERE / "Dockerfile"
CONTEXT = HERE.parent
SHELF = CONTEXT / "shelf"
# A line of BuildKit's plain progress: step, seconds, what the program printed.
_PRINTED = re.compile(r"#\d+ \d+\.\d+ +(.*)")
_BY_EXIT_CODE = {
    error.exit_code: error
    for error in vars(errors).values()
    if isinstance(error, type) and issubclass(error, UserError) and error is not UserError
    # If two errors have the same exit code, take the general one.
    if error.__base__ is UserError
}


@dataclass(frozen=True, kw_only=True)
class Images:
    """The base images of a build, each with its current id.

    Attributes:
        base: the image of the target's Python, from which the headers come.
        builder: the image in which the stages run; its Python runs these programs.
    """

    base: str
    base_id: str
    builder: str
    builder_id: str


@dataclass
class DockerRunner:
    """Makes wheels in images; a wheel that the same inputs made before comes from the cache.

    Attributes:
        images: returns the base images for a Python on an architecture.
        origin: an origin of the locks, or `auto`.
        jobs: the number of smoke tests at once; a stage uses the engine's processors.
        logs: the folder of the steps' log files.
        offline: build from the shelf (see builders.shelf) and without a network.
        upstream_warnings: see NativeRunner.
    """

    engine: Engine
    images: Callable[[Runtime, str], Images]
    cache: Cache
    reporter: Reporter
    logs: Path
    origin: str = "auto"
    jobs: int = 1
    offline: bool = False
    upstream_warnings: bool = False
    fetcher: Fetcher = field(init=False)
    _cores: set[tuple[str, str]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.fetcher = Fetcher(self.cache, offline=self.offline)

    @property
    def wheels_at_once(self) -> int:
        """Two: each may use all processors, and one compiles as the other links."""
        return 2

    def prepare(self, target: Target) -> None:
        """Make the core of a target, unless its wheel is in the cache."""
        images = self.images(target.runtime, target.arch)
        if not self.cache.has("docker", self._key(target, images)):
            self._check_shelf()
            self.core(target.tensorflow, target.arch, images)

    def wheel(self, target: Target) -> Path:
        """Return the wheel of a target, which the last stage exports."""
        self.prepare(target)
        images = self.images(target.runtime, target.arch)

        def make(folder: Path) -> None:
            self._stage(
                "export",
                f"wheel {target.identifier}",
                target.arch,
                folder,
                images,
                {
                    "PYTHON": target.runtime.python,
                    "TENSORFLOW": target.tensorflow.version,
                    "UPSTREAM_WARNINGS": str(int(self.upstream_warnings)),
                },
            )
            found = [path.name for path in folder.iterdir()]
            if len(found) != 1 or not found[0].endswith(".whl"):
                raise CompileError(
                    f"the build exported {', '.join(found) or 'nothing'}, not a wheel"
                )

        (wheel,) = self.cache.product("docker", self._key(target, images), make).iterdir()
        return wheel

    def core(self, tensorflow: TensorFlow, arch: str, images: Images) -> None:
        """Make the core in a separate step, so that all Pythons share its layer."""
        made = (tensorflow.version, arch)
        if made in self._cores:
            return
        with tempfile.TemporaryDirectory() as record:
            self._stage(
                "core-record",
                f"core tf{tensorflow.version}-{arch}",
                arch,
                Path(record),
                images,
                {
                    "TENSORFLOW": tensorflow.version,
                },
            )
        self._cores.add(made)

    def is_cached(self, kind: str, target: Target) -> bool:
        """True if a step of a target has nothing to do.

        One build does all steps but `smoke`, so they are cached together. A smoke test is
        never cached.
        """
        key = self._key(target, self.images(target.runtime, target.arch))
        return kind != "smoke" and self.cache.has("docker", key)

    def _check_shelf(self) -> None:
        if self.offline and not SHELF.is_dir():
            raise FetchError(
                "there is no folder `shelf` with the downloads of a build",
                remedy="run ./scripts/fetch where there is a network",
            )

    def log(self, step: str) -> Path:
        """The log file of a step."""
        return self.logs / f"{step.replace(' ', '-')}.log"

    def _key(self, target: Target, images: Images) -> str:
        return key_of(
            {
                "target": target.identifier,
                "images": (images.base_id, images.builder_id),
                "origin": self.origin,
                "upstream_warnings": self.upstream_warnings,
                "recipe": recipe(HERE),
            }
        )

    def _stage(
        self,
        stage: str,
        name: str,
        arch: str,
        output: Path,
        images: Images,
        args: Mapping[str, str],
    ) -> None:
        """Build a stage, and write its files to a folder.

        Raises:
            UserError: the error of the step in the image, found by its exit code.
        """
        args = {
            **args,
            "BASE_IMAGE": images.base,
            "BUILDER_IMAGE": images.builder,
            "ORIGIN": self.origin,
            "TFLITE_OFFLINE": str(int(self.offline)),
        }
        if mirrors := debian_mirrors():
            args[MIRRORS_VARIABLE] = " ".join(mirrors)
        if mirror := os.environ.get(UPSTREAM_VARIABLE):
            args[UPSTREAM_VARIABLE] = mirror
        with self.reporter.step(name) as step, pip_secrets() as secrets:
            try:
                self.engine.build(
                    dockerfile=DOCKERFILE,
                    context=CONTEXT,
                    target=stage,
                    args=args,
                    secrets=secrets,
                    output=f"type=local,dest={output}",
                    # With `host`, the build also reaches a mirror or proxy on our loopback.
                    network="none" if self.offline else "host",
                    platform=docker_platform(arch),
                    log=self.log(name),
                    what=f"building {name} in an image",
                    on_line=lambda line: self._show(step, line),
                )
            except EngineError as error:
                kind = _BY_EXIT_CODE.get(error.status or 0)
                if kind is None:
                    raise
                raise kind(error.what, remedy=error.remedy) from error

    def _show(self, step: Step, line: str) -> None:
        """Show the last line that the program in the image printed."""
        if (match := _PRINTED.match(line)) and match[1]:
            self.reporter.show(step, match[1].strip().removeprefix(f"{step.title}: "))
