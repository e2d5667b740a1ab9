"""The smoke test on this machine: a fresh environment per NumPy version, and the emulator."""

from __future__ import annotations

import contextlib
import platform
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uv import find_uv_bin

from builders.errors import SmokeError
from builders.matrix import Runtime
from builders.process import run
from smoke_lambda import events
from smoke_lambda.function import Function, running
from smoke_lambda.inside.probing import NO_VARIABLES, PROBE, PROBE_SECONDS, judged
from smoke_lambda.inside.server import serving
from smoke_lambda.layered import OPT, PYTHON, TASK, lay_out
from smoke_lambda.limits import Limits
from smoke_lambda.lock import FUNCTION_PACKAGES, lock_path, packages_of
from smoke_lambda.session import started
from smoke_lambda.site import Site

HERE = Path(__file__).parent


def site(
    wheel: Path,
    runtime: Runtime,
    *,
    python: Path,
    work: Path,
    log: Path,
    rie: Callable[[], Path],
    dependencies: bool = False,
) -> Site:
    """Return a wheel's site on this machine: a fresh environment per NumPy version.

    Args:
        runtime: the matrix row of the wheel's Python.
        python: an interpreter of that Python.
        work: the folder for the environments; an environment replaces what is in its place,
            and is removed at the end.
        log: the file to which all output is appended.
        rie: returns the emulator's program (see smoke_lambda.rie); called when a function is run.
        dependencies: see Environment.

    Raises:
        SmokeError: see Site.
    """

    def make(numpy: str) -> AbstractContextManager[Environment]:
        return environment(
            runtime, numpy, python=python, work=work, log=log, rie=rie, dependencies=dependencies
        )

    return Site(
        wheel=wheel,
        runtime=runtime,
        name=f"native {python}",
        arch=platform.machine(),
        numpys=runtime.numpy.smoke_versions,
        log=log,
        make=make,
    )


@contextmanager
def environment(
    runtime: Runtime,
    numpy: str,
    *,
    python: Path,
    work: Path,
    log: Path,
    rie: Callable[[], Path] | None = None,
    dependencies: bool = False,
) -> Iterator[Environment]:
    """Yield an environment for one NumPy version; remove it when the block ends.

    Args:
        dependencies: see Environment.
    """
    folder = work.absolute() / f"{runtime.tag}-numpy-{numpy}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield Environment(
            numpy=numpy,
            interpreter=python,
            requirements=lock_path(runtime, numpy),
            folder=folder,
            rie=rie,
            log=log,
            dependencies=dependencies,
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def make_environment(python: Path, requirements: Path, folder: Path, log: Path) -> None:
    """Make a virtual environment with locked requirements.

    Raises:
        SmokeError: the environment cannot be made here.
    """
    uv("making an environment", "venv", "--python", python, folder, log=log)
    install = ("pip", "install", "--python", folder / "bin" / "python", "--require-hashes")
    locked = ("--only-binary", ":all:", "-r", requirements)
    uv("installing the locked requirements", *install, *locked, log=log)


def uv(what: str, *arguments: str | Path, log: Path) -> None:
    """Run uv for the task that `what` describes; raise SmokeError if uv fails."""
    env = {"UV_PYTHON_DOWNLOADS": "never", "UV_NO_PROGRESS": "1"}
    run([find_uv_bin(), *arguments], log=log, failure=SmokeError, what=what, env=env)


@dataclass(frozen=True)
class Handler:
    """The code and the models of a function.

    Attributes:
        file: the file of the module `app`.
        models: the folder of the models.
        ending: the ending of the models' file names.
    """

    file: Path
    models: Path
    ending: str


TFLITE_HANDLER = Handler(HERE / "app.py", events.MODELS, ".tflite")


