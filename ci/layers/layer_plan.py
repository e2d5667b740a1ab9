"""Plans the layers of some wheels, and makes each."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from builders.cache import Cache
from builders.errors import UsageError
from builders.matrix import Matrix, Runtime, Target
from builders.progress import Reporter, describe
from builders.wheelname import parse_own_name
from ci.layers.bytecode import bytecode_of
from ci.layers.layer_content import locked_wheel, site_packages
from ci.layers.layer_zip import Layer, folder_of, write_layer


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The plan of one layer.

    Attributes:
        wheels: our wheel for each runtime, or None in a layer without our wheel.
        projects: the other packages in the layer, from the locks.
        multi: True if the layer is for several Pythons.
    """

    name: str
    arch: str
    wheels: Mapping[Runtime, Path | None]
    projects: tuple[str, ...]
    multi: bool


def find_wheels(
    arguments: Sequence[str], folders: Sequence[Path], matrix: Matrix
) -> dict[Target, Path]:
    """Return the wheel of each argument, which is a target's identifier or a wheel file.

    Raises:
        UsageError: there is no such target, or no wheel of it.
    """
    found: dict[Target, Path] = {}
    for argument in arguments:
        if argument.endswith(".whl"):
            name = parse_own_name(Path(argument).name, matrix)
            if name.target is None:
                raise UsageError(f"{argument}: {'; '.join(name.faults)}")
            if not Path(argument).is_file():
                raise UsageError(f"there is no wheel {argument}")
            found[name.target] = Path(argument)
        else:
            target = matrix.target(argument)
            found[target] = _newest(target, folders, matrix)
    return found


def _newest(target: Target, folders: Sequence[Path], matrix: Matrix) -> Path:
    """Return the target's wheel with the highest build, from the first folder that has one."""
    for folder in folders:
        builds = {}
        for path in folder.rglob("*.whl"):
            name = parse_own_name(path.name, matrix)
            if name.target == target:
                builds[name.build] = path
        if builds:
            return builds[max(builds)]
    raise UsageError(
        f"no wheel of {target.identifier} in {' or '.join(str(folder) for folder in folders)}",
        remedy=f"./scripts/build --only {target.identifier} makes it, or name its folder "
        "with --wheels",
    )


def plan(wheels: Mapping[Target, Path], *, multi: bool, pillow: bool) -> Iterator[Plan]:
    """Give the plans of the layers: one layer for each wheel, or one layer for all.

    Raises:
        UsageError: one layer cannot hold wheels of two architectures or TensorFlow versions.
    """
    groups = [wheels] if multi else [{target: path} for target, path in wheels.items()]
    for group in groups:
        versions = {target.tensorflow.version for target in group}
        arches = {target.arch for target in group}
        if len(versions) > 1 or len(arches) > 1:
            raise UsageError(
                "one layer is of one TensorFlow version and one architecture, "
                f"not {', '.join(target.identifier for target in group)}",
                remedy="call it once for each",
            )
        (version,), (arch,) = versions, arches
        tags = "-".join(target.runtime.tag for target in group)
        yield Plan(
            name=f"layer-tf{version}-{tags}-{arch}.zip",
            arch=arch,
            wheels={target.runtime: path for target, path in group.items()},
            projects=("numpy",),
            multi=multi,
        )
        if pillow:
            yield Plan(
                name=f"layer-pillow-{tags}-{arch}.zip",
                arch=arch,
                wheels=dict.fromkeys(target.runtime for target in group),
                projects=("pillow",),
                multi=multi,
            )


def make(
    item: Plan, out: Path, cache: Cache, reporter: Reporter, *, bytecode: bool = True
) -> Layer:
    """Fetch the packages of a layer, and write the layer into a folder.

    Args:
        bytecode: True to add bytecode, see bytecode.py; without it, each cold start compiles the
            modules that it imports.

    Raises:
        FetchError: a locked wheel cannot be downloaded.
        ArchiveError: a wheel is damaged.
        UsageError: the layer is larger than Lambda accepts, or this machine lacks the Python that
            writes its bytecode.
    """
    log = cache.root / "logs" / f"{item.name}.log"
    files: dict[str, bytes] = {}
    packages = {}
    with reporter.step(item.name) as step:
        for runtime, wheel in item.wheels.items():
            parts = [] if wheel is None else [wheel]
            for project in item.projects:
                reporter.show(step, f"{project} for {runtime.name}")
                parts.append(locked_wheel(project, runtime, item.arch, cache, log))
            folder = folder_of(runtime, multi=item.multi)
            found = site_packages(parts)
            if bytecode:
                reporter.show(step, f"bytecode for {runtime.name}")
                found |= bytecode_of(found, folder, runtime, cache, log)
            files |= {f"{folder}/{path}": data for path, data in found.items()}
            packages[runtime.python] = tuple(part.name for part in parts)
        packing = time.monotonic()
        return write_layer(
            out / item.name,
            files,
            arch=item.arch,
            packages=packages,
            progress=lambda done, total: reporter.show(
                step, describe(done, total, "bytes", time.monotonic() - packing)
            ),
        )
