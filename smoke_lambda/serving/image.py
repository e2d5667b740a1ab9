"""Makes and runs the image of the model server and the gateway, with Docker or Podman."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from builders.cache import sha256_of
from builders.docker_engine import find_engine, pip_secrets
from builders.errors import EngineError
from builders.process import run

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
DOCKERFILE = HERE / "Dockerfile"
IMAGE = "model-server"
PARTS = ("smoke_lambda/__init__.py", "smoke_lambda/app.py", "smoke_lambda/serving")
# These files are used only outside the image; Dockerfile.dockerignore has the same list.
LEFT_OUT = ("__pycache__", "k8s", "image.py", "lock.py", "native.py", "generate.py")
CONTEXT_WHEEL = "file:///context/wheels/{}"

LIMITS = (
    *("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
    *("--user", "65532:65532", "--memory", "256m"),
)
"""The limits that the manifests set for a server, as options of a container."""


def default_python() -> str:
    """Return the Python version of the image's default base."""
    (found,) = re.findall(r"^ARG PYTHON=(\S+)$", DOCKERFILE.read_text(), re.MULTILINE)
    return str(found)


def client_of(runner: str) -> Path:
    """Return the client program of a runner, docker or podman.

    Raises:
        EngineError: the program is missing, or no engine answers it.
    """
    if runner == "docker":
        return find_engine().client
    found = shutil.which("podman")
    if found is None:
        raise EngineError("there is no podman", remedy="install it, or choose another --runner")
    return Path(found)


def build(client: Path, wheel: Path, log: Path, *, base: str = "", tag: str = IMAGE) -> str:
    """Make the image; return its name.

    Args:
        base: the base image, with the wheel's Python; the Dockerfile's own if empty.

    Raises:
        EngineError: the image cannot be made.
    """
    with _context(wheel) as context, pip_secrets() as secrets:
        command: list[str | Path] = [client, "build", "--file", DOCKERFILE, "--tag", tag]
        command += ["--network", "host"]
        for key, path in secrets.items():
            command += ["--secret", f"id={key},src={path}"]
        arguments = {
            "WHEEL_URL": CONTEXT_WHEEL.format(wheel.name),
            "WHEEL_SHA256": sha256_of(wheel),
            "BASE_IMAGE": base,
        }
        for key, value in arguments.items():
            command += ["--build-arg", f"{key}={value}"] if value else []
        _run([*command, context], log, "building the image")
    return tag


def with_model(client: Path, server: str, model: Path, name: str, log: Path, tag: str) -> str:
    """Make an image with a model in it; return its name.

    Raises:
        EngineError: the image cannot be made.
    """
    command: list[str | Path] = [client, "build", "--file", HERE / "Dockerfile.model"]
    for key, value in {"SERVER_IMAGE": server, "MODEL": model.name, "MODEL_NAME": name}.items():
        command += ["--build-arg", f"{key}={value}"]
    _run([*command, "--tag", tag, model.parent], log, "putting the model into the image")
    return tag


@contextmanager
def container(
    client: Path, image: str, variables: Mapping[str, str], ports: Mapping[int, int], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Run an image under the manifests' limits until the block ends.

    Args:
        ports: the container's ports, by the ports of this machine's loopback interface.
    """
    name = f"{IMAGE}-{next(iter(ports))}"
    command: list[str | Path] = [client, "run", "--rm", "--name", name, *LIMITS]
    for here, there in ports.items():
        command += ["--publish", f"127.0.0.1:{here}:{there}"]
    for key, value in variables.items():
        command += ["--env", f"{key}={value}"]
    with (
        log.open("ab") as output,
        subprocess.Popen([*command, image], stdout=output, stderr=output) as process,
    ):
        try:
            yield process
        finally:
            subprocess.run([client, "stop", "--time", "40", name], capture_output=True, check=False)


def _run(command: list[str | Path], log: Path, what: str) -> None:
    run(command, log=log, failure=EngineError, what=what, env={"DOCKER_BUILDKIT": "1"})


@contextmanager
def _context(wheel: Path) -> Iterator[Path]:
    """Yield a folder with the files that the Dockerfile copies.

    One of them is the wheel, which may come from outside this repository.
    """
    with TemporaryDirectory(prefix="model-server-") as folder:
        context = Path(folder)
        for name in PARTS:
            source, place = ROOT / name, context / name
            place.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, place, ignore=shutil.ignore_patterns(*LEFT_OUT))
            else:
                shutil.copyfile(source, place)
        (context / "wheels").mkdir()
        shutil.copyfile(wheel, context / "wheels" / wheel.name)
        yield context
