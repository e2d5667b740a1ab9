"""`./scripts/matrix`: what a CI service is to build, from the repository's own matrix."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from packaging.utils import parse_wheel_filename

from builders.cache import Cache, default_root
from builders.cli import command_parser, guarded
from builders.errors import UsageError
from builders.handover import known_cores
from builders.matrix import Target, load_matrix
from builders.toolchain import Toolchain
from ci.changes import changed_files, needed, old_matrix
from ci.images.bases import AWS
from ci.rules import load_rules
from ci.upstream_tests.native.parts import ARCH

ROOT = Path(__file__).parent.parent
WHEELS = ROOT / "wheels"

PULL_REQUEST, PUSH = "pull_request", "push"
EVENTS = (PULL_REQUEST, PUSH, "schedule", "workflow_dispatch")

Published = tuple[str, int, str, str]

EXAMPLES = """\
examples:
  matrix                                        everything, as for a push
  matrix --changed README.md                    a pull request that changed that file
  matrix --changed-since origin/main            a pull request of this checkout
  matrix --event pull_request --changed-since HEAD^1 --github >> "$GITHUB_OUTPUT"

exit codes: 0 done, 2 wrong usage, or no such revision
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return guarded(lambda: run(argv))


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command; raises UserError where `main` prints."""
    options = _parser().parse_args(argv)
    matrix, rules = load_matrix(), load_rules(load_matrix())
    asked = options.changed is not None or options.changed_since is not None
    event = options.event or (PULL_REQUEST if asked else PUSH)
    targets = [t for t in matrix.targets() if options.declared or t.verified]
    if event == PULL_REQUEST:
        if not asked:
            raise UsageError(
                "a pull request needs what it changed", remedy="add --changed-since or --changed"
            )
        before = None
        changed = [*(options.changed or ())]
        if options.changed_since is not None:
            changed += changed_files(options.changed_since)
            before = old_matrix(options.changed_since)
        targets = needed(targets, rules, changed, before)
    locked: dict[tuple[str, str], tuple[str, str]] = {}
    for key, name in known_cores(matrix, Toolchain(Cache(default_root()))):
        # The preferred origin is first, and a CI service reaches it.
        locked.setdefault((name.tensorflow, name.arch), (key, name.origin))
    found = plan(targets, rules.runners, locked, event, published(WHEELS))
    print(github_output(found) if options.github else json.dumps(found, indent=2))
    return 0


def plan(
    targets: Sequence[Target],
    runners: Mapping[str, str],
    locked: Mapping[tuple[str, str], tuple[str, str]],
    event: str,
    there: Collection[Published],
) -> dict[str, Any]:
    """The jobs for these targets.

    A published wheel is built and proven again, and not published again: whether its
    bytes are the same depends on the origin of its sources, and they never change.

    Args:
        runners: the label of a machine, by architecture.
        locked: a core's key and the origin of its sources, by TensorFlow and
            architecture; there is none where the sources are not locked.
        event: only a push publishes.
        there: what is published.
    """

    def core(target: Target) -> tuple[str, str] | tuple[None, None]:
        return locked.get((target.tensorflow.version, target.arch), (None, None))

    new = {target.identifier for target in targets if _published(target) not in there}
    cores = {
        (target.tensorflow.version, target.arch): {
            "name": f"tf{target.tensorflow.version}-{target.arch}",
            "tensorflow": target.tensorflow.version,
            "arch": target.arch,
            "origin": core(target)[1],
            "key": core(target)[0],
            # Cores are cross-compiled, on the kind of machine that there is most of.
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
        # Those that upstream's C++ tests run against.
        "native": [core for core in cores.values() if core["arch"] == ARCH],
        "wheels": wheels,
    }


def published(folder: Path) -> set[Published]:
    """What a folder of wheels has: TensorFlow, build number, Python's tag, architecture."""
    found = set()
    for path in folder.glob("*.whl"):
        _, version, build, tags = parse_wheel_filename(path.name)
        for tag in tags:
            arch = next((a for a in load_matrix().architectures if tag.platform.endswith(a)), "")
            found.add((str(version), build[0] if build else 0, tag.interpreter, arch))
    return found


def _published(target: Target) -> Published:
    return (target.tensorflow.version, target.tensorflow.build, target.runtime.tag, target.arch)


def github_output(found: Mapping[str, Any]) -> str:
    """A plan as the outputs of a step: `name=JSON`, a line each."""
    return "\n".join(
        f"{name}={value if isinstance(value, str) else json.dumps(value)}"
        for name, value in found.items()
    )


def _parser() -> argparse.ArgumentParser:
    parser = command_parser(
        prog="matrix",
        description="Print as JSON the cores and wheels that a CI service is to make. A pull "
        "request gets those that ci/rules.toml chooses by what it changed.",
        epilog=EXAMPLES,
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--changed-since", metavar="REVISION", help="the files that git says differ")
    what.add_argument("--changed", metavar="FILE", nargs="+", help="these files")
    parser.add_argument(
        "--event",
        choices=EVENTS,
        help="default: pull_request with --changed or --changed-since, else push",
    )
    parser.add_argument(
        "--declared", action="store_true", help="also targets that are not verified yet"
    )
    parser.add_argument("--github", action="store_true", help="print as outputs of a step")
    return parser


if __name__ == "__main__":
    sys.exit(main())
