"""Where the repository is hosted: one setting."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from builders.errors import UsageError
from ci.publish.hosting import HOSTING_FILE, load_hosting


def edited(folder: Path, old: str, new: str) -> Path:
    text = HOSTING_FILE.read_text()
    assert old in text
    path = folder / "hosting.toml"
    path.write_text(text.replace(old, new))
    return path


def test_the_repositorys_own_setting_is_valid() -> None:
    hosting = load_hosting()
    assert hosting.raw_url("a-1.whl") == f"{hosting.raw}a-1.whl"
    assert hosting.index_url == f"{hosting.pages}simple/"
    for url in (hosting.repository, hosting.source, hosting.raw, hosting.pages):
        assert url.startswith("https://")
        assert "{" not in url


def test_a_maintainer_edits_owner_and_name(tmp_path: Path) -> None:
    path = edited(tmp_path, '"OWNER"', '"ada"')
    assert load_hosting(path).raw == "https://github.com/ada/NAME/raw/main/wheels/"
    assert load_hosting(path).pages == "https://ada.github.io/NAME/"


def test_another_host_is_another_template(tmp_path: Path) -> None:
    path = tmp_path / "hosting.toml"
    lines = [
        line if not line.startswith("raw") else 'raw = "https://wheels.example/{branch}/"'
        for line in HOSTING_FILE.read_text().splitlines()
    ]
    path.write_text("\n".join(lines))
    url = load_hosting(path).raw_url("a b#c.whl")
    assert url == "https://wheels.example/main/a%20b%23c.whl"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("owner =", "owner", "hosting.toml is not TOML"),
        ("owner =", "proprietor =", "'owner' is missing"),
        ('"OWNER"', '""', "'owner' has the unusable value"),
        ('"OWNER"', "1", "'owner' must be a str"),
        ("{branch}/wheels/", "{commit}/wheels/", "'raw' has an unknown placeholder"),
        ("{branch}/wheels/", "{branch/wheels/", "'raw' has an unknown placeholder"),
        ("{branch}/wheels/", "{branch}/wheels", "'raw' must end with a slash"),
        ('pages = "https:', 'pages = "http:', "'pages' must be an https address"),
        ('branch = "main"', 'branch = "main"\ntag = "v1"', "unknown key 'tag'"),
    ],
)
def test_a_wrong_setting_names_its_key(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        load_hosting(edited(tmp_path, old, new))
