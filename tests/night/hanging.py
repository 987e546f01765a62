"""Flows that never end, as a worker runs them; their limit of time is a few seconds."""

import time

import duckdb
from prefect import flow

from tasks import time_limit
from tasks.history import HOOKS

vars(time_limit)["MINUTE_SECONDS"] = 3.0


@flow(name="sleeps", **HOOKS)
def sleeps() -> None:
    """Waits in C."""
    time.sleep(600)


@flow(name="queries", **HOOKS)
def queries() -> None:
    """Computes in C, and would for years."""
    with duckdb.connect() as db:
        db.execute("SELECT sum(a.i * b.i) FROM range(10_000_000) a(i), range(10_000_000) b(i)")
