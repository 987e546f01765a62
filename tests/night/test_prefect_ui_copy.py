"""The copy of Prefect's UI whose pages may ask our server only."""

import logging
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from fluxhero.night import prefect_ui
from fluxhero.night.prefect_ui import STATIC_DIRECTORY, ui_environment

API = "http://127.0.0.1:4200/api"
RULE = "connect-src 'self' {0} {1};"


def test_the_copy_is_what_the_server_would_serve_and_names_whom_it_may_ask(tmp_path: Path) -> None:
    import prefect
    from prefect.server.api import server

    assert ui_environment(tmp_path / "ui", API)[STATIC_DIRECTORY] == str(tmp_path / "ui")
    copy = tmp_path / "ui" / "v2"
    index = (copy / "index.html").read_text()
    assert RULE.format("http://127.0.0.1:4200", "ws://127.0.0.1:4200") in index
    assert index.index("Content-Security-Policy") < index.index("<script")
    mark = (copy / server.UI_STATIC_REFERENCE_FILE_NAME).read_text()
    assert mark == f"v2:{prefect.__version__}:/v2", "else the server makes its own copy over it"
    theirs = {path.name for path in Path(prefect.__ui_v2_static_path__).rglob("*")}
    assert {path.name for path in copy.rglob("*")} == theirs | {mark_name(copy)}
    left = [p for p in copy.rglob("*.js") if "SERVE_BASE_REPLACE_PLACEHOLDER" in p.read_text()]
    assert left == []


def mark_name(copy: Path) -> str:
    return next(path.name for path in copy.iterdir() if path.name.isupper())


def test_it_is_made_again_for_another_address_only(tmp_path: Path) -> None:
    ui_environment(tmp_path, API)
    (tmp_path / "v2" / "kept").touch()
    ui_environment(tmp_path, API)
    assert (tmp_path / "v2" / "kept").exists()
    ui_environment(tmp_path, "https://night.example/api")
    assert not (tmp_path / "v2" / "kept").exists()
    rule = RULE.format("https://night.example", "wss://night.example")
    assert rule in (tmp_path / "v2" / "index.html").read_text()


def test_a_server_starts_without_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "v2").touch()  # where a folder is to be
    with caplog.at_level(logging.WARNING):
        assert ui_environment(tmp_path, API)[STATIC_DIRECTORY] == str(tmp_path)
    assert "may ask hosts on the internet" in caplog.text
    caplog.clear()

    def nowhere(_name: str) -> ModuleSpec | None:
        return None

    monkeypatch.setattr(prefect_ui, "find_spec", nowhere)
    ui_environment(tmp_path / "other", API)
    assert "make setup" in caplog.text
