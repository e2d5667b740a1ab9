"""Write the workspace in which Bazel runs actions: the files that they read, and BUILD.bazel.

The files are hard links to those of this machine, so a workspace costs almost nothing. It has none
of upstream's own BUILD files: each would make its folder a Bazel package of its own.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from builders.engines.translate import CORE, CWD, Action, Folders

HERE = Path(__file__).parent
RULE = HERE / "core.bzl"
TARGET = "//:core"

# The files that mark the root of a repository; which of them counts depends on the Bazel version.
# Neither asks for another repository.
ROOTS = {
    "WORKSPACE": 'workspace(name = "tflite_core")\n',
    "MODULE.bazel": 'module(name = "tflite_core")\n',
}


def write_workspace(
    root: Path,
    actions: Sequence[Action],
    program: Path,
    folders: Folders,
) -> None:
    """Delete the workspace, if there is one, and write it again.

    Args:
        root: the folder of the workspace.
        actions: the actions to run in it.
        program: the compiler, which is in one of the folders.
        folders: the folders that the actions may read.

    Raises:
        CompileError: an action reads a file that is in none of the folders.
    """
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    read = set().union(*(action.files for action in actions))
    files = {path: folders.place(path) for path in read}
    compiler = folders.place(str(program))
    for path, place in {**files, str(program): compiler}.items():
        _put(Path(path), root / place, folders)
    for name, text in ROOTS.items():
        (root / name).write_text(text)
    shutil.copyfile(RULE, root / RULE.name)
    (root / "BUILD.bazel").write_text(build_file(actions, files, compiler))


def build_file(actions: Sequence[Action], places: Mapping[str, str], program: str) -> str:
    """Return the text of BUILD.bazel; the same actions give the same text.

    Args:
        places: the place in the workspace of each file of this machine.
        program: the place of the compiler in the workspace.
    """
    zig = program.partition("/")[0]
    groups = groups_of({action.output: action.files for action in actions})
    read: dict[str, list[str]] = defaultdict(list)
    for name, (_, outputs) in groups.items():
        for output in outputs:
            read[output].append(name)
    attributes = {
        "name": CORE,
        "program": program,
        "env": {
            "ZIG_LIB_DIR": f"{CWD}/{zig}/lib",
            # A relative path, so in the folder of the action: zig waits for ever if it cannot
            # make its cache folder.
            "ZIG_GLOBAL_CACHE_DIR": "zig-cache",
            "ZIG_LOCAL_CACHE_DIR": "zig-cache",
        },
        "files": sorted(set(places.values())),
        "groups": {
            name: sorted({places[path] for path in paths}) for name, (paths, _) in groups.items()
        },
        "commands": {action.output: list(action.words) for action in actions},
        "inputs": {action.output: read[action.output] for action in actions},
        "parts": {action.output: list(action.parts) for action in actions if action.parts},
        "results": [action.output for action in actions if action.place is not None],
    }
    lines = [f"    {name} = {_starlark(value)}," for name, value in attributes.items()]
    return "\n".join(['load(":core.bzl", "core")', "", "core(", *lines, ")", ""])


def groups_of(
    read: Mapping[str, Iterable[str]],
) -> dict[str, tuple[list[str], tuple[str, ...]]]:
    """Group the files that have the same readers; a list of files per reader would be very long.

    Args:
        read: the files of each reader.

    Returns:
        The (files, readers) pair of each group, by the group's name.
    """
    readers: dict[str, list[str]] = defaultdict(list)
    for reader, files in read.items():
        for file in files:
            readers[file].append(reader)
    members: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for file in sorted(readers):
        members[tuple(readers[file])].append(file)
    return {
        str(number): (files, together) for number, (together, files) in enumerate(members.items())
    }


def _starlark(value: object) -> str:
    """Return a value as Starlark text.

    The value consists of strings, numbers, lists and dicts, which look the same in JSON.
    """
    return json.dumps(value, ensure_ascii=False)


def _put(source: Path, destination: Path, folders: Folders) -> None:
    """Link a file to its place; if the build wrote this machine's folders into it, translate it."""
    destination.parent.mkdir(parents=True, exist_ok=True)
    if _is_generated(source, folders):
        text = source.read_bytes().decode("utf-8", "surrogateescape")
        translated = folders.translated(text)
        if translated != text:
            destination.write_bytes(translated.encode("utf-8", "surrogateescape"))
            return
    try:
        os.link(source, destination)
    except OSError:
        # The source is on another file system, or belongs to another user.
        shutil.copy2(source, destination)


def _is_generated(source: Path, folders: Folders) -> bool:
    """True if CMake or a command of the build may have written the file."""
    return source.is_relative_to(folders.folders[CORE])
