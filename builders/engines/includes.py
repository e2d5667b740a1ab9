"""Find the files that a compiler may read for a source: every candidate of every `#include`.

Nothing is preprocessed: an include in a branch that is not taken counts too. If several folders
have a file of the included name, all these files count. So a compiler that sees these files alone
finds the same files as among all, and `__has_include` gives the same answer.
"""

# Paths are strings here, since there are a million of them.
# ruff: noqa: PTH113, PTH118, PTH120, PTH123, PTH208

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

_CONTINUED = re.compile(rb"\\\r?\n")
# A pattern that begins with a fixed text is found many times faster than one that begins with a
# line's begin; `_directives` looks at what is before it.
_INCLUDE = re.compile(
    rb"""\#[ \t]*(?:include|include_next|import|embed)\b[ \t]*
         (?:"([^"\n]+)"|<([^>\n]+)>|([A-Za-z_]))""",
    re.VERBOSE,
)
_HAS_INCLUDE = re.compile(
    rb"""__has_(?:include|include_next|embed)[ \t]*\([ \t]*(?:"([^"\n]+)"|<([^>\n]+)>)"""
)
# The files that `#include NAME` may mean, and those that an assembler includes.
_MACRO = re.compile(rb"""#[ \t]*define[ \t]+\w+[ \t]+["<]([^">\n]+)[">]""")
_ASSEMBLED = re.compile(rb"""\.inc(?:lude|bin)[ \t]+"([^"\n]+)\"""")

# The compiler's options that take a folder to search, or a file to include first.
SEARCHED = ("-iquote", "-isystem", "-idirafter", "-I")
INCLUDED = ("-include", "-imacros")

# A folder with one of these files would be a Bazel package or repository of its own.
BAZELS = frozenset(
    ("BUILD", "BUILD.bazel", "WORKSPACE", "WORKSPACE.bazel", "MODULE.bazel", "REPO.bazel")
)
_DEFINED = re.compile(r"""-D\w+=["<]([^"<>]+)[">]$""")


@dataclass(frozen=True)
class Names:
    """The names of other files in one file.

    Attributes:
        included: the names of included files, as they are written.
        macros: the file names that macros stand for, which an `#include NAME` may use.
        computed: True if the file has such an `#include` of a macro.
    """

    included: tuple[str, ...]
    macros: tuple[str, ...]
    computed: bool


def names_in(text: bytes) -> Names:
    """Return the names of other files in a file's text."""
    if b"\\" in text:
        text = _CONTINUED.sub(b"", text)
    included: dict[str, None] = {}
    computed = False
    for match in _directives(_INCLUDE, text):
        if match[3]:
            computed = True
        else:
            included[os.fsdecode(match[1] or match[2])] = None
    for match in (*_HAS_INCLUDE.finditer(text), *_directives(_ASSEMBLED, text)):
        included[os.fsdecode(next(filter(None, match.groups())))] = None
    macros = (os.fsdecode(match[1]) for match in _directives(_MACRO, text))
    return Names(tuple(included), tuple(dict.fromkeys(macros)), computed)


def _directives(pattern: re.Pattern[bytes], text: bytes) -> Iterator[re.Match[bytes]]:
    """Yield the matches of a pattern that begin a line, after spaces or none."""
    for match in pattern.finditer(text):
        begin = text.rfind(b"\n", 0, match.start()) + 1
        if not text[begin : match.start()].strip(b" \t"):
            yield match


def first_files(words: Sequence[str]) -> list[str]:
    """Return the files that a command's options include before its source."""
    return list(_values(words, INCLUDED))


def searched_folders(words: Sequence[str]) -> tuple[str, ...]:
    """Return the folders that a command's options tell the compiler to search."""
    return tuple(dict.fromkeys(_values(words, SEARCHED)))


def defined_names(words: Sequence[str]) -> list[str]:
    """Return the file names that a command's `-D` options give as values of macros."""
    return [match[1] for word in words if (match := _DEFINED.match(word))]


def _values(words: Sequence[str], options: Sequence[str]) -> Iterator[str]:
    """Yield the values of options: in the same word, in the next word, or behind -Xclang."""
    plain = iter([word for word in words if word != "-Xclang"])
    for word in plain:
        if word in options:
            yield next(plain, "")
        elif word == "-include-pch":
            next(plain, "")
        else:
            option = next((each for each in options if word.startswith(each)), None)
            if option is not None:
                yield word.removeprefix(option)


