"""When stand-ins are made, and from what."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from test_smoke_container import FakeEngine, as_engine

from builders.cache import Cache
from builders.docker_engine import Engine
from builders.errors import EngineError
from builders.fetch import Fetcher
from builders.interpreters import Interpreter
from builders.matrix import load_matrix
from ci.commands import standin as command
from ci.images import debian
from ci.images.standin import make
from ci.images.standin.make import DIFFERS, Maker, choose_recipe, copy_python, reference

MATRIX = load_matrix()
PY312, PY314, PY38 = (MATRIX.runtime(python) for python in ("3.12", "3.14", "3.8"))


def cpython(prefix: Path, python: str = "3.12") -> Path:
    """Write an installation's files, some of which a stand-in leaves out."""
    for name in (
        f"lib/python{python}/os.py",
        f"lib/python{python}/ensurepip/__init__.py",
        f"lib/python{python}/test/big.py",
        f"lib/python{python}/__pycache__/os.pyc",
        f"lib/python{python}/site-packages/private.py",
        f"lib/python{python}/config-{python}-x/libpython.a",
        f"lib/libpython{python}.so.1.0",
        "lib/libpython.a",
        f"include/python{python}/Python.h",
        f"bin/python{python}",
        "bin/tool-of-the-user",
    ):
        (prefix / name).parent.mkdir(parents=True, exist_ok=True)
        (prefix / name).write_text(name)
    return prefix


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Replace this machine's Debian release, and its CPythons by X.Y."""
    said: dict[str, Any] = {"suite": "bookworm", "pythons": {}}
    monkeypatch.setattr(make, "_suite", lambda: said["suite"])
    monkeypatch.setattr(make, "find_interpreter", lambda python: said["pythons"].get(python))
    return said


def installed(prefix: Path, python: str = "3.12", arch: str = "x86_64") -> Interpreter:
    include = prefix / f"include/python{python}"
    executable = prefix / f"bin/python{python}"
    return Interpreter(executable=executable, version=f"{python}.1", arch=arch, include=include)


def test_a_stand_in_is_named_for_python_and_architecture() -> None:
    assert reference(PY312, "x86_64") == "tflite-lambda-standin:3.12"
    assert reference(PY312, "aarch64") == "tflite-lambda-standin:3.12-aarch64"


def test_this_machines_python_is_copied(tmp_path: Path, machine: dict[str, Any]) -> None:
    machine["pythons"]["3.12"] = installed(cpython(tmp_path))
    recipe = choose_recipe(PY312, "x86_64")
    assert (recipe.suite, recipe.tree, recipe.version) == ("bookworm", tmp_path, "3.12.1")
    assert "libssl3" in recipe.packages


@pytest.mark.parametrize("why", ["absent", "other suite", "other machine", "of the system"])
def test_else_debians_python_is_taken(tmp_path: Path, machine: dict[str, Any], why: str) -> None:
    found = installed(cpython(tmp_path, "3.14"), "3.14")
    if why == "of the system":
        found = installed(Path("/usr"), "3.14")
    machine["pythons"] = {} if why == "absent" else {"3.14": found}
    machine["suite"] = "sarge" if why == "other suite" else "bookworm"
    arch = "aarch64" if why == "other machine" else "x86_64"
    recipe = choose_recipe(PY314, arch)
    assert recipe.tree is None
    assert recipe.suite == PY314.debian
    assert {"python3.14", "python3.14-venv", "libpython3.14-dev"} < set(recipe.packages)


def test_for_another_architecture_what_debian_lacks_is_put_together(
    tmp_path: Path, machine: dict[str, Any]
) -> None:
    machine["pythons"]["3.12"] = installed(cpython(tmp_path))
    recipe = choose_recipe(PY312, "aarch64")
    assert (recipe.suite, recipe.tree, recipe.version) == ("bookworm", tmp_path, "3.12.1")
    assert recipe.frozen is not None
    assert "cp312-manylinux_2_17_aarch64" in recipe.frozen.pypi
    assert {"libc-bin", "zlib1g"} < set(recipe.packages)
    machine["pythons"] = {}
    with pytest.raises(EngineError, match=r"no Python 3\.12 for aarch64"):
        choose_recipe(PY312, "aarch64")


@pytest.mark.usefixtures("machine")
def test_a_python_that_nobody_has() -> None:
    with pytest.raises(EngineError, match=r"no Python 3\.8 for x86_64 .*pyenv install 3\.8"):
        choose_recipe(PY38, "x86_64")


def test_a_copy_has_an_installation_and_nothing_of_the_user(tmp_path: Path) -> None:
    lang = tmp_path / "lang"
    copy_python(cpython(tmp_path / "prefix"), PY312, lang)
    copied = {str(p.relative_to(lang)) for p in lang.rglob("*") if p.is_file()}
    assert copied == {
        "bin/python3.12",
        "include/python3.12/Python.h",
        "lib/libpython3.12.so.1.0",
        "lib/python3.12/ensurepip/__init__.py",
        "lib/python3.12/os.py",
    }


