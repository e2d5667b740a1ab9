"""Layers as a maintainer makes them, under the emulator, at Lambda's places on the path."""

from __future__ import annotations

import json
import platform
import re
import shutil
import subprocess
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
import sam
from support import rie, script, wheels_folder
from uv import find_uv_bin

from builders.audit.wheelfile import UNPACKED_LIMIT
from builders.cache import Cache, default_root
from builders.interpreters import find_interpreter
from builders.matrix import Runtime, Target, load_matrix
from builders.wheelname import parse_own_name
from ci.layers.layer_content import locked_wheel, site_packages
from ci.layers.layer_zip import folder_of
from smoke_lambda import events
from smoke_lambda.function import running
from smoke_lambda.lock import lock_path, locked

pytestmark = pytest.mark.integration

TEMPLATE = sam.FOLDER / "template.yaml"
MODEL = "digits-float32"

# NumPy's tools, which layers omit.
TOOLS = (
    "numpy.distutils",
    "numpy.f2py",
    "numpy._pyinstaller",
    "numpy.doc",
    "numpy.core.umath_tests",
    "numpy.setup",
)
TOOL_FILES = re.compile(r"\.(_simd|_(?!multiarray)\w+_tests|setup)$")

# Imports all importable modules of a package, and prints the others.
IMPORT_ALL = """
import importlib, json, pkgutil, sys, warnings
warnings.simplefilter("ignore")
sys.path.insert(0, sys.argv[1])
import numpy
exec("from numpy import *")
found = {}
for module in pkgutil.walk_packages(numpy.__path__, "numpy.", onerror=lambda name: None):
    if not {"__main__", "conftest", "tests"} & set(module.name.split(".")):
        try:
            importlib.import_module(module.name)
            found[module.name] = ""
        except BaseException as error:
            found[module.name] = type(error).__name__
a = numpy.random.default_rng(7).normal(size=(8, 8))
u, s, v = numpy.linalg.svd(a)
numpy.testing.assert_allclose((u * s) @ v, a)
numpy.testing.assert_allclose(numpy.fft.ifft(numpy.fft.fft(a)).real, a)
print()
print(json.dumps([numpy.__version__, found]))
"""


def is_tool(module: str) -> bool:
    """Return True if layers omit this module of NumPy."""
    return (
        any(module == tool or module.startswith(f"{tool}.") for tool in TOOLS)
        or TOOL_FILES.search(module) is not None
    )


def python_of(runtime: Runtime) -> Path:
    found = find_interpreter(runtime.python)
    if found is None:
        pytest.skip(f"no Python {runtime.python}: install it (pyenv install {runtime.python})")
    return found.executable


def targets() -> list[Target]:
    """Return the targets of the main job's wheels that run here, the oldest Python first."""
    matrix = load_matrix()
    found = {parse_own_name(path.name, matrix).target for path in wheels_folder().glob("*.whl")}
    return [t for t in matrix.targets() if t in found and t.arch == platform.machine()]


def make(out: Path, *arguments: str) -> list[dict[str, Any]]:
    """Make layers with ./scripts/layer; return its JSON."""
    done = script("layer", *arguments, "--json", "--wheels", wheels_folder(), "--out", out)
    assert done.returncode == 0, done.stderr
    made: list[dict[str, Any]] = json.loads(done.stdout)
    return made


def unpack(zips: Iterable[Path], opt: Path) -> None:
    """Unpack layers as Lambda does: all into one folder, which is then read-only."""
    for path in zips:
        with zipfile.ZipFile(path) as file:
            file.extractall(opt)
    for folder in [opt, *(path for path in opt.rglob("*") if path.is_dir())]:
        folder.chmod(0o555)


