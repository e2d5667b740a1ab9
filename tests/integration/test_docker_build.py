"""Wheels built in images, as a maintainer and as a user of plain docker type it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
from support import RECOMMENDED, ROOT, copy_tracked_files, engine, records, script, wheels_folder

from builders.cache import default_root, sha256_of
from builders.docker import DOCKERFILE
from builders.docker_engine import pip_secrets
from builders.fetch import MIRRORS_VARIABLE, debian_mirrors
from builders.matrix import Target, load_matrix
from ci.images.standin.make import NAME
from smoke_lambda.conform.settings import load_settings

pytestmark = pytest.mark.integration

REPEAT_SECONDS = 15


def _targets() -> list[Target]:
    """Return targets of the main job's TensorFlow; test_arm64.py compiles another one's core.

    They are for the oldest and the newest Python of each Amazon Linux. The main job proves the
    other Pythons that this machine has.
    """
    of_systems: dict[str, list[Target]] = {}
    for target in load_matrix().targets():
        if target.verified and target.arch == "x86_64" and target.tensorflow is RECOMMENDED:
            of_systems.setdefault(target.runtime.os, []).append(target)
    return [targets[end] for targets in of_systems.values() for end in (0, -1)]


TARGETS = _targets()
# The one that is compared with the whole corpus, alone as among all.
WHOLE = next(t.identifier for t in TARGETS if t.runtime.python == load_settings().python)
CONTEXT_BYTES = 1_000_000


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Build and smoke-test wheels of the recommended TensorFlow in images.

    Returns:
        The records by target.
    """
    engine()
    arguments = [part for target in TARGETS for part in ("--only", target.identifier)]
    out = tmp_path_factory.mktemp("docker")
    done = script("build", "--runner", "docker", "--json", "--out", out, *arguments)
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"^✓ core ", done.stderr, re.MULTILINE)) <= 1, done.stderr
    return {record["target"]: record for record in json.loads(done.stdout)}


def build_again(out: Path, *arguments: str, root: Path = ROOT) -> list[str]:
    """Return the steps of a checkout's plan that would run."""
    plan = script("build", "--runner", "docker", "--plan", "--out", out, *arguments, root=root)
    assert plan.returncode == 0, plan.stderr
    return [line.split()[1] for line in plan.stdout.splitlines() if line.startswith("run ")]


def test_each_wheel_is_built_audited_and_smoke_tested(
    built: dict[str, dict[str, Any]],
) -> None:
    assert set(built) == {target.identifier for target in TARGETS}
    for target in TARGETS:
        record = built[target.identifier]
        assert record["audit"]["ok"], target.identifier
        assert record["smoke"]["ok"], target.identifier
        assert record["size"] <= target.tensorflow.size_limit


def test_the_bytes_are_those_of_the_native_runner(built: dict[str, dict[str, Any]]) -> None:
    native = {name: record["sha256"] for name, record in records().items() if name in built}
    assert native
    assert native == {target: built[target]["sha256"] for target in native}


