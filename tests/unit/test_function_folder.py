"""Folders of functions: what is in them, that it is sound, and that it is all or nothing."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sam
import yaml
from function_samples import MODELS, WHEEL, context

from builders.errors import UsageError
from builders.matrix import load_matrix
from ci.commands import function
from ci.publish.functions import published_wheel, skeleton
from ci.publish.hosting import Hosting, read_hosting
from ci.publish.manifest import read_manifest
from ci.publish.places import WHEELS
from smoke_lambda.functions import context as contexts
from smoke_lambda.functions.kubernetes import manifests
from smoke_lambda.functions.prices import load_prices
from smoke_lambda.functions.render import (
    FOLDER,
    OPTIONS,
    TEMPLATE,
    demo_app,
    environment,
    files,
    render,
)
from smoke_lambda.functions.samples import picture, sample_of
from smoke_lambda.functions.writing import handed_over, write_function

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / "smoke_lambda/models/digits-float32.tflite"


def test_the_handler_of_this_repository_is_made_of_the_same_templates() -> None:
    assert (ROOT / "smoke_lambda/app.py").read_text() == demo_app()


@pytest.fixture(scope="module")
def apps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder with the handler for each model, and for each kind of skeleton."""
    folder = tmp_path_factory.mktemp("apps")
    text = (ROOT / "pyproject.toml").read_text()
    (folder / "pyproject.toml").write_text(text.replace('"py311"', '"py38"'))
    for name in MODELS:
        (folder / f"of_{name.replace(' ', '_')}.py").write_text(render("app.py", context(name)))
    data = json.loads(contexts.COOKIECUTTER.read_text())
    for kind in data["input"]:
        for preprocess in data["preprocess"]:
            answers = data | {"input": kind, "preprocess": preprocess, "resize": "nearest"}
            if kind == "image" or preprocess == "none":
                name = f"skeleton_{kind}_{preprocess.replace('.', '_')}.py"
                (folder / name).write_text(render("app.py", answers))
    return folder


@pytest.mark.usefixtures("allow_subprocess")
@pytest.mark.parametrize("command", [["check"], ["format", "--check"]], ids=" ".join)
def test_every_handler_is_as_clean_as_ours(apps: Path, command: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ruff", *command, "--no-cache", "."],
        cwd=apps,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("package", contexts.PACKAGES)
def test_every_file_is_what_its_reader_takes(tmp_path: Path, name: str, package: str) -> None:
    write_function(tmp_path, context(name, package=package))
    assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")} >= {
        "app.py",
        "template.yaml",
        "events/direct.json",
        "tests/test_handler.py",
    }
    for path in tmp_path.rglob("*"):
        if path.is_file():
            text = path.read_text()
            assert "{{" not in text.replace("{{.", "")
            assert "{%" not in text
            assert text.endswith("\n")
            assert not text.endswith("\n\n")
        if path.suffix == ".json":
            json.loads(text)
        if path.suffix == ".py":
            compile(text, path.name, "exec")
    template = yaml.load((tmp_path / "template.yaml").read_text(), sam._Loader)
    properties = template["Resources"]["Function"]["Properties"]
    assert ("Layers" in properties) == (package == "zip")


