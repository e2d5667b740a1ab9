"""Where the repository is hosted: found out, overridden in one file, recorded beside the wheels."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from builders.errors import PublishError, UsageError
from ci.publish.finding import (
    HOSTING_FILE,
    Place,
    find_hosting,
    remote_place,
    service_place,
)
from ci.publish.hosting import HOSTING, NOWHERE, Hosting, read_hosting, spelled

GITHUB = "https://github.com/ada/wheels.git"
ADA = Hosting(
    repository="https://github.com/ada/wheels",
    source="https://github.com/ada/wheels/blob/main/",
    raw="https://github.com/ada/wheels/raw/main/",
    pages="https://ada.github.io/wheels/",
)


def found(
    remote: str | None = None,
    head: str | None = None,
    environment: dict[str, str] | None = None,
    file: Path = Path("none.toml"),
) -> Hosting:
    answers = {"remote": remote, "symbolic-ref": head}
    return find_hosting(environment or {}, lambda *arguments: answers[arguments[0]], file)


def test_the_repositorys_own_file_sets_nothing() -> None:
    assert found(file=HOSTING_FILE) == NOWHERE


@pytest.mark.parametrize(
    "url",
    [
        GITHUB,
        "https://github.com/ada/wheels/",
        "https://ada:secret@github.com/ada/wheels.git",
        "ssh://git@github.com:22/ada/wheels.git",
        "git@github.com:ada/wheels.git",
        "git://github.com/ada/wheels",
    ],
)
def test_every_spelling_of_a_remote_names_the_same_place(url: str) -> None:
    assert remote_place(url) == Place(host="github.com", owner="ada", name="wheels", kind="github")
    assert found(url) == ADA


@pytest.mark.parametrize(
    "url",
    ["", "/srv/wheels", "../wheels", "file:///srv/a/wheels", "server:wheels", "c:/ada/wheels"],
)
def test_a_remote_on_this_machine_is_no_host(url: str) -> None:
    assert remote_place(url) is None
    assert found(url) == NOWHERE


def test_a_repository_without_a_host_has_relative_links_that_work() -> None:
    assert NOWHERE.raw_url("a b.whl") == "wheels/a%20b.whl"
    assert NOWHERE.source_url("README.md") is None
    assert NOWHERE.index_url == "http://localhost:8000/simple/"


@pytest.mark.parametrize(
    ("url", "source", "raw", "pages"),
    [
        (
            "git@gitlab.com:group/sub/wheels.git",
            "https://gitlab.com/group/sub/wheels/-/blob/main/",
            "https://gitlab.com/group/sub/wheels/-/raw/main/",
            "https://group.gitlab.io/sub/wheels/",
        ),
        (
            "https://codeberg.org/ada/wheels.git",
            "https://codeberg.org/ada/wheels/src/branch/main/",
            "https://codeberg.org/ada/wheels/raw/branch/main/",
            "https://ada.codeberg.page/wheels/",
        ),
        (
            "https://gitea.example:3000/ada/wheels",
            "https://gitea.example:3000/ada/wheels/src/branch/main/",
            "https://gitea.example:3000/ada/wheels/raw/branch/main/",
            None,
        ),
        ("https://git.example/ada/wheels", None, None, None),
    ],
)
def test_each_kind_of_host_spells_addresses_its_way(
    url: str, source: str | None, raw: str | None, pages: str | None
) -> None:
    hosting = found(url)
    assert (hosting.source, hosting.raw, hosting.pages) == (source, raw, pages)
    assert hosting.repository is not None
    assert hosting.repository.endswith("/wheels")


def test_a_users_own_site_has_no_folder() -> None:
    assert spelled("github", "github.com", "Ada", "ada.github.io", "main").pages == (
        "https://ada.github.io/"
    )


def test_the_remotes_branch_is_the_one_that_links_lead_to() -> None:
    assert found(GITHUB, "origin/trunk").raw == "https://github.com/ada/wheels/raw/trunk/"


def test_a_ci_service_counts_before_the_remote() -> None:
    actions = {"GITHUB_REPOSITORY": "ada/wheels", "GITHUB_SERVER_URL": "https://github.com"}
    assert found("https://gitlab.com/x/y", environment=actions) == ADA
    gitea = {**actions, "GITHUB_SERVER_URL": "https://git.example:8443", "GITEA_ACTIONS": "true"}
    assert found(environment=gitea).raw == "https://git.example:8443/ada/wheels/raw/branch/main/"
    enterprise = {**actions, "GITHUB_SERVER_URL": "https://git.example"}
    assert found(environment=enterprise).raw == "https://git.example/ada/wheels/raw/main/"
    assert service_place({"GITHUB_REPOSITORY": "wheels"}) is None


def test_the_file_overrides_single_values(tmp_path: Path) -> None:
    file = tmp_path / "hosting.toml"
    file.write_text('pages = "https://wheels.example/"\nbranch = "trunk"\n')
    assert found(GITHUB, file=file) == replace(
        ADA,
        source="https://github.com/ada/wheels/blob/trunk/",
        raw="https://github.com/ada/wheels/raw/trunk/",
        pages="https://wheels.example/",
    )
    file.write_text('kind = "gitea"\n')
    assert found("https://git.example/ada/wheels", file=file).raw == (
        "https://git.example/ada/wheels/raw/branch/main/"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pages", "hosting.toml is not TOML"),
        ('owner = "ada"', "hosting.toml: unknown key 'owner'"),
        ('kind = "sourceforge"', "'kind' has the unusable value"),
        ("branch = 1", "'branch' must be a str"),
        ('raw = "https://x.example/raw"', "hosting.toml: 'raw' must end with a slash"),
        ('pages = "http://x.example/"', "'pages' must be an https address"),
        ('repository = "https://x.example/?a"', "'repository' must be an https address"),
    ],
)
def test_a_wrong_setting_names_its_key(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "hosting.toml"
    file.write_text(text)
    with pytest.raises(UsageError, match=re.escape(message)):
        found(GITHUB, file=file)


@pytest.mark.parametrize("hosting", [ADA, NOWHERE])
def test_what_files_were_written_with_is_recorded(tmp_path: Path, hosting: Hosting) -> None:
    assert read_hosting(tmp_path) == NOWHERE
    (tmp_path / HOSTING).write_bytes(hosting.encode())
    assert read_hosting(tmp_path) == hosting


@pytest.mark.parametrize(
    "text", ["", "[]", '{"owner": "ada"}', '{"raw": 1}', '{"raw": "javascript:alert(1)"}']
)
def test_a_damaged_record_names_its_remedy(tmp_path: Path, text: str) -> None:
    (tmp_path / HOSTING).write_text(text)
    with pytest.raises(PublishError, match=r"hosting\.json is damaged: .*--refresh` writes"):
        read_hosting(tmp_path)
