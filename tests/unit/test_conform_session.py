"""Models that crash, hang or corrupt memory: each is named, and none hides the others."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from conform_samples import entry
from smoke_samples import Nowhere, site_of

from smoke_lambda.conform import session
from smoke_lambda.conform.run import conform
from smoke_lambda.conform.session import HEAP_CHECKS, Corpus, Session
from smoke_lambda.conform.settings import load_settings
from smoke_lambda.inside.conform import MARK
from smoke_lambda.inside.conform.corpus import Index
from smoke_lambda.inside.probing import NO_VARIABLES
from smoke_lambda.limits import Limits
from smoke_lambda.site import silent
from smoke_lambda.train.writing import write_corpus

ENTRIES = [entry(f"m{number}.float32") for number in range(5)]
MODELS = Index("2.14.1", tuple(e.model for e in ENTRIES)).models
START = {"python": "3.12.1", "numpy": "2.0.0", "heap_is_checked": True}
FINE: dict[str, Any] = {"failures": [], "delegated": [1, 2], "grown_bytes": 0, "seconds": 0.1}

Act = Callable[[str, list[str]], str]


class Here(Nowhere):
    """A place whose probe is a function of a model and of those before it in the process."""

    def __init__(self, act: Act) -> None:
        self.act = act
        self.jobs: list[dict[str, Any]] = []

    def shown(self, file: Path) -> str:
        return str(file)

    def look(
        self,
        module: str,
        *arguments: str,
        limits: Limits | None = None,
        timeout: float = 0,
        variables: Mapping[str, str] = NO_VARIABLES,
    ) -> tuple[int | None, str]:
        assert (module, limits) == ("smoke_lambda.inside.conform.probe", session.LIMITS)
        assert timeout >= 20
        assert variables == HEAP_CHECKS
        job = json.loads(Path(arguments[0]).read_text())
        self.jobs.append(job)
        lines = [MARK + json.dumps(START), "INFO: Created TensorFlow Lite XNNPACK delegate"]
        for number, name in enumerate(job["models"]):
            lines.append(MARK + json.dumps({"model": name, "stage": "1 thread, case 0"}))
            ended = self.act(name, job["models"][:number])
            if ended.startswith("wrong: "):
                failure = {"what": "wrong answer", "detail": ended[len("wrong: ") :]}
                found = FINE | {"failures": [failure]}
                lines.append(MARK + json.dumps({"model": name, "found": found}))
                continue
            if ended:
                lines.append(ended)
                return None if ended == "hangs" else -6, "\n".join(lines)
            lines.append(MARK + json.dumps({"model": name, "found": FINE}))
        lines.append(MARK + json.dumps({"end": True}))
        return 0, "\n".join(lines)


def ran(tmp_path: Path, act: Act, emulated: bool = False) -> tuple[Session, Here]:
    folder = tmp_path / "corpus"
    write_corpus(folder, "2.14.1", ENTRIES)
    here = Here(act)
    corpus = Corpus(
        folder=folder,
        part="whole",
        models=MODELS,
        delegated=None,
        digest="d" * 64,
        tolerances={"float32": {"absolute": 0.1}},
    )
    made = Session(
        corpus=corpus, place=here, emulated=emulated, module="x.interpreter", on_step=silent
    )
    made.run()
    return made, here


def names(jobs: list[dict[str, Any]]) -> list[list[str]]:
    return [[name.split(".")[0] for name in job["models"]] for job in jobs]


def test_all_is_well(tmp_path: Path) -> None:
    found, here = ran(tmp_path, lambda _name, _before: "")
    assert found.start == START
    assert list(found.models) == [model.name for model in MODELS]
    assert not found.failures
    (job,) = here.jobs
    assert (job["module"], job["corpus"]) == ("x.interpreter", str(tmp_path / "corpus"))
    assert job["threads"] == [1, 2, 4]
    assert job["memory"]["calls"] == 200


def test_a_crash_has_the_name_of_its_model_and_the_others_go_on(tmp_path: Path) -> None:
    def act(name: str, _before: list[str]) -> str:
        return "free(): invalid next size (normal)" if name in ("m0.float32", "m3.float32") else ""

    found, here = ran(tmp_path, act)
    assert names(here.jobs) == [
        ["m0", "m1", "m2", "m3", "m4"],
        ["m1", "m2", "m3", "m4"],
        ["m3"],
        ["m4"],
    ]
    assert [str(failure) for failure in found.failures] == [
        "m0.float32: crash -6 (SIGABRT): 1 thread, case 0: free(): invalid next size (normal)",
        "m3.float32: crash -6 (SIGABRT): 1 thread, case 0: free(): invalid next size (normal)",
    ]
    assert [*found.models] == ["m1.float32", "m2.float32", "m4.float32"]


def test_a_model_that_runs_alone_is_not_the_culprit(tmp_path: Path) -> None:
    found, _ = ran(
        tmp_path, lambda name, before: "corrupted" if name == "m2.float32" and before else ""
    )
    (failure,) = found.failures
    assert failure.model == "m2.float32"
    assert "alone it runs; in that process was before it m1.float32" in failure.detail


def test_a_model_that_hangs(tmp_path: Path) -> None:
    found, _ = ran(tmp_path, lambda name, _before: "hangs" if name == "m1.float32" else "")
    assert [(f.model, f.what) for f in found.failures] == [("m1.float32", "hangs")]
    assert len(found.models) == 4


def test_a_runtime_that_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def look(*_: object, **__: object) -> tuple[int, str]:
        return 1, "Traceback\nImportError: no such symbol\n"

    monkeypatch.setattr(Here, "look", look)
    found, _ = ran(tmp_path, lambda _name, _before: "")
    (failure,) = found.failures
    assert str(failure) == "the runtime: does not start: ImportError: no such symbol"


def test_a_crash_at_the_end_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    look = Here.look
    monkeypatch.setattr(Here, "look", lambda *a, **k: (-11, look(*a, **k)[1]))
    found, _ = ran(tmp_path, lambda _name, _before: "")
    assert [(f.model, f.what) for f in found.failures] == [("m4.float32", "crash -11 (SIGSEGV)")]


def test_an_emulator_has_more_time_and_its_memory_is_not_watched(tmp_path: Path) -> None:
    _, here = ran(tmp_path, lambda _name, _before: "", emulated=True)
    assert here.jobs[0]["memory"] is None


def test_the_report(tmp_path: Path) -> None:
    wheel = tmp_path / "some.whl"
    wheel.write_bytes(b"wheel")
    folder = tmp_path / "corpus"
    write_corpus(folder, "2.14.1", ENTRIES)
    corpus = Corpus(
        folder=folder,
        part="whole",
        models=MODELS,
        delegated={
            "m0.float32": (1, 2),
            "m1.float32": (2, 2),
            "m2.float32": (0, 2),
            "m3.float32": (1, 3),
        },
        digest="d" * 64,
        tolerances={},
    )
    here = Here(lambda name, _before: "double free" if name == "m4.float32" else "")
    report, nodes = conform(
        site_of(tmp_path, lambda _numpy: here),
        here,
        corpus,
        tensorflow="2.14.1",
        module="x",
        on_step=silent,
    )
    assert not report.ok
    assert (report.models, report.asked, report.versions) == (5, 5, 2)
    assert report.operators == ("ADD", "RELU")
    assert "CONV_2D" in report.uncovered
    assert "ADD" not in report.uncovered
    assert [str(failure) for failure in report.failures] == [
        "m1.float32: not delegated: expected 2 of 2 nodes, found 1",
        "m3.float32: not delegated: expected a graph of 3 nodes, found 2: "
        "use --write-delegated again",
        "m4.float32: crash -6 (SIGABRT): 1 thread, case 0: double free",
    ]
    assert report.notes == ("m2.float32: expected 0 of 2 nodes, found 1",)
    assert (report.delegated, report.nodes, report.delegated_share) == (4, 8, 0.5)
    assert nodes["m0.float32"] == (1, 2)
    found = report.as_json()
    assert found["heap_checked"]
    assert found["failures"][0]["flavour"] == "float32"
    assert json.loads(json.dumps(found))["ok"] is False


def test_a_wrong_answer_that_does_not_come_again_says_so(tmp_path: Path) -> None:
    def act(name: str, before: list[str]) -> str:
        if name == "m3.float32":
            return "wrong: 1 thread: always"
        return "wrong: 2 threads: once" if name == "m1.float32" and before else ""

    found, here = ran(tmp_path, act)
    assert names(here.jobs) == [["m0", "m1", "m2", "m3", "m4"], ["m1"], ["m3"]]
    details = [said["failures"][0]["detail"] for said in found.models.values() if said["failures"]]
    assert details == [
        "2 threads: once (alone, this did not come again)",
        "1 thread: always",
    ]


def test_a_crash_keeps_what_was_found_before(tmp_path: Path) -> None:
    """A known abort of upstream's hides no other failure."""
    model = MODELS[0].name
    output = "\n".join(
        [
            MARK + json.dumps(START),
            MARK + json.dumps({"model": model, "stage": "1 thread"}),
            MARK
            + json.dumps(
                {"model": model, "found": FINE | {"failures": [{"what": "x", "detail": "y"}]}}
            ),
            MARK + json.dumps({"model": model, "stage": "reference kernels: load"}),
        ]
    )
    found, _ = ran(tmp_path, lambda _name, _before: "")
    failure, done = found._read(MODELS[:1], -6, output)
    assert done == 1
    assert str(failure).startswith("m0.float32: crash -6 (SIGABRT): reference kernels: load")
    assert found.models[model]["failures"] == [{"what": "x", "detail": "y"}]


