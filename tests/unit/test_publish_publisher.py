"""Publishing as a whole: what it writes, what it refuses, and that verifying sees each byte."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from publish_samples import CP39, CP312, HOSTING, MATRIX, Place, later, wheel_of, write_wheel

from builders.cache import Cache, sha256_of
from builders.errors import PublishError, UsageError
from ci.publish import generated
from ci.publish.generated import decode_sums
from ci.publish.hosting import HOSTING as HOSTING_RECORD
from ci.publish.hosting import Hosting, read_hosting
from ci.publish.manifest import MANIFEST, SCHEMA, SUMS, Manifest, State, read_manifest
from ci.publish.page import PAGE
from ci.publish.publisher import Decision, Publisher
from ci.publish.tree import Tree
from ci.publish.verify import document_faults, faults

NAME312, DATA312 = wheel_of(CP312)
NAME39, _ = wheel_of(CP39)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Place:
    place = Place(tmp_path_factory.mktemp("published"))
    place.publish(CP312, CP39)
    return place


def states(place: Place) -> dict[str, str]:
    return {wheel.file: str(wheel.state) for wheel in read_manifest(place.wheels).wheels}


def decision(file: str, state: State, reason: str = "it crashes") -> tuple[Decision, ...]:
    return (Decision(file=file, state=state, reason=reason),)


def test_what_is_published_is_whole(published: Place) -> None:
    assert faults(published.wheels, HOSTING) == []
    assert set(Tree(published.wheels).paths()) == {
        *(f"{name}{end}" for name in (NAME312, NAME39) for end in ("", ".metadata")),
        *(f"provenance/{name}.json" for name in (NAME312, NAME39)),
        *("simple/index.html", "simple/index.json"),
        *("simple/tflite-runtime/index.html", "simple/tflite-runtime/index.json"),
        *(MANIFEST, SCHEMA, SUMS, PAGE, HOSTING_RECORD),
    }
    assert (published.wheels / NAME312).read_bytes() == DATA312


def test_the_sums_are_of_all_other_files(published: Place) -> None:
    tree = Tree(published.wheels)
    sums = decode_sums((published.wheels / SUMS).read_bytes())
    assert set(sums) == set(tree.paths()) - {SUMS}
    for path, sha256 in sums.items():
        assert hashlib.sha256((published.wheels / path).read_bytes()).hexdigest() == sha256


def test_the_manifest_names_its_schema(published: Place) -> None:
    data = json.loads((published.wheels / MANIFEST).read_bytes())
    assert (published.wheels / data["$schema"]).is_file()


def test_the_page_of_wheels_has_a_row_with_the_raw_url_of_each(published: Place) -> None:
    text = published.page.read_text()
    assert "| python3.12 | x86_64 | 2.14.1 | `numpy>=1.26.0,<3` | 2.17 |" in text
    for name in (NAME312, NAME39):
        assert f"<{HOSTING.raw}wheels/{name}#sha256={sha256_of(published.wheels / name)}>" in text
    assert f"--index-url {HOSTING.pages}simple/ tflite-runtime" in text
    assert document_faults(published.readme, read_manifest(published.wheels), HOSTING) == []
    assert text.index("| python3.9 ") < text.index("| python3.12 ")


def test_the_readme_has_a_dockerfile_of_three_lines_for_the_newest_wheel(published: Place) -> None:
    (block,) = re.findall(r"```dockerfile\n(.*?)```", published.readme.read_text(), re.S)
    assert block.splitlines() == [
        "FROM public.ecr.aws/lambda/python:3.12",
        'RUN pip install "numpy>=1.26.0,<3"',
        f"RUN pip install --no-deps {HOSTING.raw}wheels/{NAME312}"
        f"#sha256={sha256_of(published.wheels / NAME312)}",
    ]


def test_publishing_again_changes_nothing(place: Place) -> None:
    place.publish(CP312)
    before = place.snapshot()
    assert place.publish(CP312).empty
    # Another run of the smoke test, another commit: the same bytes are the same wheel.
    changes = {"smoke.runs.0.import_ms": 99.9, "source.commit": "e" * 40}
    assert place.publish(write_wheel(place.dist, CP312, changes)).empty
    assert place.snapshot() == before


def test_the_order_of_publishing_does_not_matter(place: Place, published: Place) -> None:
    place.publish(CP39)
    place.publish(CP312)
    assert place.snapshot() == published.snapshot()


def test_a_plan_writes_nothing(place: Place) -> None:
    before = place.snapshot()
    plan = place.publisher.plan([write_wheel(place.dist, CP312)], ())
    assert plan.news == (f"publish {NAME312}",)
    assert {NAME312, f"{NAME312}.metadata", MANIFEST, SUMS} <= set(plan.files)
    assert place.snapshot() == before


def test_a_rebuild_retires_the_old_wheel_which_stays_in_the_index(place: Place) -> None:
    place.publish(CP312, CP39)
    name, _ = wheel_of(later(CP312))
    plan = place.publish(later(CP312))
    assert plan.news == (f"retired {NAME312}: replaced by build 2", f"publish {name}")
    assert states(place) == {NAME39: "current", NAME312: "retired", name: "current"}
    index = (place.wheels / "simple/tflite-runtime/index.html").read_text()
    assert NAME312 in index
    assert name in index
    assert name in place.page.read_text()
    assert NAME312 not in place.page.read_text()
    assert faults(place.wheels, HOSTING) == []


def test_the_same_name_with_other_bytes_is_an_error_that_changes_nothing(place: Place) -> None:
    place.publish(CP312)
    before = place.snapshot()
    wheel = write_wheel(place.dist, CP312)
    # Another time in the archive: the same contents, other bytes.
    data = DATA312.replace(b"\x00\x00\x21\x00", b"\x00\x00\x22\x00")
    assert data != DATA312
    wheel.write_bytes(data)
    record = place.dist / "records" / f"{wheel.name}.json"
    old, new = (hashlib.sha256(d).hexdigest() for d in (DATA312, data))
    record.write_text(record.read_text().replace(old, new))
    with pytest.raises(PublishError, match="with other bytes; raise `build`"):
        place.publish(wheel, CP39)
    assert place.snapshot() == before


@pytest.mark.parametrize("state", [State.RETIRED, State.YANKED])
def test_a_wheel_that_is_not_recommended_stays_installable(place: Place, state: State) -> None:
    place.publish(CP312)
    place.publish(decisions=decision(NAME312, state))
    assert states(place) == {NAME312: str(state)}
    assert (place.wheels / NAME312).read_bytes() == DATA312
    files = json.loads((place.wheels / "simple/tflite-runtime/index.json").read_bytes())["files"]
    assert files[0]["yanked"] == ("it crashes" if state is State.YANKED else False)
    assert "No wheel is published yet" in place.readme.read_text()
    assert "No wheel is published yet" in place.page.read_text()
    assert faults(place.wheels, HOSTING) == []


def test_a_removed_wheel_is_gone_and_its_name_is_never_used_again(place: Place) -> None:
    place.publish(CP312, CP39)
    plan = place.publish(decisions=decision(NAME312, State.REMOVED, "wrong licence"))
    assert set(plan.gone) == {NAME312, f"{NAME312}.metadata", f"provenance/{NAME312}.json"}
    assert not any(NAME312 in path for path in Tree(place.wheels).paths())
    assert NAME312 not in (place.wheels / SUMS).read_text()
    removed = read_manifest(place.wheels).find(NAME312)
    assert removed is not None
    assert removed.reason == "wrong licence"
    assert faults(place.wheels, HOSTING) == []
    with pytest.raises(PublishError, match="was removed: wrong licence; raise `build`"):
        place.publish(CP312)
    place.publish(later(CP312))
    assert faults(place.wheels, HOSTING) == []


def test_one_refused_wheel_stops_all(place: Place) -> None:
    before = place.snapshot()
    with pytest.raises(PublishError, match="no record of its smoke"):
        place.publish(CP312, write_wheel(place.dist, CP39, {"smoke": None}))
    assert place.snapshot() == before


def test_a_decision_without_a_reason_changes_nothing(place: Place) -> None:
    place.publish(CP312)
    before = place.snapshot()
    with pytest.raises(UsageError, match="--reason"):
        place.publish(CP39, decisions=decision(NAME312, State.YANKED, ""))
    assert place.snapshot() == before


@pytest.mark.parametrize("path", [NAME312, f"{NAME312}.metadata", f"provenance/{NAME312}.json"])
def test_nothing_is_published_beside_a_damaged_file(place: Place, path: str) -> None:
    place.publish(CP312)
    (place.wheels / path).write_bytes(b"other")
    with pytest.raises(PublishError, match=r"is not what was published; .*git checkout"):
        place.publish(CP39)
    (place.wheels / path).unlink()
    with pytest.raises(PublishError, match="is missing"):
        place.publish(CP39)


def test_a_damaged_wheel_may_be_removed(place: Place) -> None:
    place.publish(CP312)
    (place.wheels / NAME312).write_bytes(b"other")
    place.publish(decisions=decision(NAME312, State.REMOVED))
    assert faults(place.wheels, HOSTING) == []


def test_a_file_of_somebody_else_is_not_overwritten(place: Place) -> None:
    (place.wheels / NAME312).write_bytes(b"by hand")
    with pytest.raises(PublishError, match="is there with other bytes, though it was never"):
        place.publish(CP312)
    assert (place.wheels / NAME312).read_bytes() == b"by hand"


def page(_manifest: Manifest, hosting: Hosting) -> dict[str, bytes]:
    return {"index.html": hosting.encode()}


def test_what_a_generator_no_longer_makes_goes(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        page = (
            *generated.GENERATORS,
            lambda _manifest, hosting: {"extra.html": hosting.encode()},
        )
        patch.setattr(generated, "GENERATORS", page)
        place.publish(CP312)
        assert faults(place.wheels, HOSTING) == []
        assert (place.wheels / "extra.html").read_bytes() == HOSTING.encode()
        elsewhere = replace(HOSTING, raw="https://other.example/")
        assert [line.split(":")[0] for line in faults(place.wheels, elsewhere)] == [
            SUMS,
            "extra.html",
            HOSTING_RECORD,
            PAGE,
        ]
    assert place.publish().gone == ("extra.html",)
    assert faults(place.wheels, HOSTING) == []


def test_a_refresh_follows_hosting_and_touches_no_published_file(place: Place) -> None:
    place.publish(CP312)
    elsewhere = replace(HOSTING, raw="https://other.example/")
    publisher = Publisher(place.wheels, place.readme, MATRIX, elsewhere)
    plan = publisher.plan([], [])
    assert (set(plan.files), plan.gone) == ({PAGE, SUMS, HOSTING_RECORD}, ())
    publisher.publish(plan)
    assert f"<https://other.example/wheels/{NAME312}#sha256=" in place.page.read_text()
    assert read_hosting(place.wheels) == elsewhere
    assert "https://other.example/" in (place.wheels / PAGE).read_text()


def test_an_interrupted_publish_is_seen_and_finished(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Tree, "finish", lambda _self: False)
        place.publish(CP312)
    assert any("was interrupted" in line for line in faults(place.wheels, HOSTING))
    assert place.publisher.tree.interrupted
    place.publish()
    assert faults(place.wheels, HOSTING) == []
    assert states(place) == {NAME312: "current"}
    assert NAME312 in place.readme.read_text()


def test_two_at_once_take_turns(place: Place, tmp_path: Path) -> None:
    waited: list[str] = []

    class GaveUpError(Exception):
        pass

    def give_up(line: str) -> None:
        waited.append(line)
        raise GaveUpError

    cache = tmp_path / "cache"
    with (
        place.publisher.lock(Cache(cache)),
        pytest.raises(GaveUpError),
        place.publisher.lock(Cache(cache, on_wait=give_up)),
    ):
        pytest.fail("both have the lock")
    assert len(waited) == 1


def positions(data: bytes) -> list[int]:
    """Return positions of some bytes of a file: both ends, and others spread over it."""
    return sorted({0, len(data) - 1, *range(0, len(data), max(1, len(data) // 23))})


@contextmanager
def restored(file: Path) -> Iterator[bytes]:
    """Yield a file's bytes, and restore the file at the end."""
    good = file.read_bytes()
    try:
        yield good
    finally:
        file.unlink(missing_ok=True)
        file.write_bytes(good)


