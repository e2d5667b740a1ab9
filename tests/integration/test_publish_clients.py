"""Published wheels by the real clients: pip and uv, from a plain web server.

The wheels of the main job ($TFLITE_WHEELS) are published into a copy of this repository
by the command itself; what this repository has published is installed, too.
"""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from rich.console import Console
from support import ROOT, records, script, wheels_folder
from uv import find_uv_bin

from builders.cache import Cache, default_root
from builders.errors import PublishError
from builders.interpreters import find_interpreter
from builders.matrix import load_matrix
from builders.native import NativeRunner
from builders.progress import Reporter
from ci.publish.manifest import PROJECT, Manifest, Wheel, read_manifest
from ci.publish.product import read_contents
from ci.publish.versions import requirement
from smoke_lambda import events
from smoke_lambda.bench import FLOAT32

pytestmark = pytest.mark.integration

DRIVER_PYTHON = "{}.{}".format(*sys.version_info)
PYTHONS = [runtime.python for runtime in load_matrix().runtimes]
JSON = "application/vnd.pypi.simple.v1+json"
# The parts of the repository that the commands need; at first, nothing is published.
PARTS = ("builders", "smoke_lambda", "ci", "scripts", "README.md")


class Handler(SimpleHTTPRequestHandler):
    """Serves files; to clients that prefer it, serves the index as JSON, as a site could."""

    negotiates = False
    asked: list[str]

    def log_message(self, *_: object) -> None:
        """Record the request."""
        self.asked.append(self.path)

    def translate_path(self, path: str) -> str:
        """Return the path of the JSON index for clients that prefer it."""
        found = super().translate_path(path)
        if self._as_json(path):
            return f"{found}index.json"
        return found

    def guess_type(self, path: str | os.PathLike[str]) -> str:
        """Return the media type; PEP 691's for its answers."""
        return JSON if self._as_json(self.path) else super().guess_type(path)

    def _as_json(self, path: str) -> bool:
        return self.negotiates and path.endswith("/") and JSON in self.headers.get("Accept", "")


