"""The command line: what it prints, where to, and with which status."""

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from homeserver.cli import app
from homeserver.config.example import example_file

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings but those of the test."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("HEARTH")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", "100")


def hearth(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments, prog_name="hearth")


@pytest.mark.parametrize(
    "command",
    [
        (),
        ("config",),
        ("config", "check"),
        ("config", "show"),
        ("version",),
        ("room", "purge"),
        ("appservice", "check"),
        ("appservice", "test"),
    ],
)
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_shows_examples(command: tuple[str, ...], option: str) -> None:
    result = hearth(*command, option)
    assert result.exit_code == 0
    assert f"Usage: {' '.join(['hearth', *command])}" in result.output
    examples = result.output.partition("Examples:")[2].split("\n")
    assert any(line.strip().startswith(f"hearth {' '.join(command)}".strip()) for line in examples)


@pytest.mark.parametrize("arguments", [["conifg"], ["--nope"], ["config", "check", "--nope"]])
def test_wrong_usage(arguments: list[str]) -> None:
    result = hearth(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Usage: hearth" in result.stderr


def test_version() -> None:
    assert hearth("version").stdout.startswith(f"Hearth {version('hearth')} on Python 3.")
    assert json.loads(hearth("version", "--json").stdout)["hearth"] == version("hearth")


def test_example() -> None:
    assert hearth("config", "example").stdout == example_file()


def test_check() -> None:
    Path("hearth.yaml").write_text("server_name: example.org\nrate_limits: {enabled: off}\n")
    result = hearth("config", "check")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == (
        "The settings of example.org, from hearth.yaml, are good.\n"
        "  mind rate_limits.enabled: anybody can guess passwords and keep the server busy\n"
    )
    assert json.loads(hearth("config", "check", "--json").stdout) == {
        "ok": True,
        "server_name": "example.org",
        "warnings": ["rate_limits.enabled: anybody can guess passwords and keep the server busy"],
    }


@pytest.mark.parametrize("command", ["check", "show"])
def test_wrong_settings(command: str) -> None:
    Path("other.yaml").write_text("server_name: example.org\nworkers: x\nworkrs: 2\n")
    result = hearth("config", command, "-c", "other.yaml")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        "2 settings are wrong:\n"
        "\n"
        "workrs: no such setting; did you mean workers? (other.yaml, line 3)\n"
        "workers: not a whole number; found 'x' (other.yaml, line 2)\n"
        "    for example: workers: 1\n"
        "\n"
        "`hearth config example` prints all settings and what they mean.\n"
    )


def test_wrong_settings_for_scripts() -> None:
    result = hearth("config", "check", "--json")
    assert (result.exit_code, result.stderr) == (2, "")
    assert json.loads(result.stdout) == {
        "ok": False,
        "problems": [
            {
                "path": "server_name",
                "reason": "missing",
                "found": None,
                "where": "the environment",
                "example": "server_name: example.org",
            }
        ],
    }


def test_absent_file() -> None:
    result = hearth("config", "check", "--config", "absent.yaml")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "absent.yaml cannot be read (No such file or directory)" in result.stderr


def test_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEARTH__SERVER_NAME", "example.org")
    monkeypatch.setenv("HEARTH__REGISTRATION__SHARED_SECRET", "hush")
    shown = yaml.safe_load(hearth("config", "show").stdout)
    assert shown == json.loads(hearth("config", "show", "--json").stdout)
    assert shown["server_name"] == "example.org"
    assert shown["registration"]["shared_secret"] == "(hidden)"
    assert shown["media"]["max_upload"] == "50M"


def test_the_file_that_a_variable_names(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("other.yaml").write_text("server_name: example.net\n")
    monkeypatch.setenv("HEARTH_CONFIG", "other.yaml")
    assert "settings of example.net, from other.yaml, are" in hearth("config", "check").stdout


@pytest.mark.parametrize(
    "command", [[sys.executable, "-m", "homeserver"], [str(Path(sys.executable).parent / "hearth")]]
)
def test_as_a_process(command: list[str]) -> None:
    environ = {**os.environ, "HEARTH__WORKERS": "0", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*command, "config", "check"], env=environ, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("2 settings are wrong:\n\nserver_name: missing")
    assert "Traceback" not in done.stderr
