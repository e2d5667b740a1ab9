"""The fuzzers of wheels and archives: what they make, what they call a fault, and their process."""

from __future__ import annotations

import io
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_audit_samples import WheelSample

from builders.audit import PACKAGE, AuditReport
from builders.errors import ArchiveError, UsageError
from builders.unpack import UNPACKED_FLOOR
from ci.fuzz import audit, unpack
from ci.fuzz.edits import edited, edits
from ci.fuzz.worker import ROOT, Worker, apart

MEMBER = {"name": "top/a", "kind": "0", "link": "", "data": "6869", "size": None, "mode": 0o644}
ARCHIVE = {"format": "", "members": [MEMBER], "edits": []}
WHOLE_TEXT = {"what": audit.TEXT, "member": ".py", "record": True}


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    path = WheelSample().write(tmp_path)
    monkeypatch.setenv(audit.WHEEL, str(path))
    audit._wheel.cache_clear()
    yield path
    audit._wheel.cache_clear()


@pytest.mark.parametrize(
    ("edit", "result"),
    [
        ([0, "set", "4142"], b"ABcd"),
        ([999_999, "set", "4142"], b"abcAB"),
        ([500_000, "insert", "5858"], b"abXXcd"),
        ([250_000, "delete", 2], b"ad"),
        ([500_000, "repeat", 1], b"abccd"),
    ],
)
def test_an_edit(edit: list[object], result: bytes) -> None:
    assert edited(b"abcd", [edit]) == result


@given(st.binary(max_size=50), edits())
def test_edits_of_anything_are_made(data: bytes, changes: list[list[object]]) -> None:
    assert edited(data, changes) == edited(data, changes)


def test_an_archive_of_a_case(tmp_path: Path) -> None:
    for form in unpack.COMPRESSORS:
        content = unpack.archive_of({**ARCHIVE, "format": form})
        with tarfile.open(fileobj=io.BytesIO(content)) as tar:
            assert tar.getnames() == ["top/a"]
    with zipfile.ZipFile(io.BytesIO(unpack.archive_of({**ARCHIVE, "format": "zip"}))) as file:
        assert file.read("top/a") == b"hi"
    assert unpack.tried(ARCHIVE, tmp_path) == ""
    assert (tmp_path / "home/deep/out/a").read_bytes() == b"hi"


@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(unpack.cases())
def test_some_archives_are_unpacked_or_refused(tmp_path: Path, case: dict[str, object]) -> None:
    assert unpack.tried(case, tmp_path) == ""


def outside(_archive: Path, folders: Mapping[str, Path]) -> None:
    (folders["top"].parent / "other").write_text("")


def link(_archive: Path, folders: Mapping[str, Path]) -> None:
    (folders["top"] / "link").symlink_to("../../..")


def crash(_archive: Path, _folders: Mapping[str, Path]) -> None:
    raise KeyError("x")


def escape(_archive: Path, _folders: Mapping[str, Path]) -> None:
    raise ArchiveError("\x1b[31m")


def flood(_archive: Path, folders: Mapping[str, Path]) -> None:
    with (folders["top"] / "file").open("wb") as file:
        file.truncate(UNPACKED_FLOOR + 1)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (outside, "written outside"),
        (link, "the link 'link' leads outside"),
        (crash, "ends with KeyError"),
        (escape, "not printable"),
        (flood, "more is written than may be"),
    ],
)
def test_an_unpacking_that_is_wrong_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: Callable[..., None], says: str
) -> None:
    monkeypatch.setattr(unpack, "unpack", wrong)
    assert says in unpack.tried(ARCHIVE, tmp_path)


def test_a_wheel_without_a_change_passes(wheel: Path, tmp_path: Path) -> None:
    case = {"what": audit.FILE, "edits": []}
    assert audit.changed(case) == wheel.read_bytes()
    assert audit.tried(case, tmp_path / "..") == ""


