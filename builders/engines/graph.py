"""The build graph that CMake wrote for Ninja, as commands that another engine can run.

Source: https://ninja-build.org/manual.html#_extra_tools (compdb-targets, since Ninja 1.13)
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from builders.errors import CompileError


@dataclass(frozen=True, kw_only=True)
class Compilation:
    """A command that makes an object or a precompiled header from one source.

    Attributes:
        output: the file that the command makes, as a path from the build folder.
        source: the absolute path of the source.
        words: the words of the command; the first is the compiler.
    """

    output: str
    source: str
    words: tuple[str, ...]

    @property
    def is_header(self) -> bool:
        """True if the command makes a precompiled header."""
        return "-emit-pch" in self.words


@dataclass(frozen=True, kw_only=True)
class Archive:
    """A command that puts objects into an archive; the attributes are those of Compilation."""

    output: str
    words: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Generator:
    """Any other command: it writes a source, or a file that nobody needs.

    Attributes:
        output: the file that the command makes, as a path from the build folder.
        line: the command, for a shell in the build folder.
    """

    output: str
    line: str


@dataclass(frozen=True, kw_only=True)
class Graph:
    """The commands that make a target, by kind; each comes after those of its kind that it needs.

    Attributes:
        objects: the commands that make objects.
        headers: the commands that make precompiled headers.
        archives: the commands that make archives.
        generators: all other commands.
    """

    objects: tuple[Compilation, ...]
    headers: tuple[Compilation, ...]
    archives: tuple[Archive, ...]
    generators: tuple[Generator, ...]


def read_graph(
    build: Path, target: str, *, compiler: Path, environment: Mapping[str, str]
) -> Graph:
    """Return the graph of a target; the arguments are those of a `Job`.

    Raises:
        CompileError: Ninja cannot read the build files.
    """
    command = ["ninja", "-t", "compdb-targets", "-x", target]
    done = subprocess.run(
        command,
        cwd=build,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise CompileError(
            f"Ninja cannot read the build files in {build}: {done.stderr.strip()}",
            remedy="delete that folder and run the same command",
        )
    return parse_graph(json.loads(done.stdout), compiler)


def parse_graph(edges: Iterable[Mapping[str, str]], compiler: Path) -> Graph:
    """Return the graph of the commands that Ninja lists."""
    compilations: list[Compilation] = []
    archives: list[Archive] = []
    generators: list[Generator] = []
    for edge in edges:
        words = _compiling(edge["command"], compiler)
        if "-c" in words:
            source = str(Path(edge["directory"]) / edge["file"])
            compilations.append(
                Compilation(output=edge["output"], source=source, words=tuple(words))
            )
        elif words[1:2] == ["ar"]:
            archives.append(Archive(output=edge["output"], words=tuple(words)))
        else:
            generators.append(Generator(output=edge["output"], line=edge["command"]))
    return Graph(
        objects=tuple(each for each in compilations if not each.is_header),
        headers=tuple(each for each in compilations if each.is_header),
        archives=tuple(archives),
        generators=tuple(generators),
    )


def _compiling(command: str, compiler: Path) -> list[str]:
    """Return the words of the compiler's own command in a shell line; empty if there is none.

    CMake writes the line of an archive as `: && cmake -E rm -f FILE && COMPILER ar … && :`.
    """
    words = iter(shlex.split(command))
    while part := list(takewhile(lambda word: word != "&&", words)):
        if part[0] == str(compiler):
            return part
    return []
