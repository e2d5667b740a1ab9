"""A build graph as Bazel runs it: without the folders of this machine, each with its inputs.

A command runs in a folder of Bazel's making that has `trees`, `core` and `zig` in it, and names
them by way of /proc/self/cwd: an absolute path that is the same wherever that folder is. Since
`-ffile-prefix-map` maps these as it maps the folders of this machine, the bytes are the same.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from builders.engines.graph import Archive, Compilation, Graph
from builders.engines.includes import (
    Scanner,
    any_file,
    defined_names,
    first_files,
    searched_folders,
)
from builders.errors import CompileError

CWD = "/proc/self/cwd"
BIN = "@BIN@"
"""Stands for the folder of what is made; core.bzl replaces it."""

CORE = "core"
# Bytes of a header must not depend on when it was unpacked.
NO_TIMES = ("-Xclang", "-fno-pch-timestamp")


@dataclass(frozen=True, kw_only=True)
class Action:
    """A command of Bazel's.

    Attributes:
        output: what it makes, as a path in Bazel's folder of what is made.
        words: after the program.
        parts: what other actions make, and this one reads.
        files: absolute paths on this machine of all that it reads besides.
        place: where CMake puts what it makes, from the build folder; None if nobody asks for it.
    """

    output: str
    words: tuple[str, ...]
    parts: tuple[str, ...]
    files: frozenset[str]
    place: str | None


class Folders:
    """The folders that may be read, by the names that they have in a workspace.

    Args:
        folders: by name; of one that is in another, its own name counts.
    """

    def __init__(self, folders: Mapping[str, Path]) -> None:
        self.folders = dict(folders)
        # A compiler may tell a folder's name without the links that led us to it.
        self._names = {str(path.resolve()): name for name, path in folders.items()}
        self._names |= {str(path): name for name, path in folders.items()}
        deepest = sorted(self._names, key=len, reverse=True)
        paths = "|".join(map(re.escape, deepest))
        self._pattern = re.compile(rf"(?:{paths})(?![\w.+-])")

    @property
    def roots(self) -> tuple[str, ...]:
        """How the path of each file in one of them begins."""
        return tuple(f"{path}/" for path in self._names)

    def translated(self, text: str) -> str:
        """Text with the folders' names in a workspace."""
        return self._pattern.sub(lambda match: f"{CWD}/{self._names[match[0]]}", text)

    def without(self, path: str) -> str:
        """A relative path with the folders' names alone: CMake makes objects' of absolute ones."""
        return self._pattern.sub(lambda match: f"/{self._names[match[0]]}", path)

    def place(self, path: str) -> str:
        """Where a file of this machine is in a workspace.

        Raises:
            CompileError: it is in none of the folders.
        """
        place, count = self._pattern.subn(lambda match: self._names[match[0]], path, count=1)
        if not count or place.startswith("/"):
            listed = ", ".join(map(str, self.folders.values()))
            raise CompileError(f"a compiler may read {path}, which is in none of {listed}")
        return place


def system_folders(words: Sequence[str]) -> tuple[str, ...]:
    """The folders that a compiler searches without being told, as absolute paths.

    Args:
        words: the compiler and what chooses its target.

    Raises:
        CompileError: it does not list them.
    """
    language = "c++" if "c++" in words else "c"
    command = [*words, "-E", "-v", "-x", language, os.devnull]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return listed_folders(done.stderr)


def listed_folders(output: str) -> tuple[str, ...]:
    """The folders in what a compiler prints with -v.

    Raises:
        CompileError: there are none.
    """
    _, begun, rest = output.partition("search starts here:\n#include <...> search starts here:\n")
    listed, ended, _ = rest.partition("End of search list.")
    if not begun or not ended:
        raise CompileError("the compiler does not tell where it looks for headers")
    return tuple(line.strip() for line in listed.splitlines())


class Translation:
    """Makes actions of a graph.

    Args:
        build: the folder that the graph's paths are from.
        system: gives the folders that a compiler searches without being told.
    """

    def __init__(
        self,
        build: Path,
        folders: Folders,
        system: Callable[[tuple[str, ...]], tuple[str, ...]] = system_folders,
    ) -> None:
        self.build = build
        self.folders = folders
        self.scanner = Scanner(folders.roots)
        self._system = system
        self._system_folders: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._headers: dict[str, Action] = {}

    def actions(self, graph: Graph) -> list[Action]:
        """The actions of a graph, each after those that it needs.

        Raises:
            CompileError: a command names what is in none of the folders.
        """
        found = []
        for header in graph.headers:
            action = self._compilation(header)
            self._headers[str(self.build / header.output)] = action
            found.append(action)
        found += [self._compilation(each) for each in graph.objects]
        return found + [self._archive(each) for each in graph.archives]

    def output(self, path: str) -> str:
        """Where Bazel makes what CMake puts at a path from the build folder."""
        return f"{CORE}/{self.folders.without(path)}"

    def _compilation(self, each: Compilation) -> Action:
        read = [self._headers[word] for word in each.words if word in self._headers]
        words = []
        given = iter(each.words[1:])
        for word in given:
            if word == "-MT":
                next(given)
            elif word == "-MF":
                # Who includes what is known here already.
                words += [word, os.devnull]
                next(given)
            elif word == "-o":
                words += [word, f"{BIN}/{self.output(next(given))}"]
            elif word in self._headers:
                words.append(f"{BIN}/{self._headers[word].output}")
            else:
                words.append(self._translated(word))
        if each.is_header:
            words = [*words[: words.index("-o")], *NO_TIMES, *words[words.index("-o") :]]
        return Action(
            output=self.output(each.output),
            words=tuple(words),
            parts=tuple(action.output for action in read),
            files=frozenset(self._files(each)).union(*(action.files for action in read)),
            place=None if each.is_header else each.output,
        )

    def _archive(self, each: Archive) -> Action:
        # COMPILER ar OPERATION ARCHIVE OBJECT...
        operation, _archive, *objects = each.words[2:]
        parts = tuple(map(self.output, objects))
        made = self.output(each.output)
        return Action(
            output=made,
            words=("ar", operation, *(f"{BIN}/{path}" for path in (made, *parts))),
            parts=parts,
            files=frozenset(),
            place=each.output,
        )

    def _files(self, each: Compilation) -> set[str]:
        system = self._searched_anyway(each.words)
        search = *searched_folders(each.words), *system
        first = [each.source, *first_files(each.words)]
        found = self.scanner.files(first, search, defined_names(each.words))
        # zig asks for the folder of its headers even where a source includes none of them.
        return found.union(filter(None, map(any_file, system[:1])))

    def _searched_anyway(self, words: Sequence[str]) -> tuple[str, ...]:
        # Which folders there are depends on the language and the target.
        target = words.index("-target") + 2 if "-target" in words else 2
        compiler = tuple(words[:target])
        if compiler not in self._system_folders:
            self._system_folders[compiler] = self._system(compiler)
        return self._system_folders[compiler]

    def _translated(self, word: str) -> str:
        """A word without the folders of this machine.

        Raises:
            CompileError: it names another one.
        """
        found = self.folders.translated(word)
        match = re.search(r"(?:^|=|-I|-L)(/(?!proc/self/cwd/).+)", found)
        if match and match[1] != os.devnull and Path(match[1]).exists():
            listed = ", ".join(map(str, self.folders.folders.values()))
            raise CompileError(f"a command names {match[1]}, which is in none of {listed}")
        return found
