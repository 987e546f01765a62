"""The systemd units: systemd itself accepts them, finds them confined, and they say what `fluxhero up` needs."""

import shutil
import subprocess
from configparser import RawConfigParser
from pathlib import Path

import pytest

from config.loading import load_settings
from fluxhero.night.shift import ENDS_WITHIN_SECONDS
from tests.command import check_arguments

FOLDER = Path(__file__).parents[2] / "deploy" / "systemd"
UNITS = sorted(FOLDER.glob("*.service"))
MOST_EXPOSED = 30  # of 100, the less the better; systemd calls 20 "ok" and 50 "medium"


@pytest.fixture
def analyze() -> str:
    found = shutil.which("systemd-analyze")
    if found is None:
        pytest.skip("no systemd-analyze here; Debian's package systemd has it")
    return found


def on_this_machine(unit: Path, folder: Path) -> Path:
    """The unit with the program and the user of a machine that nothing is installed on."""
    text = unit.read_text(encoding="utf-8")
    text = text.replace("/opt/fluxhero/.venv/bin/fluxhero", "/bin/true")
    text = text.replace("User=fluxhero", "User=daemon").replace("Group=fluxhero", "Group=daemon")
    path = folder / unit.name
    path.write_text(text, encoding="utf-8")
    return path


def test_there_are_a_whole_one_and_the_two_halves_of_it() -> None:
    assert {unit.stem for unit in UNITS} == {"fluxhero", "fluxhero-server", "fluxhero-worker"}


def test_systemd_accepts_them(analyze: str, tmp_path: Path) -> None:
    units = [str(on_this_machine(unit, tmp_path)) for unit in UNITS]
    done = subprocess.run(
        [analyze, "verify", "--man=no", *units], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_they_are_confined(analyze: str, tmp_path: Path, unit: Path) -> None:
    command = [analyze, "security", "--offline=yes", f"--threshold={MOST_EXPOSED}", "--no-pager"]
    done = subprocess.run(
        [*command, str(on_this_machine(unit, tmp_path))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_they_start_what_there_is_and_give_it_time_to_end(unit: Path) -> None:
    read = RawConfigParser(strict=False)
    read.read(unit, encoding="utf-8")
    service = read["Service"]
    program, *arguments = service["execstart"].split()
    assert program.endswith("/bin/fluxhero")
    check_arguments(arguments)
    assert int(service["timeoutstopsec"]) > ENDS_WITHIN_SECONDS
    assert service["killmode"] == "mixed"


def test_the_settings_of_the_example_exist(
    clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = (FOLDER / "fluxhero.env").read_text(encoding="utf-8").splitlines()
    pairs = [line.removeprefix("#").split("=", 1) for line in lines if "=" in line]
    given = {name: value for name, value in pairs if name.startswith("FLUXHERO_") and value}
    assert len(given) == 3
    (clean_environment / ".env").write_text("".join(f"{k}={v}\n" for k, v in given.items()))
    settings = load_settings(env_file=clean_environment / ".env")
    assert settings.prefect_host == given["FLUXHERO_PREFECT_HOST"]
