"""Reads the SAM templates, and checks what cfn-lint does not check."""

from __future__ import annotations

import ast
import json
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from builders.architecture import aws_name
from builders.matrix import load_matrix
from ci.commands import layer
from ci.layers import layer_plan

ROOT = layer.ROOT
FOLDER = ROOT / "smoke_lambda" / "sam"
TEMPLATES = sorted(FOLDER.glob("*.yaml"))

FUNCTION, LAYER, API = (f"AWS::Serverless::{kind}" for kind in ("Function", "LayerVersion", "Api"))
IMAGE_TYPES = {"image/png", "image/jpeg"}
# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
MEMORY = range(128, 10_240 + 1)
# No API waits longer for a function (REST APIs: 29 s).
TIMEOUT = range(1, 29 + 1)


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's tags: `!Ref X` is {"Ref": "X"}."""


def _tagged(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    assert isinstance(node, yaml.ScalarNode)
    return {suffix: loader.construct_scalar(node)}


_Loader.add_multi_constructor("!", _tagged)


def load(path: Path) -> dict[str, Any]:
    """Load a template, and copy the global settings into each function."""
    template: dict[str, Any] = yaml.load(path.read_text(), _Loader)
    shared = template.get("Globals", {}).get("Function", {})
    for resource in of_type(template, FUNCTION).values():
        resource["Properties"] = {**shared, **resource["Properties"]}
    return template


def of_type(template: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Return the resources of one type, by name."""
    return {
        name: resource
        for name, resource in template["Resources"].items()
        if resource["Type"] == kind
    }


def layer_command(path: Path) -> list[str]:
    """Return the arguments of ./scripts/layer in a template's head."""
    (found,) = re.findall(r"^# +\./scripts/layer (.+)$", path.read_text(), re.MULTILINE)
    return shlex.split(found)


def made(path: Path) -> dict[Path, tuple[str, str]]:
    """Return the layers that the template's command makes, with runtime and architecture."""
    options = layer._parser().parse_args(layer_command(path))
    targets = [load_matrix().target(identifier) for identifier in options.targets]
    plans = layer_plan.plan(
        dict.fromkeys(targets, Path()), multi=options.multi, pillow=options.pillow
    )
    return {
        options.out / item.name: (
            " ".join(runtime.name for runtime in item.wheels),
            aws_name(item.arch),
        )
        for item in plans
    }


def faults(path: Path) -> list[str]:
    """Return the faults of a template."""
    template = load(path)
    functions = of_type(template, FUNCTION)
    found = [] if functions else ["there is no function"]
    for name, resource in functions.items():
        check = _check_image if resource["Properties"].get("PackageType") == "Image" else _check_zip
        for fault in (*check(path, template, resource), *_check_any(template, resource)):
            found.append(f"{name}: {fault}")
    for name, resource in of_type(template, LAYER).items():
        found += [f"{name}: {fault}" for fault in _check_layer(path, resource)]
    return found


def _check_any(template: Mapping[str, Any], resource: Mapping[str, Any]) -> Iterator[str]:
    properties = resource["Properties"]
    if properties.get("Architectures") not in (["x86_64"], ["arm64"]):
        yield f"architectures {properties.get('Architectures')}"
    if properties.get("MemorySize") not in MEMORY:
        yield f"memory of {properties.get('MemorySize')} MB"
    if properties.get("Timeout") not in TIMEOUT:
        yield f"timeout of {properties.get('Timeout')} s"
    events = properties.get("Events", {})
    if not events:
        yield "no event"
    for name, event in events.items():
        if event["Type"] == "Api":
            api = of_type(template, API).get(event["Properties"]["RestApiId"]["Ref"], {})
            types = set(api.get("Properties", {}).get("BinaryMediaTypes", ()))
            if lacking := IMAGE_TYPES - types:
                yield f"event {name}: no binary media type {', '.join(sorted(lacking))}"


def _check_zip(
    path: Path, template: Mapping[str, Any], resource: Mapping[str, Any]
) -> Iterator[str]:
    properties = resource["Properties"]
    runtime = properties.get("Runtime")
    if runtime not in {r.name for r in load_matrix().runtimes if not r.upcoming}:
        yield f"runtime {runtime}"
    yield from _check_handler(path.parent / properties["CodeUri"], properties["Handler"])
    layers = of_type(template, LAYER)
    for reference in properties.get("Layers", ()):
        held = layers.get(reference["Ref"], {}).get("Properties", {})
        if runtime not in held.get("CompatibleRuntimes", ()):
            yield f"layer {reference['Ref']} is not for {runtime}"
        if held.get("CompatibleArchitectures") != properties.get("Architectures"):
            yield f"layer {reference['Ref']} is not for {properties.get('Architectures')}"


def _check_layer(path: Path, resource: Mapping[str, Any]) -> Iterator[str]:
    properties = resource["Properties"]
    if "Metadata" in resource:
        yield "a built layer has no Metadata"
    content = (path.parent / properties["ContentUri"]).resolve()
    if content not in made(path):
        yield f"./scripts/layer {' '.join(layer_command(path))} does not make {content.name}"
        return
    runtimes, arch = made(path)[content]
    if properties["CompatibleRuntimes"] != runtimes.split():
        yield f"{content.name} is for {runtimes}, not {properties['CompatibleRuntimes']}"
    if properties["CompatibleArchitectures"] != [arch]:
        yield f"{content.name} is for {arch}, not {properties['CompatibleArchitectures']}"


def _check_image(
    path: Path, _template: Mapping[str, Any], resource: Mapping[str, Any]
) -> Iterator[str]:
    for key in ("Runtime", "Handler", "Layers", "CodeUri"):
        if key in resource["Properties"]:
            yield f"an image has no {key}"
    metadata = resource["Metadata"]
    context = (path.parent / metadata["DockerContext"]).resolve()
    dockerfile = context / metadata["Dockerfile"]
    if not dockerfile.is_file():
        yield f"no {metadata['Dockerfile']}"
        return
    lines = dockerfile.read_text().splitlines()
    copies = [line.split() for line in lines if line.startswith("COPY ") and "--from" not in line]
    sources = [context / word for words in copies for word in words[1:-1]]
    layers = made(path)
    for source in sources:
        if not source.exists() and source not in layers:
            yield f"{source.relative_to(context)} is not there, and no layer"
    if missing := layers.keys() - set(sources):
        yield f"{', '.join(sorted(item.name for item in missing))} is made and not copied"
    runtimes = {runtime for runtime, _ in layers.values()}
    tag = metadata["DockerTag"]
    bases = {f"python{line.rsplit(':', 1)[1]}" for line in lines if line.startswith("ARG BASE=")}
    if not runtimes == bases == {tag}:
        yield f"layers of {runtimes}, a base of {bases}, and a tag {tag}"
    if resource["Properties"].get("Architectures") != sorted({arch for _, arch in layers.values()}):
        yield "layers of another architecture"
    (command,) = [line.removeprefix("CMD ") for line in lines if line.startswith("CMD ")]
    yield from _check_handler(ROOT / "smoke_lambda", json.loads(command)[0])


def _check_handler(folder: Path, handler: str) -> Iterator[str]:
    module, _, function = handler.partition(".")
    file = folder / f"{module}.py"
    if not file.is_file():
        yield f"no {module}.py in {folder}"
        return
    defined = {n.name for n in ast.parse(file.read_text()).body if isinstance(n, ast.FunctionDef)}
    if function not in defined:
        yield f"{module}.py has no {function}"
    if not any((folder / "models").glob("*.tflite")):
        yield f"no model in {folder}"
