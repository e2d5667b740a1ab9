"""The client of the Docker engine, against programs that pretend to be one."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from builders import docker_engine as module
from builders.docker_engine import Engine, find_engine, pip_secrets, proxies
from builders.errors import DiskFullError, EngineError

pytestmark = pytest.mark.usefixtures("allow_subprocess")

HELP = 'case "$*" in "build --help") echo "--secret id"; exit;; esac\n'
VERSION = 'case "$1" in version) echo "20.10.24+dfsg1 amd64"; exit;; esac\n'

Docker = Callable[[str], Path]


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Docker:
    """Return a function that writes a `docker` to a new folder at the end of an empty PATH."""
    folders: list[str] = []
    monkeypatch.setenv("PATH", "")

    def write(body: str) -> Path:
        folder = tmp_path / f"bin{len(folders)}"
        folder.mkdir()
        program = folder / "docker"
        program.write_text(f"#!/bin/sh\n{body}")
        program.chmod(0o755)
        folders.append(str(folder))
        monkeypatch.setenv("PATH", ":".join(folders))
        return program

    return write


def engine(client: Path) -> Engine:
    return Engine(client=client, version="20.10", arch="x86_64")


def error_of(docker: Docker, body: str) -> EngineError:
    docker(body)
    with pytest.raises(EngineError) as caught:
        find_engine()
    return caught.value


def test_the_first_client_with_buildkit_is_taken(docker: Docker) -> None:
    docker("echo 'BuildKit is enabled but the buildx component is missing'; exit 1")
    docker('echo "no such option here"')
    third = docker('[ "$DOCKER_BUILDKIT" = 1 ] || exit 1\n' + HELP + VERSION)
    docker(HELP + VERSION)
    assert find_engine() == Engine(client=third, version="20.10.24+dfsg1", arch="x86_64")


def test_no_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(EngineError, match="no docker program on PATH; install Docker"):
        find_engine()


@pytest.mark.parametrize(
    ("body", "what", "remedy"),
    [
        ("exit 1", "cannot build with BuildKit", "buildx"),
        (
            HELP + "echo 'Cannot connect to the Docker daemon at unix:///x' >&2; exit 1",
            "no Docker engine is running: Cannot connect",
            "systemctl start docker",
        ),
        (
            HELP + "echo 'Got permission denied while trying to connect: x' >&2; exit 1",
            "no permission",
            "usermod -aG docker",
        ),
        (HELP + "echo 19.03.8 amd64", "too old", "20.10 or newer"),
        (HELP + "exit 0", "it said nothing", "start"),
    ],
)
def test_an_engine_that_cannot_be_used(docker: Docker, body: str, what: str, remedy: str) -> None:
    error = error_of(docker, body)
    assert what in error.what
    assert remedy in error.remedy
    assert "--runner native" in error.remedy
    assert "\n" not in str(error)
    assert error.exit_code == 11


def test_an_engine_that_hangs(docker: Docker) -> None:
    client = docker("exec /bin/sleep 60")
    with pytest.raises(EngineError, match=r"did not answer `info` within 0\.2 s; restart it"):
        engine(client).ask("info", what="asking", timeout=0.2)


def test_what_a_build_asks_of_the_client(docker: Docker, tmp_path: Path) -> None:
    client = docker('printf "%s\\n" "$DOCKER_BUILDKIT" "$@"')
    lines: list[str] = []
    engine(client).build(
        dockerfile=tmp_path / "Dockerfile",
        context=tmp_path,
        log=tmp_path / "log",
        what="building",
        target="export",
        args={"BASE": "a b"},
        secrets={"ca": tmp_path / "ca.pem"},
        labels={"key": "1"},
        tag="t",
        output="type=local,dest=out",
        network="host",
        platform="linux/arm64",
        on_line=lines.append,
    )
    pairs = list(itertools.pairwise(lines))
    assert lines[:2] == ["1", "build"]
    assert lines[-1] == str(tmp_path)
    for option, value in {
        "--file": str(tmp_path / "Dockerfile"),
        "--build-arg": "BASE=a b",
        "--secret": f"id=ca,src={tmp_path / 'ca.pem'}",
        "--label": "key=1",
        "--target": "export",
        "--tag": "t",
        "--output": "type=local,dest=out",
        "--network": "host",
        "--platform": "linux/arm64",
    }.items():
        assert (option, value) in pairs


def build(client: Path, folder: Path) -> None:
    engine(client).build(
        dockerfile=folder / "Dockerfile", context=folder, log=folder / "log", what="building it"
    )


@pytest.mark.parametrize(
    ("last", "status"),
    [
        ("executor failed running [/bin/sh -c x]: exit code: 9", 9),
        ('process "/bin/sh -c x" did not complete successfully: exit code: 9', 9),
        ("failed to solve: no such host", None),
    ],
)
def test_a_build_that_fails(docker: Docker, tmp_path: Path, last: str, status: int | None) -> None:
    client = docker(f"echo '{last}'; exit 1")
    with pytest.raises(EngineError, match="building it failed") as caught:
        build(client, tmp_path)
    assert caught.value.status == status


@pytest.mark.parametrize("words", ["No space left on device", "no space left on device"])
def test_a_full_store(docker: Docker, tmp_path: Path, words: str) -> None:
    client = docker(f"echo 'write /var/lib: {words}'; echo 'write: {words}' >&2; exit 1")
    with pytest.raises(DiskFullError, match=r"store while building it; .*docker system prune"):
        build(client, tmp_path)
    with pytest.raises(DiskFullError, match="docker system prune"):
        engine(client).ask("create", what="making a container")


def test_a_local_image(docker: Docker) -> None:
    found = [{"Id": "sha256:1", "Size": 5, "Config": {"Labels": {"a": "b"}}}]
    client = docker(f"[ \"$3\" = here ] && echo '{json.dumps(found)}'")
    there = engine(client)
    assert there.image_id("here") == "sha256:1"
    assert there.image_size("here") == 5
    assert there.image_labels("here") == {"a": "b"}
    assert there.image_id("gone") is None
    assert there.image_size("gone") is None
    assert there.image_labels("gone") == {}


def test_an_image_without_labels(docker: Docker) -> None:
    client = docker('echo \'[{"Id": "1", "Config": {"Labels": null}}]\'')
    assert engine(client).image_labels("here") == {}


def test_a_failed_question_ends_with_its_last_line(docker: Docker) -> None:
    client = docker("echo first >&2; echo 'no such network' >&2; exit 1")
    with pytest.raises(EngineError, match=r"^removing failed: no such network$"):
        engine(client).ask("network", "rm", what="removing")


def test_proxies_of_this_machine_reach_a_build(monkeypatch: pytest.MonkeyPatch) -> None:
    assert proxies() == {}
    monkeypatch.setenv("https_proxy", "http://proxy:1")
    monkeypatch.setenv("NO_PROXY", "localhost")
    assert proxies() == {"https_proxy": "http://proxy:1", "NO_PROXY": "localhost"}


def test_pip_in_a_build_is_configured_as_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.touch()
    config = tmp_path / "pip.conf"
    config.write_text(
        f"[global]\ncert = {bundle}\nindex-url = https://user:word@index.example/simple\n"
        "extra-index-url = file:///opt/x https://more.example/simple\nfind-links = /opt/y\n"
        "[install]\nretries = 7\n"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
    monkeypatch.setenv("PIP_DEFAULT_TIMEOUT", "99")
    with pip_secrets() as secrets:
        assert secrets["ca"] == bundle
        lines = secrets["pip"].read_text().splitlines()
    assert not secrets["pip"].exists()
    assert lines[0] == "[global]"
    assert set(lines[1:]) == {
        "index-url = https://user:word@index.example/simple",
        "extra-index-url = https://more.example/simple",
        "retries = 7",
        "default-timeout = 99",
        "cert = /run/secrets/ca",
    }


def test_pip_without_any_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in module.CA_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")  # turns pip's files off
    with pip_secrets() as secrets:
        assert secrets.keys() == {"pip"}
        assert secrets["pip"].read_text() == "[global]\n"
