"""`./scripts/publish` and `./scripts/verify` as they are typed."""

from __future__ import annotations

from pathlib import Path

import pytest
from publish_samples import CP39, CP312, HOSTING, MATRIX, Place, wheel_of, write_wheel

from builders.errors import PublishError, UsageError
from builders.matrix import Target
from builders.native import NativeRunner
from ci.commands import publish as command
from ci.commands import verify as verify_command
from ci.publish.tree import Tree

NAME, DATA = wheel_of(CP312)
NAME39, _ = wheel_of(CP39)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    place = Place(tmp_path)
    for module in (command, verify_command):
        monkeypatch.setattr(module, "WHEELS", place.wheels)
        monkeypatch.setattr(module, "README", place.readme)
    monkeypatch.setattr(command, "find_hosting", lambda: HOSTING)
    monkeypatch.setattr(verify_command, "find_signers", list)
    return place


def publish(*arguments: str | Path) -> int:
    return command.main([str(argument) for argument in arguments])


def test_all_wheels_of_a_folder_are_published(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    write_wheel(place.dist, CP312)
    write_wheel(place.dist, CP39)
    assert publish("--from", place.dist) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [f"publish {NAME39}", f"publish {NAME}"]
    assert lines[2].endswith("2 wheels are current. Look with `git status`, then commit")
    assert verify_command.main([]) == 0
    assert "2 current wheels, 2 in the index" in capsys.readouterr().out
    assert publish("--from", place.dist) == 0
    assert capsys.readouterr().out == "nothing to do: all of this is published already\n"


def test_named_wheels_only_are_published(place: Place) -> None:
    wheel = write_wheel(place.dist, CP312)
    write_wheel(place.dist, CP39)
    assert publish(wheel) == 0
    assert (place.wheels / NAME).exists()
    assert not (place.wheels / NAME39).exists()


def test_a_plan_says_what_would_be_done(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    before = place.snapshot()
    assert publish(write_wheel(place.dist, CP312), "--plan") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"publish {NAME}"
    written = {
        f"wheels/{NAME}",
        "wheels/SHA256SUMS",
        "wheels/hosting.json",
        "WHEELS.md",
        "README.md",
    }
    assert {f"write   {path}" for path in written} < set(lines)
    assert place.snapshot() == before


def test_a_wheel_is_yanked_retired_and_removed_by_its_name_or_path(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(write_wheel(place.dist, CP312), write_wheel(place.dist, CP39))
    capsys.readouterr()
    assert publish("--yank", NAME, "--retire", place.wheels / NAME39, "--reason", "crashes") == 0
    assert capsys.readouterr().out.splitlines()[:2] == [
        f"retired {NAME39}: crashes",
        f"yanked {NAME}: crashes",
    ]
    assert publish("--remove", NAME, "--reason", "leaks", "--plan") == 0
    assert f"delete  wheels/{NAME}\n" in capsys.readouterr().out
    assert publish("--remove", NAME, "--reason", "leaks") == 0
    assert not (place.wheels / NAME).exists()
    assert verify_command.main([]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--yank", NAME], "without a reason; give one line with --reason"),
        (["--yank", "x.whl", "--reason", "r"], "x.whl is not published"),
        (["--reason", "r"], "--reason is of --retire, --yank or --remove"),
        (["--from", "nowhere"], "nowhere has no wheels; ./scripts/build makes some"),
        (["nowhere/x.whl"], "nowhere/x.whl: No such file"),
    ],
)
def test_wrong_usage_is_one_line_and_changes_nothing(
    place: Place, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    publish(write_wheel(place.dist, CP312))
    before = place.snapshot()
    assert publish(*arguments) == UsageError.exit_code
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert place.snapshot() == before


def test_a_refused_wheel_has_an_exit_code_of_its_own(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    wheel = write_wheel(place.dist, CP312, {"smoke": None})
    assert publish(wheel) == PublishError.exit_code
    assert "has no record of its smoke" in capsys.readouterr().err


def test_a_damaged_file_fails_verifying_and_is_named(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(write_wheel(place.dist, CP312))
    (place.wheels / NAME).write_bytes(DATA + b"\0")
    assert verify_command.main([]) == PublishError.exit_code
    assert f"  {NAME}: is not what was published: SHA-256" in capsys.readouterr().err


def test_a_document_that_lags_behind_fails_verifying_until_it_is_refreshed(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(write_wheel(place.dist, CP312))
    text = place.page.read_text()
    place.page.write_text(text.replace("2.17", "2.99"))
    assert verify_command.main([]) == PublishError.exit_code
    assert "--refresh` writes it anew" in capsys.readouterr().err
    assert publish("--refresh") == 0
    assert place.page.read_text() == text


def test_an_interrupted_publish_is_finished_first(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Tree, "finish", lambda _self: False)
        publish(write_wheel(place.dist, CP312))
    capsys.readouterr()
    publish("--refresh", "--plan")
    assert capsys.readouterr().out.startswith("finish  the publish that was interrupted\n")
    publish("--refresh")
    assert capsys.readouterr().out.startswith("finished the publish that was interrupted\n")
    assert verify_command.main([]) == 0


def test_a_rebuild_is_compared(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # A rebuild is of what the matrix makes by now.
    wheel = write_wheel(place.dist, MATRIX.target(CP312.identifier))
    publish(wheel)
    origins = []

    def build(self: NativeRunner, _target: Target) -> Path:
        origins.append(self.origin)
        return wheel

    monkeypatch.setattr(NativeRunner, "wheel", build)
    assert verify_command.main(["--rebuild"]) == 0
    assert f"{wheel.name}: same bytes\n" in capsys.readouterr().out
    wheel.write_bytes((place.dist / write_wheel(place.dist, CP39).name).read_bytes())
    assert verify_command.main(["--rebuild"]) == PublishError.exit_code
    assert "a rebuild gave other wheels:" in capsys.readouterr().err
    assert origins == ["debian", "debian"]


def test_where_nothing_is_published_there_is_nothing_to_rebuild(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    assert publish("--refresh") == 0
    assert verify_command.main(["--rebuild"]) == 0
    assert capsys.readouterr().out.endswith("there is no current wheel to rebuild\n")
    assert (place.wheels / "manifest.json").exists()


@pytest.mark.parametrize("main", [command.main, verify_command.main])
def test_help_has_examples_and_exit_codes(main: object, capsys: pytest.CaptureFixture[str]) -> None:
    assert callable(main)
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    text = capsys.readouterr().out
    assert "examples:" in text
    assert "12 may not be published, or is not what was published" in text
