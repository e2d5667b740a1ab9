"""The manifests in Podman, which starts pods from them: under their limits, killed, and ended."""

from __future__ import annotations

import os
import platform
import shutil
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from rich.console import Console
from serving_support import PICTURES, RUNTIME, SECONDS, Load, pixels, scores, until, wheel
from support import ROOT, engine
from test_serving import fetch

from builders.cache import Cache, default_root
from builders.progress import Reporter
from ci.images.bases import BaseImages
from smoke_lambda import events
from smoke_lambda.serving import image
from smoke_lambda.serving.client import Client

pytestmark = pytest.mark.integration

K8S = ROOT / "smoke_lambda/serving/k8s"
MODEL = "digits-float32"
KNOWN = events.known_answers()[MODEL]
NETWORK = "model-serving-test"
PORTS = (8500, 8501, 8080)
# Where systemd does not run.
SETTINGS = """\
[containers]
default_ulimits=["nofile=1024:1024","nproc=1024:1024"]
[engine]
runtime="runc"
cgroup_manager="cgroupfs"
events_logger="file"
"""
LONG = 120.0


def podman(*arguments: str | Path, check: bool = True) -> str:
    """Run podman; return its output."""
    done = subprocess.run(["podman", *arguments], capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def has_podman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    if shutil.which("podman") is None:
        pytest.skip("no podman: apt install podman netavark aardvark-dns catatonit")
    for port in PORTS:
        with socket.socket() as found:
            if found.connect_ex(("127.0.0.1", port)) == 0:
                pytest.skip(f"another program has port {port}, which the manifests name")
    with pytest.MonkeyPatch.context() as patch:
        if not Path("/run/systemd/system").is_dir() and "CONTAINERS_CONF" not in os.environ:
            settings = tmp_path_factory.mktemp("podman") / "containers.conf"
            settings.write_text(SETTINGS)
            patch.setenv("CONTAINERS_CONF", str(settings))
        yield


@pytest.fixture(scope="module")
def model_image(has_podman: None, tmp_path_factory: pytest.TempPathFactory) -> str:  # noqa: ARG001
    """Make the image that the manifests name, from a base image that this machine can get."""
    cache, log = Cache(default_root()), tmp_path_factory.mktemp("log") / "build.log"
    docker = engine()
    bases = BaseImages(docker, cache, Reporter(Console(stderr=True)), log.parent)
    base = bases.get(RUNTIME, platform.machine())
    archive = tmp_path_factory.mktemp("base") / "base.tar"
    docker.ask("save", "--output", archive, base, what="saving the base image", timeout=LONG)
    podman("load", "--input", archive)
    archive.unlink()
    client = image.client_of("podman")
    server = image.build(client, wheel(), log, base=f"localhost/{base}")
    (named,) = yaml.safe_load((K8S / "kustomization.yaml").read_text())["images"]
    tag = f"{named['newName']}:{named['newTag']}"
    model = events.MODELS / f"{MODEL}.tflite"
    return image.with_model(client, server, model, named["newName"], log, tag)


def rendered(name: str, of_image: str) -> str:
    """Return a deployment as kustomize renders it; Podman knows none of the other kinds."""
    for manifest in yaml.safe_load_all((K8S / f"{name}.yaml").read_text()):
        if manifest["kind"] == "Deployment":
            (container,) = manifest["spec"]["template"]["spec"]["containers"]
            container["image"] = f"localhost/{of_image}"
            return yaml.safe_dump(manifest)
    raise AssertionError(name)


@pytest.fixture(scope="module")
def pods(model_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Run server and gateway; when both answer, yield their containers, by name."""
    folder = tmp_path_factory.mktemp("k8s")
    podman("network", "create", NETWORK)
    files = {name: folder / f"{name}.yaml" for name in ("server", "gateway")}
    try:
        for name, file in files.items():
            file.write_text(rendered(name, model_image))
            # The name of the headless Service.
            podman("kube", "play", "--network", f"{NETWORK}:alias=model-{name}", file)
        for port in (8501, 8080):
            until(lambda port=port: is_ready(port), LONG)  # type: ignore[misc]
        listed = podman("ps", "--format", "{{.Names}}").splitlines()
        yield {name: next(each for each in listed if each.endswith(f"-{name}")) for name in files}
    finally:
        for file in files.values():
            podman("kube", "down", file, check=False)
        podman("network", "rm", "--force", NETWORK, check=False)


def is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=SECONDS):
            return True
    except OSError:
        return False


def state(container: str) -> dict[str, Any]:
    (found,) = yaml.safe_load(podman("inspect", container))
    assert isinstance(found, dict)
    return found


def test_the_pods_have_the_limits_of_the_manifests(pods: dict[str, str]) -> None:
    for name, container in pods.items():
        found = state(container)
        assert found["Config"]["User"].startswith("65532")
        assert found["HostConfig"]["ReadonlyRootfs"] is True
        assert found["HostConfig"]["Memory"] == {"server": 256, "gateway": 512}[name] << 20
        assert found["EffectiveCaps"] in (None, [])
        written = podman("exec", container, "sh", "-c", "echo x > /app/x || echo no", check=False)
        assert written.endswith("no")
    # There is one copy, for the one CPU that the manifest allows.
    assert "1 copies with 1 threads" in podman("logs", pods["server"])


def test_the_pods_give_the_known_answers(pods: dict[str, str]) -> None:
    assert set(pods) == {"server", "gateway"}
    client = Client("localhost:8500", "clothes", SECONDS)
    described = client.describe(SECONDS)
    batch = np.concatenate([pixels(picture, described) for picture in PICTURES])
    found = client.predict({"image": batch}, SECONDS)[1]["scores"]
    for picture, row in zip(PICTURES, found, strict=True):
        expected = pytest.approx(KNOWN.scores[picture], abs=KNOWN.tolerance)
        assert scores(row, described) == expected
        data = (events.IMAGES / picture).read_bytes()
        status, reply = fetch(8080, "/predict", data)
        assert status == 200
        assert reply["scores"] == expected
    assert fetch(8501, "/v1/models/clothes")[1]["model_version_status"][0]["state"] == "AVAILABLE"


def test_a_killed_server_comes_back_and_nothing_is_lost(pods: dict[str, str]) -> None:
    with Load(8500, "clothes", retry_seconds=LONG).running() as load:
        before = state(pods["server"])["State"]["Pid"]
        os.kill(before, signal.SIGKILL)
        until(lambda: state(pods["server"])["State"]["Pid"] not in (0, before), LONG)
        load.answered(100)
        load.stop()
    assert load.lost == []
    assert fetch(8080, "/predict", (events.IMAGES / "7.png").read_bytes())[0] == 200


def test_a_server_that_is_told_to_end_loses_nothing(pods: dict[str, str]) -> None:
    until(lambda: is_ready(8501), LONG)
    with Load(8500, "clothes", retry_seconds=LONG).running() as load:
        before = state(pods["server"])["State"]["Pid"]
        os.kill(before, signal.SIGTERM)
        until(lambda: not is_ready(8501), LONG)
        load.answered(100)
        until(lambda: state(pods["server"])["State"]["Pid"] not in (0, before), LONG)
        load.answered(100)
        load.stop()
    assert load.lost == []
    assert "stopped" in podman("logs", pods["server"])