def test_a_repeat_does_nothing_and_is_quick(
    built: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    started = time.monotonic()
    done = script("build", "--runner", "docker", "--json", "--out", tmp_path, "--only", WHOLE)
    seconds = time.monotonic() - started
    assert done.returncode == 0, done.stderr
    assert [record["sha256"] for record in json.loads(done.stdout)] == [built[WHOLE]["sha256"]]
    assert not re.findall(r"^✓ (?:core|wheel|prove)", done.stderr, re.MULTILINE)
    assert seconds <= REPEAT_SECONDS


@pytest.mark.usefixtures("built")
def test_an_edit_repeats_only_what_depends_on_it(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    copy_tracked_files(checkout)
    only = ["--only", WHOLE]
    assert build_again(tmp_path, *only, root=checkout) == []
    for name in ("README.md", "tests/unit/conftest.py"):
        with (checkout / name).open("a") as file:
            file.write("\n# edited\n")
    assert build_again(tmp_path, *only, root=checkout) == []
    with (checkout / "smoke_lambda/app.py").open("a") as file:
        file.write("\n# edited\n")
    # The image in which the wheel is compared has the handler, too.
    assert build_again(tmp_path, *only, root=checkout) == ["smoke", "conform"]


def plain_build(target: Target, out: Path, root: Path = ROOT, **arguments: object) -> str:
    """Run the README's command, with this machine's settings for registries; return its output."""
    dockerfile = root / DOCKERFILE.relative_to(ROOT)
    with pip_secrets() as secrets:
        command: list[str | Path] = [engine().client, "build", "-f", dockerfile, "--network=host"]
        command += ["--progress=plain", "--build-arg", f"PYTHON={target.runtime.python}"]
        for name, value in arguments.items():
            command += ["--build-arg", f"{name}={value}"]
        command += ["--build-arg", f"BASE_IMAGE={NAME}:{target.runtime.python}"]
        command += ["--build-arg", f"BUILDER_IMAGE={NAME}:{load_matrix().builder.python}"]
        command += ["--build-arg", f"{MIRRORS_VARIABLE}={' '.join(debian_mirrors())}"]
        for name, path in secrets.items():
            command += ["--secret", f"id={name},src={path}"]
        done = subprocess.run(
            [*command, "--output", out, root],
            capture_output=True,
            text=True,
            check=False,
            # Nothing of this environment but the engine that it names.
            env={
                **{name: value for name, value in os.environ.items() if name == "DOCKER_HOST"},
                "PATH": "/usr/bin:/bin",
                "HOME": str(out / "home"),
                "DOCKER_BUILDKIT": "1",
            },
        )
    assert done.returncode == 0, done.stderr
    (wheel,) = out.glob("*.whl")
    assert sha256_of(wheel) == records()[target.identifier]["sha256"]
    return done.stderr


@pytest.mark.usefixtures("built")
def test_docker_build_alone_gives_the_wheel_from_a_small_context(tmp_path: Path) -> None:
    said = plain_build(next(t for t in TARGETS if t.identifier in records()), tmp_path)
    sent = re.findall(r"transferring context: ([\d.]+)(k?B)", said)
    assert sent, said
    assert all(float(n) * {"B": 1, "kB": 1000}[unit] < CONTEXT_BYTES for n, unit in sent)


def test_a_core_that_is_handed_in_is_linked(tmp_path: Path) -> None:
    target = next(t for t in TARGETS if t.identifier in records())
    checkout, out = tmp_path / "checkout", tmp_path / "out"
    copy_tracked_files(checkout)
    name = (target.tensorflow.version, target.arch)
    packed = script("core", "pack", *name, "--out", checkout / "cores/core.tar")
    assert packed.returncode == 0, packed.stderr
    # A folder that no build has seen: the engine keeps the layers of an earlier run of this test.
    (checkout / "cores/run").write_text(str(uuid.uuid4()))
    out.mkdir()
    said = plain_build(target, out, checkout, TFLITE_CORES=1)
    assert f"tf{'-'.join(name)} from " in said
    assert "is handed in" in said
    # A file that is no core ends the build, whatever the cache of the images has.
    (checkout / "cores/core.tar").write_bytes(b"no core")
    with pytest.raises(AssertionError, match=r"core\.tar"):
        plain_build(target, out, checkout, TFLITE_CORES=1)


@pytest.mark.usefixtures("built")
def test_offline_it_builds_from_the_shelf(tmp_path: Path) -> None:
    target = next(t for t in TARGETS if t.identifier in records())
    checkout = tmp_path / "checkout"
    copy_tracked_files(checkout)
    # What was built before is in the cache: this one has the downloads alone.
    cache = tmp_path / "cache"
    cache.mkdir()
    for name in ("downloads", "environments"):
        (cache / name).symlink_to(default_root() / name)
    only = ["--only", target.identifier]
    offline = ["build", "--runner", "docker", "--offline", *only, "--out", str(tmp_path)]
    empty = script(*offline, root=checkout, TFLITE_WHEELS_CACHE=str(cache))
    assert empty.returncode == 3
    assert "./scripts/fetch" in empty.stderr.splitlines()[-1]
    filled = script("fetch", "--python", target.runtime.python, root=checkout)
    assert filled.returncode == 0, filled.stderr
    done = script(*offline, root=checkout, TFLITE_WHEELS_CACHE=str(cache))
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    assert sha256_of(wheel) == records()[target.identifier]["sha256"]
    shutil.rmtree(checkout)


def test_without_an_engine_it_says_how_to_have_one(tmp_path: Path) -> None:
    assert wheels_folder().is_dir()
    done = script(
        "build", "--runner", "docker", "--out", tmp_path, DOCKER_HOST=f"unix://{tmp_path}/none"
    )
    assert done.returncode == 11
    assert "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: ")
    assert "start it" in last or "install" in last
