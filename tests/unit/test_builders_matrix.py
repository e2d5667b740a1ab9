"""The matrix and its strict reader."""

from __future__ import annotations

import copy
import datetime
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.utils import parse_wheel_filename
from packaging.version import Version

from builders.errors import UsageError
from builders.matrix import MATRIX_FILE, Matrix, Runtime, Target, load_matrix, parse_matrix
from builders.tables import Row, is_sha256, is_version

SAMPLE: dict[str, Any] = {
    "architectures": ["x86_64", "aarch64"],
    "recommended": "2.14.1",
    "builder": "3.12",
    "runtime": [
        {
            "python": "3.12",
            "os": "Amazon Linux 2023",
            "glibc": "2.34",
            "deprecated": datetime.date(2028, 10, 31),
            "pybind11": "3.1.0",
            "debian": "sid",
            "numpy": {
                "floor": "1.26.0",
                "below": "3",
                "headers": "2.0.2",
                "lambda": "2.2.6",
                "newest": "2.5.5",
            },
        }
    ],
    "tensorflow": [
        {
            "version": "2.14.1",
            "sha256": "0" * 64,
            "cxx_standard": 17,
            "bazel": "6.1.0",
            "size_limit": 2_400_000,
            "build": 1,
            "verified": ["cp312-x86_64"],
        }
    ],
}
RUNTIME, TENSORFLOW = ("runtime", 0), ("tensorflow", 0)
NUMPY = (*RUNTIME, "numpy")


def changed(place: tuple[str | int, ...], **values: object) -> dict[str, Any]:
    """Return the sample with other values in one table; None removes the key."""
    data = copy.deepcopy(SAMPLE)
    table: Any = data
    for step in place:
        table = table[step]
    table.update(values)
    for key in [key for key, value in values.items() if value is None]:
        del table[key]
    return data


def as_data(matrix: Matrix) -> dict[str, Any]:
    """Return the data of a matrix's file."""

    def runtime_data(runtime: Runtime) -> dict[str, Any]:
        numpy = runtime.numpy
        data: dict[str, Any] = {
            "python": runtime.python,
            "os": runtime.os,
            "glibc": runtime.glibc,
            "pybind11": runtime.pybind11,
            "numpy": {
                "floor": numpy.floor,
                "below": numpy.below,
                "headers": numpy.headers,
                "lambda": numpy.on_lambda,
                "newest": numpy.newest,
            },
        }
        data |= {"upcoming": True} if runtime.upcoming else {"deprecated": runtime.deprecated}
        return data | ({"debian": runtime.debian} if runtime.debian else {})

    return {
        "architectures": list(matrix.architectures),
        "recommended": matrix.recommended.version,
        "builder": matrix.builder.python,
        "runtime": [runtime_data(runtime) for runtime in matrix.runtimes],
        "tensorflow": [
            {
                "version": row.version,
                **({"about": row.about} if Version(row.version).is_prerelease else {}),
                **({"sha256": row.sha256} if row.sha256 else {}),
                "cxx_standard": row.cxx_standard,
                **({"absl": list(row.absl)} if row.absl else {}),
                "bazel": row.bazel,
                "size_limit": row.size_limit,
                "build": row.build,
                "verified": [
                    f"{runtime.tag}-{arch}"
                    for arch in matrix.architectures
                    for runtime in matrix.runtimes
                    if f"{runtime.tag}-{arch}" in row.verified
                ],
                **({} if row.publish else {"publish": False}),
            }
            for row in matrix.tensorflows
        ],
    }


def test_every_fact_of_the_file_is_read() -> None:
    assert as_data(load_matrix()) == tomllib.loads(MATRIX_FILE.read_text(encoding="utf-8"))


def test_identifiers_are_unique_and_name_their_parts() -> None:
    matrix = load_matrix()
    identifiers = [target.identifier for target in matrix.targets()]
    assert len(identifiers) == len(set(identifiers))
    assert len(identifiers) == (
        len(matrix.tensorflows) * len(matrix.runtimes) * len(matrix.architectures)
    )
    assert "tf2.14.1-cp312-x86_64" in identifiers


def test_an_identifier_leads_back_to_its_target() -> None:
    matrix = load_matrix()
    for target in matrix.targets():
        assert matrix.target(target.identifier) == target


@pytest.mark.parametrize("name", ["3.12", "cp312", "python3.12"])
def test_a_runtime_has_three_names(name: str) -> None:
    assert load_matrix().runtime(name).python == "3.12"


@pytest.mark.parametrize("name", ["3.1", "cp31", "3", "", "python", "3.12.1", "Python3.12"])
def test_an_unknown_python_is_told_the_known_ones(name: str) -> None:
    with pytest.raises(UsageError, match=r"3\.8, 3\.9, 3\.10"):
        load_matrix().runtime(name)


