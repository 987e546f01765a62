"""Before a worker starts, and after a jump of the clock: what was missed is run once, not ten times.

`python -m fluxhero.night.catch_up`. Every flow does all that is due, so of the runs that a deployment has
missed the last one is enough; the others are cancelled, and say why. Runs that somebody asked for stay.
"""

import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from config.settings import Settings
from fluxhero.market.trading_days import IN_SESSION, closed_at
from fluxhero.night.apply import ours_on
from fluxhero.night.deployments import OURS
from fluxhero.night.one_off import run_once
from fluxhero.night.server_api import ServerApi
from fluxhero.wording import counted

logger = logging.getLogger("fluxhero.night.catch_up")  # which runs as __main__, too

PENDING_FOR: Final = timedelta(minutes=2)  # a worker starts a run within seconds
IN_SESSION_INTERVAL: Final = timedelta(minutes=5)

_Run = dict[str, Any]


def catch_up(server: ServerApi, *, exchange: str, now: datetime) -> None:
    """Leave one missed run of each deployment of ours, and end what a killed worker left Pending.

    Args:
        server: to look at.
        exchange: ISO 10383 code of the one whose holidays count.
        now: what is due before this moment has been missed.

    Raises:
        ServerError: the server does not answer, or refuses.
    """
    names = {one["id"]: name for name, one in ours_on(server).items()}
    missed: dict[str, list[_Run]] = defaultdict(list)
    for run in _runs(server, "SCHEDULED"):
        if run["auto_scheduled"] and run["state_name"] != "AwaitingRetry" and _expected(run) < now:
            missed[names.get(run["deployment_id"], "a deployment")].append(run)
    for name, runs in missed.items():
        _leave_one(server, name, runs, exchange=exchange, now=now)
    for run in _runs(server, "PENDING"):
        if now - datetime.fromisoformat(run["state"]["timestamp"]) > PENDING_FOR:
            _crash(server, run)


def _leave_one(
    server: ServerApi, deployment: str, runs: list[_Run], *, exchange: str, now: datetime
) -> None:
    kept = _worth_running(runs, exchange=exchange, now=now)
    if kept is None:
        why = "it was missed, and is too late now: the hourly snapshot measures the same"
    else:
        why = f"superseded by the run of {_expected(kept):%Y-%m-%d %H:%M} UTC; it does everything that is due"
    superseded = [run for run in runs if run is not kept]
    for run in superseded:
        _end(server, run, "CANCELLED", "Cancelled", why)
    if superseded:
        logger.info("cancelled %s of %s: %s", counted(len(superseded), "run"), deployment, why)


def _worth_running(runs: Sequence[_Run], *, exchange: str, now: datetime) -> _Run | None:
    """The newest run that has something to do, or else the newest; None where none does any good."""
    newest_first = sorted(runs, key=_expected, reverse=True)
    if IN_SESSION in newest_first[0]["tags"]:
        newest_first = [run for run in newest_first if now - _expected(run) <= IN_SESSION_INTERVAL]
    due = (run for run in newest_first if closed_at(exchange, run["tags"], _expected(run)) is None)
    return next(due, newest_first[0] if newest_first else None)


def _crash(server: ServerApi, run: _Run) -> None:
    why = "the worker that took it was killed before it started; the next run does what is due"
    _end(server, run, "CRASHED", "Crashed", why)
    logger.warning("the run %s never started: %s", run["name"], why)


def _end(server: ServerApi, run: _Run, kind: str, name: str, why: str) -> None:
    state = {"type": kind, "name": name, "message": why}
    server.post(f"/flow_runs/{run['id']}/set_state", {"state": state, "force": True})


def _runs(server: ServerApi, kind: str) -> Iterator[_Run]:
    """All runs of our deployments in states of a type; read whole, since ending one moves the pages."""
    wanted = {
        "flow_runs": {"state": {"type": {"any_": [kind]}}},
        "deployments": {"tags": {"all_": [OURS]}},
        "sort": "EXPECTED_START_TIME_ASC",
    }
    return iter(list(server.every("/flow_runs/filter", wanted)))


def _expected(run: _Run) -> datetime:
    return datetime.fromisoformat(run["expected_start_time"])


def main() -> None:
    """Catch up at the server of the environment; ends the process."""

    def work(settings: Settings, server: ServerApi) -> None:
        catch_up(server, exchange=settings.exchange, now=datetime.now(UTC))

    run_once(work)


if __name__ == "__main__":
    main()