class Store(FakeEngine):
    """An engine with images, each with a name and labels."""

    images: dict[str, dict[str, str]]

    def image_labels(self, name: str) -> dict[str, str]:
        return self.images.get(name, {})

    def image_id(self, name: str) -> str | None:
        return "sha256:1" if name in self.images else None

    def build(self, **options: Any) -> None:  # noqa: ANN401 - as Engine.build
        if options["tag"].startswith("tflite-lambda-standin-root:"):
            assert "ADD root.tar /" in Path(options["dockerfile"]).read_text()
        else:
            super().build(**options)
        self.images[options["tag"]] = options.get("labels", {})


@pytest.fixture
def store() -> Store:
    found = Store()
    found.images = {}
    return found


@pytest.fixture
def maker(
    tmp_path: Path, machine: dict[str, Any], store: Store, monkeypatch: pytest.MonkeyPatch
) -> Maker:
    machine["pythons"]["3.12"] = installed(cpython(tmp_path / "prefix"))
    monkeypatch.setattr("builders.docker_engine._pip_settings", dict)
    monkeypatch.setattr(debian, "debian_mirrors", lambda: ("http://mirror.example/debian",))
    monkeypatch.setattr("shutil.which", lambda _name: "/usr/bin/mmdebstrap")
    monkeypatch.setattr(debian, "run", lambda *_a, **_o: None)
    rie = tmp_path / "rie"
    rie.touch()
    monkeypatch.setattr(make, "emulator", lambda *_arguments: rie)
    cache = Cache(tmp_path / "cache")
    log = tmp_path / "log"
    return Maker(engine=as_engine(store), cache=cache, fetcher=Fetcher(cache), log=log)


def test_a_stand_in_is_made_once_and_again_when_its_inputs_change(
    maker: Maker, store: Store, machine: dict[str, Any], tmp_path: Path
) -> None:
    assert not maker.is_there(PY312, "x86_64")
    name = maker.make(PY312, "x86_64")
    assert maker.is_there(PY312, "x86_64")
    (build,) = store.builds
    assert build["tag"] == name
    assert build["args"]["KIND"] == "copied"
    assert build["args"]["ROOT"].startswith("tflite-lambda-standin-root:bookworm-x86_64-")
    assert build["platform"] == "linux/amd64"
    assert {"aws-lambda-rie", "bootstrap", "lambda-entrypoint.sh", "requirements.txt"} < set(
        build["files"]
    )
    assert "lang/bin/python3.12" in build["files"]
    assert "awslambdaric==" in build["requirements"]
    assert "numpy" not in build["requirements"]

    assert maker.make(PY312, "x86_64") == name
    assert len(store.builds) == 1
    newer = installed(tmp_path / "prefix")
    machine["pythons"]["3.12"] = Interpreter(
        executable=newer.executable, version="3.12.2", arch="x86_64", include=newer.include
    )
    assert not maker.is_there(PY312, "x86_64")
    maker.make(PY312, "x86_64")
    assert len(store.builds) == 2


def test_a_debian_python_is_not_copied(maker: Maker, store: Store) -> None:
    maker.make(PY314, "x86_64")
    (build,) = store.builds
    assert build["args"]["KIND"] == "packaged"
    assert "-root:forky-x86_64-" in build["args"]["ROOT"]
    assert not any(name.startswith("lang/") for name in build["files"])


def test_no_mmdebstrap(maker: Maker, monkeypatch: pytest.MonkeyPatch, store: Store) -> None:
    monkeypatch.setattr("shutil.which", lambda _name: None)
    with pytest.raises(EngineError, match=r"mmdebstrap, .*apt install mmdebstrap.*--base"):
        maker.make(PY312, "x86_64")
    assert store.images == {}


def test_no_mirror(maker: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian, "debian_mirrors", tuple)
    with pytest.raises(EngineError, match="mirror"):
        maker.make(PY312, "x86_64")


def test_the_command_says_what_a_stand_in_is_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = []

    class FakeMaker:
        def __init__(self, **_options: object) -> None: ...

        def make(self, runtime: Any, arch: str) -> str:  # noqa: ANN401 - a Runtime
            made.append((runtime.python, arch))
            return reference(runtime, arch)

    engine = Engine(client=Path("docker"), version="20.10", arch="x86_64")
    monkeypatch.setattr(command, "find_engine", lambda: engine)
    monkeypatch.setattr(command, "Maker", FakeMaker)
    assert command.main(["--python", "3.12"]) == 0
    out, err = capsys.readouterr()
    assert out == "tflite-lambda-standin:3.12\n"
    assert DIFFERS in err
    assert command.main([]) == 0
    assert [python for python, _ in made[1:]] == [r.python for r in MATRIX.runtimes]
    with pytest.raises(SystemExit):
        command.main(["--help"])
    assert "glibc" in capsys.readouterr().out


def test_the_command_refuses_what_the_matrix_lacks(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--python", "2.7"]) == 2
    assert "2.7" in capsys.readouterr().err


def test_scripts_of_a_stand_in_are_shell() -> None:
    for name in ("bootstrap", "lambda-entrypoint.sh"):
        assert (make.HERE / name).read_text().startswith("#!/bin/sh\n")


@pytest.mark.usefixtures("allow_subprocess")
@pytest.mark.parametrize("arguments", [[], ["a.b", "c"]])
def test_the_entry_point_wants_one_handler(arguments: list[str]) -> None:
    done = subprocess.run(
        ["sh", make.HERE / "lambda-entrypoint.sh", *arguments], capture_output=True, check=False
    )
    assert done.returncode == 142
