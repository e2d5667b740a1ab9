"""The Docker engine of this machine, used through the first client on PATH with BuildKit."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from packaging.version import InvalidVersion, Version

from builders.architecture import own_name
from builders.errors import DiskFullError, EngineError
from builders.process import run

# The first version whose built-in Dockerfile frontend knows `RUN --mount` without a download.
OLDEST = "20.10"
QUESTION_SECONDS = 30.0

NO_SPACE = "no space left on device"
FAILED_STEP = re.compile(r"exit code: (\d+)")

# Predefined build arguments: RUN commands see them, and the image and its history do not.
# https://docs.docker.com/reference/dockerfile/#predefined-args
PROXY_ARGUMENTS = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy")
PIP_SECRET, CA_SECRET = "pip", "ca"
PIP_SETTINGS = (
    "index-url",
    "extra-index-url",
    "trusted-host",
    "proxy",
    "timeout",
    "default-timeout",
    "retries",
)
CA_VARIABLES = ("PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")

NATIVE = "or choose --runner native"


@dataclass(frozen=True, kw_only=True)
class Engine:
    """A Docker engine that answers.

    Attributes:
        client: the docker program that we call.
        version: the engine's version.
        arch: the architecture of the engine's machine, as wheels name it.
    """

    client: Path
    version: str
    arch: str

    def build(
        self,
        *,
        dockerfile: Path,
        context: Path,
        log: Path,
        what: str,
        target: str | None = None,
        args: Mapping[str, str] | None = None,
        secrets: Mapping[str, Path] | None = None,
        labels: Mapping[str, str] | None = None,
        tag: str | None = None,
        output: str | None = None,
        network: str | None = None,
        platform: str | None = None,
        on_line: Callable[[str], None] | None = None,
    ) -> None:
        """Build an image, or the files of a stage, with BuildKit.

        Args:
            log: the file that the command and its output are appended to.
            what: the action in words, for errors: "building the core".
            target: the stage to build; by default the last one.
            args: build arguments; the proxies of this machine are added.
            secrets: the files, by the id that `RUN --mount=type=secret` asks for.
            tag: the image's name.
            output: where the files go, such as `type=local,dest=wheels`.
            network: the network of RUN commands, such as `none`; `host` if only this
                machine's own network leads out.
            platform: the platform of the image, such as `linux/arm64`.
            on_line: called with each line of plain progress.

        Raises:
            EngineError: the build failed; `status` is the exit status of the program that
                failed in a RUN, if one did.
            DiskFullError: the engine's store is full.
        """
        command: list[str | Path] = ["build", "--progress", "plain", "--file", dockerfile]
        for name, value in (proxies() | dict(args or {})).items():
            command += ["--build-arg", f"{name}={value}"]
        for name, path in (secrets or {}).items():
            command += ["--secret", f"id={name},src={path}"]
        for name, value in (labels or {}).items():
            command += ["--label", f"{name}={value}"]
        single = {"target": target, "tag": tag, "output": output}
        single |= {"network": network, "platform": platform}
        for name, option in single.items():
            command += [f"--{name}", option] if option else []
        self.run(*command, context, log=log, what=what, on_line=on_line)

    def run(
        self,
        *arguments: str | Path,
        log: Path,
        what: str,
        on_line: Callable[[str], None] | None = None,
    ) -> None:
        """Run a client command that may take long, and append its output to a log.

        Raises:
            EngineError, DiskFullError: as for `build`.
        """
        status: list[int] = []
        full: list[str] = []

        def note(line: str) -> None:
            status.extend(int(code) for code in FAILED_STEP.findall(line))
            full.extend([line] if NO_SPACE in line.lower() else [])
            if on_line is not None:
                on_line(line)

        try:
            run(
                [self.client, *arguments],
                log=log,
                failure=EngineError,
                what=what,
                env=CLIENT_ENVIRONMENT,
                on_line=note,
            )
        except (EngineError, DiskFullError) as error:
            if full:
                raise _store_full(what) from error
            if isinstance(error, EngineError) and status:
                error.status = status[-1]
            raise

    def ask(self, *arguments: str | Path, what: str, timeout: float = QUESTION_SECONDS) -> str:
        """Return the output of a short client command, without the white space around it.

        Raises:
            EngineError: the command failed (the message has its last line) or took too long.
            DiskFullError: the engine's store is full.
        """
        done = self.attempt(*arguments, timeout=timeout)
        if done.returncode:
            if NO_SPACE in done.stderr.lower():
                raise _store_full(what)
            raise EngineError(f"{what} failed: {_last_line(done.stderr)}")
        return done.stdout.strip()

    def attempt(
        self, *arguments: str | Path, timeout: float = QUESTION_SECONDS
    ) -> subprocess.CompletedProcess[str]:
        """Run a short client command; return its result, even if it fails."""
        return _ask([self.client, *arguments], timeout)

    def cpus(self) -> int:
        """Return the number of virtual CPUs of the engine's machine."""
        return int(self.ask("info", "--format", "{{.NCPU}}", what="asking the engine"))

    def image_id(self, reference: str) -> str | None:
        """Return the id of a local image; None if there is no such image."""
        found = self._inspected(reference)
        return str(found["Id"]) if found else None

    def image_arch(self, reference: str) -> str | None:
        """Return a local image's architecture, as wheels name it; None if there is no image."""
        found = self._inspected(reference)
        return own_name(found["Architecture"]) if found else None

    def image_labels(self, reference: str) -> dict[str, str]:
        """Return the labels of a local image; an empty dict if there is no such image."""
        found = self._inspected(reference) or {}
        labels: dict[str, str] = found.get("Config", {}).get("Labels") or {}
        return labels

    def image_size(self, reference: str) -> int | None:
        """Return the unpacked size of a local image in bytes; None if there is no such image."""
        found = self._inspected(reference)
        return int(found["Size"]) if found else None

    def pull(
        self,
        reference: str,
        *,
        log: Path,
        platform: str | None = None,
        on_line: Callable[[str], None] | None = None,
    ) -> None:
        """Have the engine fetch an image from its registry.

        Raises:
            EngineError: the engine cannot fetch it: no network, no such image, no permission.
            DiskFullError: the engine's store is full.
        """
        options = ["--platform", platform] if platform else []
        self.run("pull", *options, reference, log=log, what=f"pulling {reference}", on_line=on_line)

    def _inspected(self, reference: str) -> dict[str, Any] | None:
        done = self.attempt("image", "inspect", reference)
        if done.returncode:
            return None
        found: dict[str, Any] = json.loads(done.stdout)[0]
        return found