def test_an_unknown_tensorflow_is_told_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"'2\.14'.*2\.14\.1, 2\.15\.1"):
        load_matrix().tensorflow("2.14")


def test_an_unknown_target_is_told_where_they_are_listed() -> None:
    with pytest.raises(UsageError, match=r"'tf2\.14\.1-cp312-arm64'.*--list"):
        load_matrix().target("tf2.14.1-cp312-arm64")


def test_verified_are_the_named_targets_alone() -> None:
    targets = {target.identifier: target for target in parse_matrix(SAMPLE).targets()}
    assert {name: target.verified for name, target in targets.items()} == {
        "tf2.14.1-cp312-x86_64": True,
        "tf2.14.1-cp312-aarch64": False,
    }


def test_a_runtime_is_deprecated_from_its_day_on() -> None:
    runtime = parse_matrix(SAMPLE).runtimes[0]
    day = datetime.date(2028, 10, 31)
    assert runtime.state(day - datetime.timedelta(days=1)) == "supported"
    assert runtime.state(day) == "deprecated"


def test_an_upcoming_runtime_is_upcoming_on_any_day() -> None:
    data = changed(RUNTIME, deprecated=None, upcoming=True)
    data["runtime"].append(SAMPLE["runtime"][0] | {"python": "3.11"})
    runtime = parse_matrix(data | {"builder": "3.11"}).runtimes[0]
    assert runtime.state(datetime.date.max) == "upcoming"


def test_the_requirement_is_floor_and_bound() -> None:
    assert parse_matrix(SAMPLE).runtimes[0].numpy.requirement == "numpy>=1.26.0,<3"


def test_a_numpy_is_smoke_tested_once() -> None:
    numpy = parse_matrix(changed(NUMPY, **{"lambda": "2.5.5"})).runtimes[0].numpy
    assert numpy.smoke_versions == ("1.26.0", "2.5.5")


def test_every_numpy_of_a_target_can_run_what_its_headers_make() -> None:
    for runtime in load_matrix().runtimes:
        numpy = runtime.numpy
        assert Version(numpy.headers) <= Version(numpy.newest), runtime.python
        assert Version(numpy.headers).major >= 2 or runtime.python == "3.8"


MALFORMED = [
    (changed(RUNTIME, python="3"), "runtime 3: 'python'"),
    (changed(RUNTIME, python="3.012"), "runtime 3.012: 'python'"),
    (changed(RUNTIME, python="3.٣"), "runtime 3.٣: 'python'"),
    (changed(RUNTIME, python=None), "runtime ?: 'python' is missing"),
    (changed(RUNTIME, python=3.12), "runtime 3.12: 'python' must be a str, not 3.12"),
    (changed(RUNTIME, glibc="new"), "runtime 3.12: 'glibc'"),
    (changed(RUNTIME, deprecated=None), "runtime 3.12: 'deprecated' is missing"),
    (changed(RUNTIME, deprecated="2028-10-31"), "runtime 3.12: 'deprecated' must be a date"),
    (
        changed(RUNTIME, deprecated=datetime.datetime(2028, 10, 31)),
        "runtime 3.12: 'deprecated' must be a date",
    ),
    (changed(RUNTIME, upcoming=True), "runtime 3.12: unknown key 'deprecated'"),
    (changed(RUNTIME, upcoming=1), "runtime 3.12: 'upcoming' must be a bool"),
    (changed(RUNTIME, pybind="3"), "runtime 3.12: unknown key 'pybind'"),
    (changed(RUNTIME, numpy="2"), "runtime 3.12: 'numpy' must be a dict"),
    (changed(NUMPY, ceiling="3"), "runtime 3.12: numpy: unknown key 'ceiling'"),
    (changed(NUMPY, floor="2.6"), "runtime 3.12: numpy: must be floor"),
    (changed(NUMPY, newest="2.1"), "runtime 3.12: numpy: must be floor"),
    (changed(NUMPY, below="2.5.5"), "runtime 3.12: numpy: must be floor"),
    (changed(NUMPY, headers="1.26.4"), "runtime 3.12: numpy: headers 1.26.4"),
    (changed(TENSORFLOW, version="v2.14.1"), "tensorflow v2.14.1: 'version'"),
    (changed(TENSORFLOW, version="2.14.1 "), "tensorflow 2.14.1 : 'version'"),
    (changed(TENSORFLOW, sha256="0" * 63), "tensorflow 2.14.1: 'sha256'"),
    (changed(TENSORFLOW, sha256="A" * 64), "tensorflow 2.14.1: 'sha256'"),
    (changed(TENSORFLOW, cxx_standard=18), "tensorflow 2.14.1: 'cxx_standard'"),
    (changed(TENSORFLOW, cxx_standard="17"), "tensorflow 2.14.1: 'cxx_standard' must be a int"),
    (changed(TENSORFLOW, build=0), "tensorflow 2.14.1: 'build'"),
    (changed(TENSORFLOW, build=True), "tensorflow 2.14.1: 'build' must be a int"),
    (changed(TENSORFLOW, verified=["cp311-x86_64"]), "tensorflow 2.14.1: verified names"),
    (changed(TENSORFLOW, verified=[["x"]]), "tensorflow 2.14.1: 'verified'"),
    (changed((), architectures=["x86_64", "x86_64"]), "one architecture twice"),
    (changed((), architectures=[1]), "matrix: 'architectures'"),
    (changed((), runtime=["3.12"]), "matrix: 'runtime'"),
    (changed((), runtime={}), "matrix: 'runtime'"),
    (changed((), tensorflow=[2]), "matrix: 'tensorflow'"),
    (changed((), tensorflow=None), "matrix: 'tensorflow' is missing"),
    (changed((), recommended=None), "matrix: 'recommended' is missing"),
    (changed((), builder=None), "matrix: 'builder' is missing"),
    (changed(RUNTIME, deprecated=None, upcoming=True), "matrix: 'builder' names '3.12'"),
    (changed((), builder="3.7"), "'builder' names '3.7', which is no Python that AWS has"),
    (changed((), recommended="2.15.1"), "names '2.15.1', which has no verified target"),
    (changed(TENSORFLOW, verified=[]), "names '2.14.1', which has no verified target"),
    (changed(TENSORFLOW, version="2.15.0.dev1"), "tensorflow 2.15.0.dev1: 'about' is missing"),
    (changed(TENSORFLOW, about=""), "tensorflow 2.14.1: 'about'"),
    (changed((), colour="red"), "matrix: unknown key 'colour'"),
    (changed((), runtime=SAMPLE["runtime"] * 2), "one runtime twice"),
    (changed((), tensorflow=SAMPLE["tensorflow"] * 2), "one tensorflow twice"),
]


