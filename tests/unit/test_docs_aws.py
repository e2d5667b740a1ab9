"""Every `aws` command of the documents, parsed by AWS's own program and checked by its models."""

from __future__ import annotations

import functools
import importlib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from documents import DOCUMENTS, Command, commands, commands_of
from function_samples import context

from smoke_lambda.functions.render import render

OURS = [command for document in DOCUMENTS for command in commands(document)]
MADE = commands_of(render("README.md", context("labelled")), "README of a function")
FOUND = [command for command in (*OURS, *MADE) if command.words[0] == "aws"]
SHOWN = list({command.words: command for command in FOUND}.values())


class Caller:
    """Takes the place of the code that calls AWS, and records the calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []

    def invoke(self, driver: Any, service: str, operation: str, parameters: Any) -> int:  # noqa: ANN401
        """Validate the parameters by the service's model."""
        model = driver.session.get_service_model(service).operation_model(operation)
        if model.input_shape is not None:
            validate: Any = importlib.import_module("botocore.validate")
            report = validate.ParamValidator().validate(parameters, model.input_shape)
            assert not report.has_errors(), report.generate_report()
        self.calls.append((service, operation))
        return 0


@pytest.fixture
def caller(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Caller:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return Caller()


@functools.cache
def aws() -> Any:  # noqa: ANN401
    """Return AWS's program; it is made once, because that takes a second."""
    return importlib.import_module("awscli.clidriver").create_clidriver()


def run(command: Command, caller: Caller, monkeypatch: pytest.MonkeyPatch) -> int:
    """Parse a command as `aws` does; pretend that the files that it names have content."""
    clidriver: Any = importlib.import_module("awscli.clidriver")
    driver = aws()

    def invoke(_: object, service: str, operation: str, parameters: object, *__: object) -> int:
        return caller.invoke(driver, service, operation, parameters)

    monkeypatch.setattr(clidriver.CLIOperationCaller, "invoke", invoke)
    waiters: Any = importlib.import_module("awscli.customizations.waiters")
    monkeypatch.setattr(waiters.WaiterCaller, "invoke", invoke)
    ecr: Any = importlib.import_module("awscli.customizations.ecr")
    monkeypatch.setattr(
        ecr.ECRGetLoginPassword,
        "_run_main",
        lambda *_: caller.invoke(driver, "ecr", "GetAuthorizationToken", {}),
    )
    for word in command.words:
        if word.startswith("fileb://"):
            path = Path(word.removeprefix("fileb://"))
            assert not path.is_absolute()
            path.parent.mkdir(parents=True, exist_ok=True)
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("app.py", "")
    return int(driver.main(list(command.words[1:])))


@pytest.mark.parametrize("command", SHOWN, ids=str)
def test_aws_understands_it(
    command: Command, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(command, caller, monkeypatch) == 0
    assert len(caller.calls) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        "lambda create-functions --function-name x",
        "lambda get-function --name x",
        "lambda create-function --function-name x",
        "lambda add-permission --function-name x --statement-id y --action z",
    ],
)
def test_a_wrong_command_is_found(
    arguments: str, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = Command("x.md", ("aws", *arguments.split()), True)
    try:
        assert run(command, caller, monkeypatch) != 0
    except SystemExit as error:
        assert error.code  # noqa: PT017
    assert caller.calls == []


def test_the_docs_show_every_way_to_deploy() -> None:
    verbs = {command.words[1:3] for command in SHOWN}
    assert {
        ("ecr", "create-repository"),
        ("lambda", "create-function"),
        ("lambda", "publish-layer-version"),
        ("lambda", "create-function-url-config"),
        ("apigatewayv2", "create-api"),
        ("apigateway", "create-rest-api"),
    } <= verbs
