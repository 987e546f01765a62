"""What the processes of a night shift read their settings from, and how others find its server."""

import json
import os
from pathlib import Path

import psutil
import pytest
from pydantic import SecretStr

from config.handed_on import as_variables
from config.loading import load_settings
from config.night_shift import is_process, running_api_url, state_file
from config.prefect_env import prefect_api_url, use_demo_folder
from config.variables import NIGHT_SHIFT, SettingsError

URL = "http://127.0.0.1:4711/api"


def say(data_dir: Path, **state: object) -> None:
    state_file(data_dir).parent.mkdir(parents=True, exist_ok=True)
    state_file(data_dir).write_text(json.dumps(state))


def test_what_is_set_is_handed_on_and_read_as_it_was(
    clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (clean_environment / ".env").write_text(
        "FLUXHERO_RETENTION_DAYS=7\nFLUXHERO_AUTH_SECRET=hush\nFLUXHERO_ALERT_URLS=json://a json://b\n"
        "FLUXHERO_EVALUATION_WEIGHTS=speed=2,costs=1\nFLUXHERO_ALLOWED_HOSTS=a.example,b.example\n"
        "FLUXHERO_ARCHIVE_DIR=elsewhere\n"
    )
    before = load_settings()
    variables = as_variables(before)
    assert variables["FLUXHERO_AUTH_SECRET"] == "hush"
    assert variables["FLUXHERO_DATA_DIR"] == str(clean_environment / "data")
    assert "FLUXHERO_HOLD_DAYS" not in variables
    other = clean_environment / "checkout"
    other.mkdir()
    (other / ".env").write_text("FLUXHERO_RETENTION_DAYS=99\nFLUXHERO_HOLD_DAYS=1\nnot a line\n")
    monkeypatch.chdir(other)
    for name, value in {**variables, NIGHT_SHIFT: "token"}.items():
        monkeypatch.setenv(name, value)
    assert load_settings() == before


def test_its_mark_is_no_setting_and_others_are_still_refused(
    clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(NIGHT_SHIFT, "token")
    load_settings()
    monkeypatch.setenv("FLUXHERO_NIGHT_SHIFTS", "3")
    with pytest.raises(SettingsError, match="FLUXHERO_NIGHT_SHIFTS is not a setting"):
        load_settings()


def test_the_demo_stays_a_process_of_it(
    clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "environ", os.environ.copy())
    os.environ[NIGHT_SHIFT] = "token"
    use_demo_folder(clean_environment / "demo")
    assert os.environ[NIGHT_SHIFT] == "token"


def test_secrets_of_a_list_are_handed_on() -> None:
    from config.handed_on import _text

    assert _text((SecretStr("a://x"), SecretStr("b://y"))) == "a://x b://y"


def test_a_running_one_is_found(clean_environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_HOME", str(clean_environment))
    data_dir = clean_environment / "data"
    mine = psutil.Process().create_time()
    say(data_dir, pid=os.getpid(), created=mine, api_url=URL)
    assert running_api_url(data_dir) == URL
    assert prefect_api_url() == URL
    assert prefect_api_url(data_dir) == URL
    monkeypatch.setenv("PREFECT_API_URL", "http://mine.example/api/")
    assert prefect_api_url() == "http://mine.example/api"


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "null",
        '{"pid": 1}',
        '{"pid": "x", "created": 1, "api_url": ""}',
        '{"pid": -4, "created": 1, "api_url": "x"}',
        '{"pid": 1, "created": 12.5, "api_url": "x"}',
    ],
)
def test_what_cannot_be_believed_is_as_if_there_were_none(tmp_path: Path, content: str) -> None:
    assert running_api_url(tmp_path) is None
    say(tmp_path)
    state_file(tmp_path).write_text(content)
    assert running_api_url(tmp_path) is None


def test_a_pid_that_is_used_again_is_another_process() -> None:
    created = psutil.Process().create_time()
    assert is_process(os.getpid(), created)
    assert not is_process(os.getpid(), created - 60)
