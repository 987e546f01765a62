"""Kill parts of a running night shift at random during nightly runs, and look what became of it.

`python -m tests.night.chaos --rounds 50 --seed 1 --out docs/night-kills.json` plays all of it and writes
the figures beside as a Markdown page (`make night-kills`). Real processes, one real bot's database that
grows by some closed trades before every round, one real receiver of alerts.
"""

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from tests import samples
from tests.alerts.receivers import receiving
from tests.evidence import Row, hot_rows, look
from tests.night.shift import Shift

NIGHTLY = "nightly/nightly"
TRADES_A_ROUND = 40
# Who is killed, all at one instant; "run" is the process of the nightly run itself.
VICTIMS: tuple[tuple[str, ...], ...] = (
    ("run",),
    ("worker",),
    ("worker", "run"),
    ("server",),
    ("api",),
    ("server", "run"),
    ("server", "worker", "run"),
    ("server", "worker", "api", "run"),
)
START_SECONDS, FINAL_SECONDS, ALERT_SECONDS = 180.0, 420.0, 90.0
LONGEST_PAUSE_SECONDS = 14.0  # about as long as a nightly run of so little takes
FINAL = frozenset({"COMPLETED", "FAILED", "CRASHED", "CANCELLED"})


@dataclass
class Round:
    """One kill and what followed.

    Attributes:
        victims: who was killed.
        after_seconds: how long after the run was running.
        state: what the run that was going on ended as.
        seconds_to_end: from the kill until the server knew.
        next_state: what the next run ended as.
        violations: what must not be.
    """

    victims: tuple[str, ...]
    after_seconds: float
    state: str = ""
    seconds_to_end: float = 0.0
    next_state: str = ""
    violations: list[str] = field(default_factory=list)


class Chaos:
    """One night shift, its bot's database and everything that was ever in it."""

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self._rng = rng
        self._store = folder / "system.db"
        self._archive = folder / "data" / "archive"
        self._truth: Counter[tuple[str, Row]] = Counter()
        self._trades = 0
        self.crashed: list[str] = []
        samples.create_fluxhero_store(self._store)
        self._ends = ExitStack()
        self._receiver = self._ends.enter_context(receiving())
        self.shift = Shift(
            folder,
            FLUXHERO_STORE_URL=f"sqlite:///{self._store}",
            FLUXHERO_ALERT_URLS=self._receiver.url("json", "alerts"),
        )

    def play(self, victims: Sequence[str]) -> Round:
        """Trades are closed, a nightly run starts, somebody dies; then the next run does the work."""
        pause = round(self._rng.uniform(0, LONGEST_PAUSE_SECONDS), 2)

        def kill(run: str) -> bool:
            self._running(run)
            time.sleep(pause)
            return self.kill(victims, run)

        return self.through(kill, Round(tuple(victims), pause), always_another=True)

    def through(
        self, trouble: Callable[[str], bool], done: Round, *, always_another: bool = False
    ) -> Round:
        """A night with some trouble, and the one after it.

        Args:
            trouble: is given the id of a run that was asked for; says whether it killed the run's process.
            done: what to note it in.
            always_another: whether there is one after it, though this one has completed all the same.
        """
        self._trade()
        run = self.shift.start(NIGHTLY)
        killed_run = trouble(run)
        troubled_at, by_the_clock = time.monotonic(), datetime.now(UTC)
        done.violations += self._differences("after the trouble")
        done.state = self._ended(run)
        done.seconds_to_end = round(time.monotonic() - troubled_at, 1)
        had_ended = self.shift.ended_at(run) < by_the_clock and done.state == "COMPLETED"
        if killed_run and done.state != "CRASHED" and not had_ended:
            done.violations.append(f"the killed run ended {done.state}")
        if done.state == "CRASHED":
            self.crashed.append(run)
        if always_another or done.state != "COMPLETED":
            done.next_state = self._ended(self.shift.start(NIGHTLY))
            if done.next_state != "COMPLETED":
                done.violations.append(f"the next run ended {done.next_state}")
        done.violations += self._differences("in the end")
        if left := len(hot_rows("sqlite", self._store)):
            done.violations.append(f"{left} due trades are still hot")
        return done

    def alerts(self) -> list[str]:
        """What is wrong with the alerts there have been: each crashed run has one."""
        end = time.monotonic() + ALERT_SECONDS
        while time.monotonic() < end and not all(map(self._told, self.crashed)):
            time.sleep(1)
        told = {run: self._told(run) for run in self.crashed}
        return [f"{count} alerts about run {run}" for run, count in told.items() if count != 1]

    def _told(self, run: str) -> int:
        """How many alerts say that this run crashed."""
        texts = [json.dumps(message) for _, message in self._receiver.got]
        return sum(run in text and "crashed" in text.lower() for text in texts)

    def _trade(self) -> None:
        numbers = range(self._trades + 1, self._trades + 1 + TRADES_A_ROUND)
        self._trades += TRADES_A_ROUND
        samples.insert_sqlite(
            self._store, "live_trades", *(samples.fluxhero_trade(number) for number in numbers)
        )
        for key, rows in hot_rows("sqlite", self._store).items():
            self._truth.update((key, row) for row in rows)

    def _running(self, run: str) -> None:
        """Wait until a run runs, or has ended already."""
        waiting = {"", "SCHEDULED", "PENDING"}
        self.shift.wait(lambda: self.shift.state(run) not in waiting, START_SECONDS, "a run")

    def _ended(self, run: str) -> str:
        self.shift.wait(lambda: self.shift.state(run) in FINAL, FINAL_SECONDS, f"the end of {run}")
        return self.shift.state(run)

    def kill(self, victims: Sequence[str], run: str) -> bool:
        """Kill them all by SIGKILL; whether the run's own process was alive and is dead now."""
        pids = {name: self.shift.pid(name) for name in victims if name != "run"}
        own = self.shift.run_pids(run) if "run" in victims else []
        for pid in [*own, *(pid for pid in pids.values() if pid)]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:  # it has ended by itself since
                own = [one for one in own if one != pid]
        psutil.wait_procs(
            [psutil.Process(pid) for pid in own if psutil.pid_exists(pid)], timeout=10
        )
        return bool(own)

    def _differences(self, when: str) -> list[str]:
        view = look("sqlite", self._store, self._archive).view
        lost, extra = self._truth - view, view - self._truth
        return [
            f"{when}: {sum(rows.values())} rows {what}"
            for what, rows in (("lost", lost), ("doubled or changed", extra))
            if rows
        ]

    def close(self) -> None:
        """Stop what was started."""
        self.shift.stop()
        self._ends.close()


