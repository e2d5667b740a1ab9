"""The builtin operators, and their versions, that each TensorFlow version has: ops.toml.

`./scripts/ops` writes the file by asking wheels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.version import Version

from builders.errors import SmokeError, UsageError
from builders.tables import Row, is_version, read_toml
from smoke_lambda.inside.probing import judged

DATA = Path(__file__).with_name("ops.toml")
HEADER = """\
# Written by ./scripts/ops, from what wheels answer; not to be edited.
# [codes]: the number of each builtin operator in TensorFlow Lite's schema, also of those
# that no wheel has.
# [tensorflow."X"]: the lowest and highest version of each operator that wheels of X have.
"""

Ops = Mapping[str, range]
"""The versions of each operator, by name."""


@dataclass(frozen=True, kw_only=True)
class OpsTable:
    """The operators of all TensorFlow versions.

    Attributes:
        codes: the schema's number of each operator.
        tensorflows: the operators of each TensorFlow version, oldest first (PEP 440).
    """

    codes: Mapping[str, int]
    tensorflows: Mapping[str, Ops]

    def name(self, code: int) -> str:
        """Return the name of the operator with that number; `operator N` if none is known."""
        names = (name for name, number in self.codes.items() if number == code)
        return next(names, f"operator {code}")

    def versions(self, tensorflow: str, name: str) -> range:
        """Return the versions of an operator in a TensorFlow version; empty if none are known."""
        return self.tensorflows.get(tensorflow, {}).get(name, range(0))

    def first(self, name: str, version: int) -> str:
        """Return the oldest TensorFlow version with that operator version; empty if none."""
        having = (t for t, ops in self.tensorflows.items() if version in ops.get(name, ()))
        return next(having, "")

    def with_wheel(self, tensorflow: str, codes: Mapping[str, int], ops: Ops) -> OpsTable:
        """Return the table with a TensorFlow version added or replaced.

        Raises:
            UsageError: a number means another operator in that version.
        """
        return parsed({**self.codes, **codes}, {**self.tensorflows, tensorflow: ops})

    def text(self) -> str:
        """Return the table as the text of its file."""
        parts = [HEADER, "\n[codes]\n"]
        parts += [f"{name} = {code}\n" for name, code in self.codes.items()]
        for tensorflow, ops in self.tensorflows.items():
            parts.append(f'\n[tensorflow."{tensorflow}"]\n')
            parts += [f"{name} = [{ops[name][0]}, {ops[name][-1]}]\n" for name in ops]
        return "".join(parts)


EMPTY = OpsTable(codes={}, tensorflows={})


def load_ops(path: Path = DATA) -> OpsTable:
    """Read and validate the table.

    Raises:
        UsageError: the table is malformed; the message names the place.
    """
    data = read_toml(path)
    top = Row(path.name, data)
    codes = top.take("codes", dict)
    tables = Row(f"{path.name}: tensorflow", top.take("tensorflow", dict))
    top.done()
    tensorflows = {}
    for version in data["tensorflow"]:
        ops = tables.take(version, dict)
        row = Row(f"{path.name}: {version}", ops)
        tensorflows[version] = {name: _range(row, name) for name in ops}
    return parsed(codes, tensorflows)


def parsed(codes: Mapping[str, int], tensorflows: Mapping[str, Ops]) -> OpsTable:
    """Return a table, sorted and validated.

    Raises:
        UsageError: a number is invalid or belongs to two operators, a version is invalid,
            or an operator has no number.
    """
    names: dict[int, str] = {}
    for name, code in codes.items():
        if type(code) is not int or code < 0:
            raise UsageError(f"ops: {name} has the number {code!r}")
        if names.setdefault(code, name) != name:
            raise UsageError(f"ops: {code} is the number of {names[code]} and of {name}")
    for version, ops in tensorflows.items():
        if not is_version(version):
            raise UsageError(f"ops: {version!r} is no version")
        if unknown := sorted(ops.keys() - codes.keys()):
            raise UsageError(f"ops: {version} has {unknown[0]}, which has no number")
    numbers = {names[code]: code for code in sorted(names)}
    return OpsTable(
        codes=numbers,
        tensorflows={
            version: {name: ops[name] for name in numbers if name in ops}
            for version in sorted(tensorflows, key=Version)
            for ops in (tensorflows[version],)
        },
    )


def found_by_probe(status: int | None, output: str) -> tuple[dict[str, int], Ops]:
    """Return the numbers and operators of a wheel, as smoke_lambda.inside.ops_probe found them.

    Args:
        status, output: as for probing.judged.

    Raises:
        SmokeError: the probe failed, or an operator's versions have a gap.
    """
    fault, found = judged(status, output)
    if fault:
        raise SmokeError(f"the wheel does not say what operators it has: {fault}")
    codes: dict[str, int] = {}
    ops: dict[str, range] = {}
    for code, name, versions in found["operators"]:
        codes[name] = code
        if versions:
            ops[name] = range(versions[0], versions[-1] + 1)
            if [*ops[name]] != versions:
                raise SmokeError(f"{name} has versions {versions}, with a gap")
    return codes, ops


def shown(versions: range) -> str:
    """Return versions as text, such as `1 to 5`, `1` or `none`."""
    if not versions:
        return "none"
    return f"{versions[0]} to {versions[-1]}" if len(versions) > 1 else f"{versions[0]}"


def _range(row: Row, name: str) -> range:
    ends: list[Any] = row.take(name, list, lambda v: len(v) == 2)
    lowest, highest = ends
    if not all(type(end) is int for end in ends) or not 0 <= lowest <= highest:
        raise UsageError(f"{row.name}: '{name}' has the unusable value {ends!r}")
    return range(lowest, highest + 1)
