"""The manifest of published wheels: its data, its schema, its file."""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from builders.errors import PublishError
from ci.publish.manifest import (
    MANIFEST,
    SCHEMA_FILE,
    Conform,
    LambdaRuntime,
    Manifest,
    NumPy,
    Smoke,
    State,
    Wheel,
    decode,
    read_manifest,
)

SMOKE = Smoke(
    numpy="1.26.0",
    place="native",
    checks=31,
    xnnpack={"digits-float32": 1.0, "digits-int8": 0.875},
    import_ms=61.2,
    first_inference_ms=None,
)
WHEEL = Wheel(
    file="tflite_runtime-2.14.1-1-cp312-cp312-manylinux_2_17_x86_64.whl",
    sha256="1" * 64,
    size=2_000_000,
    metadata_sha256="2" * 64,
    provenance_sha256="3" * 64,
    target="tf2.14.1-cp312-x86_64",
    tensorflow="2.14.1",
    python="3.12",
    arch="x86_64",
    build=1,
    requires_python=">=3.12,<3.13",
    numpy=NumPy(floor="1.26.0", below="3"),
    glibc="2.17",
    runtime=LambdaRuntime(
        name="python3.12", os="Amazon Linux 2023", glibc="2.34", deprecated="2028-10-31"
    ),
    verified=True,
    audit_checks=20,
    smoke=(SMOKE,),
)
RETIRED = replace(WHEEL, state=State.RETIRED, reason="replaced by build 2")
REBUILT = replace(WHEEL, file=WHEEL.file.replace("-1-", "-2-"), build=2)

texts = st.text("aZ0 é|<", min_size=1, max_size=4)
versions = st.tuples(st.integers(0, 30), st.integers(0, 30)).map("{0[0]}.{0[1]}".format)
digests = st.integers(0, 2**256 - 1).map("{:064x}".format)
millis = st.none() | st.floats(min_value=0, max_value=1e6)
smokes = st.builds(
    Smoke,
    numpy=versions,
    place=texts,
    checks=st.integers(1, 99),
    xnnpack=st.dictionaries(texts, st.floats(min_value=0, max_value=1), max_size=2),
    import_ms=millis,
    first_inference_ms=millis,
)
states = st.just((State.CURRENT, "")) | st.tuples(
    st.sampled_from([state for state in State if state is not State.CURRENT]), texts
)


@st.composite
def wheels(draw: st.DrawFn) -> Wheel:
    state, reason = draw(states)
    tensorflow, python, build = draw(versions), draw(st.integers(8, 20)), draw(st.integers(1, 9))
    return Wheel(
        file=f"tflite_runtime-{tensorflow}-{build}-cp3{python}-cp3{python}-x.whl",
        sha256=draw(digests),
        size=draw(st.integers(1, 10**8)),
        metadata_sha256=draw(digests),
        provenance_sha256=draw(digests),
        target=f"tf{tensorflow}-cp3{python}-x86_64",
        tensorflow=tensorflow,
        python=f"3.{python}",
        arch="x86_64",
        build=build,
        requires_python=f">=3.{python}",
        numpy=NumPy(floor=draw(versions), below=draw(versions)),
        glibc=draw(versions),
        runtime=LambdaRuntime(
            name=f"python3.{python}",
            os=draw(texts),
            glibc=draw(versions),
            deprecated=draw(st.none() | st.dates().map(str)),
        ),
        verified=draw(st.booleans()),
        audit_checks=draw(st.integers(1, 99)),
        smoke=tuple(draw(st.lists(smokes, min_size=1, max_size=2))),
        state=state,
        reason=reason,
    )


# A busy machine is slow at the first draw.
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.lists(wheels(), max_size=4, unique_by=lambda wheel: wheel.target))
def test_a_manifest_survives_its_file(found: list[Wheel]) -> None:
    manifest = Manifest().with_wheels(found)
    data = manifest.encode()
    assert decode(data) == manifest
    assert decode(data).encode() == data


@given(st.permutations([RETIRED, REBUILT, replace(WHEEL, python="3.9", target="t", file="f.whl")]))
def test_the_order_in_which_wheels_came_does_not_matter(found: list[Wheel]) -> None:
    pythons = [(w.python, w.build) for w in Manifest().with_wheels(found).wheels]
    assert pythons == [("3.9", 1), ("3.12", 1), ("3.12", 2)]


