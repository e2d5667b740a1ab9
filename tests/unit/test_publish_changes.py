"""What is published changes by adding and by decisions with reasons; never otherwise."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from publish_samples import MATRIX
from test_publish_manifest import WHEEL

from builders.errors import PublishError, UsageError, UserError
from ci.publish.changes import add, refresh, set_state
from ci.publish.manifest import Manifest, State, Wheel, decode


def wheel(build: int = 1, python: str = "3.12", sha256: str = "1" * 64) -> Wheel:
    tag = "cp" + python.replace(".", "")
    return replace(
        WHEEL,
        file=f"tflite_runtime-2.14.1-{build}-{tag}-{tag}-manylinux_2_17_x86_64.whl",
        target=f"tf2.14.1-{tag}-x86_64",
        python=python,
        build=build,
        sha256=sha256,
    )


def states(manifest: Manifest) -> dict[int, tuple[str, str]]:
    return {w.build: (str(w.state), w.reason) for w in manifest.wheels}


ONE = add(Manifest(), wheel())


def test_a_wheel_that_is_there_already_changes_nothing() -> None:
    later_figures = replace(wheel(), smoke=(replace(WHEEL.smoke[0], import_ms=99.0),))
    assert add(ONE, later_figures) == ONE


def test_a_later_build_retires_what_it_replaces() -> None:
    two = add(add(ONE, wheel(python="3.9")), wheel(build=2))
    assert [(w.python, w.build, str(w.state)) for w in two.wheels] == [
        ("3.9", 1, "current"),
        ("3.12", 1, "retired"),
        ("3.12", 2, "current"),
    ]
    assert states(add(ONE, wheel(build=2)))[1] == ("retired", "replaced by build 2")


def test_a_later_build_leaves_a_yanked_wheel_yanked() -> None:
    yanked = set_state(ONE, wheel().file, State.YANKED, "crashes")
    assert states(add(yanked, wheel(build=2))) == {1: ("yanked", "crashes"), 2: ("current", "")}


@pytest.mark.parametrize(
    ("before", "new", "message"),
    [
        (ONE, wheel(sha256="2" * 64), "is published already, with other bytes"),
        (
            set_state(ONE, wheel().file, State.REMOVED, "wrong licence"),
            wheel(),
            "was removed: wrong licence",
        ),
        (add(ONE, wheel(build=3)), wheel(build=2), "has build 2, and build 3 of tf2.14.1-cp312"),
        (
            ONE,
            replace(wheel(), file=wheel().file.replace("2_17", "2_28")),
            "has build 1, and build 1 of tf2.14.1-cp312",
        ),
    ],
)
def test_what_would_change_a_published_file_names_the_remedy(
    before: Manifest, new: Wheel, message: str
) -> None:
    remedy = r"; raise `build` of tensorflow 2\.14\.1 in builders/matrix\.toml"
    with pytest.raises(PublishError, match=message + ".*" + remedy):
        add(before, new)


@pytest.mark.parametrize("state", [State.RETIRED, State.YANKED, State.REMOVED])
@pytest.mark.parametrize("reason", ["", "  ", "two\nlines", "\0"])
def test_a_decision_needs_a_reason(state: State, reason: str) -> None:
    with pytest.raises(UsageError, match="give one line with --reason"):
        set_state(ONE, wheel().file, state, reason)


def test_a_decision_is_about_what_is_published() -> None:
    with pytest.raises(UsageError, match=r"x\.whl is not published; published are: tflite_"):
        set_state(ONE, "x.whl", State.YANKED, "why")
    with pytest.raises(UsageError, match="published are: none"):
        set_state(Manifest(), "x.whl", State.YANKED, "why")


@pytest.mark.parametrize(
    ("first", "second", "allowed"),
    [
        (State.RETIRED, State.YANKED, True),
        (State.RETIRED, State.REMOVED, True),
        (State.YANKED, State.REMOVED, True),
        (State.YANKED, State.RETIRED, False),
        (State.REMOVED, State.YANKED, False),
        (State.REMOVED, State.RETIRED, False),
        (State.YANKED, State.YANKED, False),
    ],
)
def test_nothing_comes_back(first: State, second: State, allowed: bool) -> None:
    manifest = set_state(ONE, wheel().file, first, "first")
    if allowed:
        assert states(set_state(manifest, wheel().file, second, "second"))[1] == (second, "second")
    else:
        with pytest.raises(PublishError, match=f"is {first} already: first"):
            set_state(manifest, wheel().file, second, "second")


def test_the_same_decision_again_changes_nothing() -> None:
    manifest = set_state(ONE, wheel().file, State.YANKED, "crashes")
    assert set_state(manifest, wheel().file, State.YANKED, " crashes ") == manifest


steps = st.lists(
    st.tuples(
        st.sampled_from(["add", State.RETIRED, State.YANKED, State.REMOVED]),
        st.integers(1, 3),
        st.sampled_from(["3.9", "3.12"]),
        st.sampled_from(["1" * 64, "2" * 64]),
    ),
    max_size=12,
)


@settings(deadline=None)
@given(steps)
def test_whatever_is_done_nothing_published_changes_or_is_forgotten(
    done: list[tuple[str, int, str, str]],
) -> None:
    manifest = Manifest()
    for what, build, python, sha256 in done:
        before = manifest
        subject = wheel(build, python, sha256)
        try:
            if isinstance(what, State):
                manifest = set_state(manifest, subject.file, what, "a reason")
            else:
                manifest = add(manifest, subject)
        except UserError:
            continue
        for old in before.wheels:
            new = manifest.find(old.file)
            assert new is not None
            assert replace(new, state=old.state, reason=old.reason) == old
            assert list(State).index(new.state) >= list(State).index(old.state)
        assert decode(manifest.encode()) == manifest


def test_runtimes_are_refreshed_from_the_matrix() -> None:
    stale = replace(WHEEL.runtime, deprecated="2027-01-01")
    manifest = Manifest((replace(WHEEL, runtime=stale, verified=False),))
    assert refresh(manifest, MATRIX).wheels[0].runtime.deprecated == str(
        MATRIX.runtime("3.12").deprecated
    )
    assert refresh(manifest, MATRIX).wheels[0].verified


def test_a_target_that_the_matrix_lost_stays_as_it_was() -> None:
    lost = Manifest((replace(WHEEL, target="tf2.5.0-cp312-x86_64"),))
    assert refresh(lost, MATRIX) == lost
