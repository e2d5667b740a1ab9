"""The settings of a server, from environment variables."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

CGROUP = Path("/sys/fs/cgroup")
NAME = re.compile(r"[\w.-]+")


class SettingsError(Exception):
    """A variable has a value that cannot be meant; one line for who starts the server."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a server is told; each field's variable has its name in capitals.

    Attributes:
        model_name, model_base_path: the model is the highest version of
            <model_base_path>/<model_name>/<version>/model.tflite, as TensorFlow Serving lays
            models out, and its variables are named.
        grpc_port, rest_port: where it listens; 0 for one that is free.
        copies: interpreters, each of which answers one request at a time; 0 for one per CPU that
            the container may use.
        threads: of each interpreter.
        queue: requests that wait for an interpreter; one more is refused.
        max_request_bytes: of a request, and of each tensor that it stands for.
        max_batch: rows of a request.
        request_seconds: for a request, whatever more its client would give.
        poll_seconds: between two looks for a new version.
        lame_seconds: between SIGTERM and the moment from which on no request is taken: in it,
            Kubernetes and load balancers learn that the server goes, and clients connect anew,
            to others.
        drain_seconds: for the requests that are being answered then.
        connection_seconds: after which clients are asked to connect anew, which loses no request:
            they find new servers behind the name, and have left one that goes before it is gone;
            0 for never.
    """

    model_name: str = "model"
    model_base_path: str = "/models"
    grpc_port: int = 8500
    rest_port: int = 8501
    copies: int = 0
    threads: int = 1
    queue: int = 32
    max_request_bytes: int = 16 << 20
    max_batch: int = 64
    request_seconds: float = 30.0
    poll_seconds: float = 1.0
    lame_seconds: float = 12.0
    drain_seconds: float = 20.0
    connection_seconds: float = 10.0

    @property
    def folder(self) -> Path:
        """The folder of the model's versions."""
        return Path(self.model_base_path, self.model_name)


@dataclass(frozen=True, kw_only=True)
class GatewaySettings:
    """What a gateway is told; each field's variable has its name in capitals.

    The handler has variables of its own (smoke_lambda/app.py), such as MAX_PIXELS.

    Attributes:
        model_name: the model that is asked.
        server: host and port of the model servers; all addresses of the name take turns.
        handler: the file of a function's handler (./scripts/function), instead of
            smoke_lambda/app.py.
        port: where it listens; 0 for one that is free.
        request_threads: requests at once.
        queue: requests that wait for a thread; one more is refused.
        decodes: pictures that are decoded at once, which is what takes memory.
        max_request_bytes: of a request's body.
        request_seconds: for a request, with its download.
        retry_seconds: for which a server that does not answer is asked again, or the next one.
        lame_seconds, drain_seconds: see Settings.
    """

    model_name: str = "model"
    server: str = "localhost:8500"
    handler: str = ""
    port: int = 8080
    request_threads: int = 16
    queue: int = 32
    decodes: int = 2
    max_request_bytes: int = 6_000_000
    request_seconds: float = 20.0
    retry_seconds: float = 10.0
    lame_seconds: float = 5.0
    drain_seconds: float = 20.0


LEAST = dict.fromkeys(
    ("threads", "max_request_bytes", "max_batch", "request_threads", "decodes"), 1.0
) | {"poll_seconds": 0.01}
MOST = dict.fromkeys(("grpc_port", "rest_port", "port"), 65535.0)


def read(environ: Mapping[str, str] = os.environ, cgroup: Path = CGROUP) -> Settings:
    """The settings that variables give a server; what none gives has its default.

    Raises:
        SettingsError: a value is of another kind, or out of bounds.
    """
    found = Settings(**_values(Settings, environ))
    if found.copies:
        return found
    return replace(found, copies=max(1, math.ceil(cpus(cgroup) / found.threads)))


def read_gateway(environ: Mapping[str, str] = os.environ) -> GatewaySettings:
    """The settings that variables give a gateway; see `read`."""
    return GatewaySettings(**_values(GatewaySettings, environ))


def _values(kind: type, environ: Mapping[str, str]) -> dict[str, Any]:
    return {
        field.name: _value(field.name, str(field.type), text)
        for field in fields(kind)
        if (text := environ.get(field.name.upper(), ""))
    }


def _value(name: str, kind: str, text: str) -> str | int | float:
    variable = name.upper()
    if kind == "str":
        if name == "model_name" and not NAME.fullmatch(text):
            raise SettingsError(f"{variable}={text}: give a name of letters, digits, '.', '_', '-'")
        return text
    least, most = LEAST.get(name, 0), MOST.get(name, math.inf)
    try:
        value = int(text) if kind == "int" else float(text)
    except ValueError:
        value = math.nan
    if not least <= value <= most or value == math.inf:
        bounds = f"from {least:g} on" if most == math.inf else f"from {least:g} to {most:g}"
        raise SettingsError(f"{variable}={text}: give a number {bounds}")
    return value


def cpus(cgroup: Path = CGROUP) -> float:
    """How many CPUs the container may use: its quota, else the processors that it has.

    Linux's cgroups, version 2 (cpu.max) and 1 (cpu.cfs_quota_us): Kubernetes' `limits.cpu`.
    """
    quota = _quota(cgroup)
    available = float(len(os.sched_getaffinity(0)))
    return min(quota, available) if quota else available


def _quota(cgroup: Path) -> float | None:
    try:
        if (cgroup / "cpu.max").is_file():
            used, period = (cgroup / "cpu.max").read_text().split()
        else:
            used = (cgroup / "cpu/cpu.cfs_quota_us").read_text()
            period = (cgroup / "cpu/cpu.cfs_period_us").read_text()
        return max(int(used), 0) / int(period) or None
    except (OSError, ValueError):  # not in a cgroup of its own, or "max"
        return None
