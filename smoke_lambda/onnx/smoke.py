"""Smoke-tests the function for ONNX Runtime, with the usual events and answers."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from builders.architecture import docker_platform
from builders.docker_engine import Engine, pip_secrets
from builders.matrix import Runtime
from smoke_lambda import events, native
from smoke_lambda.bench import invoke
from smoke_lambda.container import ContainerFunction, reap, running, tools
from smoke_lambda.docker import LABEL
from smoke_lambda.limits import Limits
from smoke_lambda.lock import FUNCTION_PACKAGES, lock_path, packages_of
from smoke_lambda.onnx.lock import onnx_lock
from smoke_lambda.report import Check, SmokeReport, SmokeRun
from smoke_lambda.site import FunctionPlace, Step, silent

HERE = Path(__file__).parent
HANDLER = native.Handler(HERE / "app.py", HERE / "models", ".onnx")
IMAGE = "tflite-lambda-smoke-onnx"
SUBJECT = "onnxruntime"


def version_of(runtime: Runtime) -> str:
    """Return the version of ONNX Runtime in a Python's lock."""
    return packages_of(onnx_lock(runtime))[SUBJECT].split()[0].partition("==")[2]


def smoke(
    place: FunctionPlace, runtime: Runtime, where: str, log: Path, on_step: Step = silent
) -> SmokeReport:
    """Send every event to the function, with each model in ONNX's format."""
    known, checks = events.known_answers(), list[Check]()

    def check(name: str, fault: str) -> None:
        checks.append(Check(name=name, ok=not fault, detail=fault))

    init_ms = {}
    for model in sorted(path.stem for path in HANDLER.models.glob("*.onnx")):
        on_step(f"{model} under the emulator")
        init_ms[model] = invoke(place, model, known[model], check)
    found = SmokeRun(
        numpy=place.numpy,
        checks=tuple(checks),
        init_ms={model: init for model, init in init_ms.items() if init is not None},
    )
    return SmokeReport(
        wheel=f"{SUBJECT} {version_of(runtime)}",
        sha256="",
        python=runtime.python,
        place=where,
        runs=(found,),
        log=str(log),
    )


@contextmanager
def environment(
    runtime: Runtime, *, python: Path, work: Path, log: Path, rie: Callable[[], Path]
) -> Iterator[native.Environment]:
    """Make an environment with the function's packages and Lambda's client; remove it at last."""
    folder = work.absolute()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    own = packages_of(onnx_lock(runtime))
    smoked = packages_of(lock_path(runtime, runtime.numpy.on_lambda))
    client = {name: text for name, text in smoked.items() if name not in {*FUNCTION_PACKAGES, ""}}
    requirements = folder / "requirements.txt"
    requirements.write_text("".join({**client, **own}.values()))
    try:
        found = native.Environment(
            numpy=own["numpy"].split()[0].partition("==")[2],
            interpreter=python,
            requirements=requirements,
            folder=folder,
            rie=rie,
            log=log,
            handler=HANDLER,
        )
        found.make()
        yield found
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True, kw_only=True)
class OnnxImage:
    """The image that smoke_lambda/onnx/Dockerfile makes."""

    engine: Engine
    name: str
    numpy: str
    folder: Path
    log: Path

    def function(
        self, model: str, variables: Mapping[str, str]
    ) -> AbstractContextManager[ContainerFunction]:
        """See site.Place."""
        own = {**variables, "MODEL_PATH": f"models/{model}.onnx"}
        return running(self.engine, self.name, Limits(), own, self.folder, self.log)


@contextmanager
def image(
    runtime: Runtime, *, engine: Engine, base: str, arch: str, log: Path
) -> Iterator[OnnxImage]:
    """Make the function's image, which stays after the block.

    Raises:
        EngineError: the image cannot be made.
    """
    reap(engine)
    name = f"{IMAGE}:{version_of(runtime)}-{runtime.tag}-{arch}"
    with pip_secrets() as secrets, tools() as folder:
        engine.build(
            dockerfile=HERE / "Dockerfile",
            context=HERE,
            args={"BASE_IMAGE": base, "PYTHON": runtime.python},
            secrets=secrets,
            labels={LABEL: name},
            tag=name,
            network="host",
            platform=docker_platform(arch),
            log=log,
            what="building the image of the function for ONNX Runtime",
        )
        numpy = packages_of(onnx_lock(runtime))["numpy"].split()[0].partition("==")[2]
        yield OnnxImage(engine=engine, name=name, numpy=numpy, folder=folder, log=log)
