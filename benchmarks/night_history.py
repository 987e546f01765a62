"""The server's database through a month of snapshots, one every five minutes.

One real snapshot is run by a worker. Its rows, in every table, are copied 288 times a day into the file of
the stopped server, under new keys and at the times of a month that ends now; after each day the server's own
vacuum runs, with the night shift's settings as of that day. (It runs every hour, so the file of a real month
is a day's short-lived events smaller.) At last a real server is started over the file.
"""

import asyncio
import json
import sqlite3
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from benchmarks.night_shift import HISTORY_DAYS, ROOT, answer, night_shift, say
from fluxhero.night.retention import retention_environment
from fluxhero.night.state import Part

RUNS_A_DAY = 24 * 12
_DAY, _STEP = 86_400, 300
_TABLES = (
    "flow_run",
    "flow_run_state",
    "task_run",
    "task_run_state",
    "log",
    "artifact",
    "events",
    "event_resources",
)
# What of a run's rows names another row of the same run; names of deployments and flows stay.
_KEYS = {"id", "flow_run_id", "task_run_id", "state_id", "event_id", "follows"}
_NAMING_THE_RUN = {"resource_id", "related_resource_ids", "related", "state_details"}
_EVENTS_OF_RUN = "SELECT event_id FROM event_resources WHERE resource_id = 'prefect.flow-run.' || ?"
_ROWS_OF_RUN = {
    "flow_run": "id = ?",
    "flow_run_state": "flow_run_id = ?",
    "task_run": "flow_run_id = ?",
    "task_run_state": "task_run_id IN (SELECT id FROM task_run WHERE flow_run_id = ?)",
    "log": "flow_run_id = ?",
    "artifact": "flow_run_id = ?",
    "events": f"id IN ({_EVENTS_OF_RUN})",
    "event_resources": f"event_id IN ({_EVENTS_OF_RUN})",
}
Counts = dict[str, float]


def measure(folder: Path, days: int) -> dict[str, Any]:
    """Rows of one snapshot, the database after each day, and what a server makes of it at last."""
    with night_shift(folder, rows=500) as shift:
        run = shift.run(shift.deployment_of("snapshot-metrics"))
        time.sleep(5)  # events are written a moment after they happened
        database, environment = shift.database, shift.environment
    say(f"history: {days} days of copies of run {run['id']}")
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.night_history", str(database), run["id"], str(days)],
        cwd=ROOT,
        env=environment
        | retention_environment(HISTORY_DAYS)
        | {"PREFECT_HOME": str(database.parent)},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(json.loads(line))
            say(f"history: {lines[-1]}")
    if process.returncode:
        raise RuntimeError("the month failed")
    with night_shift(folder, Part.SERVER) as shift:
        time.sleep(20)  # its vacuum runs when it has started
        began = time.perf_counter()
        shift.api.post("/flow_runs/filter", {"limit": 200, "sort": "EXPECTED_START_TIME_DESC"})
        answered = time.perf_counter() - began
    return {
        "run": lines[0],
        "days": lines[1:],
        "after": counts(database),
        "answered_ms": 1000 * answered,
    }


def counts(database: Path) -> Counts:
    """Rows by table, and MB of the file with what is free in it."""
    with sqlite3.connect(database) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        found: Counts = {
            table: db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in _TABLES
        }
        others = "artifact_collection", "task_run_state_cache", "flow_run_input", "worker"
        for table in others:
            found[table] = db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        (size,), (pages,), (free,) = (
            db.execute(f"PRAGMA {one}").fetchone()
            for one in ("page_size", "page_count", "freelist_count")
        )
    db.close()
    return found | {"mb": size * pages / 1e6, "free_mb": size * free / 1e6}


def bounded(days: list[Counts]) -> float:
    """How much larger the file is at the end than when its first rows had been given back: 0.05 is 5 %."""
    return days[-1]["mb"] / days[HISTORY_DAYS + 1]["mb"] - 1


# ------------------------------------------------------------------------- in a process of its own


