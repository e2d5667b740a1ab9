"""The variables of a model server."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from smoke_lambda.serving.settings import SettingsError, cpus, read, read_gateway


def cgroup(folder: Path, quota: str) -> Path:
    (folder / "cpu.max").write_text(quota)
    return folder


def test_without_variables_there_are_defaults(tmp_path: Path) -> None:
    found = read({}, cgroup(tmp_path, "max 100000"))
    assert (found.model_name, found.grpc_port, found.rest_port) == ("model", 8500, 8501)
    assert found.folder == Path("/models/model")
    assert found.copies == len(os.sched_getaffinity(0))


def test_variables_win(tmp_path: Path) -> None:
    environ = {"MODEL_NAME": "clothes-1.b", "COPIES": "3", "LAME_SECONDS": "0.5", "QUEUE": "0"}
    found = read(environ, tmp_path)
    assert (found.model_name, found.copies, found.lame_seconds) == ("clothes-1.b", 3, 0.5)
    assert found.queue == 0


@pytest.mark.parametrize(
    ("quota", "threads", "copies"),
    [("50000 100000", 1, 1), ("100000 100000", 2, 1)],
)
def test_copies_follow_the_quota(tmp_path: Path, quota: str, threads: int, copies: int) -> None:
    assert read({"THREADS": str(threads)}, cgroup(tmp_path, quota)).copies == copies


def test_a_quota_is_read_of_both_versions_of_cgroups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))
    assert cpus(cgroup(tmp_path, "250000 100000\n")) == 2.5
    old = tmp_path / "old"
    (old / "cpu").mkdir(parents=True)
    (old / "cpu/cpu.cfs_quota_us").write_text("400000\n")
    (old / "cpu/cpu.cfs_period_us").write_text("100000\n")
    assert cpus(old) == 4
    (old / "cpu/cpu.cfs_quota_us").write_text("-1\n")
    assert cpus(old) == 16
    assert cpus(tmp_path / "none") == 16


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MODEL_NAME", "a/b"),
        ("COPIES", "-1"),
        ("COPIES", "two"),
        ("THREADS", "0"),
        ("REST_PORT", "65536"),
        ("REQUEST_SECONDS", "nan"),
        ("REQUEST_SECONDS", "inf"),
        ("MAX_BATCH", "0"),
    ],
)
def test_a_bad_value_is_one_line(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name}={value}: give a "):
        read({name: value}, tmp_path)


def test_a_gateway_has_settings_of_its_own() -> None:
    found = read_gateway({"SERVER": "model-server:8500", "DECODES": "1", "COPIES": "many"})
    assert (found.server, found.decodes, found.port) == ("model-server:8500", 1, 8080)
    with pytest.raises(SettingsError, match=r"^DECODES=0: give a number from 1 on"):
        read_gateway({"DECODES": "0"})