CLIENT_ENVIRONMENT = {"DOCKER_BUILDKIT": "1", "BUILDKIT_PROGRESS": "plain", "DOCKER_CLI_HINTS": "0"}


def find_engine() -> Engine:
    """Return the engine that can be used from here.

    Raises:
        EngineError: no engine can be used. The message says what to do in each case: no
            client, no client with BuildKit, no running engine, no permission, too old.
    """
    clients = list(_clients())
    if not clients:
        raise EngineError(
            "there is no docker program on PATH",
            remedy=f"install Docker (Debian: apt install docker.io) {NATIVE}",
        )
    client = next(filter(_has_buildkit, clients), None)
    if client is None:
        raise EngineError(
            f"{clients[0]} cannot build with BuildKit",
            remedy=f"install its buildx plugin, or Debian's docker.io, {NATIVE}",
        )
    done = _ask([client, "version", "--format", "{{.Server.Version}} {{.Server.Arch}}"])
    words = done.stdout.split()
    if done.returncode or len(words) != 2:
        raise _no_answer(done.stderr)
    version, arch = words
    if _is_older(version, OLDEST):
        raise EngineError(
            f"the Docker engine is {version}, and its BuildKit is too old",
            remedy=f"install {OLDEST} or newer, {NATIVE}",
        )
    return Engine(client=client, version=version, arch=own_name(arch))


def proxies() -> dict[str, str]:
    """Return this machine's proxy variables, in lower and upper case, as build arguments."""
    return {
        name: value
        for lower in PROXY_ARGUMENTS
        for name in (lower, lower.upper())
        if (value := os.environ.get(name))
    }


