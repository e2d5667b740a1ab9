"""How components belong to their TensorFlow, and what a Chromium tree says about them."""

from __future__ import annotations

import datetime
from dataclasses import replace
from pathlib import Path

import pytest

from builders.errors import ArchiveError
from builders.locking.chromium import Carried, carried, with_dates
from builders.locking.cmake import Pin
from builders.locking.coherence import (
    days_from_pin,
    is_same_version,
    lines,
    relation_of,
    sentence,
    told,
    with_relations,
)
from builders.sources import Archive, Component, Lock, Origin, Relation, Source

PINNED, OTHER, CMAKES = "1" * 40, "2" * 40, "3" * 40
CHROMIUM = Archive(sha256="c" * 64, debian="c/chromium/chromium_1.orig.tar.xz")
ELSEWHERE = Archive(sha256="d" * 64, debian="x/x.orig.tar.xz")
DAY = datetime.date(2023, 9, 25)


def origin(name: str, version: str, archive: Archive = ELSEWHERE, folder: str = "x") -> Origin:
    return Origin(name=name, version=version, archive=archive, folder=folder)


def component(name: str, *origins: Origin) -> Component:
    return Component(
        name=name,
        licence="MIT",
        licence_files=("x",),
        origins={each.name: each for each in origins},
    )


UPSTREAM = origin("upstream", PINNED, Archive(sha256="a" * 64, url="https://x.example/x.zip"))
TENSORFLOW = origin("debian", "2.16.0.dev20231026", CHROMIUM, "chromium-1/third_party/tflite/src")
LOCK = Lock(
    tensorflow="2.16.0.dev20231026",
    components=(
        component("tensorflow", TENSORFLOW),
        component(
            "ruy", UPSTREAM, origin("debian", OTHER, CHROMIUM, "chromium-1/third_party/ruy/src")
        ),
    ),
)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (PINNED, PINNED, True),
        ("e844ffd (2021-12-20)", "e844ffd17118c1e17d94e1ba4354c075a4577b88", True),
        ("e844ffd17118c1e17d94e1ba4354c075a4577b88", "e844ffd", True),
        ("e844ff", "e844ffd17118c1e17d94e1ba4354c075a4577b88", False),
        (PINNED, OTHER, False),
        ("23.5.26", "23.5.26", True),
        ("23.5", "23.5.26", False),
    ],
)
def test_a_commit_may_be_cut_short_and_a_release_not(one: str, other: str, same: bool) -> None:
    assert is_same_version(one, other) is same


@pytest.mark.parametrize(
    ("version", "archive", "pin", "relation"),
    [
        (PINNED, ELSEWHERE, Pin(name="x"), Relation.PINNED),
        (PINNED[:7], ELSEWHERE, Pin(name="x"), Relation.PINNED),
        # What is in one archive with TensorFlow and pinned by it, too, is the latter.
        (PINNED, CHROMIUM, Pin(name="x"), Relation.PINNED),
        (CMAKES, ELSEWHERE, Pin(name="x", commit=CMAKES), Relation.PINNED),
        ("1.0", ELSEWHERE, Pin(name="x", commit="v1.0"), Relation.PINNED),
        (OTHER, ELSEWHERE, Pin(name="x", sha256=ELSEWHERE.sha256), Relation.PINNED),
        (OTHER, CHROMIUM, Pin(name="x", commit=CMAKES), Relation.TOGETHER),
        (OTHER, ELSEWHERE, Pin(name="x", commit=CMAKES), Relation.SUBSTITUTED),
        (OTHER, ELSEWHERE, Pin(name="x"), Relation.SUBSTITUTED),
    ],
)
def test_how_a_component_belongs(
    version: str, archive: Archive, pin: Pin, relation: Relation
) -> None:
    taken = origin("debian", version, archive)
    assert relation_of(component("x", UPSTREAM, taken), taken, TENSORFLOW, pin) is relation


def test_without_a_pin_or_a_tensorflow_of_its_origin_it_is_a_substitute() -> None:
    taken = origin("debian", OTHER, CHROMIUM)
    alone = component("x", taken)
    assert relation_of(alone, taken, None, Pin(name="x")) is Relation.SUBSTITUTED
    assert "pin" not in told(Source(component=alone, origin=replace(taken, relation="substituted")))


