"""Containers, against a fake engine; and the relay in them, against a real server."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, cast

import pytest

from builders.docker_engine import Engine
from builders.errors import EngineError
from builders.matrix import Runtime, load_matrix
from smoke_lambda import container, docker, events
from smoke_lambda.function import resident
from smoke_lambda.inside import relay
from smoke_lambda.limits import CPU_FILES, Limits, list_processors, open_to_all
from smoke_lambda.lock import FUNCTION_PACKAGES, lock_path, packages_of

RUNTIME = load_matrix().runtime("3.12")
WHEEL = "t-1.2-3-cp312-cp312-manylinux_2_17_x86_64.whl"

STATUSES = """\
Name:\taws-lambda-rie
VmHWM:\t   10 kB
Name:\tpython3
VmPeak:\t  900 kB
VmHWM:\t   50 kB
Name:\tkthread
Name:\tcat
VmHWM:\t    7 kB
Name:\tsh
VmHWM:\t    7 kB
"""


@dataclass
class FakeEngine:
    """An engine that answers as the test asks, and records its arguments."""

    answers: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, ...]] = field(default_factory=list)
    builds: list[dict[str, Any]] = field(default_factory=list)
    failures: list[EngineError] = field(default_factory=list)
    client: Path = Path("/nonexistent/docker")
    arch: str = "x86_64"

    def attempt(self, *arguments: str, timeout: float = 1) -> subprocess.CompletedProcess[str]:
        assert timeout > 0
        self.asked.append(arguments)
        said = self.answers.get(" ".join(arguments[:2]), self.answers.get(arguments[0]))
        return subprocess.CompletedProcess([], said is None, said or "", "")

    def ask(self, *arguments: str, what: str, timeout: float = 1) -> str:
        done = self.attempt(*arguments, timeout=timeout)
        if done.returncode:
            raise EngineError(what)
        return done.stdout

    def build(self, **options: Any) -> None:  # noqa: ANN401 - as Engine.build
        context = options["context"]
        names = sorted(str(p.relative_to(context)) for p in context.rglob("*") if p.is_file())
        requirements = (context / "requirements.txt").read_text()
        self.builds.append(options | {"files": names, "requirements": requirements})
        if len(self.builds) == 2 and self.failures:
            raise self.failures[0]

    def cpus(self) -> int:
        return 1

    def image_size(self, _name: str) -> int:
        return 5


def as_engine(fake: FakeEngine) -> Engine:
    return cast(Engine, fake)


def test_the_limits_are_lambdas() -> None:
    options = Limits(memory_mb=300, cpus=2).options()
    for pair in (
        "--user 993:990",
        "--cap-drop ALL",
        "--security-opt no-new-privileges",
        "--network none",
        "--memory 300m",
        "--memory-swap 300m",
        "--cpus 2",
        "--mount type=tmpfs,destination=/sys/devices/system/cpu",
    ):
        assert pair in " ".join(options)
    assert "--read-only" in options


def test_processors_are_hidden_or_shown(tmp_path: Path) -> None:
    files = list_processors(tmp_path / "cpu", 4)
    options = " ".join(Limits(cpu_files=files).options())
    assert f"--mount type=bind,source={files},target=/sys/devices/system/cpu,readonly" in options
    assert "type=tmpfs,destination=/sys" not in options
    assert (files / "possible").read_text() == (files / "present").read_text() == "0-3\n"
    assert sorted(path.name for path in files.glob("cpu*")) == ["cpu0", "cpu1", "cpu2", "cpu3"]
    assert (files / "cpu3/topology/core_id").read_text() == "3\n"
    for path in (files, *files.rglob("*")):
        assert path.stat().st_mode & 0o777 == (0o755 if path.is_dir() else 0o644), path


def test_the_memory_of_a_functions_processes() -> None:
    assert resident(STATUSES) == 60 * 1024
    assert resident("") == 0


def test_a_peak_is_read_from_either_kind_of_cgroup() -> None:
    process = cast("subprocess.Popen[str]", None)

    def peak(answers: Callable[[tuple[str, ...]], str | None]) -> int | None:
        class One(FakeEngine):
            def attempt(
                self, *arguments: str, timeout: float = 1
            ) -> subprocess.CompletedProcess[str]:
                assert timeout > 0
                said = answers(arguments)
                return subprocess.CompletedProcess([], said is None, said or "", "")

        return container.ContainerFunction(as_engine(One()), "n", "", process).peak_bytes()

    assert peak(lambda a: "7\n" if a[-1].endswith("/memory.peak") else None) == 7
    assert peak(lambda a: "8\n" if a[-1].endswith("max_usage_in_bytes") else None) == 8
    assert peak(lambda _a: None) is None


def test_only_containers_of_dead_drivers_are_removed() -> None:
    dead = 2**22 + 1
    engine = FakeEngine({"ps": f"a {os.getpid()}\nb {dead}\nc \n", "rm": ""})
    container.reap(as_engine(engine))
    removed = [arguments[-1] for arguments in engine.asked if arguments[0] == "rm"]
    assert removed == ["b"]


def test_the_tools_are_readable_by_anyone() -> None:
    with container.tools() as folder:
        assert (folder / "images" / events.SAMPLE).is_file()
        for path in (folder, *folder.rglob("*")):
            assert path.stat().st_mode & 0o777 == (0o755 if path.is_dir() else 0o644), path
    assert not folder.exists()


@pytest.mark.parametrize(
    ("waited", "status"), [("0", 0), ("137", 137), (None, None)], ids=["ends", "killed", "hangs"]
)
def test_a_probe_in_a_container(tmp_path: Path, waited: str | None, status: int | None) -> None:
    answers = {"create": "id", "start": "", "logs": "found: {}\n", "rm": ""}
    engine = FakeEngine(answers | ({} if waited is None else {"wait": waited}))
    found = container.run_probe(
        as_engine(engine), "image", Limits(), "m", ["x"], tmp_path, tmp_path / "log", 5
    )
    assert found == (status, "found: {}\n")
    assert "found: {}" in (tmp_path / "log").read_text()
    created = engine.asked[0]
    assert created[-5:] == ("-s", "-B", "-m", "m", "x")
    assert "--init" in created
    assert engine.asked[-1][:3] == ("rm", "--force", "--volumes")


def test_a_container_that_cannot_be_created_is_removed_all_the_same(tmp_path: Path) -> None:
    engine = FakeEngine({"logs": "", "rm": ""})
    with pytest.raises(EngineError, match="starting image"):
        container.run_probe(
            as_engine(engine), "image", Limits(), "m", [], tmp_path, tmp_path / "log", 5
        )
    assert engine.asked[-1][0] == "rm"


# --- Images ---------------------------------------------------------------------------


def image(
    engine: FakeEngine, folder: Path, *, arch: str = "x86_64", measured: bool = False
) -> docker.Image:
    return docker.Image(
        engine=as_engine(engine),
        base="base:3.12",
        name="smoke:1",
        numpy=RUNTIME.numpy.on_lambda,
        arch=arch,
        requirements=lock_path(RUNTIME, RUNTIME.numpy.on_lambda),
        measured=measured,
        folder=folder,
        log=folder / "log",
    )


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("builders.docker_engine._pip_settings", dict)
    path = tmp_path / WHEEL
    path.write_bytes(b"wheel")
    return path


def test_an_image_has_what_a_function_needs_and_no_more(tmp_path: Path, wheel: Path) -> None:
    engine = FakeEngine()
    assert image(engine, tmp_path).install(wheel) == ""
    first, second = engine.builds
    assert [first["target"], second["target"]] == ["environment", None]
    assert [first["tag"], second["tag"]] == [None, "smoke:1"]
    assert second["args"] == {"BASE_IMAGE": "base:3.12"}
    models = {f"models/{path.name}" for path in events.MODELS.glob("*.tflite")}
    assert set(second["files"]) == models | {"app.py", "requirements.txt", f"wheel/{WHEEL}"}
    # Lambda's client is the base image's.
    for name in FUNCTION_PACKAGES:
        assert f"\n{name}==" in f"\n{second['requirements']}"
    assert "awslambdaric" not in second["requirements"]


def test_a_wheel_that_pip_refuses_is_its_own_fault(tmp_path: Path, wheel: Path) -> None:
    error = EngineError("installing the wheel failed: not a zip file")
    error.status = 1
    fault = image(FakeEngine(failures=[error]), tmp_path).install(wheel)
    assert "expected a wheel that installs" in fault
    assert "not a zip file" in fault


def test_an_engine_that_fails_is_not_the_wheels_fault(tmp_path: Path, wheel: Path) -> None:
    engine = FakeEngine(failures=[EngineError("the engine has gone")])
    with pytest.raises(EngineError, match="has gone"):
        image(engine, tmp_path).install(wheel)


def test_an_image_is_named_for_what_is_in_it() -> None:
    assert docker.image_name(Path(WHEEL), "x86_64", "2.0") == (
        "tflite-lambda-smoke:1.2-3-cp312-x86_64-numpy-2.0"
    )
    local = Path("t-1.2+local-cp312-cp312-manylinux_2_17_x86_64.whl")
    assert docker.image_name(local, "x86_64", "2.0").count("+") == 0


@pytest.mark.parametrize("runtime", load_matrix().runtimes, ids=lambda r: r.tag)
def test_an_image_has_only_a_numpy_that_lambda_can_have(runtime: Runtime) -> None:
    floor, *others = docker.lambda_numpys(runtime)
    assert floor == runtime.numpy.floor
    assert others == [runtime.numpy.on_lambda]


def test_a_file_is_shown_to_a_container(tmp_path: Path) -> None:
    secret = tmp_path / "model.tflite"
    secret.write_bytes(b"TFL3")
    secret.chmod(0o600)
    folder = tmp_path / "tools"
    folder.mkdir()
    assert image(FakeEngine(), folder).shown(secret) == "/smoke/model.tflite"
    assert (folder / "model.tflite").stat().st_mode & 0o777 == 0o644


def test_only_the_numpy_of_lambda_is_measured_and_no_emulator(tmp_path: Path) -> None:
    engine = FakeEngine()
    assert image(engine, tmp_path).measures() == {}
    assert image(engine, tmp_path, arch="aarch64", measured=True).measures() == {}
    assert engine.asked == []


@pytest.mark.parametrize(("arch", "told"), [("x86_64", 5.0), ("aarch64", None)])
def test_times_are_told_but_those_of_an_emulator(
    arch: str, told: float | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = {"operators": {PATH: []}, "import_ms": 5.0, "first_inference_ms": 5.0}
    monkeypatch.setattr(docker, "run_probe", lambda *_: (0, f"found: {json.dumps(said)}"))
    _, found = image(FakeEngine(), tmp_path, arch=arch).probe(["m"])
    assert (found["import_ms"], found["first_inference_ms"]) == (told, told)


PATH = "/var/task/models/m.tflite"


@pytest.mark.parametrize(
    ("arch", "listed", "fault"),
    [
        ("x86_64", None, ""),
        ("aarch64", {"operators": {PATH: [["CONV_2D", True]]}}, ""),
        ("aarch64", {"operators": {PATH: [["CONV_2D", False]]}}, "without /sys/devices/system/cpu"),
        ("aarch64", None, "139 (SIGSEGV)"),
    ],
)
def test_arm64_is_probed_with_and_without_the_processors_listed(
    arch: str,
    listed: dict[str, Any] | None,
    fault: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked: list[Limits] = []

    def run_probe(_engine: object, _name: str, limits: Limits, *_rest: object) -> tuple[int, str]:
        looked.append(limits)
        hidden = {"operators": {PATH: [["CONV_2D", True]]}}
        found = listed if limits.cpu_files else hidden
        return (0, f"found: {json.dumps(found)}") if found else (139, "")

    monkeypatch.setattr(docker, "run_probe", run_probe)
    found_fault, found = image(FakeEngine(), tmp_path, arch=arch).probe(["m"])
    assert fault in found_fault
    assert bool(fault) == bool(found_fault)
    assert found["operators"].keys() == ({PATH} if fault else {"m"})
    assert len(looked) == (1 if arch == "x86_64" else 2)
    assert looked[0].cpu_files is None
    if arch == "aarch64":
        assert looked[1].cpu_files == tmp_path / "processors"


def test_on_an_arm64_machine_its_own_files_are_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[Path | None] = []

    def run_probe(_engine: object, _name: str, limits: Limits, *_rest: object) -> tuple[int, str]:
        shown.append(limits.cpu_files)
        return 0, f"found: {json.dumps({'operators': {PATH: []}})}"

    monkeypatch.setattr(docker, "run_probe", run_probe)
    image(FakeEngine(arch="aarch64"), tmp_path, arch="aarch64").probe(["m"])
    assert shown == [None, CPU_FILES]


def test_a_lock_by_package() -> None:
    lock = lock_path(RUNTIME, RUNTIME.numpy.on_lambda)
    found = packages_of(lock)
    assert {"numpy", "pillow", "awslambdaric"} <= found.keys()
    assert found["numpy"].startswith(f"numpy=={RUNTIME.numpy.on_lambda} ")
    assert all("--hash=sha256:" in text for text in found.values())
    assert sum(text.count("--hash") for text in found.values()) == lock.read_text().count("--hash")


# --- The relay ------------------------------------------------------------------------


class Emulator(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(502 if body == b'"fail"' else 200)
        self.end_headers()
        self.wfile.write(b'{"got": ' + body + b"}")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        pass


@pytest.fixture
def emulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with HTTPServer(("127.0.0.1", 0), Emulator) as server:
        monkeypatch.setattr(relay, "URL", f"http://127.0.0.1:{server.server_port}/")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield
        server.shutdown()
        thread.join()


@pytest.mark.usefixtures("emulator")
@pytest.mark.parametrize("event", ['{"a": 1}', '"fail"'])
def test_a_relay_passes_on_replies_also_of_failures(event: str) -> None:
    found = relay.post(event, 5)
    assert json.loads(cast(str, found["body"])) == {"got": json.loads(event)}
    assert cast(float, found["ms"]) > 0


def test_a_relay_tells_of_a_function_that_has_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "URL", "http://127.0.0.1:1/")
    assert "refused" in str(relay.post("{}", 1)["error"])


@pytest.mark.usefixtures("allow_subprocess")
@pytest.mark.parametrize(
    ("says", "error"),
    [
        ('read line; echo \'{"body": "{}", "ms": 1}\'; read line', ""),
        ("read line; exit 3", "the relay has gone"),
        ("sleep 5", "no answer within 0.2 s"),
    ],
)
def test_a_relay_that_answers_or_not(says: str, error: str) -> None:
    with subprocess.Popen(
        ["sh", "-c", says], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        answer = container._ask(process, "{}", 0.2 if error else 10)
        assert (error in answer["error"]) if error else (answer["ms"] == 1)
        process.kill()


def test_what_a_link_leads_to_keeps_its_mode(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("")
    program.chmod(0o750)
    folder = tmp_path / "folder"
    folder.mkdir(mode=0o700)
    (folder / "link").symlink_to(program)
    (folder / "file").touch(0o600)
    open_to_all(folder)
    assert program.stat().st_mode & 0o777 == 0o750
    assert (folder / "file").stat().st_mode & 0o777 == 0o644
    assert folder.stat().st_mode & 0o777 == 0o755
