"""`edgekit.toml`: values that the command line did not give, and what is said of wrong ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgekit.cli import COMMANDS, cli, run_command_line
from edgekit.cli.settings import load_settings
from edgekit.errors import BundleError, CalibrationError, CheckpointError, SettingsError
from tests.conversion.conversions import small_checkpoint


def write(folder: Path, text: str) -> None:
    (folder / "edgekit.toml").write_text(text, encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def invoke(*arguments: str) -> str:
    """What the command said, standard error included, up to the error that is raised."""
    result = CliRunner().invoke(cli, list(arguments), catch_exceptions=False)
    return result.output


def test_without_a_file_there_are_none(folder: Path) -> None:
    assert load_settings(COMMANDS) == {}


def test_one_table_a_command(folder: Path) -> None:
    write(folder, '[convert]\ncheckpoint = "a.pth"\ninput-size = 96\n[run]\ncamera = 0\n')
    expected = {"convert": {"checkpoint": "a.pth", "input_size": 96}, "run": {"camera": 0}}
    assert load_settings(COMMANDS) == expected
    assert load_settings(COMMANDS, folder) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[convert", r"edgekit\.toml is not valid TOML: Expected ']'"),
        ('[transform]\nx = "y"', r"has 'transform' at its top: expected .*\[models\], \[inspect\]"),
        ('checkpoint = "a.pth"', "has 'checkpoint' at its top: expected one table a command"),
        ('convert = "a.pth"', "has 'convert' at its top"),
    ],
)
def test_wrong_files(folder: Path, text: str, words: str) -> None:
    write(folder, text)
    with pytest.raises(SettingsError, match=words) as info:
        load_settings(COMMANDS)
    assert "\n" not in str(info.value)


def test_a_file_that_is_no_text(folder: Path) -> None:
    (folder / "edgekit.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="is not valid TOML"):
        load_settings(COMMANDS)


def test_a_wrong_file_is_one_line_and_exit_1(folder: Path) -> None:
    write(folder, "[convert")
    result = subprocess.run(
        [sys.executable, "-m", "edgekit", "models"], capture_output=True, text=True
    )
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("edgekit: edgekit.toml is not valid TOML")
    assert result.stderr.count("\n") == 1


def test_values_are_used_and_their_origin_is_told(folder: Path) -> None:
    write(folder, f'[inspect]\nfile = "{small_checkpoint()}"\ninput_size = 64\n')
    assert "64x64" in invoke("inspect")
    assert "96x96" in invoke("inspect", "--input-size", "96")


def test_convert_says_that_its_checkpoint_comes_from_the_file(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write(folder, '[convert]\ncheckpoint = "nope.pth"\ncalibration = "photos"\n')
    with pytest.raises(CheckpointError, match=r"nope\.pth does not exist"):
        cli.main(["convert"], standalone_mode=False)
    assert "checkpoint nope.pth (edgekit.toml)" in capfd.readouterr().err
    with pytest.raises(CheckpointError, match=r"other\.pth does not exist"):
        cli.main(["convert", "other.pth"], standalone_mode=False)
    assert "checkpoint other.pth (command line)" in capfd.readouterr().err


def test_the_file_gives_no_calibration_images_to_another_checkpoint(folder: Path) -> None:
    write(folder, '[convert]\nprecision = "int8"\n')
    with pytest.raises(CalibrationError, match="int8 needs images to calibrate on"):
        cli.main(["convert", str(small_checkpoint())], standalone_mode=False)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('input_size = "large"', "Invalid value for '--input-size': size 'large' is not known"),
        ("input_size = 7", "Invalid value for '--input-size': 7 is out of range: expected sides"),
        ('precision = "int4"', "Invalid value for '--precision': 'int4' is not one of 'int8', 'fp"),
        ("precision = 8", "Invalid value for '--precision'"),
        ('no-reference = "perhaps"', "Invalid value for '--no-reference': 'perhaps' is not a"),
        ('width = "wide"', "Invalid value for '--width'"),
    ],
)
def test_values_of_a_wrong_type_are_usage_errors(folder: Path, line: str, words: str) -> None:
    write(folder, f"[convert]\n{line}\n")
    result = CliRunner().invoke(cli, ["convert", "a.pth"])
    assert result.exit_code == 2
    assert words in result.output


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("calibratoin = 3", r"'calibratoin' in \[convert\]: expected one of activation, arch, ba"),
        ("arch = [[1]]", r"has a list for 'arch' in \[convert\]: expected text or a number$"),
        ("input_size = [224]", r"has a list for 'input_size' in \[convert\]: expected text or"),
        ("input_size = true", r"has true for 'input_size' in \[convert\]: expected text or a"),
        ('arch = {url = "rtsp://u:SECRET@h"}', r"has a table for 'arch' in \[convert\]: expected"),
    ],
)
def test_unknown_keys_and_odd_values_are_refused(folder: Path, line: str, words: str) -> None:
    write(folder, f"[convert]\n{line}\n")
    with pytest.raises(SettingsError, match=words):
        cli.main(["convert", "a.pth"], standalone_mode=False)


@pytest.mark.conversion
def test_json_and_lists_may_be_set(folder: Path) -> None:
    write(folder, '[models]\njson = true\n[benchmark]\nbundle = ["a.edgekit", "b.edgekit"]\n')
    assert invoke("models").startswith("{")
    with pytest.raises(BundleError, match=r"a\.edgekit"):
        cli.main(["benchmark"], standalone_mode=False)


def test_a_single_value_where_several_may_stand(folder: Path) -> None:
    write(folder, '[benchmark]\nbundle = "a.edgekit"\n')
    with pytest.raises(BundleError, match=r"a\.edgekit"):
        cli.main(["benchmark"], standalone_mode=False)


def test_an_address_under_the_wrong_key_keeps_its_password(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    write(folder, '[run]\nmax-age = "rtsp://u:hunter2@h"\n')
    monkeypatch.setattr("sys.argv", ["edgekit", "run"])
    assert run_command_line() == 2
    error = capfd.readouterr().err
    assert "hunter2" not in error and "rtsp://***@h" in error


def test_a_working_folder_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert load_settings(COMMANDS) == {}
