"""What machines are told: alive, ready, how each part does, and the metrics in Prometheus' format."""

import errno
import os
import shutil
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from config.loading import load_settings
from fluxhero.alerts.delivery import deliver_due, retry
from fluxhero.alerts.outbox import Outbox
from fluxhero.api import health_checks
from fluxhero.api.health_checks import worst
from fluxhero.api.remembered import Remembered, file_identity, folder_identity
from fluxhero.api.services import RunLine, Runs
from fluxhero.errors import StorageIOError
from fluxhero.metrics.samples import sample
from tests.alerts.telling import incident
from tests.api.asking import Asker, asking
from tests.api.filled import NOW, STEP, scribble, take


class Answers:
    """A Prefect server that answers."""

    async def runs(self) -> Runs:
        nothing = dict.fromkeys(("deployment", "message", "started_at", "ended_at"), None)
        named = {"id": "1", "name": "n", "flow": "f", "state": "S", "state_name": "s"}
        more = {"expected_at": NOW, "seconds": None, "url": None}
        return Runs(next=(RunLine.model_validate({**nothing, **named, **more}),))


def refuse(_folder: Path) -> None:
    """What a disk that is dying says, which cannot be had here."""
    raise OSError(errno.EIO, "Input/output error")


def test_a_sound_installation(night: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health_checks, "KEEP_SECONDS", 0)
    # What this machine is short of is not what is tested.
    monkeypatch.setattr(health_checks, "DISK_WARN", 0)
    monkeypatch.setattr(health_checks, "MEMORY_WARN", 101)
    store = night / "system.db"
    with closing(sqlite3.connect(store)) as database:
        database.execute("CREATE TABLE t (x)")
    (night / "runs" / "check-storage.json").unlink()
    with asking(Answers(), store_url=f"sqlite:///{store}") as api:
        until = time.process_time() + 0.1
        while time.process_time() < until:
            pass
        health = api.get("/health")
        assert health["checks"]["cpu"]["values"]["percent"] > 0
        assert health["checks"]["prefect"]["observed"] == "answers; next is f"
        grades = {name: check["status"] for name, check in health["checks"].items()}
        assert grades.pop("cpu") in {"pass", "warn"}
        assert set(grades.values()) == {"pass"}, health
        assert set(grades) == {
            *(
                "memory",
                "disk_data",
                "disk_archive",
                "store",
                "archive",
                "snapshot",
                "jobs",
                "alerts",
            ),
            "prefect",
        }
        assert health["checks"]["snapshot"]["values"]["age_seconds"] == 300
        assert health["checks"]["store"]["values"]["bytes"] == store.stat().st_size
        assert api.get("/readyz") == {"status": "pass", "reasons": []}

        api.clock.move(36 * STEP)  # three hours
        assert api.get("/health")["checks"]["snapshot"]["status"] == "warn"
        (night / "runs" / "check-storage.json").write_bytes(b"{")
        jobs = api.get("/health")["checks"]["jobs"]
        assert jobs["status"] == "warn"
        assert "runs/check-storage.json" in jobs["observed"]
        monkeypatch.setattr(shutil, "disk_usage", refuse)
        assert "Input/output error" in api.get("/health", 503)["checks"]["disk_data"]["observed"]
        store.unlink()
        gone = api.get("/health", 503)
        assert (gone["status"], gone["checks"]["store"]["status"]) == ("fail", "fail")
        assert str(night) not in str(gone)
        store.symlink_to(store)
        unknown = api.get("/health", 503)["checks"]["store"]
        assert unknown["observed"].startswith("cannot be looked at: ")


def test_damage_and_absence(night: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health_checks, "KEEP_SECONDS", 0)
    manifests = night / "archive" / "manifests"
    manifests.mkdir(parents=True)
    with asking() as api:
        checks = api.get("/health")["checks"]
        assert checks["store"]["observed"] == "there is no store yet"
        assert checks["jobs"]["observed"] == "the last run did not end well: check-storage"
        assert "no Prefect server" in checks["prefect"]["observed"]

        with monkeypatch.context() as short:
            short.setattr(health_checks, "DISK_WARN", 2)
            short.setattr(health_checks, "MEMORY_WARN", 0)
            short.setattr(health_checks, "MEMORY_FAIL", 101)
            checks = api.get("/health")["checks"]
            assert [checks[name]["status"] for name in ("memory", "disk_data")] == ["warn"] * 2
            short.setattr(health_checks, "DISK_FAIL", 2)
            short.setattr(health_checks, "MEMORY_FAIL", 0)
            checks = api.get("/health", 503)["checks"]
            assert [checks[name]["status"] for name in ("memory", "disk_data")] == ["fail"] * 2

        newest = take(night, NOW)
        scribble(newest)
        checks = api.get("/health")["checks"]
        assert checks["snapshot"]["status"] == "warn"
        assert checks["snapshot"]["values"]["unreadable"] == 1
        only = next(path for path in newest.parent.glob("*.parquet") if path != newest)
        scribble(only)
        api.clock.move(STEP / 5)  # it was sound when it was read, and is read again in a while
        (manifests / "00000001-trades-live-202601-00000000.json").write_text("{}")
        damaged = api.get("/health", 503)["checks"]
        assert damaged["snapshot"]["observed"] == "2 damaged files, no other"
        assert damaged["archive"]["status"] == "fail"
        with httpx.Client(base_url=api.client.base_url, trust_env=False) as stranger:
            assert stranger.get("/livez").json() == {"status": "pass"}
            ready = stranger.get("/readyz")
            assert ready.status_code == 503
            assert ready.json()["reasons"] == ["archive-manifests", "snapshots"]
            assert stranger.get("/health").status_code == 401
            assert stranger.get("/metrics").status_code == 401
        shutil.rmtree(night / "snapshots")
        (night / "snapshots").symlink_to("snapshots")  # leads nowhere
        assert "Too many levels" in api.get("/health", 503)["checks"]["snapshot"]["observed"]
        assert api.error("/api/snapshots/latest", 503)["kind"] == "StorageIOError"
        night.rename(night.with_name("away"))
        assert api.get("/readyz", 503)["reasons"][0] == "data-folder"
        assert api.get("/livez") == {"status": "pass"}