def bare_environment(folder: Path, runtime: Runtime) -> Path:
    """Make an environment with what Lambda has: Python and its client, but no NumPy."""
    lock = lock_path(runtime, runtime.numpy.on_lambda)
    text = lock.read_text()
    for project in ("numpy", "pillow"):
        text = text.replace(locked(lock, project), "")
    requirements = folder.with_suffix(".txt")
    requirements.write_text(text)
    python = folder / "bin" / "python"
    install: list[str | Path] = ["pip", "install", "--quiet", "--python", python]
    commands: list[list[str | Path]] = [
        ["venv", "--quiet", "--python", python_of(runtime), folder],
        [*install, "--require-hashes", "-r", requirements],
    ]
    for command in commands:
        subprocess.run([find_uv_bin(), *command], check=True)
    has = subprocess.run([python, "-c", "import numpy"], capture_output=True, check=False)
    assert b"ModuleNotFoundError" in has.stderr
    return python


def answers(
    runtime: Runtime, zips: Sequence[Path], folder: Path, *, task: Path, handler: str
) -> list[str]:
    """Send every event to a function with these layers; return the faults."""
    opt, home = folder / "opt", folder / "tmp"
    home.mkdir(parents=True)
    unpack(zips, opt)
    # The order of Lambda's own sys.path.
    path = [opt / folder_of(runtime, multi=True), opt / folder_of(runtime, multi=False)]
    variables = {
        "PYTHONPATH": ":".join(map(str, path)),
        "MAX_BYTES": str(events.MAX_BYTES),
        "URL_SECONDS": str(events.URL_SECONDS),
    }
    log = folder / "log"
    known = events.known_answers()[MODEL]
    wrong = []
    with running(
        handler,
        python=bare_environment(folder / "environment", runtime),
        task=shutil.copytree(task, folder / "task"),
        home=home,
        rie=rie(),
        log=log,
        variables=variables,
    ) as function:
        cases = list(events.cases(known, "http://127.0.0.1:1", private=False))
        assert {"REST API, image", "REST API, JPEG", "HTTP API, image", "HTTP API, JPEG"} <= {
            case.name for case in cases
        }
        for case in cases:
            fault = events.judge(case, function.invoke(case.event), MODEL, known)
            if fault:
                wrong.append(f"{case.name}: {fault}")
    assert "Traceback" not in log.read_text()
    return wrong


