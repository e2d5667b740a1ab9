"""The runtimes of a comparison, ours and others, and the packages that each consists of."""

from __future__ import annotations

import datetime
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from packaging.version import Version

from builders.cache import Cache, key_of, recipe, sha256_of
from builders.errors import SmokeError, UsageError
from builders.fetch import Fetcher
from builders.interpreters import find_interpreter
from builders.matrix import Runtime
from builders.tables import read_toml
from builders.wheelname import parse_name
from ci.bench.candidates import name_of
from ci.compare.resolve import Package, Resolution, resolve
from ci.compare.settings import OWN_MODULE, TFLITE, Settings
from ci.proof.conformer import subject_of
from smoke_lambda.lock import DATA
from smoke_lambda.native import uv

OLD_NUMPY = "numpy<2"
ANSWER = "resolution.json"
RESOLVE = Path(__file__).with_name("resolve.py")
WHEELS = Path(__file__).parents[2] / "wheels"


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A runtime, as pip installs it on the Lambda runtime.

    Attributes:
        name: the name for people: project and version; for our wheels, version and build.
        requirement: the requirement that pip was given.
        module: the module that has the runtime's `Interpreter`.
        format: the format of the models that it runs: tflite or onnx.
        own: True if it is a wheel of this repository.
        packages: the packages that are installed, the runtime's own first.
        wheels: the wheel files of these packages.
        reason: why the runtime cannot be installed, or does not run.
        note: a remark for people.
    """

    name: str
    requirement: str
    module: str
    format: str
    own: bool
    packages: tuple[Package, ...] = ()
    wheels: tuple[Path, ...] = ()
    reason: str = ""
    note: str = ""

    @property
    def numpy(self) -> str:
        """The version of NumPy that is installed with the runtime; empty if none is."""
        return next((each.version for each in self.packages if each.name == "numpy"), "")

    @property
    def key(self) -> str:
        """A name that stands for exactly these packages."""
        return key_of([each.sha256 for each in self.packages])

    @property
    def download_bytes(self) -> int:
        """The size of all wheels as they are fetched, in bytes."""
        return sum(wheel.stat().st_size for wheel in self.wheels)

    @cached_property
    def installed_bytes(self) -> int:
        """The size of all files in the wheels, unpacked, in bytes; without bytecode."""
        total = 0
        for wheel in self.wheels:
            with zipfile.ZipFile(wheel) as members:
                total += sum(member.file_size for member in members.infolist())
        return total


def own_wheels(runtime: Runtime, arch: str, folder: Path = WHEELS) -> list[Path]:
    """Return the last published builds for a Python and architecture, newest TensorFlow first."""
    found: dict[Version, Path] = {}
    for wheel in folder.glob(f"tflite_runtime-*-{runtime.tag}-*_{arch}.whl"):
        name = parse_name(wheel.name)
        if name.version not in found or name.build > parse_name(found[name.version].name).build:
            found[name.version] = wheel
    return [found[version] for version in sorted(found, reverse=True)]


@dataclass(frozen=True, kw_only=True)
class Registry:
    """The source of contenders for one runtime and architecture."""

    runtime: Runtime
    arch: str
    cache: Cache
    fetcher: Fetcher
    log: Path

    def contenders(
        self, wheels: Sequence[Path], settings: Settings, only: Sequence[str]
    ) -> list[Contender]:
        """Return our contenders and all others, with their packages; fetch no package yet.

        Args:
            only: see `chosen`.

        Raises:
            UsageError: no runtime has such a name.
            FetchError: pip cannot say what it would install.
            SmokeError: this machine has no such Python to ask.
        """
        asked = [
            Contender(
                name=name_of(wheel, subject_of(wheel)),
                requirement=str(wheel.absolute()),
                module=OWN_MODULE,
                format=TFLITE,
                own=True,
            )
            for wheel in wheels
        ]
        asked += [
            Contender(
                name=each.project,
                requirement=each.requirement,
                module=each.module,
                format=each.format,
                own=False,
            )
            for each in settings.runtimes
        ]
        # Threads help because pip mostly waits for the network.
        with ThreadPoolExecutor() as threads:
            return list(threads.map(self.resolved, chosen(asked, only)))

    def resolved(self, contender: Contender, *constraints: str) -> Contender:
        """Return a contender with the packages that pip chooses, or with the reason for none."""
        found = self._resolve(contender.requirement, *constraints)
        if found.reason:
            return replace(contender, reason=found.reason)
        own = found.packages[0]
        name = contender.name if contender.own else f"{own.name} {own.version}"
        return replace(contender, name=name, packages=found.packages, reason="")

    def with_old_numpy(self, contender: Contender) -> Contender:
        """Return a contender with NumPy 1, which has the older binary interface."""
        note = "with NumPy 1: it does not run with the NumPy 2 that pip chooses"
        return replace(self.fetched(self.resolved(contender, OLD_NUMPY)), note=note)

    def fetched(self, contender: Contender) -> Contender:
        """Return a contender with the wheel files of its packages.

        Raises:
            FetchError, ChecksumError: a wheel cannot be fetched.
        """
        wheels = tuple(
            each.local or self.fetcher.pypi(each.name, each.version, each.file, each.sha256)
            for each in contender.packages
        )
        return replace(contender, wheels=wheels)

    def _resolve(self, requirement: str, *constraints: str) -> Resolution:
        """Return pip's answer of today; pip is asked once a day."""
        # The handler needs Pillow.
        pillow = read_toml(DATA)["pillow"][self.runtime.python]
        requirements = [requirement, f"pillow=={pillow}", *constraints]

        def make(folder: Path) -> None:
            found = resolve(requirements, self.runtime, self.arch, self._pip(), self.log)
            (folder / ANSWER).write_text(found.as_text())

        today = f"{datetime.datetime.now(tz=datetime.UTC):%Y-%m-%d}"
        asked = [sha256_of(Path(requirement)) if requirement.endswith(".whl") else requirement]
        key = [*asked, *requirements, self.runtime.python, self.runtime.glibc, self.arch, today]
        folder = self.cache.product("resolution", key_of([*key, recipe(RESOLVE)]), make)
        return Resolution.of_text((folder / ANSWER).read_text())

    def _pip(self) -> Path:
        """Return an interpreter of the runtime's Python that has pip."""
        found = find_interpreter(self.runtime.python)
        if found is None:
            raise SmokeError(
                f"this machine has no Python {self.runtime.python} to ask pip with",
                remedy=f"install it (pyenv install {self.runtime.python})",
            )

        def make(folder: Path) -> None:
            place = folder / "environment"
            uv(
                "making an environment",
                "venv",
                "--seed",
                "--python",
                found.executable,
                place,
                log=self.log,
            )

        key = key_of([str(found.executable), found.version])
        folder = self.cache.product("resolver-environment", key, make)
        return folder / "environment" / "bin" / "python"


def chosen(contenders: Sequence[Contender], only: Sequence[str]) -> list[Contender]:
    """Return the contenders whose names have one of the words, and all of ours.

    Args:
        only: the words; if there are none, all contenders are chosen.

    Raises:
        UsageError: a word is in no contender's name.
    """
    for word in only:
        if not any(word in each.name for each in contenders):
            names = ", ".join(each.name for each in contenders)
            raise UsageError(f"no runtime has {word!r} in its name", remedy=f"there are {names}")
    return [
        each for each in contenders if each.own or not only or any(w in each.name for w in only)
    ]
