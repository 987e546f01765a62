"""`fluxhero doctor` says what does not work, and what to do about it."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from config.settings import Settings
from fluxhero.doctor import Diagnosis, Examination, Health, examine
from tests import samples
from tests.command import Run
from tests.threaded import in_a_thread


def examined(settings: Settings, prefect_api: str | None = None) -> Examination:
    return examine(settings, env_file=Path.cwd() / ".env", prefect_api=prefect_api)


def part(found: Examination, name: str) -> Diagnosis:
    return next(one for one in found.parts if one.part == name)


@contextmanager
def prefect(status: int) -> Iterator[str]:
    class Api(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/api/health" else 404)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    with in_a_thread(HTTPServer(("127.0.0.1", 0), Api)) as listener:
        yield f"http://127.0.0.1:{listener.server_port}/api"


def test_a_new_installation_works_and_says_what_is_not_there_yet(settings: Settings) -> None:
    found = examined(settings)
    assert found.ok
    assert found.verdict == "Works. Worth a look: hot store, access, Prefect."
    assert part(found, "hot store").next_step.startswith("bring trades in")
    assert part(found, "access").next_step == "make one with `fluxhero doctor --make-secret`"
    assert "defaults and the environment" in part(found, "settings").found
    assert not settings.data_dir.exists(), "an examination changes nothing"


def test_everything_in_place_is_well(settings: Settings) -> None:
    samples.create_duckdb_store(settings.store_path)
    samples.insert_duckdb(settings.store_path, "trades", samples.ledger_trade())
    settings.auth_secret_file.write_text("k7Qz-3fR_9sLw2Xb8NcY4Td6Hv1MjP5gEa0UoIxB\n")
    settings.auth_secret_file.chmod(0o600)
    with prefect(200) as url:
        found = examined(settings, url)
    assert found.verdict == "All is well: 8 parts examined."
    assert part(found, "hot store").found.startswith("1 row in")
    assert part(found, "access").found.endswith(str(settings.auth_secret_file))


@pytest.mark.parametrize(("status", "says"), [(503, "it answers 503"), (None, "refused")])
def test_a_prefect_server_that_is_configured_has_to_answer(
    settings: Settings, status: int | None, says: str
) -> None:
    with prefect(status or 200) as url:
        if status is not None:
            found = examined(settings, url)
    if status is None:
        found = examined(settings, url)
    assert not found.ok
    assert found.verdict.startswith("Does not work: Prefect.")
    assert says in part(found, "Prefect").found


def test_secrets_that_others_can_read_are_found(settings: Settings) -> None:
    env = Path.cwd() / ".env"
    env.write_text("export FLUXHERO_ALPACA_API_SECRET=abc\n")
    env.chmod(0o644)
    assert part(examined(settings), "settings").next_step == f"chmod 600 {env}"
    env.chmod(0o600)
    assert part(examined(settings), "settings").health is Health.PASS
    env.write_text("FLUXHERO_DATA_DIR=data\nFLUXHERO_AUTH_SECRET=\n")
    env.chmod(0o644)
    assert part(examined(settings), "settings").health is Health.PASS


def test_what_is_broken_says_so_without_hiding_the_rest(tmp_path: Path, settings: Settings) -> None:
    settings.store_path.parent.mkdir(parents=True)
    settings.store_path.write_bytes(b"not a database" * 100)
    manifests = settings.archive_dir / "manifests"
    manifests.mkdir(parents=True)
    (manifests / "b-000001.json").write_text("{}")
    found = examined(settings)
    assert not found.ok
    assert part(found, "hot store").health is Health.FAIL
    assert part(found, "archive").health is Health.FAIL
    assert part(found, "archive").next_step
    assert part(found, "data folder").health is Health.PASS


def test_rows_in_quarantine_are_worth_a_look(settings: Settings) -> None:
    samples.create_duckdb_store(settings.store_path)
    row = {
        "at": samples.AS_OF,
        "source": "bot.csv",
        "row": "{}",
        "reason": "side is 7",
        "rule": "side",
    }
    import duckdb

    with duckdb.connect(str(settings.store_path)) as db:
        db.execute(
            'INSERT INTO quarantine ("at", source, "row", reason, "rule") VALUES (?, ?, ?, ?, ?)',
            list(row.values()),
        )
    assert "1 in quarantine" in part(examined(settings), "hot store").found


def test_disks_that_fill_up_are_seen(
    clean_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(
        data_dir=clean_environment / "data",
        archive_dir=clean_environment / "elsewhere",
        archive_mirror_dir=clean_environment / "mirror",
    )
    usage = shutil.disk_usage(clean_environment)
    for free, expected in ((10**9, Health.WARN), (10**6, Health.FAIL)):
        monkeypatch.setattr(
            shutil, "disk_usage", lambda _path, left=free: usage._replace(free=left)
        )
        found = examined(settings)
        for name in ("data folder", "archive folder", "mirror folder"):
            assert part(found, name).health is expected
            assert part(found, name).next_step == "make room on that disk"


def test_a_folder_that_cannot_be_written_fails(clean_environment: Path) -> None:
    found = examine(
        Settings(data_dir=Path("/proc/fluxhero")), env_file=Path(".env"), prefect_api=None
    )
    assert part(found, "data folder").health is Health.FAIL
    assert "/proc cannot be written" in part(found, "data folder").found


def test_the_command_makes_secrets_that_take_the_place_of_one_another(run: Run) -> None:
    first = run("doctor", "--make-secret")
    file = Path.cwd() / "data" / "auth-secret"
    token = file.read_text().strip()
    assert first.status == 0
    assert str(file) in first.out
    assert token not in first.out + first.err
    assert file.stat().st_mode & 0o777 == 0o600
    second = run("doctor", "--make-secret", "--json")
    assert second.document == {
        "ok": True,
        "file": str(file),
        "previous": f"{file}.previous",
    }
    assert file.read_text().strip() != token
    assert Path(f"{file}.previous").read_text().strip() == token
    assert "stays valid until you remove that file" in run("doctor", "--make-secret").out


def test_the_command_ends_with_1_when_something_does_not_work(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    broken = run("doctor")
    assert broken.status == 1
    assert broken.out.startswith("Does not work: Prefect.")
    assert "FAIL  Prefect: the server at http://127.0.0.1:9/api" in broken.out
    document = run("doctor", "--json").document
    assert document["ok"] is False
    assert {"part", "health", "found", "next_step"} == set(document["parts"][0])