@dataclass(frozen=True, kw_only=True)
class Environment:
    """A virtual environment with the folders of a function. Implements Host.

    Attributes:
        handler: the code and the models of its functions.
        dependencies: True if a wheel is installed together with its dependencies.
    """

    numpy: str
    interpreter: Path
    requirements: Path
    folder: Path
    rie: Callable[[], Path] | None
    log: Path
    dependencies: bool = False
    handler: Handler = TFLITE_HANDLER

    @property
    def python(self) -> Path:
        """The interpreter of the environment."""
        return self.folder / "environment" / "bin" / "python"

    def make(self) -> None:
        """Install the locked packages; raise SmokeError if that fails."""
        environment = self.folder / "environment"
        make_environment(self.interpreter, self.requirements, environment, self.log)

    def install(self, wheel: Path) -> str:
        """See Place."""
        self.make()
        install: list[str | Path] = ["pip", "install", "--python", self.python, wheel]
        if not self.dependencies:
            install.append("--no-deps")
        try:
            uv("installing the wheel", *install, log=self.log)
        except SmokeError as error:
            return f"expected a wheel that installs, found: {error.what.strip()}"
        return ""

    @contextmanager
    def function(self, model: str, variables: Mapping[str, str]) -> Iterator[Function]:
        """See Place."""
        assert self.rie is not None, "an environment without an emulator runs no function"
        # The task folder is like a user's: it has the handler, and one model beside it.
        task, home = self.folder / model, self.folder / "tmp"
        task.mkdir()
        home.mkdir(exist_ok=True)
        name = f"{model}{self.handler.ending}"
        shutil.copy2(self.handler.file, task / "app.py")
        shutil.copy2(self.handler.models / name, task)
        output = self.folder / f"{model}.log"
        try:
            with (
                serving(events.IMAGES, events.MAX_BYTES, events.URL_SECONDS) as server,
                running(
                    "app.handler",
                    python=self.python,
                    task=task,
                    home=home,
                    rie=self.rie().absolute(),
                    log=output,
                    server=server,
                    variables={**variables, "MODEL_PATH": name},
                ) as function,
            ):
                yield function
        finally:
            self._keep(output)

    def probe(self, models: Sequence[str]) -> tuple[str, dict[str, Any]]:
        """See Place."""
        paths = {model: str(events.MODELS / f"{model}.tflite") for model in models}
        status, said = self.look(PROBE, *paths.values())
        fault, found = judged(status, said)
        if not fault:
            found["operators"] = {model: found["operators"][path] for model, path in paths.items()}
        return fault, found

    @property
    def is_limited(self) -> bool:
        """See Place."""
        return False

    def shown(self, file: Path) -> str:
        """See Place."""
        return str(file.absolute())

    def look(
        self,
        module: str,
        *arguments: str,
        limits: object = None,  # noqa: ARG002 - there are none here
        timeout: float = PROBE_SECONDS,
        variables: Mapping[str, str] = NO_VARIABLES,
    ) -> tuple[int | None, str]:
        """See Place. The module runs in a fresh process."""
        output = self.folder / f"{module}.log"
        output.unlink(missing_ok=True)  # of an earlier process
        # As isolated as with -I, except that Python finds the module in this repository.
        command: list[str | Path] = [self.python, "-s", "-B", "-m", module, *arguments]
        status: int | None = None
        with (
            started(
                command, cwd=HERE.parent, env=variables, log=output, is_strange=True
            ) as process,
            contextlib.suppress(subprocess.TimeoutExpired),
        ):
            status = process.wait(timeout)
        self._keep(output)
        return status, output.read_text(errors="replace")

    @contextmanager
    def _owned(
        self, folder: Path, python: Path, variables: Mapping[str, str]
    ) -> Iterator[Function]:
        assert self.rie is not None, "an environment without an emulator runs no function"
        home, output = self.folder / "tmp", self.folder / "own.log"
        home.mkdir(exist_ok=True)
        output.unlink(missing_ok=True)
        try:
            with running(
                "app.handler",
                python=python,
                task=folder.absolute(),
                home=home,
                rie=self.rie().absolute(),
                log=output,
                variables={"PYTHONDONTWRITEBYTECODE": "1", **variables},
            ) as function:
                yield function
        finally:
            self._keep(output)

    def own(
        self, folder: Path, layers: Sequence[Path] = ()
    ) -> Callable[[Limits], AbstractContextManager[Function]]:
        """See Host. Limits are ignored here."""
        if not layers:
            return lambda _limits: self._owned(folder, self.python, {})
        # This environment has only Lambda's client: all else must come from the layers.
        place, client = self.folder / "layered", self.folder / "client"
        place.mkdir()
        locked = packages_of(self.requirements)
        needed = (text for name, text in locked.items() if name not in FUNCTION_PACKAGES)
        requirements = client.with_suffix(".txt")
        requirements.write_text("".join(needed))
        make_environment(self.interpreter, requirements, client, self.log)
        lay_out(folder, layers, place)
        variables = {"PYTHONPATH": str(place.absolute() / OPT / PYTHON)}
        return lambda _limits: self._owned(place / TASK, client / "bin" / "python", variables)

    @property
    def is_emulated(self) -> bool:
        """See Host."""
        return False

    def measures(self) -> dict[str, Any]:
        """See Place. Nothing is measured, because nothing here is limited as in Lambda."""
        return {}

    def _keep(self, output: Path) -> None:
        """Append a program's output to the log."""
        if output.exists():
            with self.log.open("a") as log:
                log.write(f"--- {output.name}, NumPy {self.numpy}\n")
                log.write(output.read_text(errors="replace"))
