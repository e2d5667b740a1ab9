"""The Docker runner against a fake engine, and the text of its Dockerfile."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from builders import docker
from builders.cache import Cache
from builders.docker import CONTEXT, DOCKERFILE, DockerRunner, Images
from builders.errors import (
    CompileError,
    EngineError,
    FetchError,
    HeadersError,
    ToolchainError,
    UserError,
)
from builders.image import NO_TOOLCHAIN, OFFLINE_VARIABLE
from builders.matrix import Runtime, load_matrix
from builders.progress import Reporter

MATRIX = load_matrix()
CP312 = MATRIX.target("tf2.14.1-cp312-x86_64")
CP313 = MATRIX.target("tf2.14.1-cp313-x86_64")
CP312_ARM = MATRIX.target("tf2.14.1-cp312-aarch64")


@dataclass
class FakeEngine:
    """Exports the files that the test asks for, or fails."""

    exports: tuple[str, ...] = ("x.whl",)
    error: EngineError | None = None
    builds: list[dict[str, Any]] = field(default_factory=list)

    def build(self, **options: Any) -> None:  # noqa: ANN401
        self.builds.append(options)
        options["on_line"]("#9 12.34 core tf2.14.1-x86_64: 120/588 objects, 1:10 left")
        if self.error is not None:
            raise self.error
        folder = Path(options["output"].removeprefix("type=local,dest="))
        for name in self.exports if options["target"] == "export" else ("core.json",):
            (folder / name).write_text("made")

    @property
    def stages(self) -> list[str]:
        return [build["target"] for build in self.builds]


def images(runtime: Runtime, arch: str) -> Images:
    base = f"base:{runtime.python}-{arch}"
    return Images(base=base, base_id=f"id of {base}", builder="builder", builder_id="id")


def runner(tmp_path: Path, engine: FakeEngine, **options: Any) -> DockerRunner:  # noqa: ANN401
    return DockerRunner(
        engine=engine,  # type: ignore[arg-type]
        images=options.pop("images", images),
        cache=Cache(tmp_path / "cache"),
        reporter=Reporter(Console(file=io.StringIO()), interval=0.0),
        logs=tmp_path / "logs",
        **options,
    )


@pytest.fixture(autouse=True)
def no_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide this machine's configuration of pip and its Debian mirrors."""
    monkeypatch.setattr("builders.docker_engine._pip_settings", dict)
    monkeypatch.setattr(docker, "debian_mirrors", lambda: ("http://mirror/one", "http://two"))


def test_the_core_is_built_once_and_each_wheel_from_it(tmp_path: Path) -> None:
    engine = FakeEngine()
    made = runner(tmp_path, engine)
    wheels = [made.wheel(CP312), made.wheel(CP313)]
    assert [wheel.name for wheel in wheels] == ["x.whl", "x.whl"]
    assert wheels[0] != wheels[1]
    assert engine.stages == ["core-record", "export", "export"]
    assert [build["args"].get("PYTHON") for build in engine.builds] == [None, "3.12", "3.13"]
    assert engine.builds[1]["args"]["BASE_IMAGE"] == "base:3.12-x86_64"


def test_what_was_made_is_not_made_again(tmp_path: Path) -> None:
    engine = FakeEngine()
    first = runner(tmp_path, engine)
    assert not first.is_cached("wheel", CP312)
    wheel = first.wheel(CP312)
    again = runner(tmp_path, engine)
    assert again.is_cached("core", CP312)
    assert again.is_cached("wheel", CP312)
    assert not again.is_cached("wheel", CP313)
    assert again.wheel(CP312) == wheel
    assert engine.stages == ["core-record", "export"]


def test_another_base_image_or_origin_is_another_wheel(tmp_path: Path) -> None:
    runner(tmp_path, FakeEngine()).wheel(CP312)

    def newer(runtime: Runtime, arch: str) -> Images:
        old = images(runtime, arch)
        return Images(base=old.base, base_id="new", builder=old.builder, builder_id="id")

    assert not runner(tmp_path, FakeEngine(), images=newer).is_cached("wheel", CP312)
    assert not runner(tmp_path, FakeEngine(), origin="debian").is_cached("wheel", CP312)


def test_an_architecture_is_a_platform_and_needs_a_core_of_its_own(tmp_path: Path) -> None:
    engine = FakeEngine()
    made = runner(tmp_path, engine)
    made.wheel(CP312)
    made.wheel(CP312_ARM)
    assert engine.stages == ["core-record", "export"] * 2
    assert [build["platform"] for build in engine.builds] == ["linux/amd64"] * 2 + [
        "linux/arm64"
    ] * 2


