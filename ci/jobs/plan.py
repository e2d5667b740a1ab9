"""The plan of a CI service's jobs: the cores and wheels that it must make."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from builders.matrix import Target
from builders.wheelname import parse_name
from ci.images.bases import AWS
from ci.upstream_tests.native.parts import ARCH

PULL_REQUEST, PUSH = "pull_request", "push"
EVENTS = (PULL_REQUEST, PUSH, "schedule", "workflow_dispatch")

Published = tuple[str, int, str, str]


def plan(
    targets: Sequence[Target],
    runners: Mapping[str, str],
    locked: Mapping[tuple[str, str], tuple[str, str]],
    event: str,
    there: Collection[Published],
) -> dict[str, Any]:
    """Return the jobs for some targets.

    A published wheel is built and proven again, but not published again: the bytes of a
    published wheel never change, and those of the new one depend on the origin of its sources.

    Args:
        runners: the label of a machine, by architecture.
        locked: a core's key and the origin of its sources, by TensorFlow and
            architecture; there is no entry if the sources are not locked.
        event: the event that starts the workflow; only a push publishes.
        there: the published wheels.
    """

    def core(target: Target) -> tuple[str, str] | tuple[None, None]:
        return locked.get((target.tensorflow.version, target.arch), (None, None))

    new = {
        target.identifier
        for target in targets
        if target.tensorflow.publish and _published(target) not in there
    }
    tried = {(version, tag, arch) for version, _, tag, arch in there}
    cores = {
        (target.tensorflow.version, target.arch): {
            "name": f"tf{target.tensorflow.version}-{target.arch}",
            "tensorflow": target.tensorflow.version,
            "arch": target.arch,
            "origin": core(target)[1],
            "key": core(target)[0],
            # Cores are cross-compiled on x86_64, the kind of machine that CI has most of.
            "runner": runners["x86_64"],
        }
        for target in targets
    }
    wheels = [
        {
            "target": target.identifier,
            "tensorflow": target.tensorflow.version,
            "python": target.runtime.python,
            "tag": target.runtime.tag,
            "arch": target.arch,
            "core": f"tf{target.tensorflow.version}-{target.arch}",
            "origin": core(target)[1],
            "runner": runners[target.arch],
            "base": AWS.format(python=target.runtime.python),
            "artifact": f"wheel-{'new' if target.identifier in new else 'again'}-"
            f"{target.identifier}",
            "state": "verified" if target.verified else "declared",
        }
        for target in targets
    ]
    return {
        "event": event,
        "build": bool(wheels),
        "publish": event == PUSH and bool(new),
        "deploy": event == PUSH,
        "cores": list(cores.values()),
        # The cores that upstream's C++ tests run against.
        "native": [core for core in cores.values() if core["arch"] == ARCH],
        "wheels": wheels,
        # The targets with a published wheel of any build: the nightly job tries that wheel.
        "published": [
            wheel for wheel in wheels if (wheel["tensorflow"], wheel["tag"], wheel["arch"]) in tried
        ],
    }


def published(folder: Path) -> set[Published]:
    """Return TensorFlow, build number, Python tag and architecture of each wheel in a folder."""
    names = [parse_name(path.name) for path in folder.glob("*.whl")]
    return {
        (str(name.version), name.build[0] if name.build else 0, name.interpreter, name.arch or "")
        for name in names
    }


def _published(target: Target) -> Published:
    return (target.tensorflow.version, target.tensorflow.build, target.runtime.tag, target.arch)


def github_output(found: Mapping[str, Any]) -> str:
    """Return a plan as the outputs of a step: a line `name=JSON` for each."""
    return "\n".join(
        f"{name}={value if isinstance(value, str) else json.dumps(value)}"
        for name, value in found.items()
    )