def test_metrics_are_those_of_the_newest_snapshot_and_of_the_service(night: Path) -> None:
    def scraped() -> dict[str, dict[tuple[str, ...], float]]:
        answer = api.client.get("/metrics")
        assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        families = list(text_string_to_metric_families(answer.text))
        assert len({family.name for family in families}) == len(families)
        return {
            one.name: {
                tuple(sorted(other.labels.values())): other.value for other in family.samples
            }
            for family in families
            for one in family.samples
        }

    with asking() as api:
        before = scraped()
        assert before["trading_equity_usd"] == {("closed", "live"): 120_000}
        assert before["trading_snapshot_files_unreadable"] == {(): 0}
        assert before["trading_websocket_clients"] == {(): 0}
        take(night, NOW, [sample("equity_usd", 1, mode="live", basis="closed")])
        assert scraped()["trading_equity_usd"] == {("closed", "live"): 1}
        scribble(take(night, NOW + STEP))
        api.clock.move(STEP)
        after = scraped()
        assert after["trading_equity_usd"] == {("closed", "live"): 1}
        assert after["trading_snapshot_files_unreadable"] == {(): 1}
        counted = after["trading_http_request_duration_seconds_count"]
        assert ("/metrics", "2xx", "GET") in counted


def test_the_worst_grade_counts() -> None:
    assert worst(()) == "pass"
    assert worst(("pass", "warn", "pass")) == "warn"
    assert worst(("warn", "fail")) == "fail"


def test_an_answer_is_remembered_until_its_files_change(tmp_path: Path) -> None:
    file, reads = tmp_path / "a.json", []

    def read() -> str:
        reads.append(1)
        return file.read_text()

    ask = Remembered(lambda: (file_identity(file), folder_identity(tmp_path / "none")), read)
    with pytest.raises(FileNotFoundError):
        ask()
    file.write_text("one")
    answers: list[str] = []
    threads = [threading.Thread(target=lambda: answers.append(ask())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == ["one"] * 8
    assert len(reads) == 2  # the failed one, and one for all
    replacement = tmp_path / "b.json"
    replacement.write_text("two")  # as long as before
    at = file.stat()
    os.utime(replacement, ns=(at.st_atime_ns, at.st_mtime_ns))
    replacement.replace(file)
    assert ask() == "two"
    before = folder_identity(tmp_path, newest=1)
    (tmp_path / "0.json").write_text("early")
    assert folder_identity(tmp_path, newest=1) != before


def test_alerts_that_do_not_arrive_are_seen(night: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health_checks, "KEEP_SECONDS", 0)
    url = "json://me:hunter2pass@127.0.0.1:1/hunter2pass"

    def scraped(api: Asker) -> dict[tuple[str, ...], float]:
        families = text_string_to_metric_families(api.client.get("/metrics").text)
        return {
            tuple(one.labels.values()): one.value
            for family in families
            if family.name in {"trading_alerts", "trading_alert_targets"}
            for one in family.samples
        }

    outbox = Outbox(night)
    with asking(alert_urls=url) as api:
        assert api.get("/health")["checks"]["alerts"]["status"] == "pass"
        assert set(scraped(api).values()) == {0, 1}
        told = incident(at=NOW, text=f"it is in {night}/archive/x")
        outbox.tell(told, now=NOW)
        waiting = scraped(api)
        assert waiting["waiting", "critical"] == waiting[()] == 1
        assert sum(waiting.values()) == 2
        deliver_due(api.settings, outbox, NOW)
        api.clock.move(11 * STEP / 5)
        check = api.get("/health")["checks"]["alerts"]
        assert (check["status"], check["values"]["overdue"]) == ("warn", 1)
        assert "Connection refused" in check["observed"]
        status = api.get("/api/status")
        (line,) = status["alerts"]["last"]
        assert (line["standing"], line["text"]) == ("waiting", "it is in archive/x")
        reasons = [reason["text"] for reason in status["verdict"]["reasons"]]
        assert any("1 alert not delivered" in text for text in reasons)
        assert "hunter2pass" not in str(status) + str(check)
        retry(load_settings(None, data_dir=night, alert_urls=url), outbox, NOW + 1_000 * STEP)
        assert scraped(api)["given_up", "critical"] == 1

        (night / "night" / "alerts").rename(night / "elsewhere")
        (night / "night" / "alerts").write_text("no folder")
        assert api.get("/api/status")["alerts"]["last"] == []


def test_an_outbox_that_cannot_be_read(night: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health_checks, "KEEP_SECONDS", 0)

    def refuse(_outbox: Outbox) -> None:
        raise StorageIOError(f"could not read {night}/night/alerts", next_step="check the disk")

    with asking() as api:
        monkeypatch.setattr(Outbox, "entries", refuse)
        check = api.get("/health")["checks"]["alerts"]
        assert (check["status"], check["observed"]) == ("warn", "could not read night/alerts")
        (problem,) = (one for one in api.get("/api/status")["problems"] if one["part"] == "alerts")
        assert problem["next_step"] == "check the disk"