@contextmanager
def pip_secrets() -> Iterator[dict[str, Path]]:
    """Yield the files, by secret id, that let pip in a build reach its index as pip here does.

    The files exist while the block lasts. As secrets of a build, they are in no layer.
    `pip`, for $PIP_CONFIG_FILE, has the index, proxy and time-outs that pip is configured
    with on this machine. If this machine has a bundle of certificate authorities of its
    own, `ca` is that bundle, and `pip` names it. `file:` addresses are left out, since a
    build does not see the folders of this machine.
    """
    settings = _pip_settings()
    bundle = settings.pop("cert", None) or next(filter(None, map(os.environ.get, CA_VARIABLES)), "")
    lines = ["[global]"]
    lines += [f"{name} = {value}" for name, value in settings.items()]
    with TemporaryDirectory(prefix="tflite-pip-") as folder:
        secrets = {PIP_SECRET: Path(folder) / "pip.conf"}
        if bundle and Path(bundle).is_file():
            secrets[CA_SECRET] = Path(bundle)
            lines.append(f"cert = /run/secrets/{CA_SECRET}")
        secrets[PIP_SECRET].write_text("\n".join([*lines, ""]))
        yield secrets


def _pip_settings() -> dict[str, str]:
    """Return pip's settings on this machine; variables override configuration files."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    listed = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    found: dict[str, str] = {}
    for section in ("global", "install", ":env:"):
        for line in listed.splitlines():
            key, _, value = line.partition("=")
            place, _, name = key.rpartition(".")
            if place == section and name in (*PIP_SETTINGS, "cert"):
                words = str(ast.literal_eval(value)).split()
                found[name] = " ".join(word for word in words if not word.startswith("file:"))
    return {name: value for name, value in found.items() if value}


def _clients() -> Iterator[Path]:
    """Yield every docker program on PATH, each once."""
    seen = set()
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        program = shutil.which("docker", path=folder) if folder else None
        if program is not None and Path(program).resolve() not in seen:
            seen.add(Path(program).resolve())
            yield Path(program)


def _has_buildkit(client: Path) -> bool:
    """True if the client's `build` has BuildKit's options; without its plugin, a client fails."""
    done = _ask([client, "build", "--help"])
    return done.returncode == 0 and "--secret" in done.stdout


def _ask(
    command: Sequence[str | Path], timeout: float = QUESTION_SECONDS
) -> subprocess.CompletedProcess[str]:
    """Run the client, and return its result.

    Raises:
        EngineError: the client cannot be started, or the engine hangs.
    """
    try:
        return subprocess.run(
            [str(part) for part in command],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=timeout,
            env={**os.environ, **CLIENT_ENVIRONMENT},
            stdin=subprocess.DEVNULL,
        )
    except OSError as error:
        raise EngineError(f"cannot run {command[0]}: {error.strerror}") from error
    except subprocess.TimeoutExpired:
        raise EngineError(
            f"the Docker engine did not answer `{command[1]}` within {timeout:g} s",
            remedy=f"restart it, {NATIVE}",
        ) from None


def _no_answer(said: str) -> EngineError:
    """Return the error that says why the engine does not answer, and what to do about it."""
    if "permission denied" in said.lower():
        return EngineError(
            "no permission to use the Docker engine's socket",
            remedy="add yourself to its group (sudo usermod -aG docker $USER, then log in again)"
            f" or use sudo, {NATIVE}",
        )
    return EngineError(
        f"no Docker engine is running: {_last_line(said)}",
        remedy=f"start it (sudo systemctl start docker, or sudo dockerd &) {NATIVE}",
    )


def _store_full(what: str) -> DiskFullError:
    return DiskFullError(
        f"no space left in the Docker engine's store while {what}",
        remedy="free some (docker system prune) and run the same command",
    )


def _is_older(version: str, oldest: str) -> bool:
    """True if `version` is older than `oldest`; an unparsable version counts as new."""
    try:
        return Version(version.partition("+")[0].partition("-")[0]) < Version(oldest)
    except InvalidVersion:
        return False


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["it said nothing"])[-1]