def test_offline_there_is_no_network_and_the_stages_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = FakeEngine()
    monkeypatch.setattr(docker, "SHELF", tmp_path / "shelf")
    with pytest.raises(FetchError, match="no folder `shelf`"):
        runner(tmp_path, engine, offline=True).wheel(CP312)
    assert engine.builds == []
    (tmp_path / "shelf").mkdir()
    runner(tmp_path, engine, offline=True).wheel(CP312)
    assert {build["network"] for build in engine.builds} == {"none"}
    assert {build["args"]["TFLITE_OFFLINE"] for build in engine.builds} == {"1"}
    assert engine.builds[0]["args"]["TFLITE_DEBIAN_MIRRORS"] == "http://mirror/one http://two"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (3, FetchError),
        (6, ToolchainError),
        (7, HeadersError),
        (8, CompileError),
        (137, EngineError),
        (None, EngineError),
    ],
)
def test_a_step_that_fails_in_the_image_fails_as_it_does_here(
    tmp_path: Path, status: int | None, kind: type[UserError]
) -> None:
    error = EngineError("building failed:\n#9 error: no header", remedy="the whole log is x")
    error.status = status
    made = runner(tmp_path, FakeEngine(error=error))
    with pytest.raises(UserError, match="no header") as caught:
        made.wheel(CP312)
    assert type(caught.value) is kind
    assert caught.value.remedy == "the whole log is x"
    assert not made.is_cached("wheel", CP312)


@pytest.mark.parametrize("exports", [(), ("a.whl", "b.whl"), ("log.txt",)])
def test_a_build_that_exports_anything_but_one_wheel_is_an_error(
    tmp_path: Path, exports: tuple[str, ...]
) -> None:
    made = runner(tmp_path, FakeEngine(exports=exports))
    with pytest.raises(CompileError, match="not a wheel"):
        made.wheel(CP312)
    assert not made.is_cached("wheel", CP312)


def test_the_progress_of_the_step_in_the_image_is_shown(tmp_path: Path) -> None:
    made = runner(tmp_path, FakeEngine())
    made.wheel(CP312)
    assert isinstance(made.reporter.console.file, io.StringIO)
    shown = made.reporter.console.file.getvalue()
    assert "  core tf2.14.1-x86_64: 120/588 objects, 1:10 left\n" in shown


# --- The Dockerfile -------------------------------------------------------------------

TEXT = DOCKERFILE.read_text()


def test_the_defaults_are_of_the_matrix() -> None:
    defaults = dict(re.findall(r"^ARG (\w+)=(\S+)$", TEXT, re.MULTILINE))
    assert defaults["TENSORFLOW"] == MATRIX.recommended.version
    assert MATRIX.runtime(defaults["PYTHON"])
    assert MATRIX.runtime(defaults["BUILDER_IMAGE"].rpartition(":")[2]) == MATRIX.builder
    assert defaults["BASE_IMAGE"].endswith(":${PYTHON}")


def test_every_argument_that_the_runner_gives_is_declared(tmp_path: Path) -> None:
    engine = FakeEngine()
    runner(tmp_path, engine).wheel(CP312)
    declared = set(re.findall(r"^ARG (\w+)", TEXT, re.MULTILINE))
    given = {name for build in engine.builds for name in build["args"]}
    assert given <= declared
    assert OFFLINE_VARIABLE in declared
    assert set(engine.stages) <= set(re.findall(r"^FROM .* AS (\S+)$", TEXT, re.M))


def test_the_core_knows_nothing_of_python_versions() -> None:
    core = TEXT.partition(" AS core\n")[2].partition("\nFROM ")[0]
    assert "PYTHON" not in core.replace("PYTHONDONTWRITEBYTECODE", "")


def test_what_is_copied_is_there_and_not_ignored() -> None:
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", TEXT, re.MULTILINE)
    assert copied
    for name in " ".join(copied).split():
        assert name in ("cores", "shelf") or (CONTEXT / name).exists()
    ignored = DOCKERFILE.with_name("Dockerfile.dockerignore").read_text().splitlines()
    assert {f"!{name.partition('/')[0]}" for name in " ".join(copied).split()} <= set(ignored)


def test_no_distribution_package_is_installed() -> None:
    assert not re.search(r"\b(yum|dnf|microdnf|apt|apt-get|apk)\b", TEXT)


def test_the_exit_code_of_a_missing_toolchain_is_the_toolchain_errors() -> None:
    assert ToolchainError.exit_code == NO_TOOLCHAIN
