"""Times the start of a wheel on its Lambda runtime: with each NumPy, and in a layer."""

from __future__ import annotations

import subprocess
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import geometric_mean
from typing import Any

from packaging.version import Version
from rich.console import Console
from rich.table import Table

from builders.cache import Cache
from builders.errors import SmokeError
from builders.matrix import Runtime
from builders.wheelname import parse_name
from ci.bench.candidates import Candidate, Startable, environment, installed
from ci.bench.measure import Network
from ci.bench.report import Machine, table
from ci.bench.starts import PARTS, Start, time_starts
from ci.layers.layer_zip import Layer, folder_of

DOCUMENT = Path(__file__).parents[2] / "docs/starts.md"
HEAD = """\
<!-- Written by ./scripts/bench --numpys; not to be edited. -->

# How fast a function starts

Most of the time in which a small model starts is NumPy's import. For each Lambda runtime: new
processes from the start to the first answer of {network}, in milliseconds of wall time, the
files in the system's cache, and with bytecode. The packages are installed by pip, as in an image,
or unpacked from the layer of `./scripts/layer`. The fastest NumPy that pip installs and that the
runtime's Linux accepts is in bold.

"""
COLUMNS = ("runtime", "from", "NumPy", *PARTS, "total", "peak MB")
IMAGE, LAYER = "image", "layer"


@dataclass(frozen=True, kw_only=True)
class Packages:
    """Packages in a folder on Python's path, with their bytecode beside them.

    Attributes:
        base: the runtime whose interpreter runs the processes.
        source: where the packages are from, IMAGE or LAYER.
        folder: the folder, whose packages are found before those of `base`.
        numpy: the version of NumPy in the folder.
    """

    base: Startable
    source: str
    folder: Path
    numpy: str

    @property
    def name(self) -> str:
        """See Startable."""
        return f"{self.base.name} from the {self.source}"

    @property
    def module(self) -> str:
        """See Startable."""
        return self.base.module

    @property
    def bytecode(self) -> None:
        """See Startable."""
        return

    def command(self, module: str, *arguments: str | Path) -> Sequence[str | Path]:
        """See Startable."""
        return ["env", f"PYTHONPATH={self.folder}", *self.base.command(module, *arguments)]


def installed_by_pip(base: Candidate) -> Packages:
    """Compile a runtime's packages where they are, as pip does in an image.

    Raises:
        SmokeError: Python does not find or compile them.
    """
    code = "import compileall, sysconfig as s; f = s.get_path('purelib'); "
    code += "compileall.compile_dir(f, quiet=2); print(f)"
    done = subprocess.run(
        [base.python, "-c", code], capture_output=True, text=True, check=False, env=environment()
    )
    if done.returncode:
        raise SmokeError(f"{base.name}: Python does not compile its packages: {done.stderr[-500:]}")
    return Packages(base=base, source=IMAGE, folder=Path(done.stdout.strip()), numpy=base.numpy)


def unpacked(layer: Layer, runtime: Runtime, base: Startable) -> Packages:
    """Unpack a layer for one Python into a new folder beside it, as Lambda does."""
    folder = layer.path.with_suffix("")
    with zipfile.ZipFile(layer.path) as packed:
        packed.extractall(folder)
    (numpy,) = (
        name.version
        for name in map(parse_name, layer.packages[runtime.python])
        if name.project == "numpy"
    )
    below = folder / folder_of(runtime, multi=False)
    return Packages(base=base, source=LAYER, folder=below, numpy=str(numpy))


@dataclass(frozen=True, kw_only=True)
class Tried:
    """A runtime that was started with one NumPy.

    Attributes:
        source: where the packages are from, IMAGE or LAYER.
        start: the times of its new processes.
    """

    runtime: Runtime
    wheel: str
    source: str
    numpy: str
    start: Start

    @property
    def is_installable(self) -> bool:
        """True if the runtime's own Linux accepts the wheels of this NumPy."""
        return Version(self.numpy) <= Version(self.runtime.numpy.on_lambda)