def test_the_schema_is_one_and_has_every_field() -> None:
    schema = json.loads(SCHEMA_FILE.read_text())
    Draft202012Validator.check_schema(schema)
    wheel = schema["$defs"]["wheel"]
    for kind, described in (
        (Wheel, wheel),
        (NumPy, wheel["properties"]["numpy"]),
        (LambdaRuntime, wheel["properties"]["runtime"]),
        (Smoke, wheel["properties"]["smoke"]["items"]),
        (Conform, wheel["properties"]["conform"]),
    ):
        fields = [field.name for field in dataclasses.fields(kind)]
        assert list(described["properties"]) == fields
        # Wheels of before there was a corpus have no comparison; of before locks said how
        # components belong, no list of those that were substituted; and some nobody signed.
        optional = {"conform", "substituted", "attestation_sha256"}
        assert described["required"] == [name for name in fields if name not in optional]
        assert described["additionalProperties"] is False
    assert wheel["properties"]["state"]["enum"] == [str(state) for state in State]


def test_a_wheel_keeps_what_its_comparison_found_and_an_old_one_has_none() -> None:
    found = Conform(
        place="native",
        part="whole",
        corpus="4" * 64,
        models=600,
        operators=120,
        delegated=0.75,
    )
    compared = Manifest((replace(WHEEL, conform=found),))
    assert decode(compared.encode()) == compared
    assert b'"conform"' in compared.encode()
    assert decode(Manifest((WHEEL,)).encode()).wheels[0].conform is None
    assert b'"conform"' not in Manifest((WHEEL,)).encode()


def damaged(**changes: object) -> bytes:
    data = json.loads(Manifest((WHEEL,)).encode())
    data["wheels"][0] |= changes
    return json.dumps(data).encode()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"<html>", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[]", "does not fit its schema"),
        (b"{}", "does not fit its schema"),
        (damaged(sha256="1" * 63), "$.wheels[0].sha256"),
        (damaged(file="../x-1.whl"), "$.wheels[0].file"),
        (damaged(file="x-/../../1.whl"), "$.wheels[0].file"),
        (damaged(tensorflow="2.14.q"), "$.wheels[0].tensorflow"),
        (damaged(size=True), "$.wheels[0].size"),
        (damaged(surprise=1), "surprise"),
        (damaged(state="lost"), "$.wheels[0].state"),
        (damaged(state="yanked"), "$.wheels[0].reason"),
        (damaged(reason="none"), "$.wheels[0].reason"),
        (damaged(smoke=[]), "$.wheels[0].smoke"),
        (damaged(numpy={"floor": "1"}), "$.wheels[0].numpy"),
    ],
)
def test_what_is_no_manifest_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(PublishError, match=re.escape(message)):
        decode(data)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ((WHEEL, WHEEL), "names a file twice"),
        ((REBUILT, RETIRED), "not in its order"),
        ((WHEEL, REBUILT), "two current wheels of one target"),
    ],
)
def test_a_manifest_that_contradicts_itself_is_not_written(
    found: tuple[Wheel, ...], message: str
) -> None:
    with pytest.raises(PublishError, match=message):
        Manifest(found).encode()


def test_states_decide_what_is_there_and_what_is_recommended() -> None:
    removed = replace(WHEEL, state=State.REMOVED, reason="wrong licence")
    manifest = Manifest((removed, REBUILT))
    assert manifest.current == manifest.present == (REBUILT,)
    assert Manifest((RETIRED, REBUILT)).present == (RETIRED, REBUILT)
    assert Manifest((RETIRED, REBUILT)).current == (REBUILT,)
    assert manifest.find(removed.file) == removed
    assert manifest.find("x.whl") is None


def test_a_folder_without_a_manifest_has_nothing_published(tmp_path: Path) -> None:
    assert read_manifest(tmp_path) == Manifest()
    (tmp_path / MANIFEST).write_bytes(Manifest((WHEEL,)).encode())
    assert read_manifest(tmp_path) == Manifest((WHEEL,))


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.data())
def test_no_damage_to_a_manifest_is_more_than_refused(data: st.DataObject) -> None:
    good = Manifest((RETIRED, REBUILT)).encode()
    bad = bytearray(good)
    for _ in range(data.draw(st.integers(1, 3))):
        bad[data.draw(st.integers(0, len(bad) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        found = decode(bytes(bad))
    except PublishError:
        return
    assert len(found.wheels) == 2
