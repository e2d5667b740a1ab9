"""A small project with everything that a core's build files have, configured like a core."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from builders.cache import Cache, default_root, sha256_of
from builders.core import CMAKE
from builders.engines.bazel import MOST_SECONDS, Bazel
from builders.engines.engine import Engine, Job, compile_with
from builders.toolchain import FLAGS, Toolchain

PROJECT = Path(__file__).with_name("small_project")
TOOLCHAIN = Toolchain(Cache(default_root()))
LANGUAGES = ("ASM", "C", "CXX")
# The compiler itself evaluates this, for as many steps as the project's flags allow.
ENDLESS = """
constexpr int Endless() {
  int value = 0;
  while (true) value ^= 1;
  return value;
}
static_assert(Endless() == 0);
"""


@dataclass
class Build:
    """A configured copy of the project in its own folder."""

    folder: Path
    said: list[str] = field(default_factory=list)
    on_progress: Callable[[int, int | None], None] = lambda _done, _total: None

    def __post_init__(self) -> None:
        shutil.copytree(PROJECT, self.sources)
        self.build.mkdir(parents=True)
        maps = TOOLCHAIN.prefix_maps(trees=self.sources, core=self.build)
        flags = shlex.join((*FLAGS, *maps))
        command: list[str | Path] = ["cmake", "-S", self.sources, "-B", self.build, "-G", "Ninja"]
        command += ["--toolchain", CMAKE / "zig.cmake", f"-DZIG={TOOLCHAIN.zig}"]
        command += [f"-DZIG_TARGET={TOOLCHAIN.target('x86_64')}", "-DCMAKE_BUILD_TYPE=Release"]
        command += [f"-DZIG_CPU={TOOLCHAIN.cpu('x86_64')}"]
        command += [f"-DCMAKE_{language}_FLAGS={flags}" for language in LANGUAGES]
        environment = {**os.environ, **TOOLCHAIN.environment}
        subprocess.run(command, check=True, env=environment, capture_output=True)

    @property
    def sources(self) -> Path:
        return self.folder / "sources"

    @property
    def build(self) -> Path:
        return self.folder / "work/core"

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    @property
    def job(self) -> Job:
        return Job(
            build=self.build,
            target="small",
            folders={"trees": self.sources, "core": self.build, "zig": TOOLCHAIN.zig.parent},
            compiler=TOOLCHAIN.zig,
            environment=TOOLCHAIN.environment,
            jobs=2,
            log=self.folder / "log",
            progress=self.on_progress,
        )

    def make(self, engine: Engine) -> dict[str, str]:
        """Build everything anew; return the digests of objects and archives, by path."""
        engine.forget(self.build)
        (self.folder / "log").unlink(missing_ok=True)
        for made in self.digests():
            (self.build / made).unlink()
        compile_with(engine, self.job)
        return self.digests()

    def digests(self) -> dict[str, str]:
        graph = self.job.graph
        names = [made.output for made in graph.objects] + [made.output for made in graph.archives]
        paths = {name: self.build / name for name in names}
        return {name: sha256_of(path) for name, path in paths.items() if path.is_file()}

    def bazel(self, cache: str = "", most_seconds: int = MOST_SECONDS) -> Bazel:
        return Bazel(cache=cache, say=self.said.append, most_seconds=most_seconds)


def processes(log: str) -> str:
    """Return the statement in Bazel's log about the actions that it ran."""
    found: list[str] = re.findall(r"INFO: (\d+ process(?:es)?: .*)", log)
    return found[-1]
