"""The smoke test in the image of a wheel's Lambda runtime, under Lambda's limits."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from builders.architecture import docker_platform
from builders.docker_engine import Engine, pip_secrets
from builders.errors import EngineError
from builders.matrix import Runtime
from builders.wheelname import parse_name
from smoke_lambda import events
from smoke_lambda.container import WORK, ContainerFunction, reap, run_probe, running, tools
from smoke_lambda.inside.probing import NO_VARIABLES, PROBE, PROBE_SECONDS, judged
from smoke_lambda.layered import lay_out
from smoke_lambda.limits import CPU_FILES, Limits, list_processors
from smoke_lambda.lock import FUNCTION_PACKAGES, lock_path, packages_of
from smoke_lambda.measure import measure
from smoke_lambda.site import Site

HERE = Path(__file__).parent
IMAGE = "tflite-lambda-smoke"
LABEL = "tflite-lambda.smoke"
MODELS = "models"


def site(wheel: Path, runtime: Runtime, *, arch: str, engine: Engine, base: str, log: Path) -> Site:
    """Return a wheel's site in Docker: an image each for the runtime's oldest and newest NumPy.

    The images stay: `docker run -p 9000:8080 NAME` starts the function.

    Args:
        runtime: the matrix row of the wheel's Python.
        arch: the base image's architecture.
        base: the base image's reference.
        log: the file to which all output is appended.

    Raises:
        SmokeError: see Site.
    """
    reap(engine)
    return Site(
        wheel=wheel,
        runtime=runtime,
        name=f"docker {base}",
        arch=arch,
        numpys=lambda_numpys(runtime),
        log=log,
        make=lambda numpy: image(
            wheel, runtime, numpy, arch=arch, engine=engine, base=base, log=log
        ),
        emulated=arch != engine.arch,
    )


def lambda_numpys(runtime: Runtime) -> tuple[str, ...]:
    """Return the oldest and newest NumPy for a runtime's image. Newer ones do not install there."""
    return tuple(dict.fromkeys((runtime.numpy.floor, runtime.numpy.on_lambda)))


def image_name(wheel: Path, arch: str, numpy: str) -> str:
    """Return the name of a wheel's image: version, build, Python, architecture and NumPy."""
    name = parse_name(wheel.name)
    number = "".join(str(part) for part in name.build) or 0
    what = f"{name.version}-{number}-{name.interpreter}-{arch}-numpy-{numpy}"
    return f"{IMAGE}:{what}".replace("+", "_")


@contextmanager
def image(
    wheel: Path, runtime: Runtime, numpy: str, *, arch: str, engine: Engine, base: str, log: Path
) -> Iterator[Image]:
    """Yield the image for one NumPy version. It can be run until the block ends."""
    with tools() as folder:
        yield Image(
            engine=engine,
            base=base,
            name=image_name(wheel, arch, numpy),
            numpy=numpy,
            requirements=lock_path(runtime, numpy),
            arch=arch,
            measured=numpy == runtime.numpy.on_lambda,
            folder=folder,
            log=log,
        )
    # The image that had this name before has no name now.
    engine.attempt("image", "prune", "--force", "--filter", f"label={LABEL}")


