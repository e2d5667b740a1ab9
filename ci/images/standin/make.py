"""Make stand-ins: a Debian root file system, a CPython, Lambda's emulator and client.

A stand-in is kept in the engine's store with a digest of what it was made from as
a label, and made again only when that differs. Its glibc is Debian's, newer than
Lambda's: it proves the contract of the base image, never the glibc floor, which is
the audit's (builders/audit).
"""

from __future__ import annotations

import platform
import shutil
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from builders.cache import Cache, key_of, recipe
from builders.docker_engine import Engine, pip_secrets
from builders.errors import EngineError
from builders.fetch import Fetcher
from builders.headers import DEBIAN_ARCH
from builders.interpreters import Interpreter, find_interpreter
from builders.matrix import Runtime
from builders.sources import Archive
from ci.images.debian import make_root
from ci.images.standin.frozen import freeze_python
from smoke_lambda.lock import FUNCTION_PACKAGES, lock_path, packages_of
from smoke_lambda.rie import DATA as RIE
from smoke_lambda.rie import emulator

HERE = Path(__file__).parent
DATA = HERE / "standin.toml"
NAME = "tflite-lambda-standin"
LABEL = "tflite-lambda.inputs"
DIFFERS = "stand-ins have Debian's glibc, newer than Lambda's; the audit proves the glibc floor"

# A tree of CPython without what no function needs, and without this machine's own packages.
LEFT_OUT = ("test", "tests", "idlelib", "turtledemo", "__pycache__", "config-*", "site-packages")

Step = Callable[[str], None]


