"""The wheel: its name, members, metadata and bytes."""

from __future__ import annotations

import json
import os
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from email import message_from_bytes
from pathlib import Path

import pytest
from packaging.licenses import canonicalize_license_expression
from packaging.metadata import Metadata
from packaging.utils import parse_wheel_filename
from test_audit_samples import Elf
from test_builders_toolchain import fake_toolchain

from builders import wheel as wheel_module
from builders.audit import audit, extension_name
from builders.breakages import python_patches_of
from builders.core import Core
from builders.core_metadata import FIELDS, requires_dist
from builders.errors import ArchiveError
from builders.matrix import Target, load_matrix
from builders.sbom import Part
from builders.stubs import typing_files
from builders.wheel import WheelInputs, make_wheel, platform_tag, toolchain_parts, wheel_name

MATRIX = load_matrix()


def first_build(identifier: str) -> Target:
    """Return a target of the matrix with build number 1 instead of its current one."""
    target = MATRIX.target(identifier)
    return replace(target, tensorflow=replace(target.tensorflow, build=1))


TARGET = first_build("tf2.14.1-cp312-x86_64")
INFO = "tflite_runtime-2.14.1.dist-info"
COMPONENTS = [
    {
        "name": name,
        "licence": licence,
        "version": version,
        "origin": "debian",
        "location": f"debian:{name}.tar.xz",
        "sha256": digit * 64,
    }
    for name, licence, version, digit in (
        ("tensorflow", "Apache-2.0", "2.14.1", "1"),
        ("xnnpack", "BSD-3-Clause", "4ea82e5", "2"),
        ("fft2d", "LicenseRef-fft2d", "1.0", "3"),
    )
]
COMPILED_WITH = [
    Part(
        name=name,
        version=version,
        licence="BSD-3-Clause",
        origin="pypi",
        location=f"pypi:{name}.whl",
        sha256="4" * 64,
    )
    for name, version in (("numpy", "2.0.2"), ("pybind11", TARGET.runtime.pybind11))
]


def upstream_files(version: str) -> dict[str, bytes]:
    """Return Python files with the parameters of upstream's, and the lines that we patch."""
    hunks = [patch.read_text().partition("\n@@")[2] for patch in python_patches_of(version)]
    lines = [line[1:] for hunk in hunks for line in hunk.splitlines()[1:] if line[0] in " -"]
    found = {
        name.replace(".pyi", ".py"): data + b"# As upstream has it.\n"
        for name, data in typing_files(version).items()
        if name.endswith(".pyi")
    }
    found["interpreter.py"] += "\n".join(["TEXT = r'''", *lines, "'''\n"]).encode()
    return found


def inputs_in(folder: Path, target: Target = TARGET, *, backwards: bool = False) -> WheelInputs:
    """Write a core and an extension below a folder, in forward or backward order of files."""
    core = folder / "core" / "0123456789abcdef"
    files = {
        core / "python" / name: data
        for name, data in upstream_files(target.tensorflow.version).items()
    }
    for component in COMPONENTS:
        name = component["name"]
        files[core / "licences" / name / "LICENSE"] = f"The licence of {name}.\n".encode()
    extension = folder / "extension" / extension_name(target.runtime, target.arch)
    files[extension] = Elf(literals=("3.12", "2.14.1", *Elf().literals[2:])).build()
    for path, data in sorted(files.items(), reverse=backwards):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    record = {"components": COMPONENTS}
    return WheelInputs(target, Core(path=core, record=record), extension, COMPILED_WITH)


def build(folder: Path, target: Target = TARGET, *, backwards: bool = False) -> Path:
    toolchain = fake_toolchain(folder)
    return make_wheel(inputs_in(folder, target, backwards=backwards), toolchain.cache, toolchain)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("wheel"))


def read(wheel: Path, name: str) -> bytes:
    with zipfile.ZipFile(wheel) as file:
        return file.read(name)


def test_the_name_says_version_build_python_and_platform() -> None:
    assert wheel_name(TARGET) == (
        "tflite_runtime-2.14.1-1-cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"
    )


