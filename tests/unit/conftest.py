"""Unit tests cannot touch the world: no network, no program, nobody's home."""

from __future__ import annotations

import ipaddress
import os
import socket
import subprocess

import pytest

from builders.audit import modules_check
from builders.fetch import debian_mirrors
from builders.interpreters import find_interpreter

# Variables that a developer's shell or a CI service may set, and that we, pip or apt would obey.
FOREIGN = ("PIP_", "UV_", "TFLITE_", "SOURCE_DATE_EPOCH", "PYENV_ROOT", "APT_CONFIG")

_connect = socket.socket.connect
_connect_ex = socket.socket.connect_ex
_getaddrinfo = socket.getaddrinfo


class OutsideWorldError(AssertionError):
    """A unit test reached out of its process."""


@pytest.fixture(autouse=True)
def isolated(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in list(os.environ):
        if name.startswith(FOREIGN) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    monkeypatch.setenv("TFLITE_WHEELS_CACHE", str(home / "cache" / "wheels"))
    monkeypatch.setattr(socket.socket, "connect", _connect_here)
    monkeypatch.setattr(socket.socket, "connect_ex", _connect_ex_here)
    monkeypatch.setattr(socket, "getaddrinfo", _getaddrinfo_here)
    if "allow_subprocess" not in request.fixturenames:
        monkeypatch.setattr(subprocess.Popen, "__init__", _no_program)
    # The Python files of the samples are made up.
    monkeypatch.setattr(modules_check, "known_modules", dict)
    debian_mirrors.cache_clear()
    find_interpreter.cache_clear()


@pytest.fixture
def allow_subprocess() -> None:
    """Let a test start a program: this Python, a shell, or a fake that the test wrote."""


def _no_program(_self: object, command: object, *_: object, **__: object) -> None:
    raise OutsideWorldError(f"a unit test starts {command!r}; see the fixture allow_subprocess")


def _connect_here(self: socket.socket, address: tuple[str, int] | str) -> None:
    _check_loopback(address[0] if isinstance(address, tuple) else "localhost")
    _connect(self, address)


def _connect_ex_here(self: socket.socket, address: tuple[str, int] | str) -> int:
    _check_loopback(address[0] if isinstance(address, tuple) else "localhost")
    return _connect_ex(self, address)


def _getaddrinfo_here(host: str | None, *args: int, **options: int) -> list[tuple[object, ...]]:
    _check_loopback(host)
    return [*_getaddrinfo(host, *args, **options)]


def _check_loopback(host: str | None) -> None:
    if not host or host == "localhost":
        return
    try:
        if ipaddress.ip_address(host).is_loopback:
            return
    except ValueError:
        pass
    raise OutsideWorldError(f"a unit test reaches for {host}")