def keep_template(db: sqlite3.Connection, run: str) -> Counts:
    """Keep the rows of a run beside the tables; how many there are of each."""
    found: Counts = {}
    for table, condition in _ROWS_OF_RUN.items():
        db.execute(
            f"CREATE TEMP TABLE of_{table} AS SELECT * FROM main.{table} WHERE {condition}", [run]
        )
        found[table] = db.execute(f"SELECT count(*) FROM of_{table}").fetchone()[0]
    return found


def add_day(db: sqlite3.Connection, run: str, first: int, latest: int) -> None:
    """A day's copies, the last of them so many seconds before now."""
    series = "WITH RECURSIVE day(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM day WHERE n < :last)"
    with db:
        for table in _TABLES:
            columns = db.execute(f"PRAGMA main.table_info({table})").fetchall()
            names = ", ".join(f'"{column[1]}"' for column in columns)
            values = ", ".join(_copied(column[1], column[2], run) for column in columns)
            db.execute(
                f"INSERT INTO main.{table} ({names}) {series} SELECT {values} FROM day, of_{table}",
                {"last": RUNS_A_DAY - 1, "first": first, "latest": latest},
            )


def _copied(name: str, kind: str, run: str) -> str:
    """What a column of a copy is, as SQL."""
    if name in _KEYS:
        return _new_key(f'"{name}"')
    if kind == "DATETIME" and name != "total_run_time":
        ago = f"'-' || (:latest + ({RUNS_A_DAY} - 1 - n) * {_STEP}) || ' seconds'"
        return f"strftime('%Y-%m-%d %H:%M:%f', \"{name}\", {ago}) || '000'"
    if name in _NAMING_THE_RUN:
        key = _new_key(f"'{run}'")
        return f"replace(\"{name}\", '{run}', {key})"
    return f'"{name}"'


def _new_key(key: str) -> str:
    """The same as the template's but for the end, in every table: so rows find each other."""
    return f"substr({key}, 1, 24) || printf('%012x', :first + n)"


async def vacuum(age: timedelta) -> None:
    """The server's vacuum as it would have run so long ago."""
    from prefect.server.database import provide_database_interface
    from prefect.server.services import db_vacuum
    from prefect.settings import (
        PREFECT_SERVER_EVENTS_RETENTION_PERIOD,
        PREFECT_SERVER_SERVICES_DB_VACUUM_EVENT_RETENTION_OVERRIDES,
        PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD,
        get_current_settings,
        temporary_settings,
    )

    server = get_current_settings().server
    kept = server.services.db_vacuum
    older: dict[Any, Any] = {
        PREFECT_SERVER_EVENTS_RETENTION_PERIOD: server.events.retention_period + age,
        PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD: kept.retention_period + age,
        PREFECT_SERVER_SERVICES_DB_VACUUM_EVENT_RETENTION_OVERRIDES: {
            name: period + age for name, period in kept.event_retention_overrides.items()
        },
    }
    db = provide_database_interface()
    with temporary_settings(older):
        for step in (
            db_vacuum.vacuum_old_flow_runs,
            db_vacuum.vacuum_events_with_retention_overrides,
            db_vacuum.vacuum_old_events,
            db_vacuum.vacuum_orphaned_logs,
            db_vacuum.vacuum_orphaned_artifacts,
            db_vacuum.vacuum_stale_artifact_collections,
        ):
            await step(db=db)


async def month(database: Path, run: str, days: int) -> None:
    """So many days; a line for the run and one for each day."""
    db = sqlite3.connect(database)
    db.execute("PRAGMA synchronous = OFF")
    answer(keep_template(db, run))
    for day in range(days):
        age = (days - 1 - day) * _DAY
        add_day(db, run, first=day * RUNS_A_DAY + 1, latest=age)
        began = time.process_time()
        await vacuum(timedelta(seconds=age))
        answer(counts(database) | {"day": day + 1, "vacuum_cpu": time.process_time() - began})
    db.close()


if __name__ == "__main__":
    asyncio.run(month(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