def flipped(data: bytes, position: int, bit: int = 1) -> bytes:
    bad = bytearray(data)
    bad[position] ^= bit
    return bytes(bad)


def test_a_flipped_byte_in_any_file_is_found_and_the_file_named(published: Place) -> None:
    seen = 0
    for path in sorted(Tree(published.wheels).paths()):
        file = published.wheels / path
        with restored(file) as good:
            for position in positions(good):
                file.write_bytes(flipped(good, position))
                found = faults(published.wheels, HOSTING)
                assert any(path in line for line in found), f"{path} at {position}: {found}"
                if path not in (MANIFEST, SUMS):
                    assert [line.split(": ")[0] for line in found] == [path]
                seen += 1
    assert faults(published.wheels, HOSTING) == []
    assert seen > 13 * 20


# A busy machine is slow at the first draw.
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=60)
@given(st.data())
def test_any_damage_to_any_file_is_found(published: Place, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(sorted(Tree(published.wheels).paths())))
    with restored(published.wheels / path) as good:
        position = data.draw(st.integers(0, len(good) - 1))
        bad = data.draw(
            st.sampled_from([good[:position], good + b"\0", b"", good[position:] + good[:position]])
            | st.integers(0, 7).map(lambda bit: flipped(good, position, 1 << bit))
        )
        (published.wheels / path).write_bytes(bad)
        found = faults(published.wheels, HOSTING)
    assert (bad == good) is (found == [])
    assert bad == good or any(path in line for line in found)


