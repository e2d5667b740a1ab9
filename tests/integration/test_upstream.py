"""A declared TensorFlow version, by its tarball's checksum alone; a server plays upstream."""

from __future__ import annotations

import io
import re
import shutil
import tarfile
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from support import copy_tracked_files, script
from test_publish_clients import serving

from builders.cache import default_root, sha256_of
from builders.fetch import UPSTREAM_VARIABLE
from builders.locking.cmake import MODULES
from builders.locking.generate import TARBALL
from builders.matrix import load_matrix
from builders.sources import load_lock

pytestmark = pytest.mark.integration

DECLARED = load_matrix().tensorflow("2.15.1")
LOCK = load_lock("2.14.1")


def pack(path: Path, files: Mapping[str, str]) -> str:
    """Write a tarball; return its SHA-256."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    return sha256_of(path)


@pytest.fixture
def mirror(tmp_path: Path) -> tuple[Path, str]:
    """Make a mirror of all archives that a tree pins; return it, and the tree's SHA-256."""
    folder = tmp_path / "mirror"

    def place(url: str) -> Path:
        return folder / urlsplit(url).netloc / urlsplit(url).path[1:]

    bazel = "def repositories():\n"
    for component in LOCK.components[1:]:
        origin = component.origins["upstream"]
        sha256 = pack(place(origin.archive.url), {f"{origin.folder}/README": component.name})
        name = {"absl": "com_google_absl", "eigen": "eigen_archive", "xnnpack": "XNNPACK"}
        name |= {"farmhash": "farmhash_archive", "fp16": "FP16", "fxdiv": "FXdiv"}
        name |= {"neon2sse": "arm_neon_2_x86_sse"}
        bazel += (
            f'    tf_http_archive(name = "{name.get(component.name, component.name)}", '
            f'sha256 = "{sha256}", strip_prefix = "{origin.folder}", '
            f'urls = tf_mirror_urls("{origin.archive.url}"))\n'
        )
    files = {
        f"tensorflow-{DECLARED.version}/tensorflow/workspace2.bzl": bazel,
        f"tensorflow-{DECLARED.version}/{MODULES}/none.cmake": "",
    }
    return folder, pack(place(TARBALL.format(version=DECLARED.version)), files)


def test_all_that_a_declared_version_pins_is_fetched(
    mirror: tuple[Path, str], tmp_path: Path
) -> None:
    folder, sha256 = mirror
    checkout = tmp_path / "checkout"
    copy_tracked_files(checkout)
    matrix = checkout / "builders/matrix.toml"
    assert DECLARED.sha256 in matrix.read_text()
    matrix.write_text(matrix.read_text().replace(DECLARED.sha256, sha256))
    arguments = ["fetch", "--tensorflow", DECLARED.version, "--python", "3.12"]
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "environments").symlink_to(default_root() / "environments")
    with serving(folder) as (address, asked):
        env = {UPSTREAM_VARIABLE: address, "TFLITE_WHEELS_CACHE": str(cache)}
        done = script(*arguments, "--origin", "upstream", root=checkout, **env)
        assert done.returncode == 0, done.stderr
    assert f"✓ lock tf{DECLARED.version}" in done.stderr
    upstream = [component.origins["upstream"].archive for component in LOCK.components[1:]]
    wanted = {archive.url.removeprefix("https:/") for archive in upstream}
    assert wanted < set(asked)
    shelf = {path.name for path in (checkout / "shelf").rglob("*") if path.is_file()}
    assert {archive.name for archive in upstream} < shelf
    only = ("build", "--runner", "native", "--only", "tf2.15.1-cp312-x86_64", "--plan")
    plan = script(*only, root=checkout, **env)
    assert f"done fetch tf{DECLARED.version}" in re.sub(" +", " ", plan.stdout)

    # Another tarball under the name of the right one gets no further.
    for made in ("downloads", "lock", "tensorflow"):
        shutil.rmtree(cache / made)
    matrix.write_text(matrix.read_text().replace(sha256, "0" * 64))
    with serving(folder) as (address, asked):
        env[UPSTREAM_VARIABLE] = address
        done = script(*arguments, root=checkout, **env)
        assert done.returncode == 4
    assert "wrong checksum" in done.stderr.splitlines()[-1]
    assert len(asked) == 1