def test_a_lock_says_it_of_every_origin() -> None:
    related = with_relations(LOCK, {})
    assert [[o.relation for o in c.origins.values()] for c in related.components] == [
        ["shipped together"],
        ["pinned", "shipped together"],
    ]
    pinned = with_relations(LOCK, {"ruy": Pin(name="ruy", commit=OTHER)})
    assert pinned.components[1].origins["debian"].relation == "pinned"
    assert [*lines(related)] == [
        "tensorflow: debian: shipped together: 2.16.0.dev20231026",
        "ruy: upstream: pinned: 1111111",
        "ruy: debian: shipped together: 2222222",
    ]
    assert next(iter(lines(LOCK))) == "tensorflow: debian: not known: 2.16.0.dev20231026"


def test_a_substitute_is_told_with_its_pin_and_how_far_it_is() -> None:
    pin = replace(UPSTREAM, date=DAY)
    taken = replace(
        origin("debian", OTHER), date=DAY + datetime.timedelta(31), relation="substituted"
    )
    facts = told(Source(component=component("x", pin, taken), origin=taken))
    assert facts == {
        "relation": "substituted",
        "date": "2023-10-26",
        "pin": PINNED,
        "pin_date": "2023-09-25",
    }
    assert days_from_pin(facts) == 31
    assert sentence(OTHER, facts) == (
        "substituted: 2222222 of 2023-10-26 for 1111111 of 2023-09-25, 31 days after"
    )
    assert sentence(OTHER, facts | {"pin_date": "2023-10-27"}).endswith(", 1 day before")
    unknown = {"relation": "substituted", "pin": "1.0", "date": "2006-12-28"}
    assert days_from_pin(unknown) is None
    assert sentence("2006-12-28", unknown) == "substituted: 2006-12-28 for 1.0"


# --- Chromium -------------------------------------------------------------------------

DEPS = """\
  'src/third_party/ruy/src':
    Var('chromium_git') + '/external/github.com/google/ruy.git' + '@' + '{commit}',

  'src/third_party/s2':
    Var('chromium_git') + '/s2.git' + '@' +  Var('s2'),
"""


@pytest.fixture
def chromium(tmp_path: Path) -> Path:
    """Make a tree that gets ruy through DEPS, and contains other components."""
    texts = {
        "DEPS": DEPS.format(commit=OTHER),
        "third_party/ruy/README.chromium": f"Name: ruy\nVersion: {OTHER}\nDate: 2023/09/25\n",
        "third_party/tflite/README.chromium": f"Version: {CMAKES}\nDate: 2023-10-26\n",
        "third_party/abseil/README.chromium": f"Version: 0\nRevision: {PINNED}\n",
        "third_party/fft2d/README.chromium": "Version: 2006/12/28\nDate: 2006-12-28\n",
    }
    tree = tmp_path / "chromium-1"
    for name, text in texts.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
    return tree


def test_what_chromium_says_of_its_folders(chromium: Path) -> None:
    assert carried(chromium, "third_party/ruy/src") == Carried(version=OTHER, date=DAY)
    assert carried(chromium, "third_party/abseil") == Carried(version=PINNED, date=None)
    day = datetime.date(2006, 12, 28)
    assert carried(chromium, "third_party/fft2d/src") == Carried(version="2006-12-28", date=day)
    with pytest.raises(ArchiveError, match=r"chromium-1 has no third_party/eigen3/src in DEPS"):
        carried(chromium, "third_party/eigen3/src")


def test_a_readme_of_another_commit_tells_no_day(chromium: Path) -> None:
    (chromium / "DEPS").write_text(DEPS.format(commit=CMAKES))
    assert carried(chromium, "third_party/ruy/src") == Carried(version=CMAKES, date=None)


def test_a_lock_learns_the_days_of_what_comes_from_chromium(chromium: Path) -> None:
    dated = with_dates(LOCK, chromium)
    found = [[o.date for o in c.origins.values()] for c in dated.components]
    assert found == [[datetime.date(2023, 10, 26)], [None, DAY]]
    # Another Chromium says nothing of it.
    assert with_dates(LOCK, chromium.rename(chromium.with_name("chromium-2"))) == LOCK


def test_a_lock_that_says_another_version_is_wrong(chromium: Path) -> None:
    (chromium / "DEPS").write_text(DEPS.format(commit=CMAKES))
    with pytest.raises(ArchiveError, match=f"carries ruy {CMAKES}; the lock .* says {OTHER}"):
        with_dates(LOCK, chromium)