def test_every_byte_of_the_checksums_matters(published: Place) -> None:
    file = published.wheels / SUMS
    with restored(file) as good:
        for position in range(0, len(good), 17):
            file.write_bytes(flipped(good, position, 2))
            assert any(SUMS in line for line in faults(published.wheels, HOSTING)), position


def test_a_missing_file_is_named(published: Place) -> None:
    for path in sorted(Tree(published.wheels).paths()):
        file = published.wheels / path
        with restored(file):
            file.unlink()
            found = faults(published.wheels, HOSTING)
            assert [line.split("; ")[0] for line in found] == [f"{path}: is missing"]
    assert faults(published.wheels, HOSTING) == []


@pytest.mark.parametrize("path", ["x.whl", ".hidden", "simple/x", "new/folder/x", f"{NAME312}~"])
def test_a_file_too_many_is_named(published: Place, path: str) -> None:
    file = published.wheels / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"x")
    found = faults(published.wheels, HOSTING)
    file.unlink()
    assert [line.split(":")[0] for line in found] == [path]
    assert faults(published.wheels, HOSTING) == []


def test_a_link_is_no_published_file(published: Place, tmp_path: Path) -> None:
    file = published.wheels / NAME312
    with restored(file) as good:
        (tmp_path / "target").write_bytes(good)
        file.unlink()
        file.symlink_to(tmp_path / "target")
        assert faults(published.wheels, HOSTING)[0].startswith(f"{NAME312}: is a link")


