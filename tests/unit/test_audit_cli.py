"""The command `audit`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from test_audit_samples import WheelSample

from builders.audit.cli import main


def test_a_good_wheel_prints_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(WheelSample().write(tmp_path))]) == 0
    output = capsys.readouterr().out
    assert "baseline" in output
    assert "python3.12 / Amazon Linux 2023: yes, needs GLIBC_2.17 <= 2.34" in output
    assert "python3.11 / Amazon Linux 2: no, built for cp312" in output


def test_a_bad_wheel_is_code_9(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = WheelSample(), WheelSample(files={"[red]extra[/red].py": b"x"})
    (tmp_path / "bad").mkdir()
    paths = [str(good.write(tmp_path)), str(bad.write(tmp_path / "bad"))]
    assert main(paths) == 9
    output = capsys.readouterr().out
    assert "FAILED: files" in output
    assert "[red]extra[/red].py" in output.replace("\n", "")


def test_json_has_one_report_per_wheel(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(WheelSample().write(tmp_path))
    assert main(["--json", path, path]) == 0
    reports = json.loads(capsys.readouterr().out)
    assert [report["target"] for report in reports] == ["tf2.14.1-cp312-x86_64"] * 2


def test_a_missing_file_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["absent.whl"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert "absent.whl" in captured.err


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "examples:" in capsys.readouterr().out
