"""The process that gets killed: it runs the product's own flow bodies and dies where it is told to.

Started once (`python -m tests.crash.victim`), it reads one order a line from standard input (JSON),
forks a child for each, and answers with the child's id at once and with its end later. The child runs
a flow against the store and archive of the order's environment. Every durable primitive is wrapped: each call
crosses a boundary before and one after it, and at boundary number `kill_at` the child sends itself
SIGKILL. Prefect is replaced by functions that hand the product's own steps through unchanged, in the
same order; `test_real_flows` kills the real thing.
"""

import json
import os
import signal
import sys
import types
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # no thread may run when this process forks


# -------------------------------------------------------------------------- Prefect, handed through


class _Anything(types.ModuleType):
    """A module in which every name exists and can be called."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {"__class_getitem__": classmethod(lambda cls, _: cls)})


_STATES = ("COMPLETED", "FAILED", "CRASHED", "CANCELLING", "CANCELLED")


def _hand_through(function: Callable[..., Any] | None = None, **_options: Any) -> Any:
    """What `flow` and `task` become: decorators that change nothing."""
    return function if function is not None else lambda wrapped: wrapped


def replace_prefect() -> None:
    for name in (
        "prefect",
        "prefect.artifacts",
        "prefect.cache_policies",
        "prefect.client",
        "prefect.client.schemas",
        "prefect.client.schemas.objects",
        "prefect.exceptions",
        "prefect.futures",
        "prefect.runtime",
        "prefect.states",
        "prefect.task_runners",
        "prefect.tasks",
    ):
        sys.modules[name] = _Anything(name)
    prefect: Any = sys.modules["prefect"]
    prefect.flow = prefect.task = _hand_through
    runtime: Any = sys.modules["prefect.runtime"]
    for name in ("deployment", "flow_run", "task_run"):
        setattr(runtime, name, types.SimpleNamespace(id=None, name=None))
    sessions: Any = types.ModuleType("tasks.sessions")
    sessions.on_trading_days = _hand_through  # nothing here is scheduled
    sys.modules["tasks.sessions"] = sessions
    tasks: Any = sys.modules["prefect.tasks"]
    tasks.exponential_backoff = lambda _factor: None
    objects: Any = sys.modules["prefect.client.schemas.objects"]
    objects.StateType = types.SimpleNamespace(**{name: name for name in _STATES})
    artifacts: Any = sys.modules["prefect.artifacts"]
    artifacts.create_markdown_artifact = artifacts.create_table_artifact = lambda *_a, **_k: None


# ------------------------------------------------------------------------------------- boundaries


class Boundaries:
    """Counts the boundaries crossed, and dies at one of them."""

    def __init__(self) -> None:
        self.armed = False
        self.count = 0
        self.kill_at: int | None = None
        self.trace: TextIO | None = None

    def arm(self, kill_at: int | None, trace: str | None) -> None:
        # Line by line, so that what was crossed is known even after SIGKILL.
        self.trace = Path(trace).open("w", 1, encoding="utf-8") if trace else None  # noqa: SIM115
        self.armed, self.count, self.kill_at = True, 0, kill_at

    def cross(self, label: str) -> None:
        if not self.armed:
            return
        self.count += 1
        if self.trace is not None:
            self.trace.write(label + "\n")
        if self.count == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)


BOUNDARIES = Boundaries()


def role(path: object) -> str:
    """What kind of file a path is, so that boundaries of different batches have equal names."""
    text = str(path)
    name = text.rsplit("/", 1)[-1]
    if ".staging" in text:
        return "staged file" if name != ".staging" else "staging folder"
    if "/manifests" in text:
        kinds = {".purged": "purge event", ".restored": "restore event", ".json": "manifest"}
        return next((kind for sign, kind in kinds.items() if sign in name), "manifests folder")
    if ".duckdb." in name:
        return "copy of the store" if ".backup" in name else "new store"
    if "/tmp/ingest" in text:
        return "waiting rows"
    if "/imports" in text:
        return "raw file" if name != "imports" else "folder of raw files"
    if "/mode=" in text:
        return "data file" if name.endswith(".parquet") else "data folder"
    known = {
        "archive-head.json": "head",
        "archive.json": "identity",
        "holds.json": "holds",
        ".lock": "lock",
        "backups": "backup",
        "quarantine": "quarantine",
    }
    return next((kind for sign, kind in known.items() if sign in text), "folder")


def around(name: str, function: Callable[..., Any], describe: Callable[..., str]) -> Any:
    """A function that crosses a boundary before and after each call."""

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        label = f"{name} {describe(*args, **kwargs)}".strip()
        BOUNDARIES.cross(f"before {label}")
        result = function(*args, **kwargs)
        BOUNDARIES.cross(f"after {label}")
        return result

    return wrapped


def _of_descriptor(descriptor: int) -> str:
    return role(Path(f"/proc/self/fd/{descriptor}").readlink())


_SQL = ("BEGIN", "COMMIT", "CHECKPOINT", "DELETE", "INSERT INTO hot", "INSERT OR", "UPDATE hot",
        "CREATE TABLE hot", "DROP TABLE hot", "ALTER TABLE hot", "ATTACH", "DETACH")  # fmt: skip


def wrap_system() -> None:
    """Wrap what the operating system offers; must run before the product binds the names."""
    os.fsync = around("fsync", os.fsync, _of_descriptor)
    for name in ("link", "replace", "rename"):
        two_paths = around(name, getattr(os, name), lambda _source, target, **_: role(target))
        setattr(os, name, two_paths)
    for name in ("unlink", "mkdir"):
        setattr(os, name, around(name, getattr(os, name), lambda path, *_a, **_k: role(path)))
    plain_open = Path.open

    def opening(path: Path, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        if "w" not in mode and "x" not in mode:
            return plain_open(path, mode, *args, **kwargs)
        return creating(path, mode, *args, **kwargs)

    creating = around("create", plain_open, lambda path, *_a, **_k: role(path))
    Path.open = opening  # type: ignore[method-assign, assignment]


def wrap_product() -> None:
    """Wrap the product's durable functions, its stores and their statements."""
    import subprocess

    import duckdb
    import pyarrow.parquet as pq

    from fluxhero import durable

    for name in ("write_atomically", "link_into_place", "remove", "move_aside"):
        last = 1 if name in {"link_into_place", "move_aside"} else 0
        wrapped = around(name, getattr(durable, name), lambda *a, _last=last, **_: role(a[_last]))
        setattr(durable, name, wrapped)

    from fluxhero.ledger.duckdb_store import DuckDBStore
    from fluxhero.ledger.sqlite_connection import SqliteConnection
    from fluxhero.ledger.sqlite_store import SqliteStore

    for store in (DuckDBStore, SqliteStore):
        for name in ("plan", "read", "compare", "purge", "fetch", "insert"):
            setattr(
                store, name, around(f"store.{name}", getattr(store, name), lambda *_a, **_k: "")
            )
    plain: dict[Any, str] = {duckdb.DuckDBPyConnection: "duckdb", SqliteConnection: "sqlite"}
    for kind, engine in plain.items():
        execute = kind.execute

        def executing(self: Any, sql: Any, *args: Any, _plain: Any = execute,
                      _engine: str = engine, **kwargs: Any) -> Any:  # fmt: skip
            verb = next((v for v in _SQL if isinstance(sql, str) and sql.startswith(v)), None)
            if verb is None:
                return _plain(self, sql, *args, **kwargs)
            label = f"{_engine} {verb}"
            return around(label, _plain, lambda *_a, **_k: "")(self, sql, *args, **kwargs)

        kind.execute = executing
    sqlite: Any = SqliteConnection
    sqlite.insert = around("sqlite INSERT", sqlite.insert, lambda *_a: "")
    pq.ParquetWriter.write_table = around(
        "write rows", pq.ParquetWriter.write_table, lambda *_a: ""
    )
    subprocess.run = around("subprocess", subprocess.run, lambda *_a, **_k: "copy of the store")


