"""The driver's parts that need neither an emulator nor an environment."""

from __future__ import annotations

import hashlib
import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from builders.errors import ArchiveError, ChecksumError, SmokeError, UsageError
from builders.matrix import load_matrix
from smoke_lambda import compat, native, rie
from smoke_lambda.inside import probe
from smoke_lambda.report import Check, SmokeReport, SmokeRun
from smoke_lambda.site import Site
from smoke_lambda.train import digits

GOOD = Check(name="class", ok=True)
BAD = Check(name="scores", ok=False, detail="expected 1, found 2")


def report(*runs: tuple[Check, ...]) -> SmokeReport:
    return SmokeReport(
        wheel="a.whl",
        sha256="0" * 64,
        python="3.12",
        place="native",
        runs=tuple(SmokeRun(numpy=f"1.{n}", checks=checks) for n, checks in enumerate(runs)),
        log="smoke.log",
    )


def test_a_report_is_right_if_all_of_it_is() -> None:
    assert report((GOOD,), (GOOD, GOOD)).ok
    assert not report((GOOD,), (GOOD, BAD)).ok
    assert not report((GOOD,), ()).ok
    assert not report().ok


def test_a_failure_names_wheel_numpy_check_reason_and_log() -> None:
    assert report((GOOD,), (GOOD, BAD)).failures == (
        "a.whl with NumPy 1.1: scores: expected 1, found 2 (see smoke.log)",
    )


def test_a_report_as_json() -> None:
    data = json.loads(json.dumps(report((GOOD,), (BAD,)).as_json()))
    assert [data["wheel"], data["python"], data["ok"]] == ["a.whl", "3.12", False]
    assert [run["ok"] for run in data["runs"]] == [True, False]
    assert data["runs"][1]["checks"] == [
        {"name": "scores", "ok": False, "detail": "expected 1, found 2"}
    ]
    assert data["runs"][0].keys() >= {"numpy", "xnnpack", "init_ms", "import_ms"}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("t-1-cp312-cp312-manylinux_2_17_s390x.whl", "for another machine"),
        ("t-1-cp39-cp39-manylinux_2_17_x86_64.whl", "not for Python 3.12"),
    ],
)
def test_what_has_no_site_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, words: str
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    wheel = tmp_path / name
    wheel.touch()
    with pytest.raises(SmokeError, match=words):
        site(wheel, tmp_path)


