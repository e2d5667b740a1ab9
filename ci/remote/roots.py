"""Makes the root file systems of roots.toml, each once, and runs commands in them.

Source: bwrap(1)
"""

from __future__ import annotations

import platform
import shlex
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from builders.cache import Cache, key_of
from builders.errors import EngineError, ToolchainError
from builders.process import run
from builders.tables import read_toml
from ci.images.debian import make_root

DATA = Path(__file__).with_name("roots.toml")
# The top folders that belong to a system.
SYSTEM = frozenset(("bin", "boot", "etc", "lib", "lib32", "lib64", "libx32", "sbin", "usr", "var"))
# Folders that are bound from this machine. bwrap's own /proc is incomplete, and a sandbox in the
# sandbox needs a complete one.
DEVICES = ("/dev", "/proc", "/sys")


@dataclass(frozen=True)
class Root:
    """A root file system."""

    path: Path

    def command(
        self, words: Sequence[str | Path], places: Iterable[Path], *, user: str = ""
    ) -> list[str | Path]:
        """Return a command that runs a command inside the root, in the present folder.

        Args:
            places: the folders of this machine that the command sees, at their own paths.
            user: the user that the command sees itself as; by default, our own user. On this
                machine, the command's files always belong to our user.

        Raises:
            ToolchainError: bwrap is not installed.
        """
        found = shutil.which("bwrap")
        if found is None:
            raise ToolchainError(
                "programs run in another root file system by bwrap, which is not installed",
                remedy="install it (Debian: apt install bubblewrap)",
            )
        command: list[str | Path] = [found, "--bind", self.path, "/"]
        command += [word for each in DEVICES for word in ("--dev-bind", each, each)]
        command += [word for each in places for word in ("--bind", each, each)]
        if user:
            uid, gid = self._numbers(user)
            command += ["--unshare-user", "--uid", uid, "--gid", gid]
        return [*command, "--die-with-parent", "--", *words]

    def programs(self) -> set[str]:
        """Return the names of all programs in the root."""
        folders = (self.path / "usr" / name for name in ("bin", "sbin", "local/bin"))
        return {path.name for folder in folders for path in folder.glob("*")}

    @property
    def python(self) -> str:
        """The version of the root's Python, such as `3.14`."""
        return (self.path / "usr/bin/python3").readlink().name.removeprefix("python")

    def _numbers(self, user: str) -> tuple[str, str]:
        for line in (self.path / "etc/passwd").read_text().splitlines():
            name, _, uid, gid, *_rest = line.split(":")
            if name == user:
                return uid, gid
        raise EngineError(f"{self.path} has no user {user}")


def root_of(name: str, cache: Cache, log: Path, on_line: Callable[[str], None]) -> Root:
    """Return a root file system of roots.toml; make it if it is not in the cache.

    Raises:
        EngineError: mmdebstrap is not installed, or failed.
    """
    data = read_toml(DATA)
    suite, packages = data["suite"], data[name]["packages"]

    def make(product: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="tflite-root-") as folder:
            tar = Path(folder) / "root.tar"
            make_root(tar, suite, packages, log=log, on_line=on_line)
            # The root uses this machine's devices; only the user root could make others.
            unpack: list[str | Path] = ["tar", "--extract", "--file", tar, "--directory", product]
            unpack += ["--no-same-owner", "--exclude=./dev/*"]
            run(unpack, log=log, failure=EngineError, what=f"unpacking Debian {suite}")

    key = key_of([suite, packages, platform.machine()])
    return Root(cache.product("remote-root", key, make))


def own_folders() -> list[Path]:
    """Return the top folders of this machine, without the system's."""
    system = SYSTEM.union(Path(each).name for each in DEVICES)
    tops = (path for path in sorted(Path("/").iterdir()) if path.name not in system)
    return [path for path in tops if path.is_dir() and not path.is_symlink()]


def bazel_program(root: Root, folder: Path) -> Path:
    """Write a program `bazel` into a folder, which runs the Bazel of a root; return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "bazel"
    command = shlex.join(map(str, root.command(["/usr/bin/bazel"], own_folders())))
    program.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    program.chmod(0o755)
    return program
