"""Makes the map in docs/architecture.md: each folder and module with its docstring's first line."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from builders.errors import UsageError

# The folders whose modules are in the map; of other folders, the map only has the folder.
PACKAGES = ("builders", "ci", "smoke_lambda")
# The descriptions of folders that are no Python packages.
FOLDERS = {
    "builders/cmake": "The CMake build of the core.",
    "builders/locking/cmake": "CMake modules that tell what a source tree would download.",
    "builders/level": "The module's initializer, which refuses a processor that is too old.",
    "builders/patches": "Our patches of upstream's sources, by component.",
    "builders/shim": "Headers that upstream's sources ask for and need little of.",
    "builders/sources": "The locks: every source archive by SHA-256, by TensorFlow version.",
    "ci/bench/templates": "The page of a run of the benchmark.",
    "ci/compare/templates": "The page of a comparison of runtimes.",
    "ci/publish/templates": "Page, style and script of `wheels/index.html`.",
    "ci/upstream_tests/native/shim": "Headers that the C++ tests ask for and need little of.",
    "ci/upstream_tests/native/sources": "Locks of what the C++ tests need besides the core's.",
    "docs": "What people read.",
    "scripts": "What people type: each enters its locked environment and starts a module.",
    "smoke_lambda/conform/corpus": "The models of the comparison, and the stored answers.",
    "smoke_lambda/conform/delegated": "How many nodes XNNPACK takes of each model, per version.",
    "smoke_lambda/functions/template": "A function's files, for us and for cookiecutter.",
    "smoke_lambda/images": "Digits, for the events.",
    "smoke_lambda/models": "Small models with known answers.",
    "smoke_lambda/onnx/models": "The digits' models in ONNX's format.",
    "smoke_lambda/onnx/requirements": "Locks of the function for ONNX Runtime, by Python.",
    "smoke_lambda/requirements": "Locks of the environments in which wheels are tried.",
    "smoke_lambda/sam": "Templates of a function for SAM.",
    "smoke_lambda/serving/k8s": "Manifests of server and gateway for Kubernetes.",
    "smoke_lambda/serving/requirements": "Locks of the packages of server and gateway, by Python.",
    "tests": "`unit/`: no network, no program; `integration/`: the real thing.",
    "wheels": "What is published. Only `./scripts/publish` writes here.",
}


def house_map(root: Path) -> str:
    """Return the lines of the map, a list item per folder and module.

    Raises:
        UsageError: a folder has no description.
    """
    tops = sorted({*PACKAGES, *(path for path in FOLDERS if "/" not in path)})
    return "".join(f"{line}\n" for top in tops for line in _lines(root, root / top))


def _lines(root: Path, folder: Path) -> Iterator[str]:
    path = folder.relative_to(root)
    indent = "  " * (len(path.parts) - 1)
    yield f"{indent}- `{path.as_posix()}/`: {_folder_words(root, folder)}"
    if path.parts[0] not in PACKAGES or not (folder / "__init__.py").is_file():
        return
    for child in sorted(folder.iterdir()):
        if child.is_dir() and child.name != "__pycache__" and any(child.iterdir()):
            yield from _lines(root, child)
        elif child.suffix == ".py" and child.name != "__init__.py":
            yield f"{indent}  - `{child.relative_to(root).as_posix()}`: {_words(child)}"


def _folder_words(root: Path, folder: Path) -> str:
    if (folder / "__init__.py").is_file():
        return _words(folder / "__init__.py")
    path = folder.relative_to(root).as_posix()
    if path not in FOLDERS:
        raise UsageError(
            f"the map has no words for {path}/", remedy="add them to ci/pages/house.py"
        )
    return FOLDERS[path]


def _words(module: Path) -> str:
    """Return the first line of a module's docstring."""
    docstring = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n")[0]