@pytest.mark.usefixtures("allow_subprocess")
@pytest.mark.parametrize("package", contexts.PACKAGES)
def test_cfn_lint_has_nothing_to_say(tmp_path: Path, package: str) -> None:
    write_function(tmp_path, context("labelled", package=package))
    (tmp_path / "layers").mkdir()
    done = subprocess.run(
        [Path(sys.executable).with_name("cfn-lint"), tmp_path / "template.yaml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_requirements_are_pinned_by_hash() -> None:
    lines = render("requirements.txt", context("labelled")).replace("\\\n", "").splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert [line.split()[0].partition("==")[0] for line in pins] == [
        "numpy",
        "pillow",
        f"./wheels/{WHEEL.file}",
    ]
    assert all("--hash=sha256:" in line for line in pins)
    assert "pillow" not in render("requirements.txt", context("numbers"))


def test_a_wheel_with_an_address_is_named_by_it() -> None:
    told = context("numbers")
    told["_wheels"][WHEEL.key]["url"] = "https://host.example/raw/x.whl"
    text = render("requirements.txt", told)
    assert "tflite-runtime @ https://host.example/raw/x.whl \\\n    --hash=sha256:000" in text


def test_what_functions_install_is_what_is_locked() -> None:
    for path, text in contexts.requirements(load_matrix().runtimes).items():
        assert path.read_text() == text
        assert text.count("==") == 1


def test_the_skeleton_is_told_of_the_published_wheels() -> None:
    manifest, matrix = read_manifest(WHEELS), load_matrix()
    text = contexts.COOKIECUTTER.read_text()
    assert text == skeleton(manifest, matrix, read_hosting(WHEELS))
    data = json.loads(text)
    assert data["_jinja2_env_vars"] == OPTIONS
    for python in data["python"]:
        for arch in data["arch"]:
            wheel = published_wheel(
                manifest, matrix.recommended.version, matrix.runtime(python), arch
            )
            assert data["_wheels"][f"{python}-{arch}"]["sha256"] == wheel.sha256
    hosted = Hosting(raw="https://host.example/raw/")
    assert "https://host.example/raw/wheels/" in skeleton(manifest, matrix, hosted)


def test_our_reader_of_templates_is_as_cookiecutters() -> None:
    ours = environment()
    assert (ours.trim_blocks, ours.lstrip_blocks) == (True, True)
    assert FOLDER.name == "{{cookiecutter.name}}"
    assert (TEMPLATE / "cookiecutter.json").is_file()


@pytest.mark.usefixtures("allow_subprocess")
@pytest.mark.parametrize("kind", ["image", "json", "audio"])
def test_cookiecutter_makes_what_we_make(tmp_path: Path, kind: str) -> None:
    main: Any = pytest.importorskip("cookiecutter.main")
    answers = {
        "input": kind,
        "name": "clothes",
        "preprocess": "vgg16" if kind == "image" else "none",
    }
    answers |= {"python": "3.13", "arch": "arm64", "package": "zip"}
    made = Path(
        main.cookiecutter(
            str(TEMPLATE), no_input=True, extra_context=answers, output_dir=str(tmp_path)
        )
    )
    told = json.loads(contexts.COOKIECUTTER.read_text()) | answers | {"resize": "nearest"}
    found = {p.relative_to(made).as_posix(): p.read_text() for p in made.rglob("*") if p.is_file()}
    assert {name: text.rstrip("\n") for name, text in found.items()} == {
        name: render(name, told).rstrip("\n") for name in files()
    }


def fails(out: Path) -> None:
    """Fail while the folder is being written."""
    with contextlib.suppress(ZeroDivisionError), handed_over(out) as folder:
        (folder / "file").write_text(str(1 / 0))


def test_a_folder_is_there_at_the_end_or_not_at_all(tmp_path: Path) -> None:
    out = tmp_path / "made"
    with handed_over(out) as folder:
        (folder / "file").write_text("x")
        assert not out.exists()
    assert (out / "file").read_text() == "x"
    with pytest.raises(UsageError, match="is there already"), handed_over(out):
        pass
    fails(tmp_path / "other")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["made"]


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    """Make a folder of unusable files."""
    (tmp_path / "page.tflite").write_text("<!DOCTYPE html>")
    (tmp_path / "page.keras").write_text("<!DOCTYPE html>")
    (tmp_path / "some.h5").write_text("x")
    (tmp_path / "labels.txt").write_bytes(b"\xff\xfe")
    (tmp_path / "empty").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["none.tflite"], "there is no file"),
        (["page.tflite"], "is not a TensorFlow Lite model"),
        (["page.keras"], "is no model of Keras"),
        ([str(DIGITS), "--labels", "none.txt"], "there is no file"),
        ([str(DIGITS), "--labels", "labels.txt"], "is no text in UTF-8"),
        ([str(DIGITS), "--sample", "none.png"], "there is no file"),
        ([str(DIGITS), "--preprocess", "nobody"], "there is no preprocessing 'nobody'"),
        ([str(DIGITS), "--out", "empty"], "is there already"),
        ([str(DIGITS), "--out", "none/made"], "there is no folder"),
        ([str(DIGITS), "--name", "Ünïque"], "a function cannot be called"),
        ([str(DIGITS), "--name", "a" * 65], "a function cannot be called"),
        ([str(DIGITS), "--input", "video"], "there is no kind 'video'"),
        ([str(DIGITS), "--shape", "1,x"], "is no shape"),
        ([str(DIGITS), "--memory", "64"], "no memory of 64 MB"),
        ([str(DIGITS), "--convert", "int8"], "is not converted"),
        ([str(DIGITS), "--python", "3.7"], "no Python '3.7'"),
        ([str(DIGITS), "--tensorflow", "1.15"], "no TensorFlow '1.15'"),
        (["some.h5", "--convert", "int8"], "int8 is calibrated with examples"),
        (["some.h5", "--representative", "empty"], "--representative is for --convert int8"),
        (["some.h5", "--convert", "int8", "--representative", "empty"], "has 0 examples"),
    ],
)
def test_a_bad_argument_is_one_line_and_nothing_is_made(
    bad: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    reason: str,
) -> None:
    monkeypatch.chdir(bad)
    before = sorted(bad.iterdir())
    out = [] if "--out" in arguments else ["--out", "made"]
    assert function.main([*arguments, *out, "--runner", "native"]) == UsageError.exit_code
    said = capsys.readouterr().err
    assert reason in said
    assert said.strip().count("\n") == 0
    assert sorted(bad.iterdir()) == before


