"""Runs upstream's test file against the wheel in a folder, inside TensorFlow's environment.

    python -I probe.py SITE TESTS RESULT PATTERN...

SITE is the folder in which the wheel is installed. TESTS is upstream's test file. The PATTERNs
name the tests to leave out. RESULT gets one JSON object per line: first "tests" and "environment",
then "test", "outcome" and "detail" each time a test starts or ends. So after a crash, RESULT tells
which test ran.

The test file stays as it is. Instead, the modules that it imports are replaced by the wheel's.
TensorFlow's converter imports them too, so `tf.lite.Interpreter` is the wheel's interpreter.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import platform
import sys
import traceback
import types
import unittest
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

# The modules that the tests import from TensorFlow's tree, and the wheel's modules that are the
# same files.
ALIASES = {
    "tensorflow.lite.python.interpreter": "tflite_runtime.interpreter",
    "tensorflow.lite.python.metrics.metrics": "tflite_runtime.metrics_portable",
}
# The package of the module that is compiled for the tests. TensorFlow's wheel does not have it.
TESTDATA = "tensorflow.lite.python.testdata"
UNDER_TEST = "interpreter_wrapper"
"""The name that upstream's tests give to the interpreter's module."""

Note = Callable[[str, str, str], None]


def alias_imports(testdata: Path) -> None:
    """Make imports of TensorFlow's modules give the wheel's, and imports of testdata the folder."""
    for name, ours in ALIASES.items():
        sys.modules[name] = importlib.import_module(ours)
    package = types.ModuleType(TESTDATA)
    package.__path__ = [str(testdata)]
    sys.modules[TESTDATA] = package


def name_of(test: Any) -> str:  # noqa: ANN401 - unittest's stand-ins for tests, too
    """Return the class and the function of a test, such as `Class.function`."""
    name: str = test.id()
    return name.partition(".")[2] or name


class Recorder(unittest.TestResult):
    """Reports the outcome of each test as soon as it is known."""

    def __init__(self, note: Note) -> None:
        super().__init__()
        self.note = note

    def startTest(self, test: unittest.TestCase) -> None:  # noqa: N802
        """See unittest.TestResult, for this method and those below."""
        super().startTest(test)
        self.note(name_of(test), "started", "")

    def addSuccess(self, test: unittest.TestCase) -> None:  # noqa: N802, D102
        self.note(name_of(test), "passed", "")

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:  # noqa: N802, D102
        self.note(name_of(test), "skipped", reason)

    def addError(self, test: unittest.TestCase, err: Any) -> None:  # noqa: ANN401, N802, D102
        traceback.print_exception(*err)
        self.note(name_of(test), "failed", "".join(traceback.format_exception_only(*err[:2])))

    addFailure = addError  # noqa: N815

    def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:  # noqa: ANN401, ARG002, N802, D102
        if err is not None:
            self.addError(test, err)

    def addExpectedFailure(self, test: unittest.TestCase, err: Any) -> None:  # noqa: ANN401, ARG002, N802, D102
        self.addSuccess(test)

    def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:  # noqa: N802, D102
        self.note(name_of(test), "failed", "passes, and upstream expects it to fail")


def each(suite: unittest.TestSuite) -> Iterator[unittest.TestCase]:
    """Yield the tests of a suite and of the suites inside it."""
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from each(test)
        else:
            yield test


def run(suite: unittest.TestSuite, left_out: Sequence[str], note: Note) -> None:
    """Run the tests of a suite, except those that match a pattern of `left_out`."""
    kept = unittest.TestSuite()
    for test in each(suite):
        if any(fnmatchcase(name_of(test), pattern) for pattern in left_out):
            note(name_of(test), "left out", "")
        else:
            kept.addTest(test)
    kept.run(Recorder(note))


def main(site: str, tests: str, result: str, *left_out: str) -> None:
    """Run the tests, and write the outcomes to the result file."""
    sys.path.insert(0, site)
    alias_imports(Path(tests).with_name("testdata"))
    spec = importlib.util.spec_from_file_location(Path(tests).stem, tests)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    suite = unittest.defaultTestLoader.loadTestsFromModule(module)
    environment = {
        "interpreter": getattr(module, UNDER_TEST).__file__,
        "python": platform.python_version(),
        "numpy": importlib.import_module("numpy").__version__,
        "tensorflow": importlib.import_module("tensorflow").__version__,
    }
    with Path(result).open("w", buffering=1) as file:

        def tell(**data: object) -> None:
            file.write(json.dumps(data) + "\n")

        def note(test: str, outcome: str, detail: str) -> None:
            tell(test=test, outcome=outcome, detail=" ".join(detail.split()))

        tell(tests=[name_of(test) for test in each(suite)], environment=environment)
        run(suite, left_out, note)


if __name__ == "__main__":
    main(*sys.argv[1:])