def play_rounds(
    rounds: int, seed: int, folder: Path, jobs: int = 1
) -> tuple[list[Round], list[str]]:
    """Play so many rounds, each kind of victim in turn; the rounds, and what is wrong in all.

    Args:
        rounds: how many.
        seed: of what is random.
        folder: for everything.
        jobs: how many night shifts run beside each other, each with its share of the rounds.
    """
    order = [VICTIMS[number % len(VICTIMS)] for number in range(rounds)]
    random.Random(seed).shuffle(order)

    def play(job: int) -> tuple[list[Round], list[str]]:
        own = folder / f"shift-{job}"
        own.mkdir()
        return _play_one_after_another(order[job::jobs], random.Random(f"{seed} {job}"), own)

    with ThreadPoolExecutor(jobs) as threads:
        done = list(threads.map(play, range(jobs)))
    return [one for played, _ in done for one in played], [
        one for _, wrong in done for one in wrong
    ]


def _play_one_after_another(
    order: Sequence[tuple[str, ...]], rng: random.Random, folder: Path
) -> tuple[list[Round], list[str]]:
    chaos = Chaos(folder, rng)
    try:
        chaos.shift.up()
        played = []
        for number, victims in enumerate(order, start=1):
            done = chaos.play(victims)
            sys.stderr.write(f"{folder.name} {number}/{len(order)} {json.dumps(asdict(done))}\n")
            played.append(done)
        return played, chaos.alerts()
    finally:
        chaos.close()


def report(rounds: Sequence[Round], wrong: Sequence[str], command: str, seconds: float) -> str:
    """The page of Markdown."""
    lines = [
        "| killed | times | run ended as | longest until the server knew, s | next run completed | violations |",
        "|---|---:|---|---:|---:|---:|",
    ]
    for victims in VICTIMS:
        found = [one for one in rounds if one.victims == victims]
        if not found:
            continue
        states = Counter(one.state.lower() for one in found)
        ended = ", ".join(f"{count} {state}" for state, count in states.most_common())
        crashed = [one.seconds_to_end for one in found if one.state == "CRASHED"]
        lines.append(
            f"| {', '.join(victims)} | {len(found)} | {ended} | {max(crashed, default=0):.0f} | "
            f"{sum(one.next_state == 'COMPLETED' for one in found)} | "
            f"{sum(len(one.violations) for one in found)} |"
        )
    told = "Every crashed run was told of by exactly one alert." if not wrong else "; ".join(wrong)
    table = "\n".join(lines)
    return f"""# Night shift: kills

{len(rounds)} times parts of a running night shift were killed with SIGKILL during a nightly run;
{sum(len(one.violations) for one in rounds) + len(wrong)} violations. {told}

{table}

Made by `{command}` in {seconds / 60:.0f} minutes.

- Before every round a bot's database gets {TRADES_A_ROUND} more closed trades. The kill comes at a random
  instant, up to {LONGEST_PAUSE_SECONDS:.0f} seconds after the run began. "run" is the process of that run.
- After the kill, and again after the next run, every trade there ever was is in hot ∪ archive exactly once, bit for
  bit, read without the product. After the next run nothing due is hot.
- A run whose process was killed has to end as Crashed, and a receiver of alerts that is a web server of the test has to
  get one alert about it. A run that only lost its worker, or for a while the server, goes on and completes.
  Where a killed one is among the completed, it had completed just before.
- "Until the server knew" is measured from the kill, for runs that ended as Crashed.
"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.night.chaos", description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1, help="night shifts beside each other")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="night-kills-") as folder:
        rounds, wrong = play_rounds(given.rounds, given.seed, Path(folder), given.jobs)
    command = f"python -m tests.night.chaos --rounds {given.rounds} --seed {given.seed} --jobs {given.jobs}"
    page = report(rounds, wrong, command, time.monotonic() - began)
    sys.stdout.write(page)
    if given.out:
        document: dict[str, Any] = {"command": command, "alerts": list(wrong)}
        document["rounds"] = [asdict(one) for one in rounds]
        given.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        given.out.with_suffix(".md").write_text(page, encoding="utf-8")
    return 1 if wrong or any(one.violations for one in rounds) else 0


if __name__ == "__main__":
    sys.exit(main())