@dataclass(frozen=True, kw_only=True)
class NumPys:
    """The result for all runtimes and NumPys.

    Attributes:
        network: the name of the network that each process ran.
    """

    machine: Machine
    network: str
    tried: tuple[Tried, ...]

    def fastest(self) -> Mapping[str, Tried]:
        """Return the installable NumPy of an image with the least total time, by runtime."""
        found: dict[str, Tried] = {}
        for each in self.tried:
            best = found.get(each.runtime.name)
            if (
                each.source == IMAGE
                and each.is_installable
                and (best is None or each.start.total < best.start.total)
            ):
                found[each.runtime.name] = each
        return found

    def layer_ratios(self) -> Mapping[str, float]:
        """Return the total time in the layer by that in the image with the same NumPy."""
        image = {
            (each.runtime.name, each.numpy): each for each in self.tried if each.source == IMAGE
        }
        return {
            each.runtime.name: each.start.total / image[each.runtime.name, each.numpy].start.total
            for each in self.tried
            if each.source == LAYER
        }

    def as_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "machine": vars(self.machine),
            "network": self.network,
            "fastest": {name: each.numpy for name, each in self.fastest().items()},
            "layer_of_image": dict(self.layer_ratios()),
            "starts": [
                {
                    "runtime": each.runtime.name,
                    "wheel": each.wheel,
                    "from": each.source,
                    "numpy": each.numpy,
                }
                | each.start.as_json()
                for each in self.tried
            ],
        }


def time_numpys(
    layers: Mapping[Path, tuple[Runtime, Layer]],
    network: Network,
    processes: int,
    cache: Cache,
    log: Path,
    show: Callable[[str], None],
) -> NumPys:
    """Start each wheel with each NumPy that its runtime is tried with, and in its layer, in turns.

    Args:
        layers: by wheel, its runtime and the layer that was made of it; each in a folder of its
            own, where it is unpacked.
        processes: the number of processes to start with each NumPy.

    Raises:
        SmokeError: this machine lacks a Python, or a process does not start.
    """
    machine, found = Machine.here(), []
    for wheel, (runtime, layer) in layers.items():
        show(runtime.name)
        numpys = runtime.numpy.smoke_versions
        with installed([wheel] * len(numpys), runtime, cache, log, numpys) as candidates:
            packages = list(map(installed_by_pip, candidates))
            packages.append(unpacked(layer, runtime, candidates[0]))
            starts = time_starts(network, packages, processes, log)
        for each, start in zip(packages, starts, strict=True):
            found.append(
                Tried(
                    runtime=runtime,
                    wheel=wheel.name,
                    source=each.source,
                    numpy=each.numpy,
                    start=start,
                )
            )
    return NumPys(machine=machine, network=network.name, tried=tuple(found))


def show_numpys(found: NumPys, console: Console) -> None:
    """Print the table."""
    shown = Table(title=f"ms of a start with {found.network}")
    for heading in COLUMNS:
        shown.add_column(heading, justify="right")
    for row in _rows(found, "[green]{}[/]"):
        shown.add_row(*row)
    console.print(shown)
    console.print(_layers(found))


def numpys_document(found: NumPys, command: str) -> str:
    """Return the text of docs/starts.md."""
    machine = found.machine
    return "".join(
        [
            HEAD.format(network=found.network),
            *table(COLUMNS, list(_rows(found, "**{}**"))),
            f"\n{_layers(found)}\n",
            f"\nMeasured on {machine.processor}, load {machine.load:.1f}, by\n\n",
            f"```\n{command}\n```\n",
        ]
    )


def _rows(found: NumPys, marked: str) -> Iterator[Sequence[str]]:
    fastest = found.fastest().values()
    for each in found.tried:
        yield (
            each.runtime.name,
            each.source,
            marked.format(each.numpy) if each in fastest else each.numpy,
            *(f"{each.start.least(part):.1f}" for part in PARTS),
            f"{each.start.total:.1f}",
            f"{min(each.start.peak_bytes) / 1e6:.0f}",
        )


def _layers(found: NumPys) -> str:
    ratios = found.layer_ratios()
    listed = ", ".join(f"{ratio:.2f} ({name})" for name, ratio in ratios.items())
    return (
        "A start in the layer takes, of a start in an image with the same NumPy: "
        f"{geometric_mean(ratios.values()):.2f} on the mean; {listed}."
    )