def test_a_sample_must_be_one(tmp_path: Path) -> None:
    plan = context("labelled")["_plans"]["input"]
    numbers = context("numbers")["_plans"]["input"]
    text = tmp_path / "x.json"
    text.write_text('{"input": [1, 2, 3, 4]}')
    assert sample_of(numbers, text).direct == {"input": [1, 2, 3, 4]}
    with pytest.raises(UsageError, match="no PNG, JPEG or WebP"):
        sample_of(plan, text)
    for wrong in ("[1]", "x"):
        text.write_text(wrong)
        with pytest.raises(UsageError):
            sample_of(numbers, text)
    large = tmp_path / "large.png"
    large.write_bytes(picture(8) + bytes(4_000_000))
    with pytest.raises(UsageError, match="at most 4000000"):
        sample_of(plan, large)


def test_a_million_requests_cost_their_seconds_and_their_number() -> None:
    prices = load_prices()
    assert prices.million("x86_64", 1024, 99.1) == pytest.approx(0.20 + 1.66667, abs=1e-4)
    assert prices.million("arm64", 512, 1000) == pytest.approx(0.20 + 6.6667, abs=1e-3)


def test_a_model_server_has_the_models_name_and_a_gateway_where_it_can() -> None:
    found = manifests(context("labelled")["_plans"]["input"], "hats")
    assert set(found) == {"server.yaml", "gateway.yaml", "network.yaml", "kustomization.yaml"} | {
        "Dockerfile"
    }
    assert "clothes" not in "".join(found.values())
    assert "COPY --chmod=444 app.py labels.txt /function/" in found["Dockerfile"]
    for name, text in found.items():
        if name.endswith(".yaml"):
            assert list(yaml.safe_load_all(text))
    deployment = next(yaml.safe_load_all(found["server.yaml"]))
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert (container["image"], container["env"][0]["value"]) == ("hats", "hats")
    numbers = manifests(context("numbers")["_plans"]["input"], "hats")
    assert set(numbers) == {"server.yaml", "kustomization.yaml", "Dockerfile"}
    assert yaml.safe_load(numbers["kustomization.yaml"])["resources"] == ["server.yaml"]
    assert "HANDLER" not in numbers["Dockerfile"]
