"""A store with its archive, worked on by the product's own flow bodies without Prefect's engine.

Same steps, same order, no server. What is there afterwards is read by `tests.evidence`.
"""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import duckdb

from config.loading import load_settings
from config.settings import Settings
from fluxhero.archive.holds import Hold, add_holds, read_holds
from fluxhero.archive.manifest import Chain, load_chain
from fluxhero.archive.report import ArchiveReport, RestoreReport
from fluxhero.archive.workspace import Workspace
from fluxhero.integrity.check_report import CheckReport
from fluxhero.metrics.report import SnapshotReport
from tests import samples
from tests.evidence import Found, Row, hot_rows, look

_EXECUTE = {
    "duckdb": "import duckdb, sys\ndb = duckdb.connect(sys.argv[1])\ndb.execute(sys.argv[2])\ndb.close()",
    "sqlite": "import sqlite3, sys\ndb = sqlite3.connect(sys.argv[1], timeout=20)\n"
    "db.executescript(sys.argv[2])\ndb.commit()\ndb.close()",
}


@contextmanager
def plain_tasks(module: ModuleType, after: dict[str, Callable[[], object]]) -> Iterator[None]:
    """Within the block, a flow module's tasks are the functions they were made of.

    Args:
        module: the flow's module.
        after: what happens in the world right after a task.
    """
    from prefect import Task

    tasks = {name: value for name, value in vars(module).items() if isinstance(value, Task)}
    plain: dict[str, Any] = {
        name: _Plain(_followed(value.fn, after[name]) if name in after else value.fn)
        for name, value in tasks.items()
    }
    telling = {
        "publish_report",
        "publish_page",
        "publish_plot",
        "tell_of_breaker",
        "tell_of_check",
        "tell_of_limits",
    }
    for name in telling & set(tasks):
        plain[name] = lambda *_told: None
    with patch.multiple(module, **plain):
        yield


