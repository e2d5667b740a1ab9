"""The real core goes to a machine with an empty cache, which then has nothing to compile."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest
from support import ROOT, script

from builders.cache import Cache, default_root
from builders.handover import known_cores
from builders.matrix import load_matrix
from builders.toolchain import Toolchain

pytestmark = pytest.mark.integration

MACHINE = platform.machine()


def test_a_machine_that_was_handed_the_core_compiles_none(tmp_path: Path) -> None:
    cache, other = Cache(default_root()), Cache(tmp_path / "cache")
    names = dict(known_cores(load_matrix(), Toolchain(cache)))
    here = {k: n for k, n in names.items() if cache.has("core", k) and n.arch == MACHINE}
    if not here:
        pytest.skip("no core in the cache: ./scripts/build makes one")
    key, name = next(iter(here.items()))
    first, again = tmp_path / "core.tar", tmp_path / "again.tar"

    def core(*arguments: str | Path, cache: Path) -> str:
        done = script("core", *arguments, TFLITE_WHEELS_CACHE=str(cache))
        assert done.returncode == 0, done.stderr
        return done.stdout

    other.root.mkdir()
    (other.root / "environments").symlink_to(cache.root / "environments")
    which = (name.tensorflow, name.arch, "--origin", name.origin)
    core("pack", *which, "--out", first, cache=cache.root)
    assert key in core("unpack", first, cache=other.root)
    core("pack", *which, "--out", again, cache=other.root)
    assert first.read_bytes() == again.read_bytes()

    target = f"tf{name.tensorflow}-{load_matrix().runtimes[-1].tag}-{name.arch}"
    only = ("build", "--runner", "native", "--only", target, "--plan")
    plan = script(*only, TFLITE_WHEELS_CACHE=str(other.root))
    steps = [tuple(line.split(maxsplit=1)) for line in plan.stdout.splitlines()]
    assert steps[:4] == [
        ("done", f"fetch tf{name.tensorflow}"),
        ("done", f"sources tf{name.tensorflow}"),
        ("done", f"core tf{name.tensorflow}-{name.arch}"),
        ("run", f"wheel {target}"),
    ]
    assert not other.downloads.exists()


def test_a_damaged_file_is_one_line_and_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "core.tar"
    file.write_bytes((ROOT / "README.md").read_bytes())
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "environments").symlink_to(default_root() / "environments")
    done = script("core", "unpack", file, TFLITE_WHEELS_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 4
    assert done.stderr.splitlines()[-1].startswith("error: core.tar is damaged")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "cache" / "core").exists()
