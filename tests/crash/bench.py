"""The place where scenarios are played: reset to a stage, kill, look, run once more, look again."""

import json
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from config.settings import Settings
from fluxhero.archive.workspace import Workspace
from tests.crash.killer import Killer, answer_to, kill
from tests.crash.plan import Planned

BATCH_ROWS = 200
Order = dict[str, Any]
Look = Callable[[], list[str]]  # returns what is wrong


@dataclass(frozen=True)
class Stage:
    """A state from which runs start: a folder to copy, and what must be true of it afterwards.

    Attributes:
        saved: the folder.
        order: the run that is killed.
        after_kill: looks at what a killed run left.
        at_end: looks once a run has completed.
        afterwards: runs that follow the completed one before `at_end` looks.
        shown: what a reader must see all the while; without it none looks on.
        labels: the boundaries that the undisturbed run crosses.
        seconds: how long it takes.
    """

    store: str
    operation: str
    saved: Path
    order: Order
    after_kill: Look
    at_end: Look
    afterwards: tuple[Order, ...] = ()
    shown: dict[str, int] | None = None
    labels: tuple[str, ...] = ()
    seconds: float = 1.0


@dataclass
class Result:
    """What came of one scenario."""

    store: str
    operation: str
    kind: str
    points: list[str]
    kills: int = 0
    recovered: bool = False
    looks: int = 0
    violations: list[str] = field(default_factory=list)


class Bench:
    """A place where one scenario at a time is played; the store's path never changes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.live = folder / "live"
        self.killer, self.reader = Killer(), Killer()
        self._number = 0

    def close(self) -> None:
        self.killer.close()
        self.reader.close()

    # ---- paths and settings

    def store(self, kind: str) -> Path:
        return self.live / "bot" / ("system.db" if kind == "sqlite" else "ledger.duckdb")

    @property
    def data(self) -> Path:
        return self.live / "data"

    @property
    def archive(self) -> Path:
        return self.data / "archive"

    def workspace(self, kind: str) -> Workspace:
        return Workspace.of(
            Settings(
                data_dir=self.data,
                store_url=f"{kind}:///{self.store(kind)}",
                batch_rows=BATCH_ROWS,
                lock_timeout_seconds=30,
            )
        )

    # ---- runs

    def _order(self, kind: str, what: Order, **more: Any) -> Order:
        self._number += 1
        environment = {
            "FLUXHERO_DATA_DIR": str(self.data),
            "FLUXHERO_STORE_URL": f"{kind}:///{self.store(kind)}",
            "FLUXHERO_BATCH_ROWS": str(BATCH_ROWS),
            "FLUXHERO_LOCK_TIMEOUT_SECONDS": "30",
        }
        return {
            "do": "run",
            "environment": environment,
            "folder": str(self.folder),
            "output": str(self.folder / f"out-{self._number}.json"),
            **what,
            **more,
        }

    def run(self, kind: str, what: Order, **more: Any) -> tuple[int, dict[str, Any]]:
        """Run to its end; returns exit code and what it said."""
        order = self._order(kind, what, **more)
        self.killer.start(order)
        return self.killer.end(), answer_to(order)

    def complete(self, kind: str, what: Order, **more: Any) -> dict[str, Any]:
        code, said = self.run(kind, what, **more)
        if code != 0:
            raise RuntimeError(f"a run that nobody killed failed: {said.get('trace', said)}")
        return said

    # ---- stages

    def empty(self) -> None:
        shutil.rmtree(self.live, ignore_errors=True)
        self.live.mkdir()

    def save(self, name: str) -> Path:
        """Keep the place as it is now, to start from."""
        saved = self.folder / name.replace(" ", "-")
        shutil.rmtree(saved, ignore_errors=True)
        shutil.copytree(self.live, saved)
        return saved

    def reset(self, saved: Path) -> None:
        shutil.rmtree(self.live)
        shutil.copytree(saved, self.live)

    def measure(self, kind: str, order: Order) -> tuple[tuple[str, ...], float]:
        """Run undisturbed; returns the boundaries crossed and the seconds it took."""
        trace = self.folder / "trace"
        began = time.monotonic()
        self.complete(kind, order, trace=str(trace))
        return tuple(trace.read_text().splitlines()), time.monotonic() - began

    # ---- scenarios

    def play(self, stage: Stage, scenario: Planned, *, watch: bool) -> Result:
        """Play a scenario; once more with an earlier first kill where the run had ended before it."""
        first, *more = scenario.kills
        while True:
            result = self._play(stage, scenario.kind, (first, *more), watch=watch)
            if result.kills or result.violations or isinstance(first, int):
                return result
            first *= 0.6

    def _play(
        self, stage: Stage, kind: str, kills: Sequence[int | float], *, watch: bool
    ) -> Result:
        """Kill the run, then the runs that recover from it; let the last one end; judge."""
        self.reset(stage.saved)
        result = Result(stage.store, stage.operation, kind, [])
        with self._watched(stage, result) if watch else nullcontext():
            for when in kills:
                point = self._kill(stage, when)
                if point is None:
                    break
                result.points.append(point)
                result.kills += 1
                if not watch:  # the reader excludes others from a DuckDB file
                    result.violations += _seen(stage.after_kill)
            code, said = self.run(stage.store, stage.order)
            result.recovered = code == 0
            if code != 0:
                result.violations.append(f"the run after it failed: {said.get('trace', said)}")
            for order in stage.afterwards:
                self.complete(stage.store, order)
        result.violations += _seen(stage.at_end)
        return result

    def _kill(self, stage: Stage, when: int | float) -> str | None:
        """Kill one run; returns where it died, None if it had already ended."""
        trace = self.folder / "trace"
        if isinstance(when, int):
            code, said = self.run(stage.store, stage.order, kill_at=when, trace=str(trace))
        else:
            order = self._order(stage.store, stage.order)
            child = self.killer.start(order)
            time.sleep(when)
            kill(child)
            code, said = self.killer.end(), answer_to(order)
        if code == -signal.SIGKILL:
            if isinstance(when, float):
                return f"after {when:.3f} s"
            return f"boundary {when}: {trace.read_text().splitlines()[-1]}"
        if code != 0:
            raise RuntimeError(f"the run failed before it was killed: {said.get('trace', said)}")
        return None

    @contextmanager
    def _watched(self, stage: Stage, result: Result) -> Iterator[None]:
        expected, stop = self.folder / "expected.json", self.folder / "stop"
        expected.write_text(json.dumps(stage.shown))
        stop.unlink(missing_ok=True)
        order = self._order(stage.store, {"do": "watch"}, stop=str(stop), expected=str(expected))
        self.reader.start(order)
        try:
            yield
        finally:
            stop.touch()
            code, said = self.reader.end(), answer_to(order)
        if code != 0:
            result.violations.append(f"the reader failed: {said.get('trace', said)}")
        result.looks = said.get("looks", 0)
        result.violations += [f"the reader saw {wrong}" for wrong in said.get("wrong", [])]


def _seen(look: Look) -> list[str]:
    """What is wrong; a store that cannot be read is."""
    try:
        return look()
    except duckdb.Error as error:
        return [f"the store cannot be read: {str(error).splitlines()[0]}"]