@pytest.mark.parametrize(("data", "message"), MALFORMED, ids=[m for _, m in MALFORMED])
def test_a_malformed_row_is_named_with_its_key(data: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        parse_matrix(data)


def keys_of(place: tuple[str | int, ...]) -> list[tuple[tuple[str | int, ...], str]]:
    table: Any = SAMPLE
    for step in place:
        table = table[step]
    return [(place, key) for key in table]


OPTIONAL = {"debian", "sha256"}
KEYS = [*keys_of(()), *keys_of(RUNTIME), *keys_of(NUMPY), *keys_of(TENSORFLOW)]


@pytest.mark.parametrize(("place", "key"), [(p, k) for p, k in KEYS if k not in OPTIONAL])
def test_every_key_is_needed(place: tuple[str | int, ...], key: str) -> None:
    with pytest.raises(UsageError, match=f"'{key}' is missing"):
        parse_matrix(changed(place, **{key: None}))


anything = st.one_of(
    st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.dates(), st.datetimes()
)
values = st.recursive(
    anything, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=4
)


@given(st.sampled_from(KEYS), values)
def test_whatever_a_value_is_the_reader_takes_it_or_names_it(
    spot: tuple[tuple[str | int, ...], str], value: object
) -> None:
    place, key = spot
    try:
        matrix = parse_matrix(changed(place, **{key: value}))
    except UsageError:
        # Any other exception would be a bug of the reader.
        return
    else:
        assert all(isinstance(target, Target) for target in matrix.targets())
        for runtime in matrix.runtimes:
            runtime.state(datetime.date(2026, 1, 1))


@given(st.from_regex(r"[0-9a-f]{64}", fullmatch=True))
def test_a_sha256_is_64_hexadecimal_digits(text: str) -> None:
    assert is_sha256(text)
    assert not is_sha256(text[1:])
    assert not is_sha256(text + "\n")
    assert not is_sha256(f"g{text[1:]}")


@given(st.text(max_size=12))
def test_what_is_a_version_can_stand_in_a_wheel_name(text: str) -> None:
    if is_version(text):
        name = f"x-{text}-py3-none-any.whl"
        if "+" not in text and "!" not in text:
            assert str(parse_wheel_filename(name)[1]) == text


def test_a_file_that_is_not_toml_is_named(tmp_path: Path) -> None:
    for content in (b"[[runtime", b"\xff"):
        file = tmp_path / f"broken{len(content)}.toml"
        file.write_bytes(content)
        with pytest.raises(UsageError, match=rf"{file.name} is not TOML"):
            load_matrix(file)


def test_a_row_gives_each_key_once() -> None:
    row = Row("row", {"a": 1})
    assert row.has("a")
    assert row.take("a", int) == 1
    assert not row.has("a")
    row.done()
    with pytest.raises(UsageError, match="row: 'a' is missing"):
        row.take("a", int)
