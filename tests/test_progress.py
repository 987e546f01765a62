"""Progress of a long step: a bar on a real terminal, log lines anywhere else."""

import json
import logging
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from fluxhero import progress
from tests.test_cli import TRADE

pytestmark = pytest.mark.measured

REPOSITORY = Path(__file__).parents[1]
PROGRAM = "from fluxhero.cli import main; main()"


@pytest.fixture
def rows(clean_environment: Path) -> Path:
    path = clean_environment / "rows.jsonl"
    path.write_text("".join(json.dumps(TRADE | {"trade_id": f"T-{n}"}) + "\n" for n in range(1200)))
    return path


def ingest(rows: Path, server: str, *options: str, terminal: bool) -> tuple[str, str]:
    """Run the real command; returns its stdout and what its stderr, a terminal or a pipe, was sent."""
    environment = {
        **os.environ,
        "PREFECT_API_URL": server,
        "TERM": "xterm-256color",
        "COLUMNS": "120",
    }
    environment |= {"PYTHONPATH": str(REPOSITORY)}
    reader, writer = pty.openpty() if terminal else os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "ingest", str(rows), *options],
        env=environment,
        cwd=rows.parent,
        stdout=subprocess.PIPE,
        stderr=writer,
        text=True,
    )
    os.close(writer)
    sent = b""
    while chunk := _read(reader):
        sent += chunk
    os.close(reader)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0, sent.decode()
    return out, sent.decode()


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # a terminal whose other end is closed
        return b""


@pytest.mark.server
def test_a_terminal_gets_a_bar(rows: Path, prefect_harness: str) -> None:
    out, err = ingest(rows, prefect_harness, terminal=True)
    assert "1200" in out
    assert "━" in err
    assert "1,200 rows, " in err
    assert "rows/s" in err
    assert "trades: 1200 new" in " ".join(err.split()), "log lines still go by, wrapped"


@pytest.mark.server
@pytest.mark.parametrize("options", [(), ("--json",)], ids=["pipe", "json on a terminal"])
def test_elsewhere_there_is_none(rows: Path, prefect_harness: str, options: tuple[str]) -> None:
    _, err = ingest(rows, prefect_harness, *options, terminal=bool(options))
    assert "rows/s" not in err
    assert "━" not in err
    assert "trades: 1200 new" in err


def test_the_log_is_told_now_and_then(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, "fluxhero.progress")
    clock = iter((0.0, 1.0, 2.5, 2.5, 3.0, 9.0, 9.0))
    monkeypatch.setattr("fluxhero.progress.monotonic", lambda: next(clock))
    report = progress.rows_read("a.csv")
    report(0, 4000)
    report(1000, 4000)
    report(2000, 4000)
    report(4000, None)
    assert caplog.messages == ["a.csv: read 1,000 of 4,000 (25%) rows", "a.csv: read 4,000 rows"]


def test_a_watcher_is_told_at_once_and_only_while_it_watches() -> None:
    seen: list[tuple[str, int, int | None, str]] = []
    report = progress.rows_read("a.csv")
    with progress.watched_by(lambda *told: seen.append(told)):
        report(0, None)
        report(10, 20)
    report(20, 20)
    assert seen == [("a.csv", 0, None, "rows"), ("a.csv", 10, 20, "rows")]


def test_what_is_counted_need_not_be_rows(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, "fluxhero.progress")
    clock = iter((0.0, 3.0, 3.0))
    monkeypatch.setattr("fluxhero.progress.monotonic", lambda: next(clock))
    progress.begun("sweep", "tried", "combinations")(500, 1000)
    assert caplog.messages == ["sweep: tried 500 of 1,000 (50%) combinations"]