# ------------------------------------------------------------------------------------------ child


def run_flow(flow: str, parameters: dict[str, Any]) -> str:
    """Run one flow body; returns its verdict."""
    for name in ("as_of", "closed_from", "closed_to"):
        if parameters.get(name):
            parameters[name] = datetime.fromisoformat(parameters[name])
    if flow == "archive":
        from flows.archive_trades import archive_trades

        return str(archive_trades(**parameters).verdict)
    if flow == "ingest":
        from flows.ingest_trades import ingest_trades

        return str(ingest_trades(**parameters).verdict)
    if flow == "migrate":
        from tests.crash.newer_schema import migrate_to_newest

        store = Path(os.environ["FLUXHERO_STORE_URL"].removeprefix("duckdb:///"))
        return f"{len(migrate_to_newest(store))} copies"
    from flows.restore_trades import restore_trades

    return str(restore_trades(**parameters).verdict)


def cut_pages(rows: int | None) -> None:
    """Make the pages in which files are read so small that a small file has several."""
    if rows is None:
        return
    from fluxhero.ledger import sqlite_source, staging
    from fluxhero.ledger.formats import csv_text, json_lines

    for module in (sqlite_source, staging, csv_text, json_lines):
        vars(module)["PAGE_ROWS"] = rows


def obey(order: dict[str, Any]) -> int:
    """What the child does."""
    os.environ.update(order["environment"])
    os.chdir(order["folder"])
    output = Path(order["output"])
    try:
        if order["do"] == "watch":
            from tests.crash.watcher import watch

            watch(Path(order["stop"]), output, order["expected"])
            return 0
        cut_pages(order.get("page_rows"))
        BOUNDARIES.arm(order.get("kill_at"), order.get("trace"))
        verdict = run_flow(order["flow"], dict(order["parameters"]))
        BOUNDARIES.armed = False
        if BOUNDARIES.trace:
            BOUNDARIES.trace.close()
        output.write_text(json.dumps({"verdict": verdict, "boundaries": BOUNDARIES.count}))
    except BaseException as error:  # noqa: BLE001 - the controller judges it
        import traceback

        output.write_text(json.dumps({"error": repr(error), "trace": traceback.format_exc()}))
        return 1
    return 0


def main() -> None:
    replace_prefect()
    wrap_system()
    wrap_product()
    import tests.crash.watcher  # noqa: F401

    print("ready", flush=True)  # noqa: T201
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            os.setpgid(0, 0)
            os._exit(obey(order))
        print(json.dumps({"pid": child}), flush=True)  # noqa: T201
        _, status = os.waitpid(child, 0)
        ended = os.waitstatus_to_exitcode(status)
        print(json.dumps({"ended": ended}), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
