"""Asks pip's resolver which packages it would install on a Lambda runtime's Linux and processor.

pip answers for the Python that runs it, so an interpreter of the runtime's Python runs pip.
Nothing is installed: machines of another architecture or with a newer glibc get the same answer.
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from builders.errors import FetchError
from builders.matrix import Runtime
from builders.wheelname import parse_name

OLDEST_GLIBC = 5
"""The x of glibc 2.x on the oldest Linux that PEP 600 has wheels for."""
LEGACY = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
"""The platform names from before PEP 600, by the x of glibc 2.x."""
SECONDS = 300.0
NONE_FOR = re.compile(r"No matching distribution found for (?P<what>.+)")


@dataclass(frozen=True, kw_only=True)
class Package:
    """A wheel that pip would install.

    Attributes:
        file: the name of the wheel.
        local: the wheel's path, if it is from this machine; otherwise None.
    """

    name: str
    version: str
    file: str
    sha256: str
    local: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Resolution:
    """The wheels that pip would install for a requirement.

    Attributes:
        packages: the wheels, the requirement's own first.
        reason: why there are none.
    """

    packages: tuple[Package, ...] = ()
    reason: str = ""

    def as_text(self) -> str:
        """Return this resolution as JSON."""
        return json.dumps(asdict(self), default=str)

    @staticmethod
    def of_text(text: str) -> Resolution:
        """Return the resolution of a text that `as_text` gave."""
        found = json.loads(text)
        for each in found["packages"]:
            each["local"] = Path(each["local"]) if each["local"] else None
        packages = tuple(Package(**each) for each in found["packages"])
        return Resolution(packages=packages, reason=found["reason"])


def platform_tags(glibc: str, arch: str) -> list[str]:
    """Return the platform tags of wheels that install on a Linux, newest first (PEP 600).

    Args:
        glibc: the Linux's glibc, such as 2.34.
        arch: our name of an architecture.
    """
    newest = int(glibc.partition(".")[2])
    found = []
    for minor in range(newest, OLDEST_GLIBC - 1, -1):
        found.append(f"manylinux_2_{minor}_{arch}")
        if minor in LEGACY:
            found.append(f"{LEGACY[minor]}_{arch}")
    return [*found, f"linux_{arch}"]


def resolve(
    requirements: Sequence[str], runtime: Runtime, arch: str, python: Path, log: Path
) -> Resolution:
    """Return the wheels that pip would install on a Lambda runtime.

    Args:
        requirements: pip's requirements; the first is the contender.
        python: an interpreter of the Lambda runtime's Python, with pip.

    Raises:
        FetchError: pip cannot answer: there is no network, or no index.
    """
    asked = requirements[0]
    is_file = asked.endswith(".whl")
    first = parse_name(Path(asked).name).project if is_file else Requirement(asked).name
    with tempfile.TemporaryDirectory(prefix="tflite-resolve-") as folder:
        report = Path(folder) / "report.json"
        command: list[str | Path] = [python, "-m", "pip", "install", "--dry-run"]
        command += ["--disable-pip-version-check", "--ignore-installed", "--no-input"]
        command += ["--only-binary", ":all:", "--target", Path(folder) / "none"]
        for tag in platform_tags(runtime.glibc, arch):
            command += ["--platform", tag]
        command += ["--report", report, *requirements]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, check=False, timeout=SECONDS, cwd=folder
            )
        except subprocess.TimeoutExpired:
            raise FetchError(
                f"pip takes more than {SECONDS:.0f} s for {requirements[0]}",
                remedy="check the network and pip's configuration",
            ) from None
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a") as file:
            file.write(f"--- pip, {', '.join(requirements)}\n{done.stdout}{done.stderr}")
        if done.returncode == 0:
            return Resolution(packages=packages_of(json.loads(report.read_text()), first))
        return Resolution(reason=reason_of(done.stderr, requirements[0], runtime, log))


def reason_of(said: str, requirement: str, runtime: Runtime, log: Path) -> str:
    """Return why pip installs nothing, in a line.

    Raises:
        FetchError: the reason is another than a missing wheel.
    """
    if not (found := NONE_FOR.search(said)):
        last = (said.strip().splitlines() or ["it said nothing"])[-1]
        raise FetchError(f"pip cannot resolve {requirement}: {last}", remedy=f"see {log}")
    what = found["what"].partition(" (from")[0]
    return f"no wheel of {what} for Python {runtime.python} with glibc {runtime.glibc}"


def packages_of(report: dict[str, Any], first: str) -> tuple[Package, ...]:
    """Read pip's report (https://pip.pypa.io/en/stable/reference/installation-report/).

    Args:
        first: the name of the package that comes first in the result.
    """
    found = []
    for each in report["install"]:
        url = each["download_info"]["url"]
        file = url.rpartition("/")[2]
        found.append(
            Package(
                name=canonicalize_name(each["metadata"]["name"]),
                version=each["metadata"]["version"],
                file=file.replace("%2B", "+"),
                sha256=each["download_info"]["archive_info"]["hashes"]["sha256"],
                local=Path(url.removeprefix("file://")) if url.startswith("file://") else None,
            )
        )
    return tuple(sorted(found, key=lambda each: (each.name != first, each.name)))