@dataclass
class Scanner:
    """Finds the files of many sources; reads each file once.

    Attributes:
        roots: the beginnings of the absolute paths that the value of a macro may name.
    """

    roots: tuple[str, ...] = ("/",)
    _names: dict[str, Names] = field(default_factory=dict)
    _listed: dict[str, frozenset[str]] = field(default_factory=dict)
    _searches: dict[tuple[str, ...], _Search] = field(default_factory=dict)
    _own: _Search = field(default_factory=lambda: _Search((), {}))

    def files(
        self, first: Iterable[str], folders: tuple[str, ...], macros: Iterable[str] = ()
    ) -> set[str]:
        """Return all files that a compiler may read, as normalized absolute paths.

        Args:
            first: the source, and the files that options include before it.
            folders: the folders to search, besides the folder of the file that has the include.
            macros: the file names that macros of the command line stand for.
        """
        search = self._searches.setdefault(folders, _Search(folders, self._listed))
        reached: set[str] = set()
        new = {os.path.normpath(path) for path in first}
        meant = set(macros)
        computing: set[str] = set()
        while new:
            while new:
                reached |= new
                for path in new:
                    names = self._read(path)
                    meant.update(names.macros)
                    if names.computed:
                        computing.add(path)
                new = set().union(*(self._included(path, search) for path in new)) - reached
            # A macro may stand for an absolute path of the running system: leave that out.
            possible = [name for name in meant if name[0] != "/" or name.startswith(self.roots)]
            for path in computing:
                own = os.path.dirname(path)
                for name in possible:
                    new |= {*self._own.beside(own, name), *search.candidates(name)}
            new -= reached
        return reached

    def _read(self, path: str) -> Names:
        if path not in self._names:
            with open(path, "rb") as file:
                self._names[path] = names_in(file.read())
        return self._names[path]

    def _included(self, path: str, search: _Search) -> set[str]:
        if path not in search.included:
            own = os.path.dirname(path)
            search.included[path] = {
                found
                for name in self._read(path).included
                for found in (*self._own.beside(own, name), *search.candidates(name))
            }
        return search.included[path]


class _Search:
    """Looks for file names in a fixed list of folders.

    Args:
        listed: the names in each folder that was looked into; searches share it.
    """

    def __init__(self, folders: tuple[str, ...], listed: dict[str, frozenset[str]]) -> None:
        self.folders = folders
        self._listed = listed
        self.included: dict[str, set[str]] = {}
        self._found: dict[str, tuple[str, ...]] = {}

    def candidates(self, name: str) -> tuple[str, ...]:
        """Return all files that a name may mean, as normalized paths.

        A path such as `a/../b.h` works only if the folder `a` exists, and a tree of the found
        files may lack it. So the result also has one file of each such folder.
        """
        if name not in self._found:
            first = name.partition("/")[0]
            self._found[name] = tuple(
                found
                for folder in self.folders
                if first in ("", ".", "..") or first in self._members(folder)
                for found in _at(os.path.join(folder, name))
            )
        return self._found[name]

    def _members(self, folder: str) -> frozenset[str]:
        """Return the names in a folder: to list it once is faster than to ask for each file."""
        if folder not in self._listed:
            try:
                self._listed[folder] = frozenset(os.listdir(folder))
            except OSError:
                self._listed[folder] = frozenset()
        return self._listed[folder]

    def beside(self, own: str, name: str) -> tuple[str, ...]:
        """Return the candidates in `own`, the folder of the file that includes the name."""
        path = f"{own}/{name}"
        if path not in self._found:
            self._found[path] = tuple(_at(os.path.join(own, name)))
        return self._found[path]


def _at(path: str) -> Iterator[str]:
    """Yield the file at a path, if there is one, and a file of each folder that a `..` leaves."""
    if not os.path.isfile(path):
        return
    yield os.path.normpath(path)
    parts = path.split("/")
    for number, part in enumerate(parts):
        if part == "..":
            folder = os.path.normpath("/".join(parts[:number]) or "/")
            if witness := any_file(folder):
                yield witness


def any_file(folder: str) -> str | None:
    """Return the first file directly in a folder, None if there is none; BAZELS do not count."""
    names = (name for name in sorted(os.listdir(folder)) if name not in BAZELS)
    paths = (os.path.join(folder, name) for name in names)
    return next(filter(os.path.isfile, paths), None)
