"""Reads the settings of a server or a gateway from environment variables."""

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
    """A variable has an invalid value; the message is one line for whoever starts the server."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of a server. Each field's variable is the field's name in capitals.

    Attributes:
        model_name, model_base_path: the model is the highest version of
            <model_base_path>/<model_name>/<version>/model.tflite. This layout, and the names of
            these two variables, are TensorFlow Serving's.
        grpc_port, rest_port: the ports; 0 for a free one.
        copies: the number of interpreters, each of which answers one request at a time. With 0,
            there are enough that their threads occupy every CPU that the container may use.
        threads: the number of threads of each interpreter.
        queue: the number of requests that may wait for an interpreter; further ones are refused.
        max_request_bytes: the limit for a request, and for each tensor in it.
        max_batch: the most rows of a request.
        request_seconds: the time limit of a request, even if its client would wait longer.
        poll_seconds: the time between two looks for a new version.
        lame_seconds: the time between SIGTERM and the end of accepting requests. Meanwhile,
            Kubernetes and load balancers learn that the server stops, and clients connect to
            other servers.
        drain_seconds: the time after that to answer the requests that have arrived.
        connection_seconds: the age at which clients are asked to connect anew; 0 for never. No
            request is lost. Clients find new servers behind the name, and they leave a server
            that stops before it has gone.
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
        """The folder with the model's versions."""
        return Path(self.model_base_path, self.model_name)


@dataclass(frozen=True, kw_only=True)
class GatewaySettings:
    """The settings of a gateway. Each field's variable is the field's name in capitals.

    The handler has variables of its own (smoke_lambda/app.py), such as MAX_PIXELS.

    Attributes:
        model_name: the model to ask.
        server: host and port of the model servers; all addresses of the name take turns.
        handler: the file of a function's handler (./scripts/function); empty for
            smoke_lambda/app.py.
        port: the port; 0 for a free one.
        request_threads: the number of requests that are answered at once.
        queue: the number of requests that may wait for a thread; further ones are refused.
        decodes: the number of pictures that are decoded at once; decoding is what needs memory.
        max_request_bytes: the limit for a request's body.
        request_seconds: the time limit of a request, with its download.
        retry_seconds: the time for which a request is retried, at the same server or at the next,
            while no server answers.
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
    """Return a server's settings; a setting without a variable has its default.

    Raises:
        SettingsError: a value has the wrong type, or is out of bounds.
    """
    found = Settings(**_values(Settings, environ))
    if found.copies:
        return found
    return replace(found, copies=max(1, math.ceil(cpus(cgroup) / found.threads)))


def read_gateway(environ: Mapping[str, str] = os.environ) -> GatewaySettings:
    """Return a gateway's settings; see `read`."""
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
    """Return the number of CPUs that the container may use: its processors or its quota, if lower.

    The quota is that of Linux's cgroups, version 2 (cpu.max) or 1 (cpu.cfs_quota_us). Kubernetes
    sets it from `limits.cpu`.
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
    except (OSError, ValueError):  # there is no cgroup, or the quota is "max"
        return None