@dataclass(frozen=True, kw_only=True)
class Image:
    """The image of a function. Implements Host."""

    engine: Engine
    base: str
    name: str
    numpy: str
    requirements: Path
    arch: str
    measured: bool
    folder: Path
    log: Path
    limits: Limits = field(default_factory=Limits)

    def install(self, wheel: Path) -> str:
        """See Place."""
        with TemporaryDirectory(prefix="tflite-smoke-") as folder, pip_secrets() as secrets:
            context = Path(folder)
            locked = packages_of(self.requirements)
            needed = "".join(locked[name] for name in FUNCTION_PACKAGES)
            (context / "requirements.txt").write_text(needed)
            shutil.copyfile(HERE / "app.py", context / "app.py")
            (context / "wheel").mkdir()
            shutil.copyfile(wheel, context / "wheel" / wheel.name)
            models = context / MODELS
            models.mkdir(mode=0o755)
            for model in events.MODELS.glob("*.tflite"):
                shutil.copyfile(model, models / model.name)
                (models / model.name).chmod(0o644)

            def build(target: str | None, what: str) -> None:
                self.engine.build(
                    dockerfile=HERE / "Dockerfile",
                    context=context,
                    target=target,
                    args={"BASE_IMAGE": self.base},
                    secrets=secrets,
                    labels={LABEL: self.name},
                    tag=None if target else self.name,
                    network="host",
                    platform=docker_platform(self.arch),
                    log=self.log,
                    what=what,
                )

            build("environment", "installing the locked requirements")
            try:
                build(None, "installing the wheel")
            except EngineError as error:
                if error.status is None:
                    raise
                return f"expected a wheel that installs, found: {error.what.strip()}"
        return ""

    def function(
        self, model: str, variables: Mapping[str, str], limits: Limits | None = None
    ) -> AbstractContextManager[ContainerFunction]:
        """See Place."""
        variables = {**variables, "MODEL_PATH": f"{MODELS}/{model}.tflite"}
        limits = limits or self.limits
        return running(self.engine, self.name, limits, variables, self.folder, self.log)

    def probe(self, models: Sequence[str]) -> tuple[str, dict[str, Any]]:
        """See Place."""
        paths = {model: f"/var/task/{MODELS}/{model}.tflite" for model in models}
        fault, found = judged(*self.look(PROBE, *paths.values()))
        if not fault and self.arch == "aarch64":
            fault = self._differs_with_processors_listed(found["operators"])
        if not fault:
            found["operators"] = {model: found["operators"][path] for model, path in paths.items()}
        if self.is_emulated:
            # Times on an emulator say nothing about times on Lambda.
            found |= {"import_ms": None, "first_inference_ms": None}
        return fault, found

    @property
    def is_emulated(self) -> bool:
        """True if the engine's machine has another architecture."""
        return self.arch != self.engine.arch

    def _differs_with_processors_listed(self, operators: Mapping[str, Any]) -> str:
        """Return what goes wrong if Linux lists the processors, as it does outside Lambda."""
        files = list_processors(self.folder / "processors") if self.is_emulated else CPU_FILES
        limits = replace(self.limits, cpu_files=files)
        fault, found = judged(*self.look(PROBE, *operators, limits=limits))
        if fault or found["operators"] != operators:
            return f"expected XNNPACK as without {CPU_FILES}, found {fault or found['operators']}"
        return ""

    @property
    def is_limited(self) -> bool:
        """See Place."""
        return True

    def shown(self, file: Path) -> str:
        """See Place."""
        copy = self.folder / file.name
        shutil.copyfile(file, copy)
        copy.chmod(0o644)
        return f"{WORK}/{copy.name}"

    def look(
        self,
        module: str,
        *arguments: str,
        limits: Limits | None = None,
        timeout: float = PROBE_SECONDS,
        variables: Mapping[str, str] = NO_VARIABLES,
    ) -> tuple[int | None, str]:
        """See Place. The module runs in a fresh container."""
        return run_probe(
            self.engine,
            self.name,
            limits or self.limits,
            module,
            arguments,
            self.folder,
            self.log,
            timeout,
            variables,
        )

    def own(
        self, folder: Path, layers: Sequence[Path] = ()
    ) -> Callable[[Limits], AbstractContextManager[ContainerFunction]]:
        """See Host. Without layers, the folder's own Dockerfile builds the image."""
        name = f"{self.name}-own"
        with pip_secrets() as secrets, TemporaryDirectory(prefix="tflite-smoke-") as outer:
            context, dockerfile = folder, folder / "Dockerfile"
            if layers:
                context, dockerfile = Path(outer), HERE / "Dockerfile.layers"
                lay_out(folder, layers, context)
            self.engine.build(
                dockerfile=dockerfile,
                context=context,
                target=None,
                args={"BASE_IMAGE": self.base},
                secrets=secrets,
                labels={LABEL: name},
                tag=name,
                network="host",
                platform=docker_platform(self.arch),
                log=self.log,
                what="building the function's image",
            )
        return lambda limits: running(self.engine, name, limits, {}, self.folder, self.log)

    def measures(self) -> dict[str, Any]:
        """See Place. Only the NumPy that Lambda's users get is measured, and no emulated image."""
        if not self.measured or self.is_emulated:
            return {}
        size = self.engine.image_size(self.name)
        return {"image": self.name, "image_bytes": size, **measure(self, self.engine.cpus())}