def test_what_is_no_wheel(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no wheel"):
        site(tmp_path / "t-1-cp312-cp312-any.whl", tmp_path)
    wheel = tmp_path / "nonsense.whl"
    wheel.touch()
    with pytest.raises(UsageError, match="nonsense"):
        site(wheel, tmp_path)


def site(wheel: Path, folder: Path) -> Site:
    return native.site(
        wheel,
        load_matrix().runtime("3.12"),
        python=folder / "python",
        work=folder,
        log=folder / "log",
        rie=lambda: folder / "rie",
    )


def node(index: int, name: str, inputs: list[int], outputs: list[int]) -> dict[str, Any]:
    return {"index": index, "op_name": name, "inputs": inputs, "outputs": outputs}


CHAIN = [
    node(0, "CONV_2D", [0, 9], [1]),
    node(1, "MAX_POOL_2D", [1], [2]),
    node(2, "SOFTMAX", [2], [3]),
]


@pytest.mark.parametrize(
    ("delegates", "taken"),
    [
        ([], [False, False, False]),
        ([node(3, "DELEGATE", [0, 9], [3])], [True, True, True]),
        ([node(3, "DELEGATE", [0, 9], [2])], [True, True, False]),
        ([node(3, "DELEGATE", [1], [2])], [False, True, False]),
        (
            [node(3, "DELEGATE", [0, 9], [1]), node(4, "DELEGATE", [2], [3])],
            [True, False, True],
        ),
    ],
)
def test_which_operators_a_delegate_took(delegates: list[Any], taken: list[bool]) -> None:
    class Interpreter:
        def _get_ops_details(self) -> list[Any]:
            return [*CHAIN, *delegates]

    assert [was for _, was in probe.operators(Interpreter())] == taken


class Packages:
    """A fetcher of one package that is here already."""

    def __init__(self, package: Path) -> None:
        self.package = package
        self.asked: list[tuple[str, str, str, str]] = []

    def pypi(self, project: str, version: str, filename: str, sha256: str) -> Path:
        self.asked.append((project, version, filename, sha256))
        return self.package


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Packages:
    package = tmp_path / "package.whl"
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("bin/rie", b"program")
    data = tmp_path / "rie.toml"
    right = hashlib.sha256(b"program").hexdigest()
    data.write_text(
        f'project = "p"\nversion = "1"\nfile = "f"\nsha256 = "s"\n'
        f'[x86_64]\nmember = "bin/rie"\nsha256 = "{right}"\n'
        f'[aarch64]\nmember = "bin/rie"\nsha256 = "{"0" * 64}"\n'
        f'[riscv64]\nmember = "bin/none"\nsha256 = "{"1" * 64}"\n'
    )
    monkeypatch.setattr(rie, "DATA", data)
    return Packages(package)


def test_the_emulator_is_unpacked_once(tmp_path: Path, packages: Packages) -> None:
    cache = tmp_path / "cache"
    program = rie.emulator("x86_64", cache, packages)
    assert program.read_bytes() == b"program"
    assert program.stat().st_mode & 0o777 == 0o755
    assert rie.emulator("x86_64", cache, packages) == program
    assert packages.asked == [("p", "1", "f", "s")]
    assert list(cache.iterdir()) == [program]


@pytest.mark.parametrize(
    ("arch", "error"),
    [("aarch64", ChecksumError), ("riscv64", ArchiveError), ("s390x", SmokeError)],
)
def test_a_wrong_emulator_is_not_kept(
    tmp_path: Path, packages: Packages, arch: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        rie.emulator(arch, tmp_path / "cache", packages)
    assert not (tmp_path / "cache").exists()


def test_a_damaged_package(tmp_path: Path, packages: Packages) -> None:
    packages.package.write_bytes(b"no zip")
    with pytest.raises(ArchiveError, match=r"package\.whl"):
        rie.emulator("x86_64", tmp_path / "cache", packages)


def test_the_emulators_of_both_architectures_are_named(tmp_path: Path) -> None:
    for arch in load_matrix().architectures:
        with pytest.raises(ArchiveError):  # the row is there; the package is not ours
            rie.emulator(arch, tmp_path, Packages(_empty_zip(tmp_path / "empty.zip")))


def _empty_zip(path: Path) -> Path:
    with zipfile.ZipFile(path, "w"):
        return path


@pytest.mark.parametrize(
    ("status", "found", "outcome", "detail"),
    [
        (0, {"differences": [["out", 0.1, 0.2]]}, "ok", "1 outputs agree"),
        (0, {"differences": [["out", 0.3, 0.2]]}, "differs", "out by 0.3, allowed 0.2"),
        (0, {"differences": [["out", float("nan"), 0.2]]}, "differs", "out by nan"),
        (0, {"error": "no such op"}, "refused", "default: invoke: no such op"),
        (-11, {}, "crashed", "default: invoke: SIGSEGV"),
        (1, {}, "crashed", "default: invoke: exit status 1"),
        (0, {}, "crashed", "default: invoke: exit status 0"),
        (None, {}, "hangs", "default: invoke"),
    ],
)
def test_what_a_model_did(
    status: int | None, found: dict[str, object], outcome: str, detail: str
) -> None:
    result = compat.judge("m", status, {"stage": "default: invoke", **found})
    assert result.outcome == outcome
    assert detail in result.detail


def test_a_model_must_do_what_is_expected() -> None:
    refused = compat.Result(model="m", outcome=compat.REFUSED, detail="load: no graph in it")
    assert refused.fault(compat.Expected(outcome=compat.REFUSED, message="no graph")) == ""
    assert "expected ok, found refused" in refused.fault(compat.Expected())
    other = compat.Expected(outcome=compat.REFUSED, message="custom op")
    assert "expected refused 'custom op', found refused: load" in refused.fault(other)


def test_expectations(tmp_path: Path) -> None:
    assert compat.expectations("2.14.1")["double_flex.bin"].outcome == compat.REFUSED
    data = tmp_path / "compat.toml"
    data.write_text('[[model]]\nfiles = ["x"]\nexpect = "ok"\nmessage = "m"\nreason = "r"\n')
    with pytest.raises(UsageError, match="expect"):
        compat.expectations("2.14.1", data)


def test_a_tree_without_models(tmp_path: Path) -> None:
    with pytest.raises(SmokeError, match="no models"):
        compat.models(tmp_path)


def test_training_tells_what_differs(tmp_path: Path) -> None:
    files = {"models/a": b"1", "images/b": b"2"}
    digits.write(files, tmp_path)
    assert digits.differences(files, tmp_path) == []
    (tmp_path / "models/a").write_bytes(b"11")
    (tmp_path / "images/b").unlink()
    assert digits.differences(files, tmp_path) == [
        "models/a: differs (2 bytes, now 1)",
        "images/b: missing",
    ]


@pytest.mark.usefixtures("allow_subprocess")
def test_a_look_shows_the_output_of_its_own_process_alone(tmp_path: Path) -> None:
    # An earlier model's findings are no findings of the next one.
    made = native.Environment(
        numpy="2.2.6",
        interpreter=Path(sys.executable),
        requirements=tmp_path / "none.txt",
        folder=tmp_path,
        rie=None,
        log=tmp_path / "all.log",
    )
    made.python.parent.mkdir(parents=True)
    made.python.symlink_to(sys.executable)
    for said in ("one", "other"):
        status, output = made.look("timeit", "-n", "1", "-r", "1", f"print('{said}')")
        assert status == 0
        assert output.startswith(f"{said}\n")
        assert output.count("per loop") == 1