@pytest.fixture(scope="module")
def layers(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Make the layers of the template's own command."""
    arguments = sam.layer_command(TEMPLATE)
    if arguments[0] not in {target.identifier for target in targets()}:
        pytest.skip(f"no wheel of {arguments[0]}: ./scripts/build --only {arguments[0]}")
    return make(tmp_path_factory.mktemp("layers"), *arguments)


def test_the_templates_function_answers_every_event(
    layers: list[dict[str, Any]], tmp_path: Path
) -> None:
    template = sam.load(TEMPLATE)
    (function,) = (r["Properties"] for r in sam.of_type(template, sam.FUNCTION).values())
    wanted = [
        Path(template["Resources"][layer["Ref"]]["Properties"]["ContentUri"]).name
        for layer in function["Layers"]
    ]
    zips = {Path(layer["path"]).name: Path(layer["path"]) for layer in layers}
    wrong = answers(
        load_matrix().runtime(function["Runtime"]),
        [zips[name] for name in wanted],
        tmp_path,
        task=sam.FOLDER / function["CodeUri"],
        handler=function["Handler"],
    )
    assert wrong == []


def test_sizes_are_right_and_within_the_limit_of_a_function(layers: list[dict[str, Any]]) -> None:
    code = sum(path.stat().st_size for path in (sam.FOLDER / "function").rglob("*.*"))
    for layer in layers:
        path = Path(layer["path"])
        assert path.stat().st_size == layer["zipped"]
        with zipfile.ZipFile(path) as file:
            assert sum(info.file_size for info in file.infolist()) == layer["unzipped"]
    assert code + sum(layer["unzipped"] for layer in layers) < UNPACKED_LIMIT


def test_made_again_elsewhere_they_are_the_same_bytes(
    layers: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("PYTHONHASHSEED", "7"), ("TZ", "Asia/Tokyo"), ("LC_ALL", "C")):
        monkeypatch.setenv(name, value)
    again = make(tmp_path, *sam.layer_command(TEMPLATE))
    assert [layer["sha256"] for layer in again] == [layer["sha256"] for layer in layers]
    for layer, other in zip(layers, again, strict=True):
        assert Path(layer["path"]).read_bytes() == Path(other["path"]).read_bytes()


def test_no_start_compiles_what_is_in_a_layer(layers: list[dict[str, Any]], tmp_path: Path) -> None:
    target = load_matrix().target(sam.layer_command(TEMPLATE)[0])
    unpack([Path(layer["path"]) for layer in layers], tmp_path / "opt")
    folder = tmp_path / "opt" / folder_of(target.runtime, multi=False)
    code = "import numpy, tflite_runtime.interpreter, PIL.Image"
    done = subprocess.run(
        [python_of(target.runtime), "-B", "-v", "-c", code],
        env={"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = [line for line in done.stderr.splitlines() if f"# code object from '{folder}" in line]
    assert len(loaded) > 50
    assert all(line.endswith(".pyc'") for line in loaded), "Python compiled a file"


def test_one_layer_serves_the_oldest_and_the_newest_python(tmp_path: Path) -> None:
    pair = [targets()[0], targets()[-1]]
    made = make(tmp_path, "--multi", "--pillow", *(target.identifier for target in pair))
    assert len(made) == 2
    for layer in made:
        assert layer["CompatibleRuntimes"] == [target.runtime.name for target in pair]
    for target in pair:
        wrong = answers(
            target.runtime,
            [Path(layer["path"]) for layer in made],
            tmp_path / target.runtime.tag,
            task=sam.FOLDER / "function",
            handler="app.handler",
        )
        assert wrong == [], target.identifier


def test_a_stripped_numpy_imports_what_the_whole_one_does(tmp_path: Path) -> None:
    cache = Cache(default_root())
    # One Python of each NumPy is enough.
    for version, target in {t.runtime.numpy.on_lambda: t for t in targets()}.items():
        wheel = locked_wheel("numpy", target.runtime, target.arch, cache, tmp_path / "log")
        whole, stripped = tmp_path / f"{version}-whole", tmp_path / f"{version}-stripped"
        with zipfile.ZipFile(wheel) as file:
            file.extractall(whole)
        for path, data in site_packages([wheel]).items():
            (stripped / path).parent.mkdir(parents=True, exist_ok=True)
            (stripped / path).write_bytes(data)
        found = []
        for folder in (whole, stripped):
            command: list[str | Path] = [python_of(target.runtime), "-I", "-c", IMPORT_ALL, folder]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            found.append(json.loads(done.stdout.splitlines()[-1]))
        (of_whole, all_modules), (of_stripped, modules) = found
        assert of_whole == of_stripped == version
        wanted = {name: how for name, how in all_modules.items() if not is_tool(name)}
        # What stands in for one is there. A module that needs a tool fails in either, in its way.
        kept = {name: how for name, how in modules.items() if not is_tool(name)}
        assert {name: not how for name, how in kept.items()} == {
            name: not how for name, how in wanted.items()
        }
        assert len(wanted) > len(all_modules) / 2
        assert sum(not result for result in modules.values()) > 100


def test_arm64_is_made_on_this_machine(tmp_path: Path) -> None:
    """The layer has a stand-in for the wheel: the real one comes from a cross-compiled build."""
    made_here = next(wheels_folder().glob("*.whl"))
    wheel = tmp_path / made_here.name.replace("x86_64", "aarch64")
    shutil.copy2(made_here, wheel)
    (made,) = make(tmp_path / "out", str(wheel))
    assert made["CompatibleArchitectures"] == ["arm64"]
    with zipfile.ZipFile(made["path"]) as file:
        extensions = [name for name in file.namelist() if name.startswith("python/numpy/")]
    assert any(name.endswith("-aarch64-linux-gnu.so") for name in extensions)
    assert not any("x86_64" in name for name in extensions)