@pytest.mark.parametrize("what", [audit.PROGRAM, audit.DYNAMIC, audit.SECTIONS])
def test_tables_of_an_extension_keep_their_place(wheel: Path, what: str) -> None:
    with zipfile.ZipFile(wheel) as file:
        name = next(n for n in file.namelist() if n.endswith(".so"))
        before = file.read(name)
    case = {"what": what, "edits": [[500_000, "delete", 1]], "record": True}
    with zipfile.ZipFile(io.BytesIO(audit.changed(case))) as file:
        after = file.read(name)
    start, end = audit._range(before, what)
    assert len(after) == len(before)
    assert after != before
    assert after[:start] + after[end:] == before[:start] + before[end:]


def test_a_changed_module_that_passes_is_found(wheel: Path, tmp_path: Path) -> None:
    # The modules of the samples are made up: see conftest.py.
    folder = tmp_path / "out"
    folder.mkdir()
    case = {**WHOLE_TEXT, "edits": [[0, "insert", b"# other\n".hex()]]}
    assert f"passes with another {PACKAGE}/__init__.py" in audit.tried(case, folder)
    assert wheel.is_file()


def test_an_audit_that_ends_in_an_error_is_found(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> AuditReport:
        raise RecursionError("too deep")

    monkeypatch.setattr(audit, "audit", broken)
    (tmp_path / "out").mkdir()
    found = audit.tried({"what": audit.FILE, "edits": [[0, "set", "00"]]}, tmp_path / "out")
    assert found == "the audit ends with RecursionError: too deep"
    assert wheel.is_file()


def test_a_wheel_that_does_not_pass_is_not_changed(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no wheel to change"), audit.target(tmp_path / "none.whl"):
        pass
    sample = WheelSample()
    sample.change_elf(stack=7)
    with pytest.raises(UsageError, match="fails stack"), audit.target(sample.write(tmp_path)):
        pass


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    (tmp_path / "tried_module.py").write_text(
        "import os, time\n"
        "def tried(case, folder):\n"
        "    time.sleep(case.get('sleep', 0))\n"
        "    end = time.process_time() + case.get('burn', 0)\n"
        "    while time.process_time() < end: pass\n"
        "    os._exit(case['end']) if 'end' in case else None\n"
        "    bytes(case.get('take', 0))\n"
        "    return case.get('says', '')\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    made = Worker("tried_module", st.nothing(), seconds=1.0, memory=1 << 30)
    yield made
    made.close()


@pytest.mark.usefixtures("allow_subprocess")
def test_a_process_that_ends_or_hangs_is_a_fault(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert worker.fault({"says": ""}) == ""
    assert worker.fault({"says": "é is wrong"}) == "é is wrong"
    assert worker.fault({"end": 7}) == "the process ends with the status 7"
    monkeypatch.setattr("ci.fuzz.worker.WALL_FACTOR", 300)  # as slow as a busy machine may be
    assert worker.fault({"sleep": 1.5}) == "", "time of others"
    assert worker.fault({"burn": 1.5}) == "it takes more than 1 s of CPU"
    monkeypatch.setattr("ci.fuzz.worker.WALL_FACTOR", 2)
    assert worker.fault({"sleep": 60}) == "it takes more than 2 s"
    monkeypatch.setattr("ci.fuzz.worker.WALL_FACTOR", 300)
    assert worker.fault({"take": 2 << 30}).startswith("the process ends with the status")
    assert worker.fault({"says": "again"}) == "again"


@pytest.mark.usefixtures("allow_subprocess")
def test_a_target_that_does_not_start_is_no_fault() -> None:
    assert (ROOT / "ci/fuzz").is_dir()
    with (
        pytest.raises(UsageError, match="does not start within 600 s: status 1; try again"),
        apart("no_such_module", st.nothing(), seconds=3.0, memory=1 << 30),
    ):
        pass
    assert sys.executable
