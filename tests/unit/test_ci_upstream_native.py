"""TensorFlow's own C++ tests: which there are, how they are compiled and run, what is expected."""

from __future__ import annotations

import copy
import json
import platform
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from test_builders_extension import ZIG
from test_builders_toolchain import fake_toolchain

from builders.core import Core
from builders.errors import CompileError, UsageError
from builders.matrix import load_matrix
from builders.sources import ORIGINS, load_lock
from builders.tables import read_toml
from ci.commands import upstream_tests as whole
from ci.upstream_tests.expected import FAILED, LEFT_OUT, PASSED, SKIPPED
from ci.upstream_tests.native import core_tests
from ci.upstream_tests.native.parts import GOOGLETEST, Parts
from ci.upstream_tests.native.plan import (
    SOURCES,
    TESTS_FILE,
    Plan,
    Program,
    Tree,
    load_plan,
    parse_plans,
)
from ci.upstream_tests.native.programs import Compiled, Workshop, first_line
from ci.upstream_tests.native.run import Ended, outcomes, run_program
from ci.upstream_tests.report import Outcome, Report
from ci.upstream_tests.show import show_report

TENSORFLOW = load_matrix().tensorflow("2.14.1")
GOOD: dict[str, Any] = {
    "helpers": [
        "lite/delegate/*_tester.cc",
        "lite/kernels/*util.cc",
        "lite/kernels/list.cc",
        "moved/*.cc",
    ],
    "suite": [
        {
            "name": "delegate",
            "folder": "lite/delegate",
            "precompiled": ["gtest/gtest.h", "lite/model.h"],
            "again": ["lite/delegate/delegate.cc"],
            "definitions": ["TEST_MODE=1"],
            "as_built": ["abs_test"],
            "quick": ["*mean_test"],
        },
        {
            "name": "kernels",
            "folder": "lite/kernels",
            "precompiled": ["lite/kernels/test_util.h"],
            "again": [],
            "definitions": [],
            "as_built": [],
            "quick": ["add_test"],
        },
    ],
    "expected": [{"test": "*:*DISABLED_*", "outcome": SKIPPED, "reason": "disabled"}],
    "version": [
        {
            "tensorflow": "2.14.1",
            "definitions": ["USES_XNNPACK"],
            "abseil": ["absl/log.cc"],
            "schemas": {"lite/schema.fbs": "lite/schema"},
            "expected": [
                {"test": "kernels/old_test:*", "outcome": LEFT_OUT, "reason": "wants more"},
                {"test": "kernels/add_test:Slow.*", "outcome": LEFT_OUT, "reason": "too slow"},
                {"test": "kernels/add_test:Add.Bad", "outcome": FAILED, "reason": "a bug"},
            ],
        }
    ],
}
FILES = {
    "lite/delegate/mean_test.cc": '#include "lite/delegate/mean_tester.h"\n',
    "lite/delegate/abs_test.cc": "#include <vector>\n",
    "lite/delegate/mean_tester.h": '#include "lite/model.h"\n',
    "lite/delegate/mean_tester.cc": '#include "lite/delegate/mean_tester.h"\n',
    "lite/delegate/other_tester.cc": "",
    "lite/delegate/other_tester.h": "",
    "lite/kernels/add_test.cc": '#include "lite/kernels/test_common.h"\n',
    "lite/kernels/old_test.cc": "",
    "lite/kernels/test_common.h": '#include "lite/kernels/test_util.h"\n',
    "lite/kernels/test_util.h": "",
    "lite/kernels/test_util.cc": '#include "lite/kernels/deep_util.h"\n#include "lite/version.h"\n',
    "lite/kernels/deep_util.h": '#include "lite/kernels/test_util.h"\n',
    "lite/kernels/deep_util.cc": "",
    "lite/kernels/list.cc": "",
    "moved/version.cc": "",
    "moved/version.h": "",
    "lite/version.h": '#include "moved/version.h"\n',
    "lite/schema.fbs": "",
    "lite/model.h": "",
}
# Imitates a googletest program: lists its tests, writes a report, crashes in one of them.
PROGRAM = """#!/bin/sh
if [ "$1" = --gtest_list_tests ]; then
  printf 'Running main()\\nAdd.\\n  Good\\n  Bad\\nSlow.\\n  One  # GetParam() = 1\\n'; exit 0
fi
echo "$GTEST_FILTER" >> {folder}/filters
{body}
"""
ACCOUNT = {
    "testsuites": [
        {
            "name": "Add",
            "testsuite": [
                {"name": "Good", "status": "RUN", "result": "COMPLETED"},
                {"name": "DISABLED_Old", "status": "NOTRUN", "result": "SUPPRESSED"},
                {"name": "Gone", "status": "RUN", "result": "SKIPPED"},
                {
                    "name": "Bad",
                    "status": "RUN",
                    "result": "COMPLETED",
                    "failures": [{"failure": "a.cc:1\nExpected: 1"}, {"failure": "b.cc"}],
                },
            ],
        }
    ]
}


