"""The parts of the SAM templates that cfn-lint does not check."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import sam

from builders.matrix import load_matrix
from ci.commands import layer

TF = f"tf{load_matrix().recommended.version}"
TEMPLATE, IMAGE = sam.FOLDER / "template.yaml", sam.FOLDER / "template-image.yaml"


def test_both_templates_are_there() -> None:
    assert sorted(sam.TEMPLATES, reverse=True) == [TEMPLATE, IMAGE]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Copy the templates' folder to a repository with little else."""
    copy = tmp_path / "smoke_lambda" / "sam"
    shutil.copytree(sam.FOLDER, copy)
    shutil.copytree(sam.ROOT / "smoke_lambda" / "models", copy.parent / "models")
    shutil.copy2(sam.ROOT / "smoke_lambda" / "app.py", copy.parent)
    monkeypatch.setattr(sam, "ROOT", tmp_path)
    monkeypatch.setattr(layer, "OUT", tmp_path / "dist" / "layers")
    return copy


@pytest.mark.parametrize("path", sam.TEMPLATES, ids=lambda path: path.name)
def test_a_template_is_right(path: Path) -> None:
    assert sam.faults(path) == []


@pytest.mark.parametrize("path", sam.TEMPLATES, ids=lambda path: path.name)
def test_the_documents_have_the_templates_commands(path: Path) -> None:
    text = (sam.ROOT / "docs/lambda.md").read_text()
    commands = re.findall(r"^#  +(.+)$", path.read_text(), re.MULTILINE)
    assert len(commands) >= 2
    for command in commands:
        assert command in text


@pytest.mark.usefixtures("allow_subprocess")
def test_one_command_makes_the_template_of_arm64(folder: Path) -> None:
    (command,) = re.findall(r"^#  +(sed .+)$", TEMPLATE.read_text(), re.MULTILINE)
    done = subprocess.run(
        shlex.split(command),
        cwd=sam.FOLDER.parent.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    copy = folder / "template-arm64.yaml"
    copy.write_text(done.stdout)
    assert sam.faults(copy) == []
    assert sam.layer_command(copy)[0].endswith("-aarch64")
    template = sam.load(copy)
    (function,) = sam.of_type(template, sam.FUNCTION).values()
    assert function["Properties"]["Architectures"] == ["arm64"]
    assert "x86_64" not in str(template)


def test_the_function_is_the_handler_and_its_models() -> None:
    function = sam.FOLDER / "function"
    for name in ("app.py", "models"):
        assert (function / name).resolve() == sam.ROOT / "smoke_lambda" / name
    assert len(list(function.iterdir())) == 2


@pytest.mark.parametrize(
    ("path", "right", "wrong", "words"),
    [
        (TEMPLATE, "Runtime: python3.12", "Runtime: python9.9", "runtime python9.9"),
        (TEMPLATE, "Runtime: python3.12", "Runtime: python3.15", "runtime python3.15"),
        (TEMPLATE, "Runtime: python3.12", "Runtime: python3.11", "is not for python3.11"),
        (TEMPLATE, "Architectures: [x86_64]", "Architectures: [arm64]", "is not for ['arm64']"),
        (TEMPLATE, "Architectures: [x86_64]", "Architectures: [arm65]", "architectures"),
        (TEMPLATE, "CodeUri: function/", "CodeUri: functions/", "no app.py"),
        (TEMPLATE, "app.handler", "app.handle", "app.py has no handle"),
        (TEMPLATE, "app.handler", "main.handler", "no main.py"),
        (TEMPLATE, "MemorySize: 1769", "MemorySize: 64", "memory of 64 MB"),
        (TEMPLATE, "Timeout: 15", "Timeout: 60", "timeout of 60 s"),
        (TEMPLATE, "!Ref PillowLayer", "!Ref PilowLayer", "layer PilowLayer"),
        (TEMPLATE, "image/png, ", "", "no binary media type image/png"),
        (TEMPLATE, f"layers/layer-{TF}-cp312", f"layers/layer-{TF}-cp39", "does not make"),
        (TEMPLATE, "CompatibleRuntimes: [python3.12]", "CompatibleRuntimes: []", "is for python"),
        (TEMPLATE, f"{TF}-cp312-x86_64 --pillow", f"{TF}-cp312-x86_64", "does not make"),
        (TEMPLATE, "LayerVersion\n    P", "LayerVersion\n    Metadata: {}\n    P", "Metadata"),
        (TEMPLATE, "Function\n    Prop", "Nothing\n    Prop", "there is no function"),
        (IMAGE, "sam/Dockerfile", "sam/Containerfile", "no smoke_lambda/sam/Containerfile"),
        (IMAGE, "DockerTag: python3.12", "DockerTag: python3.11", "a tag python3.11"),
        (IMAGE, "Architectures: [x86_64]", "Architectures: [arm64]", "another architecture"),
        (IMAGE, "PackageType: Image", "PackageType: Image\n      Runtime: x", "has no Runtime"),
        (IMAGE, "-cp312-", "-cp313-", "is not there, and no layer"),
        (IMAGE, "Timeout: 15", "Timeout: 0", "timeout of 0 s"),
    ],
)
def test_what_is_wrong_is_found(
    folder: Path, path: Path, right: str, wrong: str, words: str
) -> None:
    text = path.read_text()
    assert right in text
    copy = folder / path.name
    assert sam.faults(copy) == []
    copy.write_text(text.replace(right, wrong, 1))
    assert words in "\n".join(sam.faults(copy))


@pytest.mark.parametrize(
    ("right", "wrong", "words"),
    [
        ("ARG BASE=public.ecr.aws/lambda/python:3.12", "ARG BASE=python:3.11", "a base of"),
        ("COPY smoke_lambda/app.py", "COPY smoke_lambda/main.py", "main.py is not there"),
        (" dist/layers/layer-pillow-cp312-x86_64.zip", "", "is made and not copied"),
        ('CMD ["app.handler"]', 'CMD ["app.main"]', "app.py has no main"),
    ],
)
def test_what_is_wrong_with_the_image_is_found(
    folder: Path, right: str, wrong: str, words: str
) -> None:
    dockerfile = folder / "Dockerfile"
    text = dockerfile.read_text()
    assert right in text
    dockerfile.write_text(text.replace(right, wrong))
    assert words in "\n".join(sam.faults(folder / IMAGE.name))