class _Plain:
    """A task's function, which can be submitted too and has ended then."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._function(*args, **kwargs)

    def submit(self, *args: Any, **kwargs: Any) -> "_Plain":
        result = self._function(*args, **kwargs)
        return _Plain(lambda: result)

    def result(self) -> Any:
        return self._function()


def _followed(function: Callable[..., Any], happening: Callable[[], object]) -> Callable[..., Any]:
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        happening()
        return result

    return wrapped


def execute_elsewhere(kind: str, path: Path, sql: str) -> None:
    """Run a statement in a process of its own, as another program would.

    Never SQLite's standard-library module in the process that has the product's connection open: two
    copies of SQLite in one process drop each other's locks.
    """
    subprocess.run([sys.executable, "-c", _EXECUTE[kind], str(path), sql], check=True)


@dataclass
class House:
    """One store, its archive, and the settings that name them (set in the environment)."""

    kind: str
    data: Path
    store: Path

    @property
    def archive_dir(self) -> Path:
        return self.data / "archive"

    @property
    def settings(self) -> Settings:
        return load_settings(env_file=None)

    @property
    def workspace(self) -> Workspace:
        return Workspace.of(self.settings)

    @property
    def chain(self) -> Chain:
        return load_chain(self.workspace.layout)

    def archive(
        self, *, after: dict[str, Callable[[], object]] | None = None, **parameters: Any
    ) -> ArchiveReport:
        """Run the flow as of `samples.AS_OF`; `after` makes something happen right after a task."""
        from flows import archive_trades as module

        given: dict[str, Any] = {
            "as_of": samples.AS_OF,
            "retention_days": samples.RETENTION_DAYS,
            **parameters,
        }
        with plain_tasks(module, after or {}):
            return module.archive_trades.fn(**given)

    def restore(
        self, *, after: dict[str, Callable[[], object]] | None = None, **parameters: Any
    ) -> RestoreReport:
        """Run the flow."""
        from flows import restore_trades as module

        with plain_tasks(module, after or {}):
            return module.restore_trades.fn(**parameters)

    def check(
        self, *, now: datetime = samples.AS_OF, deep: bool = False, repair: bool = False
    ) -> CheckReport:
        """Run the flow as of `samples.AS_OF`."""
        from flows import check_storage as module
        from tasks import integrity as steps

        with plain_tasks(module, {}), patch.object(steps, "utc_now", lambda: now):
            state = module.check_storage.fn(deep=deep, repair=repair)
        assert isinstance(state.data, CheckReport)
        return state.data

    def snapshot(self, *, now: datetime = samples.AS_OF) -> SnapshotReport:
        """Run the flow as of `samples.AS_OF`."""
        from flows import snapshot_metrics as module
        from tasks import metrics as steps

        with plain_tasks(module, {}), patch.object(steps, "utc_now", lambda: now):
            state = module.snapshot_metrics.fn()
        assert isinstance(state.data, SnapshotReport)
        return state.data

    def look(self) -> Found:
        """What is there, read without the product."""
        return look(self.kind, self.store, self.archive_dir)

    @property
    def look_hot(self) -> dict[str, list[Row]]:
        """The hot rows alone; for archives that cannot be read."""
        return hot_rows(self.kind, self.store)

    @property
    def numbers_hot(self) -> set[int]:
        """Numbers of the hot trades; for archives that cannot be read."""
        return self._numbers(self.look_hot)

    def hold(self, *keys: str, until: datetime | None = None) -> None:
        """Put trades on hold."""
        holds = self.workspace.layout.holds
        add_holds(holds, "trades", keys, reason="a test", at=samples.CUTOFF, until=until)

    @property
    def holds(self) -> list[Hold]:
        """All holds, past ones too."""
        return read_holds(self.workspace.layout.holds)

    # ---- trades by number, in the terms of either store

    @property
    def table(self) -> str:
        """The table that `add` puts trades into."""
        return "trades" if self.kind == "duckdb" else "live_trades"

    def key(self, number: int) -> str:
        """The key of the trade with this number."""
        if self.kind == "duckdb":
            return f"t-{number:05d}"
        return f"live_trades:{number}:2025-01-02T09:30:01.{number:06d}"

    def where(self, number: int) -> str:
        """The WHERE clause of the trade with this number."""
        return f"trade_id = 't-{number:05d}'" if self.kind == "duckdb" else f"id = {number}"

    def add(self, *numbers: int, **changes: Any) -> None:
        """Insert closed trades that are due; `changes` in names that both stores have."""
        if self.kind == "duckdb":
            rows = [samples.ledger_trade(number, **changes) for number in numbers]
            samples.insert_duckdb(self.store, "trades", *rows)
        else:
            rows = [samples.fluxhero_trade(number, **changes) for number in numbers]
            samples.insert_sqlite(self.store, "live_trades", *rows)

    def edit(self, number: int, assignments: str) -> None:
        """UPDATE one trade from outside."""
        self.execute(f"UPDATE {self.table} SET {assignments} WHERE {self.where(number)}")

    def edit_all(self, assignments: str) -> None:
        """UPDATE every trade from outside."""
        self.execute(f"UPDATE {self.table} SET {assignments}")

    def execute(self, sql: str) -> None:
        """Run a statement on the store from outside."""
        execute_elsewhere(self.kind, self.store, sql)

    def execute_and_fetch(self, sql: str) -> tuple[Any, ...]:
        """The first row of a query on a ledger."""
        with duckdb.connect(str(self.store), read_only=True) as db:
            return db.execute(sql).fetchone() or ()

    @property
    def hot(self) -> set[int]:
        """Numbers of the trades that are hot."""
        return self._numbers(self.look().hot)

    @property
    def archived(self) -> set[int]:
        """Numbers of the trades that the archive has."""
        return self._numbers(self.look().archived)

    def _numbers(self, keys: dict[str, Any]) -> set[int]:
        if self.kind == "sqlite":
            return {int(key.split(":")[1]) for key in keys}
        return {int(key.rpartition("-")[2]) for key in keys if key.startswith("trades/")}
