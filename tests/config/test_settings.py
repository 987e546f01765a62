"""Settings: defaults, where values come from, and what a wrong one is told."""

from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import ValidationError

from config.loading import load_settings
from config.settings import Settings, SettingsError

pytestmark = pytest.mark.usefixtures("clean_environment")


def refused(**environment: str) -> str:
    """The message that these variables are refused with."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        with pytest.raises(SettingsError) as caught:
            load_settings()
    assert " → " in str(caught.value)
    assert caught.value.exit_status == 2
    return str(caught.value)


def test_defaults_need_no_environment(tmp_path: Path) -> None:
    settings = load_settings()
    assert settings.data_dir == tmp_path / "data"
    assert settings.archive_dir == tmp_path / "data/archive"
    assert settings.cache_dir == tmp_path / "data/cache"
    assert settings.store_kind == "duckdb"
    assert settings.store_path == tmp_path / "data/fluxhero.duckdb"
    assert settings.initial_capital == Decimal(100_000)
    assert settings.auth_secret is None
    assert settings.timezone.key == "UTC"


def test_folders_follow_the_data_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FLUXHERO_DATA_DIR", "elsewhere")
    monkeypatch.setenv("FLUXHERO_CACHE_DIR", "~/cache")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    settings = load_settings()
    assert settings.store_path == tmp_path / "elsewhere/fluxhero.duckdb"
    assert settings.archive_dir == tmp_path / "elsewhere/archive"
    assert settings.cache_dir == tmp_path / "home/cache"


@pytest.mark.parametrize(
    ("url", "kind", "path"),
    [
        ("duckdb:///hot.duckdb", "duckdb", "{cwd}/hot.duckdb"),
        ("sqlite:///bot/system.db", "sqlite", "{cwd}/bot/system.db"),
        ("sqlite:////srv/my bot/système.db", "sqlite", "/srv/my bot/système.db"),
    ],
)
def test_store_url(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, url: str, kind: str, path: str
) -> None:
    monkeypatch.setenv("FLUXHERO_STORE_URL", url)
    settings = load_settings()
    assert settings.store_kind == kind
    assert settings.store_path == Path(path.format(cwd=tmp_path))


@pytest.mark.parametrize(
    "url", ["hot.duckdb", "postgres:///x", "duckdb:///", "duckdb://x", "sqlite:///:memory:"]
)
def test_a_store_url_of_another_form_is_refused(url: str) -> None:
    message = refused(FLUXHERO_STORE_URL=url)
    assert f"FLUXHERO_STORE_URL={url}: should read duckdb:///path/to/file" in message


def test_a_store_that_is_a_folder_is_refused(tmp_path: Path) -> None:
    url = f"duckdb:///{tmp_path}"
    assert f"{url}: {tmp_path} is a folder; the store is a file" in refused(FLUXHERO_STORE_URL=url)


def test_an_absolute_path_that_lacks_its_slash_is_told_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    store = tmp_path / "system.db"
    mistyped = f"sqlite:///{str(store).removeprefix('/')}"
    monkeypatch.setenv("FLUXHERO_STORE_URL", mistyped)
    there = tmp_path / str(store).removeprefix("/")
    assert load_settings().store_path == there, "a store that may come yet"
    store.touch()
    expected = f"an absolute path has four slashes: sqlite:///{store} "
    assert expected in refused(FLUXHERO_STORE_URL=mistyped)
    there.parent.mkdir(parents=True)
    there.touch()
    assert load_settings().store_path == there


def test_the_environment_wins_over_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text(
        "# ours and others'\nexport FLUXHERO_RETENTION_DAYS=7\nFLUXHERO_HOLD_DAYS=9\nOTHER=1\n"
    )
    monkeypatch.setenv("FLUXHERO_HOLD_DAYS", "11")
    settings = load_settings()
    assert (settings.retention_days, settings.hold_days) == (7, 11)
    assert load_settings(env_file=None).retention_days == 30
    assert load_settings(retention_days=1).retention_days == 1


def test_empty_means_unset(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("FLUXHERO_RETENTION_DAYS=\nFLUXHERO_ALPACA_API_KEY=\n")
    monkeypatch.setenv("FLUXHERO_AUTH_SECRET", "")
    monkeypatch.setenv("FLUXHERO_ARCHIVE_DIR", "")
    settings = load_settings()
    assert settings.retention_days == 30
    assert settings.auth_secret is None
    assert settings.alpaca_api_key is None
    assert settings.archive_dir == tmp_path / "data/archive"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("RETENTION_DAYS", "-1", "greater than or equal to 0"),
        ("RETENTION_DAYS", "soon", "valid integer"),
        ("RETENTION_DAYS", "99999999999", "less than or equal to 36500"),
        ("HOLD_DAYS", "1" + "0" * 30, "less than or equal to 36500"),
        ("BATCH_ROWS", "0", "greater than or equal to 1"),
        ("BATCH_ROWS", "1" + "0" * 30, "less than or equal to 10000000"),
        ("LOCK_TIMEOUT_SECONDS", "1e300", "less than or equal to 604800"),
        ("LOCK_TIMEOUT_SECONDS", "nan", "finite"),
        ("INITIAL_CAPITAL", "0", "greater than 0"),
        ("INITIAL_CAPITAL", "NaN", "finite"),
        ("INITIAL_CAPITAL", "1e400", "less than or equal to 1000000000000000"),
        ("MAX_OPEN_POSITIONS", "1" + "0" * 400, "less than or equal to 1000000"),
        ("MAX_RISK_PCT_TREND", "1.5", "less than or equal to 1"),
        ("CORRELATION_THRESHOLD", "0", "greater than 0"),
        ("DRAWDOWN_CRITICAL_PCT", "0.1", "should not be below FLUXHERO_DRAWDOWN_WARNING_PCT=0.15"),
        ("SOURCE_TIMEZONE", "Mars/Olympus", "IANA time zone"),
        ("SOURCE_TIMEZONE", "../UTC", "IANA time zone"),
        ("ALPACA_API_URL", "paper-api.alpaca.markets", "https://host"),
        ("API_PORT", "70000", "less than or equal to 65535"),
        ("CORS_ORIGINS", "https://ok.example,nonsense", "'nonsense' should read https://host"),
        ("RATE_LIMIT", "many", "should read like 120/minute"),
        ("EVALUATION_WEIGHTS", "speed", "'speed' should read name=value"),
        ("EVALUATION_WEIGHTS", "speed=1,speed=2", "names a thing twice"),
        ("AUTH_FAILURES", "1" + "0" * 400 + "/minute", "nine digits at most"),
        ("LOG_FORMAT", "xml", "'auto', 'json' or 'console'"),
        ("DATA_DIR", "~nobody-of-this-name/x", "does not lead anywhere"),
        ("DATA_DIR", __file__, "exists and is not a folder"),
        ("AUTH_SECRET_FILE", "/dev/zero", "is a pipe or a device"),
    ],
)
def test_a_bad_value_is_named_with_its_remedy(name: str, value: str, expected: str) -> None:
    message = refused(**{f"FLUXHERO_{name}": value})
    assert f"FLUXHERO_{name}={value}: " in message
    assert expected in message
    assert ".env.example" in message


def test_every_bad_variable_is_listed_at_once() -> None:
    message = refused(FLUXHERO_RETENTION_DAYS="-1", FLUXHERO_API_PORT="x", FLUXHERO_DATADIR="y")
    assert "FLUXHERO_RETENTION_DAYS" in message
    assert "FLUXHERO_API_PORT" in message
    assert "FLUXHERO_DATADIR is not a setting; the nearest is FLUXHERO_DATA_DIR" in message


@pytest.mark.parametrize("name", ["FLUXHERO_XYZ", "FLUXHERO_", "FLUXHERO_1"])
def test_of_a_name_like_no_other_no_nearest_is_told(name: str) -> None:
    message = refused(**{name: "1"})
    assert f"{name} is not a setting\n" in message
    assert "nearest" not in message


def test_an_unknown_variable_in_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("FLUXHERO_RETENTION_DAY=3\n")
    assert "the nearest is FLUXHERO_RETENTION_DAYS" in refused()


def test_a_mistyped_override_is_refused() -> None:
    with pytest.raises(SettingsError, match="nearest is FLUXHERO_RETENTION_DAYS"):
        load_settings(retention_day=3)


def test_a_file_saved_by_a_windows_editor_is_read(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"\xef\xbb\xbfFLUXHERO_HOLD_DAYS=3\r\n")
    assert load_settings().hold_days == 3


def test_a_secret_is_shown_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLUXHERO_ALPACA_API_SECRET", "s3cr3t-value")
    settings = load_settings()
    assert "s3cr3t" not in f"{settings!r}{settings}{settings.model_dump_json()}"
    assert settings.alpaca_api_secret is not None
    assert settings.alpaca_api_secret.get_secret_value() == "s3cr3t-value"
    assert "s3cr3t" not in refused(FLUXHERO_API_PORT="x")


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"FLUXHERO_HOLD_DAYS=\xff\xfe")
    assert ".env cannot be read" in refused()


def test_a_folder_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".env").mkdir()
    assert ".env cannot be read" in refused()


def test_a_line_that_is_no_assignment_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("FLUXHERO_HOLD_DAYS=1\nretention days = 3 = 4\n")
    assert "Line 2 of the settings file .env is not NAME=value" in refused()


def test_lists_and_names_are_forgiving(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLUXHERO_CORS_ORIGINS", "https://a.example/, http://localhost:3000")
    monkeypatch.setenv("FLUXHERO_LOG_LEVEL", "debug")
    monkeypatch.setenv("FLUXHERO_ALPACA_API_URL", "http://127.0.0.1:9/")
    settings = load_settings()
    assert settings.cors_origins == ("https://a.example", "http://localhost:3000")
    assert settings.log_level == "DEBUG"
    assert settings.alpaca_api_url == "http://127.0.0.1:9"


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load_settings().retention_days = 3  # type: ignore[misc]


def test_a_class_made_directly_checks_as_well(tmp_path: Path) -> None:
    with pytest.raises(ValidationError):
        Settings(data_dir=tmp_path, retention_days=-1)


def test_pairs_are_read_in_order(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FLUXHERO_EVALUATION_WEIGHTS", " speed = 2.5 , agreement=1,")
    link = tmp_path / "python"
    link.symlink_to(tmp_path / "elsewhere")
    monkeypatch.setenv("FLUXHERO_ENGINE_PYTHONS", f"bt={link}")
    settings = load_settings()
    assert settings.evaluation_weights == (("speed", Decimal("2.5")), ("agreement", Decimal(1)))
    assert settings.engine_pythons == (("bt", link),), "a link is an environment only by its name"


def test_a_pair_whose_value_is_none_is_named() -> None:
    assert "EVALUATION_WEIGHTS=fast: should be a valid decimal" in refused(
        FLUXHERO_EVALUATION_WEIGHTS="speed=fast"
    )
    assert "does not lead anywhere" in refused(FLUXHERO_ENGINE_PYTHONS="bt=~nobody-at-all/python")
