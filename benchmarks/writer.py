"""A live bot: a process that inserts a row every 5 ms while an archive run purges the same file."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

_EVERY = 0.005
_INSERT = (
    "INSERT INTO live_trades (symbol, side, entry_price, entry_time, shares, stop_loss, status, strategy, "
    "regime, created_at, updated_at) VALUES ('SPY', 1, 500.5, '2029-01-01T00:00:00', 1, 480.0, 0, "
    "'trend', 'NEUTRAL', '2029-01-01T00:00:00', '2029-01-01T00:00:00')"
)


def write_until(store: Path, stop: Path) -> dict[str, float]:
    """Insert and commit a row every 5 ms until `stop` exists; return how long inserts took, in ms."""
    connection = sqlite3.connect(store, timeout=5, isolation_level=None)
    waits: list[float] = []
    failed = 0
    while not stop.exists():
        began = time.perf_counter()
        try:
            connection.execute(_INSERT)
        except sqlite3.OperationalError:
            failed += 1
        waits.append((time.perf_counter() - began) * 1000)
        time.sleep(max(0.0, _EVERY - (time.perf_counter() - began)))
    connection.close()
    waits.sort()
    last = len(waits) - 1
    return {
        "inserts": len(waits),
        "failed": failed,
        "p50_ms": round(waits[last // 2], 2),
        "p99_ms": round(waits[int(last * 0.99)], 2),
        "p999_ms": round(waits[int(last * 0.999)], 2),
        "max_ms": round(waits[-1], 2),
    }


def measure(store: Path, folder: Path, journal: str) -> dict[str, float]:
    """Archive a copy of a store, in this journal mode, under a live writer."""
    run = folder / f"writer-{journal}"
    run.mkdir()
    copy, stop = run / "system.db", run / "stop"
    shutil.copy2(store, copy)
    connection = sqlite3.connect(copy)
    connection.execute(f"PRAGMA journal_mode = {journal}")
    connection.close()
    os.sync()  # or the first insert that is flushed would wait for the copy, too
    writer = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.writer", str(copy), str(stop)],
        stdout=subprocess.PIPE,
        text=True,
    )
    subprocess.run(
        [sys.executable, "-m", "benchmarks.routes", "archive_sqlite", str(copy), str(run)],
        check=True,
        capture_output=True,
    )
    stop.touch()
    output, _ = writer.communicate(timeout=60)
    shutil.rmtree(run)
    measured: dict[str, float] = json.loads(output)
    return measured


if __name__ == "__main__":
    sys.stdout.write(json.dumps(write_until(Path(sys.argv[1]), Path(sys.argv[2]))))