class Growing(Nowhere):
    """A place where the growing of a model ends as the test asks."""

    def __init__(self, status: int | None, said: str) -> None:
        self.ends = (status, said)
        self.asked: list[str] = []

    def look(
        self,
        module: str,
        *arguments: str,
        limits: Limits | None = None,  # noqa: ARG002 - as other places have it
        timeout: float = 0,  # noqa: ARG002
        variables: Mapping[str, str] = NO_VARIABLES,  # noqa: ARG002
    ) -> tuple[int | None, str]:
        self.asked = [module, *arguments]
        return self.ends


def told(wrong: int) -> str:
    return MARK + json.dumps({"runs": 100, "wrong": wrong, "sizes": [7] * wrong})


@pytest.mark.parametrize(
    ("status", "said", "failures"),
    [
        (0, told(0), []),
        (0, told(2), [("wrong answer", "2 of 100 batches that grew, as of sizes [7, 7]")]),
        (None, "", [("hangs", "growing: it said nothing")]),
        (-11, "free(): invalid", [("crash -11 (SIGSEGV)", "growing: free(): invalid")]),
    ],
)
def test_a_batch_that_grows(
    tmp_path: Path, status: int | None, said: str, failures: list[tuple[str, str]]
) -> None:
    place = Growing(status, said)
    (tmp_path / "index.json").touch()
    place.shown = lambda file: str(file)  # type: ignore[method-assign]
    corpus = Corpus(
        folder=tmp_path,
        part="whole",
        models=[],
        delegated=None,
        digest="",
        tolerances={},
        growing=MODELS[1],
    )
    made = Session(corpus=corpus, place=place, emulated=False, module="x.y", on_step=silent)
    made.run()
    assert [(each.what, each.detail) for each in made.failures] == failures
    assert all(each.model == MODELS[1].name for each in made.failures)
    seconds = str(load_settings().growing.seconds)
    assert place.asked == [session.GROWING, "x.y", str(tmp_path), MODELS[1].name, seconds]
