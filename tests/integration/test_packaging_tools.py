"""Our wheels as packaging tools read them: metadata checkers, lockers and installers.

The tests make the wheels that they lock, one per Python, with an empty core. An index on loopback
has them and an empty NumPy. Metadata checkers also check the main job's wheels. The tools are in an
environment of their own (tests/clients/requirements.txt).
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from packaging.version import Version
from publish_samples import MATRIX, Place
from support import ROOT, records, wheels_folder
from test_audit_samples import record_of
from test_publish_clients import Environment, serving
from uv import find_uv_bin

from builders.cache import Cache, default_root, key_of, sha256_of
from builders.interpreters import find_interpreter
from ci.publish.manifest import PROJECT
from smoke_lambda.native import make_environment

pytestmark = pytest.mark.integration

REQUIREMENTS = ROOT / "tests/clients/requirements.txt"
DRIVER = "{}.{}".format(*sys.version_info)
# A pre-release, which tools are more careful with.
TENSORFLOW = MATRIX.tensorflows[-1].version
WANTED = f"{PROJECT}=={TENSORFLOW}"
OTHER = "aarch64" if platform.machine() == "x86_64" else "x86_64"


@pytest.fixture(scope="module")
def tools() -> Path:
    """Return the Python of the tools' environment."""
    interpreter = find_interpreter(DRIVER)
    assert interpreter is not None
    key = key_of([sha256_of(REQUIREMENTS), str(interpreter.executable), interpreter.version])

    def make(folder: Path) -> None:
        log = folder / "log"
        make_environment(interpreter.executable, REQUIREMENTS, folder / "environment", log)

    return (
        Cache(default_root()).product("clients-environment", key, make) / "environment/bin/python"
    )


@dataclass(frozen=True)
class Index:
    """A folder of wheels, and the address of its index on a server."""

    folder: Path
    address: str

    @property
    def url(self) -> str:
        """The value of --index-url."""
        return f"{self.address}simple/"


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    place = Place(tmp_path_factory.mktemp("index"))
    machine = platform.machine()
    wanted = [t for t in MATRIX.targets() if t.tensorflow.version == TENSORFLOW]
    place.publish(*(t for t in wanted if t.arch == machine or t.runtime.python == "3.13"))
    add_numpy(place.wheels)
    with serving(place.wheels) as (address, _):
        yield Index(place.wheels, address)


