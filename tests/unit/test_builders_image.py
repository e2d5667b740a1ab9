"""What an image under construction needs: packages, certificates."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from builders import image
from builders.image import CA_VARIABLES, OFFLINE_VARIABLE, main, network_variables, pip_command

ROOT = Path(__file__).parent.parent.parent


def test_without_secrets_nothing_is_set(tmp_path: Path) -> None:
    assert network_variables(tmp_path / "secrets", tmp_path) == {}
    assert list(tmp_path.iterdir()) == []


def test_a_certificate_is_trusted_besides_the_usual_ones(tmp_path: Path) -> None:
    (tmp_path / "ca").write_text("-- ours --")
    variables = network_variables(tmp_path, tmp_path)
    assert set(variables) == set(CA_VARIABLES)
    (bundle,) = set(variables.values())
    text = Path(bundle).read_text()
    assert Path(bundle).parent == tmp_path
    assert text.endswith("-- ours --")
    assert "-----BEGIN CERTIFICATE-----" in text


def test_pips_configuration_is_used_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "pip").write_text("[global]\nindex-url = https://index.example/simple\n")
    assert network_variables(tmp_path, tmp_path) == {"PIP_CONFIG_FILE": str(tmp_path / "pip")}


@pytest.mark.parametrize(("value", "offline"), [("1", True), ("0", False), ("", False)])
def test_offline_pip_takes_the_shelfs_wheels_alone(value: str, offline: bool) -> None:
    command = pip_command(Path("requirements.txt"), {OFFLINE_VARIABLE: value})
    assert "--require-hashes" in command
    assert ("--no-index" in command) is offline
    assert ("/shelf/wheels" in command) is offline


def test_wrong_usage_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["remove", "x"]) == 2
    assert "install REQUIREMENTS" in capsys.readouterr().err


@pytest.mark.usefixtures("allow_subprocess")
def test_a_failing_pip_is_a_missing_toolchain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [sys.executable, "-c", "raise SystemExit(1)"]
    monkeypatch.setattr(image, "pip_command", lambda *_: command)
    assert main(["install", str(tmp_path / "requirements.txt")]) == image.NO_TOOLCHAIN
    command[-1] = ""
    assert main(["install", str(tmp_path / "requirements.txt")]) == 0


@pytest.mark.usefixtures("allow_subprocess")
def test_it_needs_nothing_that_it_has_yet_to_install() -> None:
    ask = (
        "import sys; sys.path.insert(0, sys.argv[1]); import builders.image\n"
        "print(sorted(m for m in sys.modules if m.startswith('builders')))"
    )
    command = [sys.executable, "-I", "-S", "-c", ask, str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "['builders', 'builders.image']"