def reference(runtime: Runtime, arch: str) -> str:
    """The local name of a stand-in."""
    return f"{NAME}:{runtime.python}{'' if arch == 'x86_64' else f'-{arch}'}"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What one stand-in is made from.

    Attributes:
        suite: the Debian release of its root file system.
        packages: Debian packages in that.
        tree: the prefix of this machine's CPython that is copied, or None where
            the Python is among the packages.
        version: of that CPython.
        frozen: what has that CPython's machine code for another architecture.
    """

    suite: str
    packages: tuple[str, ...]
    tree: Path | None = None
    version: str = ""
    frozen: Archive | None = None


def choose_recipe(runtime: Runtime, arch: str) -> Recipe:
    """This machine's CPython where it can be copied, else Debian's, else one made of two.

    Raises:
        EngineError: none of them is to be had.
    """
    data = tomllib.loads(DATA.read_text())
    found, suite = _copyable(runtime), _suite()
    if found is not None and found.arch == arch and suite in data["copied"]:
        packages = tuple(data["copied"][suite])
        return Recipe(suite=suite, packages=packages, tree=found.prefix, version=found.version)
    extracted = tuple(data["extracted"]["packages"])
    if runtime.debian:
        packages = tuple(p.format(python=runtime.python) for p in data["packaged"]["packages"])
        if arch != platform.machine():
            packages += extracted
        return Recipe(suite=runtime.debian, packages=packages)
    frozen = data["frozen"].get(f"{runtime.tag}-{arch}")
    if found is not None and frozen and suite:
        return Recipe(
            suite=suite,
            packages=extracted + tuple(data["frozen"]["packages"]),
            tree=found.prefix,
            version=found.version,
            frozen=Archive(**frozen),
        )
    suites = " or ".join(data["copied"])
    raise EngineError(
        f"no Python {runtime.python} for {arch} to make a stand-in of",
        remedy=f"install it (pyenv install {runtime.python}) on Debian {suites}",
    )


@dataclass(frozen=True, kw_only=True)
class Maker:
    """Makes stand-ins in an engine's store."""

    engine: Engine
    cache: Cache
    fetcher: Fetcher
    log: Path
    on_step: Step = field(default=lambda _what: None)

    def is_there(self, runtime: Runtime, arch: str) -> bool:
        """Whether an up-to-date one is."""
        found = self.engine.image_labels(reference(runtime, arch)).get(LABEL)
        return found is not None and found == self._key(runtime, arch)

    def make(self, runtime: Runtime, arch: str) -> str:
        """The reference of a Python's stand-in, made now if need be.

        Raises:
            EngineError: the engine, mmdebstrap or the mirror failed, or there is no
                such Python.
            DiskFullError: the engine's store is full.
            FetchError: the emulator cannot be had.
        """
        name = reference(runtime, arch)
        with self.cache.lock(f"standin-{runtime.tag}-{arch}"):
            if not self.is_there(runtime, arch):
                self._make(runtime, arch, name)
        return name

    def _make(self, runtime: Runtime, arch: str, name: str) -> None:
        recipe_ = choose_recipe(runtime, arch)
        root = self._root(recipe_, arch)
        self.on_step("image")
        with TemporaryDirectory(prefix="tflite-standin-") as folder, pip_secrets() as secrets:
            context = Path(folder)
            for file in ("lambda-entrypoint.sh", "bootstrap"):
                shutil.copy2(HERE / file, context)
            rie = emulator(arch, self.cache.root / "rie", self.fetcher)
            shutil.copy2(rie, context / "aws-lambda-rie")
            (context / "requirements.txt").write_text(_client_requirements(runtime))
            if recipe_.tree is not None:
                copy_python(recipe_.tree, runtime, context / "lang")
            if recipe_.frozen is not None:
                wheel = recipe_.frozen.fetch(self.fetcher)
                freeze_python(wheel, runtime, platform.machine(), arch, context / "lang")
            self.engine.build(
                dockerfile=HERE / "Dockerfile",
                context=context,
                args={
                    "ROOT": root,
                    "KIND": "packaged" if recipe_.tree is None else "copied",
                    "PYTHON": runtime.python,
                },
                secrets=secrets,
                labels={LABEL: self._key(runtime, arch)},
                tag=name,
                network="host",
                platform=f"linux/{DEBIAN_ARCH[arch]}",
                log=self.log,
                what=f"making the stand-in {name}",
                on_line=self.on_step,
            )

    def _root(self, recipe_: Recipe, arch: str) -> str:
        """The image of a root file system; Pythons that are copied share one."""
        key = key_of([recipe_.suite, recipe_.packages, arch])
        name = f"{NAME}-root:{recipe_.suite}-{arch}-{key}"
        with self.cache.lock(f"standin-root-{key}"):
            if self.engine.image_id(name) is None:
                self._import_root(recipe_, arch, name)
        return name

    def _import_root(self, recipe_: Recipe, arch: str, name: str) -> None:
        self.on_step(f"Debian {recipe_.suite}")
        with TemporaryDirectory(prefix="tflite-standin-") as folder:
            tar = Path(folder) / "root.tar"
            make_root(
                tar,
                recipe_.suite,
                recipe_.packages,
                arch,
                log=self.log,
                on_line=self.on_step,
                otherwise=", or name a base image with --base",
            )
            # `docker import --platform` of engine 20.10 gives the image its own architecture.
            dockerfile = Path(folder) / "Dockerfile"
            dockerfile.write_text(f"FROM scratch\nADD {tar.name} /\n")
            self.engine.build(
                dockerfile=dockerfile,
                context=Path(folder),
                tag=name,
                platform=f"linux/{DEBIAN_ARCH[arch]}",
                log=self.log,
                what=f"importing Debian {recipe_.suite}",
            )

    def _key(self, runtime: Runtime, arch: str) -> str:
        recipe_ = choose_recipe(runtime, arch)
        made_from = [recipe_.suite, recipe_.packages, str(recipe_.tree), recipe_.version]
        made_from += [recipe_.frozen.sha256] if recipe_.frozen else []
        return key_of([*made_from, arch, _client_requirements(runtime), recipe(HERE, RIE)])


def copy_python(tree: Path, runtime: Runtime, lang: Path) -> None:
    """Copy what an installation of CPython is, and nothing else that its prefix holds."""
    name = runtime.name
    for folder in (f"lib/{name}", f"include/{name}"):
        ignore = shutil.ignore_patterns(*LEFT_OUT)
        shutil.copytree(tree / folder, lang / folder, symlinks=True, ignore=ignore)
    (lang / "bin").mkdir()
    shutil.copy2(tree / "bin" / name, lang / "bin" / name)
    for library in tree.glob("lib/libpython3*.so*"):
        shutil.copy2(library, lang / "lib", follow_symlinks=False)


def _client_requirements(runtime: Runtime) -> str:
    """The locked requirements of Lambda's Python client, as functions run with it."""
    locked = packages_of(lock_path(runtime, runtime.numpy.on_lambda))
    return "".join(text for name, text in locked.items() if name not in FUNCTION_PACKAGES)


def _copyable(runtime: Runtime) -> Interpreter | None:
    """This machine's CPython, if it is an installation of its own."""
    found = find_interpreter(runtime.python)
    if found is None or found.prefix == Path("/usr"):
        return None
    return found if (found.prefix / f"lib/{runtime.name}/os.py").is_file() else None


def _suite() -> str:
    """This machine's Debian release, or nothing."""
    try:
        return platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    except OSError:
        return ""