def add_numpy(folder: Path) -> None:
    """Put wheels of the matrix's NumPy versions, with Requires-Python, into an index."""
    links = ""
    for version in {r.numpy.floor for r in MATRIX.runtimes} | {
        r.numpy.newest for r in MATRIX.runtimes
    }:
        pythons = [
            Version(r.python)
            for r in MATRIX.runtimes
            if Version(r.numpy.floor) <= Version(version) <= Version(r.numpy.newest)
        ]
        metadata = f"Metadata-Version: 2.1\nName: numpy\nVersion: {version}\n"
        metadata += f"Requires-Python: >={min(pythons)}\n"
        info = f"numpy-{version}.dist-info"
        files = {
            "numpy/__init__.py": b"",
            f"{info}/METADATA": metadata.encode(),
            f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        files[f"{info}/RECORD"] = record_of(files, f"{info}/RECORD")
        name = f"numpy-{version}-py3-none-any.whl"
        with zipfile.ZipFile(folder / name, "w") as file:
            for member, data in files.items():
                file.writestr(member, data)
        sha256 = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        attributes = f'data-requires-python="&gt;={min(pythons)}"'
        links += f'<a href="../../{name}#sha256={sha256}" {attributes}>{name}</a><br>\n'
    (folder / "simple/numpy").mkdir()
    (folder / "simple/numpy/index.html").write_text(f"<!DOCTYPE html>\n{links}")


def run(*command: str | Path, cwd: Path, **env: str) -> str:
    """Run a tool as a user without settings does; return its output."""
    foreign = ("PIP_", "UV_", "POETRY_", "PDM_", "PIPENV_", "PEX_", "PYTHON", "VIRTUAL_ENV")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    kept |= {"HOME": str(cwd), "XDG_CACHE_HOME": str(cwd / "cache"), "NO_PROXY": "127.0.0.1"}
    kept |= {"XDG_CONFIG_DIRS": str(cwd), "XDG_CONFIG_HOME": str(cwd)}
    kept |= {"PIP_CONFIG_FILE": os.devnull, "UV_PYTHON_DOWNLOADS": "never"}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=kept | env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(params=["made here", "of the main job"])
def wheels(request: pytest.FixtureRequest) -> list[Path]:
    if request.param == "made here":
        index: Index = request.getfixturevalue("index")
        return sorted(index.folder.glob("tflite_runtime-*.whl"))
    return sorted(wheels_folder().absolute().glob("*.whl"))


def test_the_checkers_of_wheels_pass_them(wheels: list[Path], tools: Path, tmp_path: Path) -> None:
    assert wheels
    told = run(tools, "-m", "twine", "check", "--strict", *wheels, cwd=tmp_path, NO_COLOR="1")
    assert told.count("PASSED") == len(wheels)
    told = run(tools, "-m", "check_wheel_contents", *wheels, cwd=tmp_path)
    assert told.count(": OK") == len(wheels)
    read = "import pkginfo, sys; print(*(pkginfo.Wheel(wheel).version for wheel in sys.argv[1:]))"
    told = run(tools, "-c", read, *wheels, cwd=tmp_path)
    assert told.split() == [wheel.name.split("-")[1] for wheel in wheels]


def numpys(lock: Path) -> set[str]:
    """Return the NumPy versions in a lock file in TOML."""
    packages = tomllib.loads(lock.read_text())["package"]
    assert [p["version"] for p in packages if p["name"] == PROJECT] == [TENSORFLOW]
    return {package["version"] for package in packages if package["name"] == "numpy"}


def newest_of(pythons: str) -> set[str]:
    """Return the newest NumPy version for each Python in a range."""
    first, _, last = pythons.removeprefix(">=").partition(",<")
    return {
        r.numpy.newest
        for r in MATRIX.runtimes
        if Version(first) <= Version(r.python) and not (last and Version(r.python) >= Version(last))
    }


PROJECT_FILE = """\
[project]
name = "demo"
version = "0"
requires-python = "{pythons}"
dependencies = ["{wanted}"]
"""
UV = """
[[tool.uv.index]]
url = "{url}"
default = true
"""
POETRY = """
[tool.poetry]
package-mode = false
[[tool.poetry.source]]
name = "ours"
url = "{url}"
priority = "primary"
"""
PDM = """
[tool.pdm]
distribution = false
[[tool.pdm.source]]
name = "pypi"
url = "{url}"
"""
PIPFILE = """\
[[source]]
name = "ours"
url = "{url}"
verify_ssl = false
[packages]
tflite-runtime = "=={version}"
[requires]
python_version = "{python}"
"""


def write_project(folder: Path, index: Index, pythons: str, tool: str) -> None:
    text = PROJECT_FILE.format(pythons=pythons, wanted=WANTED) + tool.format(url=index.url)
    (folder / "pyproject.toml").write_text(text)


# Ranges from the oldest Python, from the driver's Python, and between; with and without an end.
@pytest.mark.parametrize("pythons", [">=3.8", f">={DRIVER}", ">=3.9,<3.15"])
def test_uv_locks_a_range_of_pythons_and_installs(
    index: Index, tmp_path: Path, pythons: str
) -> None:
    write_project(tmp_path, index, pythons, UV)
    uv = (find_uv_bin(), "--quiet", "--no-cache")
    run(*uv, "lock", "--python", sys.executable, cwd=tmp_path)
    assert numpys(tmp_path / "uv.lock") == newest_of(pythons)
    run(*uv, "sync", "--locked", "--python", sys.executable, cwd=tmp_path)
    told = run(*uv, "pip", "list", cwd=tmp_path)
    assert re.search(rf"^{PROJECT} +{re.escape(TENSORFLOW)}$", told, re.MULTILINE)


def test_poetry_locks_a_range_of_pythons(index: Index, tools: Path, tmp_path: Path) -> None:
    write_project(tmp_path, index, ">=3.8", POETRY)
    settings = {"POETRY_VIRTUALENVS_CREATE": "false"}
    run(tools, "-m", "poetry", "lock", "--no-interaction", cwd=tmp_path, **settings)
    assert numpys(tmp_path / "poetry.lock") >= newest_of(">=3.8")


def test_pdm_locks(index: Index, tools: Path, tmp_path: Path) -> None:
    # PDM has one NumPy for all Pythons that it locks at once.
    if "SyncSqliteStorage" not in run(
        tools, "-c", "import hishel; print(dir(hishel))", cwd=tmp_path
    ):
        pytest.skip("PDM's cache does not work with this Python (it needs sqlite3)")
    write_project(tmp_path, index, f">={DRIVER}", PDM)
    settings = {"PDM_IGNORE_SAVED_PYTHON": "1", "PDM_CHECK_UPDATE": "0", "PDM_NON_INTERACTIVE": "1"}
    pythons = f"=={DRIVER}.*"
    run(tools, "-m", "pdm", "lock", "--python", pythons, cwd=tmp_path, **settings)
    newest = newest_of(f">={DRIVER},<3.{sys.version_info[1] + 1}")
    assert numpys(tmp_path / "pdm.lock") == newest


def test_pipenv_locks(index: Index, tools: Path, tmp_path: Path) -> None:
    text = PIPFILE.format(url=index.url, version=TENSORFLOW, python=DRIVER)
    (tmp_path / "Pipfile").write_text(text)
    settings = {"PIPENV_VENV_IN_PROJECT": "1", "PIPENV_NOSPIN": "1"}
    run(tools, "-m", "pipenv", "lock", "--python", sys.executable, cwd=tmp_path, **settings)
    (newest,) = newest_of(f">={DRIVER},<3.{sys.version_info[1] + 1}")
    text = (tmp_path / "Pipfile.lock").read_text()
    assert f'"version": "=={TENSORFLOW}"' in text
    assert f'"version": "=={newest}"' in text


def test_pip_installs_what_pip_check_finds_whole(index: Index, tmp_path: Path) -> None:
    environment = Environment(tmp_path / "environment", DRIVER)
    environment.pip("install", "--quiet", "--index-url", index.url, WANTED)
    assert "No broken requirements" in environment.pip("check")


def test_sam_installs_for_the_other_architecture(index: Index, tools: Path, tmp_path: Path) -> None:
    """This runs the part of `sam build` that installs, as docs/lambda.md describes."""
    for name in ("source", "artifacts", "scratch"):
        (tmp_path / name).mkdir()
    (tmp_path / "source/requirements.txt").write_text(WANTED + "\n")
    arch = {"aarch64": "ARM64", "x86_64": "X86_64"}[OTHER]
    build = (
        "from aws_lambda_builders import architecture, builder\n"
        "builder.LambdaBuilder('python', 'pip', None).build("
        "'source', 'artifacts', 'scratch', 'source/requirements.txt', "
        f"runtime='python3.13', architecture=architecture.{arch})"
    )
    interpreter = find_interpreter("3.13")
    if interpreter is None:
        pytest.skip("no Python 3.13 here (pyenv install 3.13)")
    path = {"PATH": f"{interpreter.executable.parent}{os.pathsep}{os.environ['PATH']}"}
    links = {"PIP_FIND_LINKS": str(index.folder), "PIP_NO_INDEX": "1"}
    run(tools, "-c", build, cwd=tmp_path, **path, **links)
    (extension,) = (tmp_path / "artifacts/tflite_runtime").glob("*.so")
    assert extension.name.endswith(f"cpython-313-{OTHER}-linux-gnu.so")


def native(found: Mapping[str, Mapping[str, object]]) -> list[str]:
    """Return the main job's targets whose wheels run here."""
    return [name for name in found if name.endswith(platform.machine())]


def test_pex_packs_an_application_that_answers(tools: Path, tmp_path: Path) -> None:
    found = records()
    target = MATRIX.target(native(found)[-1])
    interpreter = find_interpreter(target.runtime.python)
    if interpreter is None:
        pytest.skip(f"no Python {target.runtime.python} here")
    wheel = wheels_folder().absolute() / str(found[target.identifier]["wheel"])
    application = tmp_path / "application.pex"
    # NumPy comes from this machine's index, with its settings.
    settings = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    pex = (tools, "-m", "pex", "--use-pip-config", "--python", interpreter.executable)
    run(*pex, wheel, "--output-file", application, cwd=tmp_path, **settings)
    model = ROOT / "smoke_lambda/models/digits-float32.tflite"
    code = (
        "import pathlib, sys\n"
        "from tflite_runtime.interpreter import Interpreter\n"
        "interpreter = Interpreter(pathlib.Path(sys.argv[1]))\n"
        "interpreter.allocate_tensors()\n"
        "interpreter.invoke()\n"
        "print(interpreter.get_tensor(interpreter.get_output_details()[0]['index']).shape)"
    )
    told = run(interpreter.executable, application, "-c", code, model, cwd=tmp_path)
    assert told.splitlines()[-1] == "(1, 10)"
