"""Every command that the documents show is one that its program understands."""

from __future__ import annotations

import argparse
import importlib
import re
import signal
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import pytest
from documents import DOCUMENTS, ROOT, Command, commands, split

ALL = [command for document in DOCUMENTS for command in commands(document)]
MODULE = re.compile(r'^_bootstrap\.start\("([\w.]+)"', re.MULTILINE)

# The options that documents use of programs that are not in the locked environment, and whether
# each takes a value.
DOCKER: Mapping[str, Mapping[str, bool]] = {
    "build": {"-f": True, "--build-arg": True, "--output": True, "--tag": True},
    "buildx bake": {"-f": True},
    "buildx build": {"--platform": True, "--provenance": True, "--tag": True, "--push": False},
    "compose": {"-f": True},
    "login": {"--username": True, "--password-stdin": False},
    "push": {},
    "run": {"-p": True},
    "tag": {},
}
SAM: Mapping[str, Mapping[str, bool]] = {
    "build": {"--template": True},
    "deploy": {"--template": True, "--guided": False},
    "init": {"--location": True},
}
GH: Mapping[str, Mapping[str, bool]] = {"attestation verify": {"--repo": True}}
# Programs that every system has, and programs that other tests check.
PLAIN = {
    "make",
    "aws",
    "cat",
    "cd",
    "curl",
    "echo",
    "export",
    "sed",
    "zip",
    "base64",
    "pre-commit",
} | {
    *("eksctl", "kind", "kubectl"),
}


class ParsedError(BaseException):
    """Ends a command when its arguments are parsed; nothing catches it."""


@pytest.fixture(autouse=True)
def stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    parse = argparse.ArgumentParser.parse_args

    def parse_and_stop(parser: argparse.ArgumentParser, *arguments: Any) -> None:  # noqa: ANN401
        parse(parser, *arguments)
        raise ParsedError

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_and_stop)
    monkeypatch.setattr(signal, "signal", lambda *_: None)


def shown(*programs: str) -> list[Command]:
    """Return the commands of some programs, each once."""
    found = [command for command in ALL if command.words[0] in programs]
    return list({command.words: command for command in found}.values())


def own() -> list[Command]:
    found = [command for command in ALL if command.words[0].startswith("./scripts/")]
    return list({command.words: command for command in found}.values())


def module_of(script: str) -> ModuleType:
    (name,) = MODULE.findall((ROOT / script).read_text())
    return importlib.import_module(name)


# Imported outside the tests, because some libraries start a program when they are imported.
MAINS = {
    command.words[0]: module_of(command.words[0])
    for command in own()
    if (ROOT / command.words[0]).is_file()
}


@pytest.mark.parametrize("command", own(), ids=str)
def test_our_scripts_understand_it(command: Command) -> None:
    assert command.words[0] in MAINS, f"there is no {command.words[0]}"
    if len(command.words) == 1 and not command.whole:
        return
    understood(command)


def understood(command: Command) -> None:
    """Make a script parse its arguments; fail the test if it cannot."""
    module = MAINS[command.words[0]]
    try:
        module.main(list(command.words[1:]))
    except ParsedError:
        return
    except SystemExit:
        pytest.fail(f"{command} is not understood")
    pytest.fail(f"{command} does not parse its arguments")


def test_an_option_that_is_gone_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(pytest.fail.Exception, match="is not understood"):
        understood(Command("x.md", ("./scripts/build", "--gone"), True))
    assert "unrecognized arguments: --gone" in capsys.readouterr().err


@pytest.mark.parametrize("command", shown("pip"), ids=str)
def test_pip_understands_it(command: Command) -> None:
    pip: Any = importlib.import_module("pip._internal.commands")
    options, requirements = pip.create_command(command.words[1]).parse_args(list(command.words[2:]))
    assert requirements
    assert options is not None


@pytest.mark.parametrize("command", shown("docker"), ids=str)
def test_docker_has_these_options(command: Command) -> None:
    verb, options = known(command, DOCKER)
    if verb == "build":
        dockerfile = (ROOT / options["-f"]).read_text()
        name = options["--build-arg"].partition("=")[0]
        assert re.search(rf"^ARG {name}\b", dockerfile, re.MULTILINE)
    elif "-f" in options:
        assert (ROOT / options["-f"]).is_file()


@pytest.mark.parametrize("command", shown("sam"), ids=str)
def test_sam_has_these_options_and_the_template_is_there(command: Command) -> None:
    _, options = known(command, SAM)
    assert "--template" not in options or (ROOT / options["--template"]).is_file()
    if "--location" in options:
        assert (ROOT / options["--location"] / "cookiecutter.json").is_file()


@pytest.mark.parametrize("command", shown("gh"), ids=str)
def test_gh_has_these_options(command: Command) -> None:
    assert known(command, GH)[1]["--repo"]


def known(command: Command, table: Mapping[str, Mapping[str, bool]]) -> tuple[str, dict[str, str]]:
    """Return a command's verb and options; fail if the table lacks one of them."""
    words = list(command.words[1:])
    verb = next(
        verb for verb in sorted(table, reverse=True) if words[: len(verb.split())] == verb.split()
    )
    found: dict[str, str] = {}
    words = words[len(verb.split()) :]
    while words:
        word, _, value = words.pop(0).partition("=")
        if word.startswith("-"):
            assert word in table[verb], f"{command}: {word}"
            found[word] = value or (words.pop(0) if table[verb][word] else "")
    return verb, found


def test_no_command_goes_unchecked() -> None:
    checked = PLAIN | {"pip", "docker", "sam", "gh", "python3"}
    for command in ALL:
        program = command.words[0]
        assert program.startswith("./scripts/") or program in checked, command


def test_every_script_is_documented() -> None:
    text = (ROOT / "docs/building.md").read_text()
    scripts = [
        path.name for path in (ROOT / "scripts").iterdir() if not path.suffix and path.is_file()
    ]
    assert len(scripts) > 10
    for script in scripts:
        assert f"`./scripts/{script}" in text, script


def test_a_line_of_shell_is_split_into_its_commands() -> None:
    line = 'A=$(aws sts x) (cd a && zip -r b c) | d --e="f g" > h # i'
    assert list(split(line)) == [
        ("aws", "sts", "x"),
        ("A=output",),
        ("cd", "a"),
        ("zip", "-r", "b", "c"),
        ("d", "--e=f g"),
    ]