def plan_of(data: dict[str, Any]) -> Plan:
    return parse_plans(copy.deepcopy(data))["2.14.1"]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    root = tmp_path / "cache/trees/0/tensorflow"
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return Tree(root, plan_of(GOOD))


def program(tree: Tree, name: str) -> Program:
    return next(p for p in tree.programs if p.name == name)


def versions() -> list[str]:
    return [row["tensorflow"] for row in read_toml(TESTS_FILE)["version"]]


@pytest.mark.parametrize("version", versions())
def test_a_version_has_a_plan_a_row_of_the_matrix_and_a_lock(version: str) -> None:
    plan = load_plan(version)
    assert load_matrix().tensorflow(version).version == version
    assert {suite.name for suite in plan.suites} == {"xnnpack", "kernels"}
    assert all(suite.quick and suite.precompiled for suite in plan.suites)
    lock = load_lock(version, SOURCES)
    assert [component.name for component in lock.components] == ["googletest"]
    assert lock.origins == ORIGINS


def test_each_lock_is_of_a_version() -> None:
    assert {path.stem for path in SOURCES.glob("*.toml")} == set(versions())


def test_an_unknown_version_is_an_error() -> None:
    with pytest.raises(UsageError, match=r"has no expectations for TensorFlow 1\.0"):
        load_plan("1.0")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"version": GOOD["version"] * 2}, r"has 2\.14\.1 twice"),
        ({"suite": [GOOD["suite"][0] | {"precompiled": []}]}, "needs a header to precompile"),
        ({"suite": [GOOD["suite"][0] | {"speed": 1}]}, "unknown key 'speed'"),
        ({"expected": [{"test": "a", "outcome": "passed", "reason": "b"}]}, "unusable value"),
        ({"helpers": [1]}, "must be a list of texts"),
    ],
)
def test_a_malformed_file_is_an_error(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        plan_of(GOOD | wrong)


def test_the_programs_are_the_files_of_the_tree(tree: Tree) -> None:
    assert [(p.name, p.is_quick) for p in tree.programs] == [
        ("delegate/abs_test", False),
        ("delegate/mean_test", True),
        ("kernels/add_test", True),
        ("kernels/old_test", False),
    ]
    assert [p.name for p in tree.programs if tree.plan.leaves_out(p)] == ["kernels/old_test"]


def test_a_program_is_linked_to_the_helpers_that_it_includes(tree: Tree) -> None:
    assert tree.helpers_of(program(tree, "delegate/abs_test")) == ()
    assert tree.helpers_of(program(tree, "delegate/mean_test")) == ("lite/delegate/mean_tester.cc",)
    assert tree.helpers_of(program(tree, "kernels/add_test")) == (
        "lite/kernels/deep_util.cc",
        "lite/kernels/list.cc",
        "lite/kernels/test_util.cc",
        "moved/version.cc",
    )


def test_what_is_expected_of_some_programs_is_of_them_alone(tree: Tree) -> None:
    add, old = program(tree, "kernels/add_test"), program(tree, "kernels/old_test")

    def rows(asked: Program, *tests: str) -> list[str]:
        return [row.test for row in tree.plan.about((asked,), tests).expected]

    assert rows(add) == ["kernels/add_test:Slow.*", "kernels/add_test:Add.Bad"]
    assert rows(old) == ["kernels/old_test:*"]
    assert rows(old, "kernels/old_test:A.DISABLED_a") == ["kernels/old_test:*", "*:*DISABLED_*"]


def test_googletests_account_tells_the_outcomes() -> None:
    found = outcomes(Ended(1, ACCOUNT, ""))
    assert {name: o.outcome for name, o in found.items()} == {
        "Add.Good": PASSED,
        "Add.DISABLED_Old": SKIPPED,
        "Add.Gone": SKIPPED,
        "Add.Bad": FAILED,
    }
    assert found["Add.Bad"].detail == "a.cc:1 Expected: 1 b.cc"


def test_a_program_that_dies_names_the_test_that_ran() -> None:
    output = "[ RUN      ] A.a\n[       OK ] A.a (1 ms)\n[ RUN      ] A.b/0\nfree(): invalid\n"
    found = outcomes(Ended(-6, None, output))
    assert found["A.a"].outcome == PASSED
    assert found["A.b/0"] == Outcome(
        "A.b/0", FAILED, "the process did not survive it: ended by SIGABRT"
    )


def make_program(folder: Path, body: str) -> Path:
    path = folder / "add_test"
    path.write_text(PROGRAM.format(folder=folder, body=body))
    path.chmod(0o755)
    return path


@pytest.mark.usefixtures("allow_subprocess")
def test_a_program_runs_but_for_what_is_left_out_until_it_lives(tree: Tree, tmp_path: Path) -> None:
    dead = "echo '[ RUN      ] Add.Worse'; kill -SEGV $$"
    (tmp_path / "account").write_text(json.dumps(ACCOUNT))
    lives = f'cp {tmp_path}/account "${{GTEST_OUTPUT#json:}}"; exit 1'
    path = make_program(tmp_path, f'case "$GTEST_FILTER" in *Worse*) {lives};; *) {dead};; esac')
    found = run_program(
        program(tree, "kernels/add_test"), path, tree.plan, tmp_path / "core.so", tree.root
    )
    assert {o.test: o.outcome for o in found} == {
        "kernels/add_test:Slow.One": LEFT_OUT,
        "kernels/add_test:Add.Worse": FAILED,
        "kernels/add_test:Add.Good": PASSED,
        "kernels/add_test:Add.DISABLED_Old": SKIPPED,
        "kernels/add_test:Add.Gone": SKIPPED,
        "kernels/add_test:Add.Bad": FAILED,
    }
    filters = (tmp_path / "filters").read_text().splitlines()
    assert filters == ["*-Slow.One", "*-Slow.One:Add.Worse"]


@pytest.mark.usefixtures("allow_subprocess")
def test_a_program_that_starts_no_test_is_a_failure(tree: Tree, tmp_path: Path) -> None:
    path = make_program(tmp_path, "exit 127")
    mean = program(tree, "delegate/mean_test")
    (found,) = run_program(mean, path, tree.plan, tmp_path / "core.so", tree.root)
    assert found == Outcome("delegate/mean_test:*", FAILED, "the program exit status 127")


def workshop(tree: Tree, tmp_path: Path) -> Workshop:
    toolchain = fake_toolchain(tmp_path, ZIG)
    googletest = tmp_path / "cache/trees/1"
    generator = tmp_path / "generator"
    generator.write_text("")
    parts = Parts(
        TENSORFLOW,
        tree,
        tree.root.parent,
        googletest,
        toolchain.cache,
        toolchain,
        tmp_path / "log",
    )
    # The compiler makes the generator, which is a program; a script cannot stand in for it.
    parts.__dict__["schemas"] = tmp_path / "schemas"
    return Workshop(parts, Core(path=tmp_path / "core/0123456789abcdef", record={}))


def compiled(tree: Tree, tmp_path: Path, *names: str) -> Compiled:
    wanted = [program(tree, name) for name in names]
    return workshop(tree, tmp_path).make(wanted, 2, lambda _done, _total: None)


@pytest.mark.usefixtures("allow_subprocess")
def test_programs_are_compiled_once_and_linked_to_the_core(
    tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOG", str(tmp_path / "commands"))
    found = compiled(tree, tmp_path, "delegate/mean_test", "kernels/add_test")
    assert not found.faults
    assert sorted(path.name for path in found.paths.values()) == ["add_test", "mean_test"]
    commands = (tmp_path / "commands").read_text().splitlines()
    (mean,) = (c for c in commands if c.endswith("-lpthread") and "/mean_test" in c)
    assert "-pie" in mean.split()
    assert "-shared" not in mean.split()
    assert any(word.endswith("libtflite.so") for word in mean.split())
    (again,) = (c for c in commands if "lite/delegate/delegate.cc" in c)
    assert "-DTEST_MODE=1" in again
    assert "-O0" not in again
    assert "-DXNNPACK_DELEGATE_ENABLE_QS8=1" in again
    for source in (*GOOGLETEST, "lite/kernels/list.cc", "lite/delegate/mean_tester.cc"):
        assert len([c for c in commands if f"{source} " in c]) == 1, source
    assert compiled(tree, tmp_path, "delegate/mean_test").paths.keys() <= found.paths.keys()
    assert (tmp_path / "commands").read_text().splitlines() == commands


@pytest.mark.usefixtures("allow_subprocess")
def test_a_program_that_does_not_compile_is_a_fault_of_its_own(
    tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOG", str(tmp_path / "commands"))
    monkeypatch.setenv("FAIL", "lite/delegate/mean_tester.cc")
    found = compiled(tree, tmp_path, "delegate/mean_test", "kernels/add_test")
    assert [p.name for p in found.paths] == ["kernels/add_test"]
    assert found.faults == {program(tree, "delegate/mean_test"): "x.cc:1:1: error: wrong"}


@pytest.mark.usefixtures("allow_subprocess")
def test_what_all_need_and_cannot_be_compiled_is_an_error(
    tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOG", str(tmp_path / "commands"))
    monkeypatch.setenv("FAIL", "gtest-all.cc")
    with pytest.raises(CompileError, match=r"compiling gtest-all\.cc failed"):
        compiled(tree, tmp_path, "kernels/add_test")


def test_the_first_error_says_what_is_wrong() -> None:
    error = CompileError("compiling a failed:\nIn file b\nc.h:1: error: no d\ne: error: f")
    assert first_line(error) == "c.h:1: error: no d"
    assert first_line(CompileError("compiling a failed")) == "compiling a failed"


def test_some_programs_use_the_core_as_it_is(tree: Tree) -> None:
    assert program(tree, "delegate/mean_test").again == ("lite/delegate/delegate.cc",)
    assert program(tree, "delegate/abs_test").again == ()


def test_the_programs_that_are_asked_for(tree: Tree) -> None:
    def names(*patterns: str, everything: bool = False) -> list[str]:
        found = core_tests.chosen(tree.programs, patterns, everything=everything)
        return [p.name for p in found]

    assert names() == ["delegate/mean_test", "kernels/add_test"]
    assert len(names(everything=True)) == 4
    assert names("kernels/*") == ["kernels/add_test", "kernels/old_test"]
    with pytest.raises(UsageError, match="no such program"):
        names("kernels/none")


def test_each_program_has_an_outcome(
    tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add, old = program(tree, "kernels/add_test"), program(tree, "kernels/old_test")
    mean = program(tree, "delegate/mean_test")
    monkeypatch.setattr(core_tests, "run_program", lambda p, *_: [Outcome(f"{p.name}:A.a", PASSED)])
    place = workshop(tree, tmp_path)
    place.__dict__["library"] = tmp_path / "core.so"
    done = Compiled({add: tmp_path}, {mean: "x.cc:1: error: wrong"})
    found = core_tests.outcomes_of_programs([add, old, mean], done, place, 1)
    assert [(o.test, o.outcome) for o in found] == [
        ("kernels/add_test:A.a", PASSED),
        ("kernels/old_test:*", LEFT_OUT),
        ("delegate/mean_test:*", FAILED),
    ]
    report = Report(
        wheel="core",
        version=tree.plan.about((old, mean), [o.test for o in found]),
        test_sha256="0",
        environment={"googletest": "1.12.1"},
        outcomes=tuple(found),
    )
    (fault,) = report.faults
    assert fault.startswith("delegate/mean_test:* failed: it cannot be compiled: x.cc:1: error")
    console = Console(width=200, record=True, file=(tmp_path / "shown").open("w"))
    show_report(report, console, "C++ tests")
    text = console.export_text()
    assert "wants more" in text
    assert "FAILED delegate/mean_test:*" in text


def test_another_architecture_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert whole.main(["--native"]) == UsageError.exit_code
    assert "run them on such a machine" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--all"], ["--native", "a.whl"], ["--only", "a"]])
def test_options_that_do_not_go_together(words: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        whole.main(words)
    assert ended.value.code == 2


def test_the_shims_are_small() -> None:
    shims = list((TESTS_FILE.parent / "shim").rglob("*.h"))
    assert len(shims) == 6
    assert sum(len(path.read_text().splitlines()) for path in shims) < 120
