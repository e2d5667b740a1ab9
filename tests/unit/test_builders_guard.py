"""The guard around unit tests holds."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from builders.cache import default_root


def test_a_host_elsewhere_cannot_be_reached() -> None:
    # An address of documentation (RFC 5737).
    with pytest.raises(AssertionError, match=r"192\.0\.2\.1"):
        socket.create_connection(("192.0.2.1", 80), timeout=1)
    with socket.socket() as other, pytest.raises(AssertionError, match=r"192\.0\.2\.1"):
        other.connect_ex(("192.0.2.1", 80))


def test_a_name_cannot_be_looked_up() -> None:
    with pytest.raises(AssertionError, match=r"host\.invalid"):
        socket.getaddrinfo("host.invalid", 80)


def test_loopback_can_be_reached() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), timeout=5).close()


def test_no_program_can_be_started() -> None:
    with pytest.raises(AssertionError, match="allow_subprocess"):
        subprocess.run([sys.executable, "--version"], check=True)


@pytest.mark.usefixtures("allow_subprocess")
def test_a_test_can_ask_for_programs() -> None:
    assert subprocess.run([sys.executable, "-c", ""], check=False).returncode == 0


def test_home_and_caches_are_the_tests_own(tmp_path_factory: pytest.TempPathFactory) -> None:
    base = tmp_path_factory.getbasetemp()
    assert default_root().is_relative_to(base)
    assert Path.home().is_relative_to(base)
    assert "PIP_CERT" not in os.environ