def test_every_target_has_a_name_of_its_own() -> None:
    names = {wheel_name(target): target for target in MATRIX.targets()}
    assert len(names) == len(list(MATRIX.targets()))
    for name, target in names.items():
        project, version, build_tag, tags = parse_wheel_filename(name)
        assert (project, str(version)) == ("tflite-runtime", target.tensorflow.version)
        assert build_tag == (target.tensorflow.build, "")
        assert {(tag.interpreter, tag.abi) for tag in tags} == {(target.runtime.tag,) * 2}


WARNED = MATRIX.target("tf2.22.0.dev20260518-cp312-x86_64")


def interpreter_of(inputs: WheelInputs, folder: Path) -> str:
    toolchain = fake_toolchain(folder)
    made = make_wheel(inputs, toolchain.cache, toolchain)
    return read(made, "tflite_runtime/interpreter.py").decode()


def test_upstreams_warning_is_not_there_unless_it_is_asked_for(tmp_path: Path) -> None:
    warning = "warnings.warn(_INTERPRETER_DELETION_WARNING)"
    inputs = inputs_in(tmp_path, WARNED)
    assert warning in (inputs.core.path / "python/interpreter.py").read_text()
    assert warning not in interpreter_of(inputs, tmp_path)
    assert warning in interpreter_of(replace(inputs, upstream_warnings=True), tmp_path)
    assert b"warnings" not in read(build(tmp_path, WARNED), "tflite_runtime/__init__.py")


def test_paths_and_numbers_of_threads_are_taken_by_every_version(tmp_path: Path) -> None:
    for number, asked_for in enumerate((False, True)):
        inputs = replace(inputs_in(tmp_path / str(number)), upstream_warnings=asked_for)
        text = interpreter_of(inputs, tmp_path)
        assert "os.fspath(model_path)" in text
        assert "num_threads < -1" in text


def test_a_patch_that_does_not_fit_is_an_error(tmp_path: Path) -> None:
    inputs = inputs_in(tmp_path)
    (inputs.core.path / "python/interpreter.py").write_text("# another\n")
    with pytest.raises(ArchiveError, match=r"does not apply to the Python files of TensorFlow 2"):
        interpreter_of(inputs, tmp_path)


def test_the_wheel_has_types(wheel: Path) -> None:
    for name, data in typing_files("2.14.1").items():
        assert read(wheel, f"tflite_runtime/{name}") == data


@pytest.mark.parametrize(
    ("target", "status"), [(TARGET, "5 - Production/Stable"), (WARNED, "4 - Beta")]
)
def test_a_pre_release_says_so(target: Target, status: str, tmp_path: Path) -> None:
    version = target.tensorflow.version
    text = read(build(tmp_path, target), f"tflite_runtime-{version}.dist-info/METADATA")
    assert f"Development Status :: {status}" in (Metadata.from_email(text).classifiers or ())


def test_a_rebuild_has_the_matrixs_build_number() -> None:
    target = replace(TARGET, tensorflow=replace(TARGET.tensorflow, build=7))
    assert parse_wheel_filename(wheel_name(target))[2] == (7, "")


def test_platform_tags_are_the_floors_two_names() -> None:
    assert platform_tag("aarch64") == "manylinux_2_17_aarch64.manylinux2014_aarch64"


def test_the_audit_passes_it(wheel: Path) -> None:
    report = audit(wheel, MATRIX)
    assert [f"{check.name}: {check.detail}" for check in report.checks if not check.ok] == []


