"""What the steps need inside an image under construction: packages, and a network.

    python3 -m builders.image install REQUIREMENTS

Needs nothing but Python, since it is what installs the rest. Certificates and
pip's configuration come as BuildKit secrets, so that no layer has them:

    ca    a bundle of further certificates to trust (PEM)
    pip   a pip.conf: another index, a trusted host
"""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

SECRETS = Path("/run/secrets")
SHELF = Path("/shelf")
OFFLINE_VARIABLE = "TFLITE_OFFLINE"
# The variables that name a bundle of certificates to pip, requests and OpenSSL.
CA_VARIABLES = ("PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
# The exit code of builders.errors.ToolchainError.
NO_TOOLCHAIN = 6
# A file system in memory: no layer keeps its files.
MEMORY = Path("/dev/shm")


def network_variables(secrets: Path = SECRETS, memory: Path = MEMORY) -> dict[str, str]:
    """Return the variables that point every tool to the certificates and pip.conf of the secrets.

    Args:
        secrets: the folder in which BuildKit mounts the secrets.
        memory: the folder in which the joined bundle of certificates is written.
    """
    variables = {}
    if (secrets / "pip").is_file():
        variables["PIP_CONFIG_FILE"] = str(secrets / "pip")
    if (secrets / "ca").is_file():
        # A company's own certificate is trusted besides the public ones.
        usual = [ssl.get_default_verify_paths().cafile, _pips_bundle()]
        bundles = [Path(name).read_bytes() for name in usual if name]
        bundles.append((secrets / "ca").read_bytes())
        folder = memory if memory.is_dir() else None
        with tempfile.NamedTemporaryFile(dir=folder, suffix=".pem", delete=False) as file:
            file.write(b"\n".join(bundles))
        variables |= dict.fromkeys(CA_VARIABLES, file.name)
    return variables


def _pips_bundle() -> str | None:
    """Return the path of the certificates in pip: a base image may have no others."""
    try:
        from pip._vendor import certifi
    except ImportError:
        return None
    return str(certifi.where())


def is_offline(environ: Mapping[str, str]) -> bool:
    """True if the image is built without a network."""
    return environ.get(OFFLINE_VARIABLE) == "1"


def pip_command(requirements: Path, environ: Mapping[str, str]) -> list[str]:
    """Return the command that installs a requirements file with hashes into this Python.

    Args:
        environ: the environment variables. If they say offline, packages come only from
            the shelf.
    """
    command = [sys.executable, "-m", "pip", "install", "--require-hashes"]
    command += ["--disable-pip-version-check", "--root-user-action=ignore"]
    command += ["--only-binary", ":all:", "-r", str(requirements)]
    if is_offline(environ):
        command += ["--no-index", "--find-links", str(SHELF / "wheels")]
    return command


def main(arguments: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    if len(arguments) != 2 or arguments[0] != "install":
        print(__doc__, file=sys.stderr)
        return 2
    command = pip_command(Path(arguments[1]), os.environ)
    env = {**os.environ, **network_variables()}
    failed = subprocess.run(command, env=env, check=False).returncode
    return NO_TOOLCHAIN if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
