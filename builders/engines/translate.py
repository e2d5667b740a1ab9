"""Translate a build graph into Bazel actions: with all inputs, without this machine's folders.

Bazel runs a command in a folder that it makes, with `trees`, `core` and `zig` in it. The command
names them by paths under /proc/self/cwd. Such a path is absolute, and the same wherever the folder
is. `-ffile-prefix-map` maps these paths as it maps the folders of this machine, so the bytes are
the same.
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
"""The placeholder for Bazel's output folder; core.bzl replaces it."""

CORE = "core"
# The bytes of a precompiled header must not depend on when the sources were unpacked.
NO_TIMES = ("-Xclang", "-fno-pch-timestamp")


@dataclass(frozen=True, kw_only=True)
class Action:
    """A command that Bazel runs.

    Attributes:
        output: the file that the command makes, as a path in Bazel's output folder.
        words: the words of the command after the program.
        parts: the outputs of other actions that this action reads.
        files: the absolute paths, on this machine, of all other files that the action reads.
        place: where CMake puts the output, as a path from the build folder; None if only other
            actions read the output.
    """

    output: str
    words: tuple[str, ...]
    parts: tuple[str, ...]
    files: frozenset[str]
    place: str | None


class Folders:
    """The folders that commands may read, with their names in a workspace.

    Args:
        folders: the folders by name. If a folder is inside another, its own name counts.
    """

    def __init__(self, folders: Mapping[str, Path]) -> None:
        self.folders = dict(folders)
        # A compiler may print the path of a folder with its symbolic links resolved.
        self._names = {str(path.resolve()): name for name, path in folders.items()}
        self._names |= {str(path): name for name, path in folders.items()}
        deepest = sorted(self._names, key=len, reverse=True)
        paths = "|".join(map(re.escape, deepest))
        self._pattern = re.compile(rf"(?:{paths})(?![\w.+-])")

    @property
    def roots(self) -> tuple[str, ...]:
        """The folders' paths, each with a `/` at its end: the beginnings of their files' paths."""
        return tuple(f"{path}/" for path in self._names)

    def translated(self, text: str) -> str:
        """Return a text with each folder's path replaced by its path in a workspace."""
        return self._pattern.sub(lambda match: f"{CWD}/{self._names[match[0]]}", text)

    def without(self, path: str) -> str:
        """Return a relative path with each folder's absolute path in it replaced by its name.

        CMake puts the absolute path of a source into the path of its object.
        """
        return self._pattern.sub(lambda match: f"/{self._names[match[0]]}", path)

    def place(self, path: str) -> str:
        """Return the place of this machine's file in a workspace.

        Raises:
            CompileError: the file is in none of the folders.
        """
        place, count = self._pattern.subn(lambda match: self._names[match[0]], path, count=1)
        if not count or place.startswith("/"):
            listed = ", ".join(map(str, self.folders.values()))
            raise CompileError(f"a compiler may read {path}, which is in none of {listed}")
        return place


def system_folders(words: Sequence[str]) -> tuple[str, ...]:
    """Return the folders that a compiler searches by default, as absolute paths.

    Args:
        words: the compiler, and the words that choose its language and target.

    Raises:
        CompileError: the compiler does not list the folders.
    """
    language = "c++" if "c++" in words else "c"
    command = [*words, "-E", "-v", "-x", language, os.devnull]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return listed_folders(done.stderr)


def listed_folders(output: str) -> tuple[str, ...]:
    """Return the searched folders that a compiler prints with -v.

    Raises:
        CompileError: the output has no list of folders.
    """
    _, begun, rest = output.partition("search starts here:\n#include <...> search starts here:\n")
    listed, ended, _ = rest.partition("End of search list.")
    if not begun or not ended:
        raise CompileError("the compiler does not tell where it looks for headers")
    return tuple(line.strip() for line in listed.splitlines())


class Translation:
    """Makes the actions of a graph.

    Args:
        build: the folder to which the graph's paths are relative.
        folders: the folders that commands may read.
        system: returns the folders that a compiler searches by default.
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
        """Return the actions of a graph, each after those that it needs.

        Raises:
            CompileError: a command names a path that is in none of the folders.
        """
        found = []
        for header in graph.headers:
            action = self._compilation(header)
            self._headers[str(self.build / header.output)] = action
            found.append(action)
        found += [self._compilation(each) for each in graph.objects]
        return found + [self._archive(each) for each in graph.archives]

    def output(self, path: str) -> str:
        """Return the path in Bazel's output folder for a file that CMake makes at `path`."""
        return f"{CORE}/{self.folders.without(path)}"

    def _compilation(self, each: Compilation) -> Action:
        read = [self._headers[word] for word in each.words if word in self._headers]
        words = []
        given = iter(each.words[1:])
        for word in given:
            if word == "-MT":
                next(given)
            elif word == "-MF":
                # Nobody needs the list of included files: the inputs are known already.
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
        # zig needs the folder of its headers even if a source includes none of them. So one file
        # of that folder is always an input.
        return found.union(filter(None, map(any_file, system[:1])))

    def _searched_anyway(self, words: Sequence[str]) -> tuple[str, ...]:
        # The folders depend on the language and the target.
        target = words.index("-target") + 2 if "-target" in words else 2
        compiler = tuple(words[:target])
        if compiler not in self._system_folders:
            self._system_folders[compiler] = self._system(compiler)
        return self._system_folders[compiler]

    def _translated(self, word: str) -> str:
        """Return a word with this machine's folders replaced by those of a workspace.

        Raises:
            CompileError: the word names a path of this machine that is in none of the folders.
        """
        found = self.folders.translated(word)
        match = re.search(r"(?:^|=|-I|-L)(/(?!proc/self/cwd/).+)", found)
        if match and match[1] != os.devnull and Path(match[1]).exists():
            listed = ", ".join(map(str, self.folders.folders.values()))
            raise CompileError(f"a command names {match[1]}, which is in none of {listed}")
        return found
