"""The compiler environment: CMake, Ninja and zig from the hash-locked requirements.

zig brings clang, libc++ and the headers and stubs of every glibc. So we choose the glibc
floor instead of inheriting it from the machine, and an architecture is only a name to zig.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path

from builders.architecture import ARCHITECTURES
from builders.cache import Cache
from builders.errors import ToolchainError

GLIBC_FLOOR = {arch: each.glibc for arch, each in ARCHITECTURES.items()}
"""The oldest glibc a wheel runs on, by architecture."""

PACKAGES = ("ziglang", "cmake", "ninja")

# Code and data that nothing refers to are dropped by the linker, section by section.
FLAGS = (
    "-g0",
    "-O3",
    "-DNDEBUG",
    "-fPIC",
    "-ffunction-sections",
    "-fdata-sections",
    # A write beyond an array's end stops the process, instead of running what was written.
    "-fstack-protector-strong",
    "-D_FORTIFY_SOURCE=2",
)

# -O3 here applies to libc++, which zig compiles for the first link and keeps for later ones.
LINK_FLAGS = (
    "-shared",
    "-s",
    "-O3",
    "-Wl,--gc-sections",
    "-Wl,--build-id=none",
    "-Wl,-z,relro,-z,now,-z,noexecstack",
)
LIBRARIES = ("-lm", "-ldl", "-lpthread")

# Added to FLAGS: what needs no speed compiles in a fraction of the time. `-Xclang` hides `-O0` from
# zig, which would otherwise compile for debugging, its C++ library, too.
UNOPTIMIZED = ("-w", "-Xclang", "-O0")

# The headers that Python's headers include and zig's glibc lacks. They are searched last.
SHIM = Path(__file__).with_name("shim")


@dataclass(frozen=True)
class Toolchain:
    """The compiler tools of the Python environment that runs us."""

    cache: Cache

    @cached_property
    def versions(self) -> dict[str, str]:
        """The version of each tool, by the tool's package.

        Raises:
            ToolchainError: a tool is not installed.
        """
        try:
            return {name: metadata.version(name) for name in PACKAGES}
        except metadata.PackageNotFoundError as error:
            raise ToolchainError(
                f"the compiler environment lacks {error.name}",
                remedy="run the command through ./scripts, which installs what it needs",
            ) from error

    @cached_property
    def zig(self) -> Path:
        """The zig program itself, without the start-up of its Python launcher."""
        found = [
            Path(str(metadata.distribution("ziglang").locate_file(file)))
            for file in metadata.files("ziglang") or ()
            if file.name == "zig"
        ]
        if len(found) != 1 or not os.access(found[0], os.X_OK):
            raise ToolchainError(f"the ziglang package has no zig program: {found}")
        return found[0]

    @property
    def path(self) -> str:
        """A PATH on which cmake and ninja are found first."""
        return f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"

    @property
    def environment(self) -> dict[str, str]:
        """The variables for CMake, Ninja and zig; they clear the caller's compiler settings."""
        zig_cache = str(self.cache.root / "zig")
        neutral = dict.fromkeys(("CFLAGS", "CXXFLAGS", "CPPFLAGS", "LDFLAGS", "CC", "CXX"), "")
        neutral |= dict.fromkeys(("CPATH", "C_INCLUDE_PATH", "CPLUS_INCLUDE_PATH"), "")
        return neutral | {
            "PATH": self.path,
            "ZIG_GLOBAL_CACHE_DIR": zig_cache,
            "ZIG_LOCAL_CACHE_DIR": zig_cache,
        }

    def target(self, arch: str) -> str:
        """Return zig's name of an architecture with its glibc floor."""
        return f"{arch}-linux-gnu.{GLIBC_FLOOR[arch]}"

    def compiler(self, language: str, arch: str) -> list[str]:
        """Return the command that compiles `c` or `c++` for an architecture."""
        driver = {"c": "cc", "c++": "c++"}[language]
        return [str(self.zig), driver, "-target", self.target(arch), f"-mcpu={self.cpu(arch)}"]

    def cpu(self, arch: str) -> str:
        """Return the oldest processor that compiled code runs on, by zig's name."""
        return ARCHITECTURES[arch].cpu

    def prefix_maps(self, **folders: Path) -> list[str]:
        """Return flags that keep our folders' names out of objects, for the same bytes anywhere."""
        folders["zig"] = self.zig.parent
        return [f"-ffile-prefix-map={path}={name}" for name, path in folders.items()]