@contextmanager
def serving(folder: Path, *, negotiates: bool = False) -> Iterator[tuple[str, list[str]]]:
    """Serve a folder; yield the address, and the list of requests."""
    asked: list[str] = []
    kind = type("OwnHandler", (Handler,), {"asked": asked, "negotiates": negotiates})
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(kind, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def client(*command: str | Path, ok: bool = True) -> str:
    """Run a client as a user without settings does; return its output."""
    foreign = ("PIP_", "UV_", "PYTHON")
    env = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    env |= {"PIP_CONFIG_FILE": os.devnull, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    env |= {"PIP_NO_CACHE_DIR": "1", "UV_NO_CONFIG": "1", "NO_PROXY": "127.0.0.1"}
    done = subprocess.run(
        [str(part) for part in command],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert (done.returncode == 0) is ok, done.stdout
    return done.stdout


class Environment:
    """A fresh environment with pip."""

    def __init__(self, folder: Path, python: str) -> None:
        interpreter = find_interpreter(python)
        if interpreter is None:
            pytest.skip(f"no Python {python} here (pyenv install {python})")
        self.folder = folder
        self.python = folder / "bin" / "python"
        self.uv("venv", "--quiet", "--seed", "--python", interpreter.executable, folder)

    def pip(self, *arguments: str | Path, ok: bool = True) -> str:
        """Run the environment's pip."""
        return client(self.python, "-m", "pip", *arguments, ok=ok)

    @staticmethod
    def uv(*arguments: str | Path) -> None:
        """Run uv with the settings of this machine, whose index has NumPy and pip."""
        subprocess.run([find_uv_bin(), *arguments], check=True, capture_output=True)

    def numpy(self, version: str) -> None:
        """Install a version of NumPy, from uv's cache if it is there."""
        install = ("pip", "install", "--quiet", "--python", self.python, "--only-binary", ":all:")
        self.uv(*install, f"numpy=={version}")

    def infers(self) -> bool:
        """Return True if the README's smallest example prints the scores of ten digits."""
        blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
        (snippet,) = (block for block in blocks if 'Interpreter("model.tflite")' in block)
        shutil.copy(events.MODELS / f"{FLOAT32}.tflite", self.folder / "model.tflite")
        command = [self.python, "-c", snippet]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return len(re.findall(r"\d\.\d*", done.stdout)) == 10

    def uninstall(self) -> None:
        """Remove the runtime."""
        self.uv("pip", "uninstall", "--quiet", "--python", self.python, PROJECT)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the repository; publish the main job's wheels in it, by two processes at once."""
    copy = tmp_path_factory.mktemp("repository")
    proven = [r["wheel"] for r in records().values() if r["smoke"]]
    assert proven, "the main job smoke-tested nothing"
    for name in PARTS:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, copy / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, copy / name)
    wheels = [wheels_folder().absolute() / name for name in proven]
    with ThreadPoolExecutor(2) as pool:
        runs = list(pool.map(lambda _: script("publish", *wheels, root=copy), range(2)))
    assert [run.returncode for run in runs] == [0, 0], [run.stderr for run in runs]
    assert sorted("nothing to do" in run.stdout for run in runs) == [False, True]
    return copy


@pytest.fixture(scope="module")
def published(repository: Path) -> Path:
    return repository / "wheels"


def wheels_for(manifest: Manifest, python: str) -> list[Wheel]:
    """Return the current wheels for a Python on this machine; skip if there are none."""
    found = [w for w in manifest.current if (w.python, w.arch) == (python, platform.machine())]
    if not found:
        pytest.skip(f"no wheel for Python {python} (./scripts/build --python {python})")
    return found


@pytest.fixture
def newest(published: Path) -> Wheel:
    return read_manifest(published).current[-1]


@pytest.fixture
def environment(tmp_path: Path, newest: Wheel) -> Environment:
    return Environment(tmp_path / "environment", newest.python)


@pytest.mark.parametrize("python", PYTHONS)
def test_every_client_installs_the_wheel_of_its_python(
    published: Path, tmp_path: Path, python: str
) -> None:
    wheel = wheels_for(read_manifest(published), python)[0]
    # What page and README tell people to ask for.
    wanted = requirement(read_manifest(published), load_matrix())
    environment = Environment(tmp_path / "environment", python)
    environment.numpy(wheel.smoke[0].numpy)
    with serving(published.parent) as (address, asked):
        raw, index = f"{address}wheels/{wheel.file}", f"{address}wheels/simple/"
        environment.pip("install", "--no-deps", f"{raw}#sha256={wheel.sha256}")
        assert environment.infers()
        environment.uninstall()

        told = environment.pip("install", "--no-deps", "--index-url", index, wanted)
        assert f"/wheels/{wheel.file}.metadata" in asked, "pip did not use the metadata file"
        assert f"Successfully installed {PROJECT}" in told.replace("_", "-")
        environment.uninstall()

        lock = tmp_path / "requirements.txt"
        lock.write_text(f"{PROJECT}=={wheel.tensorflow} --hash=sha256:{wheel.sha256}\n")
        download = ("download", "--quiet", "--no-deps", "--require-hashes", "--index-url", index)
        environment.pip(*download, "--dest", tmp_path / "downloaded", "-r", lock)
        (downloaded,) = (tmp_path / "downloaded").iterdir()
        assert downloaded.name == wheel.file
        assert hashlib.sha256(downloaded.read_bytes()).hexdigest() == wheel.sha256

        install = ("pip", "install", "--python", environment.python, "--no-cache", "--no-deps")
        client(find_uv_bin(), *install, "--index-url", index, wanted)
    environment.numpy(wheel.smoke[-1].numpy)
    assert environment.infers()


def test_another_checksum_than_the_address_names_is_refused(
    published: Path, newest: Wheel, environment: Environment
) -> None:
    """README, WHEELS.md and page name wheels by an address, or in an image, by a file."""
    with serving(published) as (address, _):
        for place in (f"{address}{newest.file}", (published / newest.file).as_uri()):
            told = environment.pip("install", "--no-deps", f"{place}#sha256={'0' * 64}", ok=False)
            assert "DO NOT MATCH THE HASHES" in told
            environment.pip("install", "--no-deps", f"{place}#sha256={newest.sha256}")
            environment.uninstall()


def test_the_wrong_python_is_refused_clearly(
    published: Path, newest: Wheel, environment: Environment, tmp_path: Path
) -> None:
    others = [w for w in read_manifest(published).current if w.python != newest.python]
    if not others:
        pytest.skip("wheels for one Python only (./scripts/build makes more)")
    with serving(published) as (address, _):
        told = environment.pip("install", "--no-deps", f"{address}{others[0].file}", ok=False)
        assert f"{others[0].file} is not a supported wheel on this platform" in told
        index = ("--index-url", f"{address}simple/", "--dest", tmp_path, PROJECT)
        download = ("download", "--no-deps", "--only-binary", ":all:", "--python-version", "3.7")
        told = environment.pip(*download, *index, ok=False)
        assert "No matching distribution found for tflite-runtime" in told


def test_a_tampered_wheel_is_refused(
    published: Path, newest: Wheel, environment: Environment, tmp_path: Path
) -> None:
    copy = tmp_path / "wheels"
    shutil.copytree(published, copy)
    data = bytearray((copy / newest.file).read_bytes())
    # The time of the first member: the archive stays sound, and only its hash is not.
    data[10] ^= 1
    (copy / newest.file).write_bytes(bytes(data))
    with serving(copy) as (address, _):
        index = ("--no-deps", "--index-url", f"{address}simple/", PROJECT)
        told = environment.pip("install", *index, ok=False)
        assert "DO NOT MATCH THE HASHES" in told
        uv = (find_uv_bin(), "pip", "install", "--no-cache", "--python", environment.python)
        assert "Hash mismatch" in client(*uv, *index, ok=False)


def test_clients_take_the_index_as_json(
    published: Path, newest: Wheel, environment: Environment, tmp_path: Path
) -> None:
    with serving(published, negotiates=True) as (address, asked):
        index = ("--no-deps", "--index-url", f"{address}simple/")
        environment.pip("download", "--quiet", *index, "--dest", tmp_path / "pip", PROJECT)
        assert asked[0] == f"/simple/{PROJECT}/"
        uv = (find_uv_bin(), "pip", "install", "--no-cache", "--python", environment.python)
        client(*uv, *index, PROJECT)
    assert [path.name for path in (tmp_path / "pip").iterdir()] == [newest.file]


def test_a_yanked_wheel_is_for_those_who_pin_it(
    repository: Path, newest: Wheel, environment: Environment, tmp_path: Path
) -> None:
    copy = tmp_path / "repository"
    shutil.copytree(repository, copy)
    yanked = script("publish", "--yank", newest.file, "--reason", "it crashes", root=copy)
    assert yanked.returncode == 0, yanked.stderr
    with serving(copy / "wheels") as (address, _):
        index = ("--no-deps", "--index-url", f"{address}simple/", "--dest", tmp_path)
        told = environment.pip("download", *index, PROJECT, ok=False)
        assert "No matching distribution found" in told
        told = environment.pip("download", *index, f"{PROJECT}=={newest.tensorflow}")
        assert "it crashes" in told


def test_a_flipped_byte_is_found(repository: Path, newest: Wheel) -> None:
    sums = ["sha256sum", "--check", "--quiet", "SHA256SUMS"]
    subprocess.run(sums, cwd=repository / "wheels", check=True)
    file = repository / "wheels" / newest.file
    good = file.read_bytes()
    file.write_bytes(good[:1000] + bytes([good[1000] ^ 1]) + good[1001:])
    found = script("verify", root=repository)
    file.write_bytes(good)
    assert found.returncode == PublishError.exit_code
    assert f"{newest.file}: is not what was published" in found.stderr


def test_a_rebuild_gives_the_same_bytes(repository: Path, tmp_path: Path) -> None:
    manifest, matrix = read_manifest(repository / "wheels"), load_matrix()
    reporter = Reporter(Console(stderr=True))
    for wheel in manifest.current:
        origin = read_contents(repository / "wheels" / wheel.file).origin
        runner = NativeRunner(Cache(default_root()), reporter, tmp_path, origin=origin)
        if not runner.is_cached("core", matrix.target(wheel.target)):
            pytest.skip("the cache lacks a core, which takes minutes (./scripts/build makes it)")
    found = script("verify", "--rebuild", root=repository)
    assert found.returncode == 0, found.stderr
    for wheel in manifest.current:
        assert f"{wheel.file}: same bytes" in found.stdout


def own() -> Manifest:
    """Return this repository's own manifest; skip if it has published nothing."""
    manifest = read_manifest(ROOT / "wheels")
    if not manifest.current:
        pytest.skip("this repository has published nothing (./scripts/publish)")
    return manifest


def test_what_this_repository_has_published_verifies() -> None:
    own()
    found = subprocess.run([sys.executable, ROOT / "scripts/verify"], check=False)
    assert found.returncode == 0


@pytest.mark.parametrize("python", PYTHONS)
def test_what_this_repository_has_published_installs_from_a_clone(
    tmp_path: Path, python: str
) -> None:
    wheels = wheels_for(own(), python)
    environment = Environment(tmp_path / "environment", python)
    environment.numpy(wheels[0].smoke[-1].numpy)
    for wheel in wheels:
        environment.pip("install", "--quiet", "--no-deps", ROOT / "wheels" / wheel.file)
        assert environment.infers(), wheel.file


def test_wheels_for_the_other_architecture_are_downloaded_here(tmp_path: Path) -> None:
    others = [wheel for wheel in own().current if wheel.arch != platform.machine()]
    if not others:
        pytest.skip("this repository has published wheels for this architecture only")
    environment = Environment(tmp_path / "environment", DRIVER_PYTHON)
    with serving(ROOT / "wheels") as (address, _):
        index = ("--index-url", f"{address}simple/", "--dest", tmp_path / "downloaded")
        for wheel in others:
            platforms = ("--platform", f"manylinux_2_17_{wheel.arch}", "--only-binary", ":all:")
            version = ("--python-version", wheel.python, "--no-deps")
            # A pre-release is installed only if its version is named.
            wanted = f"{PROJECT}=={wheel.tensorflow}"
            environment.pip("download", "--quiet", *platforms, *version, *index, wanted)
    found = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in tmp_path.glob("down*/*")}
    assert found == {wheel.file: wheel.sha256 for wheel in others}