def test_a_document_that_says_otherwise_is_named(published: Place) -> None:
    manifest = read_manifest(published.wheels)
    with restored(published.page) as good:
        published.page.write_bytes(good.replace(b"2.17", b"2.18"))
        (line,) = document_faults(published.readme, manifest, HOSTING)
    assert line.startswith("WHEELS.md: is not what manifest.json gives; `./")
    assert document_faults(published.readme, manifest, HOSTING) == []


def forged(place: Place, **changes: object) -> list[str]:
    """Change a place's manifest and all that follows from it; return the place's faults."""
    tree = Tree(place.wheels)
    manifest = read_manifest(place.wheels)
    wheel = replace(manifest.wheels[0], **changes)  # type: ignore[arg-type]
    tree.change(generated.generate(manifest.with_wheels([wheel]), HOSTING), ())
    return faults(place.wheels, HOSTING)


def test_a_manifest_that_says_what_the_wheel_does_not_is_named(place: Place) -> None:
    place.publish(CP312)
    assert forged(place) == []
    (line,) = forged(place, size=7)
    assert line.startswith(f"manifest.json: `size` of {NAME312} is 7, the wheel's is ")
    (*_, line) = forged(place, requires_python=">=3")
    assert line.startswith(f"manifest.json: `requires_python` of {NAME312} is >=3")


@pytest.mark.parametrize(
    ("path", "old", "new", "message"),
    [
        (f"provenance/{NAME312}.json", b'"xnnpack"', b'"xnnpacked"', "does not name xnnpack"),
        (f"provenance/{NAME312}.json", NAME312.encode(), b"x.whl", "is about"),
        (f"provenance/{NAME312}.json", b"Statement/v1", b"Statement/v0", "is not a https"),
        (f"provenance/{NAME312}.json", b'"predicate"', b'"p"', "no statement"),
        (f"{NAME312}.metadata", b"Requires-Python", b"Requires-Pythons", "is not the METADATA"),
    ],
)
def test_a_file_beside_a_wheel_that_says_what_it_does_not_is_named(
    place: Place, path: str, old: bytes, new: bytes, message: str
) -> None:
    place.publish(CP312)
    data = (place.wheels / path).read_bytes()
    assert old in data
    data = data.replace(old, new)
    (place.wheels / path).write_bytes(data)
    sha256 = hashlib.sha256(data).hexdigest()
    field = "metadata_sha256" if path.endswith(".metadata") else "provenance_sha256"
    found = forged(place, **{field: sha256})
    assert len(found) == 1
    assert message in found[0]
    assert NAME312 in found[0]


def test_a_folder_where_nothing_was_published_is_not_verified(tmp_path: Path) -> None:
    assert faults(tmp_path, HOSTING) == [
        "manifest.json: is missing; bring it back with `git checkout`"
    ]