def test_members_are_sorted_plain_and_of_one_time(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as file:
        assert file.testzip() is None
        infos = file.infolist()
    names = [info.filename for info in infos]
    assert names == [*sorted(names[:-1]), f"{INFO}/RECORD"]
    assert {info.date_time for info in infos} == {(1980, 1, 1, 0, 0, 0)}
    modes = {info.filename: (info.external_attr >> 16) & 0o777 for info in infos[:-1]}
    assert {name for name, mode in modes.items() if mode == 0o755} == {
        f"tflite_runtime/{extension_name(TARGET.runtime, TARGET.arch)}"
    }
    assert set(modes.values()) == {0o644, 0o755}


def test_the_package_is_upstreams_files_and_the_extension(wheel: Path) -> None:
    upstream = upstream_files("2.14.1")["metrics_portable.py"]
    assert read(wheel, "tflite_runtime/metrics_portable.py") == upstream
    namespace: dict[str, object] = {}
    exec(read(wheel, "tflite_runtime/__init__.py"), namespace)
    assert namespace["__version__"] == "2.14.1"


def test_metadata_is_valid_and_of_this_target(wheel: Path) -> None:
    found = Metadata.from_email(read(wheel, f"{INFO}/METADATA"))
    assert (found.name, str(found.version)) == ("tflite_runtime", "2.14.1")
    assert str(found.requires_python) == ">=3.8"
    assert found.requires_dist == requires_dist(MATRIX)
    assert "Programming Language :: Python :: 3.12" in (found.classifiers or [])
    assert "2.17" in (found.description or "")


@pytest.mark.parametrize("version", ["2.14.1", "2.22.0.dev20260518"])
def test_every_wheel_of_a_version_has_the_same_metadata(version: str, tmp_path: Path) -> None:
    targets = [t for t in MATRIX.targets() if t.tensorflow.version == version]
    name = f"tflite_runtime-{version}.dist-info/METADATA"
    found = {read(build(tmp_path / t.identifier, t), name) for t in targets}
    assert len(targets) == 16
    assert len(found) == 1


def test_metadata_has_the_canonical_names_of_its_fields(wheel: Path) -> None:
    message = message_from_bytes(read(wheel, f"{INFO}/METADATA"))
    assert set(message.keys()) == set(FIELDS)
    assert str(message.get_payload()).startswith("# tflite_runtime 2.14.1\n")


def test_every_licence_is_in_the_expression_and_every_text_in_the_wheel(wheel: Path) -> None:
    found = Metadata.from_email(read(wheel, f"{INFO}/METADATA"))
    expression = found.license_expression
    assert expression is not None
    assert canonicalize_license_expression(expression) == expression
    for licence in ("Apache-2.0", "BSD-3-Clause", "LicenseRef-fft2d", "LLVM-exception"):
        assert expression.count(licence) == 1 + (licence == "Apache-2.0")
    with zipfile.ZipFile(wheel) as file:
        texts = [n for n in file.namelist() if n.startswith(f"{INFO}/licenses/")]
    assert texts == sorted(texts) == [f"{INFO}/licenses/{n}" for n in found.license_files or ()]
    for name in ("tensorflow", "xnnpack", "fft2d"):
        assert (
            read(wheel, f"{INFO}/licenses/{name}/LICENSE") == f"The licence of {name}.\n".encode()
        )
    assert read(wheel, f"{INFO}/licenses/libcxx/LICENSE.TXT") == b"The licence of libcxx.\n"


def test_a_text_that_components_share_is_there_once(tmp_path: Path) -> None:
    inputs = inputs_in(tmp_path)
    folder = inputs.core.path / "licences"
    for name in ("ruy", "gemmlowp"):
        (folder / name).mkdir()
        (folder / name / "LICENSE").write_bytes((folder / "fft2d/LICENSE").read_bytes())
    toolchain = fake_toolchain(tmp_path)
    made = make_wheel(inputs, toolchain.cache, toolchain)
    found = Metadata.from_email(read(made, f"{INFO}/METADATA")).license_files or []
    assert "fft2d+gemmlowp+ruy/LICENSE" in found
    assert read(made, f"{INFO}/licenses/fft2d+gemmlowp+ruy/LICENSE").startswith(b"The licence of f")
    assert audit(made, MATRIX).ok


def test_the_wheel_file_has_every_tag_and_the_build_number(wheel: Path) -> None:
    message = message_from_bytes(read(wheel, f"{INFO}/WHEEL"))
    tags = {
        f"{tag.interpreter}-{tag.abi}-{tag.platform}" for tag in parse_wheel_filename(wheel.name)[3]
    }
    assert set(message.get_all("Tag") or ()) == tags
    assert message["Build"] == "1"
    assert message["Root-Is-Purelib"] == "false"


def test_the_sbom_names_all_that_is_compiled_in(wheel: Path) -> None:
    bom = json.loads(read(wheel, f"{INFO}/sboms/tflite_runtime.cdx.json"))
    assert {component["name"] for component in bom["components"]} == {
        *(component["name"] for component in COMPONENTS),
        *("numpy", "pybind11", "libcxx", "libcxxabi", "libunwind"),
    }


def test_how_a_component_belongs_is_in_the_wheel_and_in_its_key(tmp_path: Path) -> None:
    inputs, toolchain = inputs_in(tmp_path), fake_toolchain(tmp_path)
    belongs = {"relation": "substituted", "pin": "b9d4073"}
    components = [COMPONENTS[0], COMPONENTS[1] | belongs, COMPONENTS[2]]
    core = replace(inputs.core, record={"components": components})
    told = make_wheel(replace(inputs, core=core), toolchain.cache, toolchain)
    assert told.parent != make_wheel(inputs, toolchain.cache, toolchain).parent
    bom = json.loads(read(told, f"{INFO}/sboms/tflite_runtime.cdx.json"))
    [xnnpack] = [part for part in bom["components"] if part["name"] == "xnnpack"]
    found = {item["name"]: item["value"] for item in xnnpack["properties"]}
    assert found == {"origin": "debian", **belongs}


def test_the_compilers_libraries_are_known_by_the_compiler(tmp_path: Path) -> None:
    toolchain = fake_toolchain(tmp_path)
    for part in toolchain_parts(toolchain):
        assert part.version == "ziglang 0.17.0"
        assert len(part.sha256) == 64


def test_the_bytes_do_not_depend_on_place_time_umask_zone_or_order(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    time.tzset()
    before = os.umask(0o077)
    try:
        other = build(tmp_path / "another" / "place", backwards=True)
    finally:
        os.umask(before)
        monkeypatch.delenv("TZ")
        time.tzset()
    assert other != wheel
    assert other.name == wheel.name
    assert other.read_bytes() == wheel.read_bytes()
    assert os.environ["SOURCE_DATE_EPOCH"] == "1700000000"


def test_the_environment_is_left_as_it_was(tmp_path: Path) -> None:
    build(tmp_path)
    assert "SOURCE_DATE_EPOCH" not in os.environ


def test_a_wheel_that_is_there_is_not_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = build(tmp_path)
    monkeypatch.setattr(wheel_module, "_members", lambda *_: pytest.fail("written again"))
    assert build(tmp_path) == first


def test_what_changes_a_wheel_changes_its_place(tmp_path: Path) -> None:
    toolchain = fake_toolchain(tmp_path)
    inputs = inputs_in(tmp_path)
    other = replace(MATRIX, runtimes=MATRIX.runtimes[:-1])
    changed = [
        inputs,
        replace(inputs, compiled_with=COMPILED_WITH[:1]),
        replace(inputs, core=replace(inputs.core, path=tmp_path / "core" / "other")),
        replace(inputs, matrix=other),
    ]
    (tmp_path / "core" / "0123456789abcdef").replace(tmp_path / "core" / "other")
    (tmp_path / "core" / "0123456789abcdef").symlink_to("other")
    places = [make_wheel(i, toolchain.cache, toolchain) for i in changed]
    inputs.extension.write_bytes(b"other")
    places.append(make_wheel(inputs, toolchain.cache, toolchain))
    assert len(set(places)) == len(places)


def test_threads_that_write_wheels_at_once_date_them_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)

    def seen(seconds: float) -> str | None:
        with wheel_module._fixed_time():
            time.sleep(seconds)
            return os.environ.get("SOURCE_DATE_EPOCH")

    with ThreadPoolExecutor(3) as pool:
        # The first to begin is not the last to end.
        found = list(pool.map(seen, (0.02, 0.05, 0.01)))
    assert found == [str(wheel_module.SOURCE_DATE_EPOCH)] * 3
    assert "SOURCE_DATE_EPOCH" not in os.environ
