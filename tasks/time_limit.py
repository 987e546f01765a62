"""A scheduled run that never ends is ended: its stacks in its log, its state Failed, its process gone.

Python cannot stop code in C: a query of DuckDB, a call that waits for a disk. So the process is ended as
a whole, which is safe at any moment for every flow of ours. It is done by a thread of the run's own process
and, should that never get its turn again because something keeps the interpreter's lock, by a timer in C.
"""

import faulthandler
import logging
import os
import signal
import tempfile
import threading
from datetime import UTC, datetime
from typing import Any, Final

import psutil
from prefect import Flow, State
from prefect.client.schemas.objects import FlowRun

from config.loading import load_settings
from config.prefect_env import prefect_api_url
from config.settings import SettingsError
from fluxhero.errors import ServerError
from fluxhero.night.server_api import ServerApi

logger = logging.getLogger(__name__)

MINUTE_SECONDS: Final = 60.0
TIMED_OUT: Final = "TimedOut"
GRACE_SECONDS: Final = 120.0  # from then on, the timer in C ends the process
PATIENCE_SECONDS: Final = 60.0  # that a server which is away is waited for
_MOST_CHARACTERS = 20_000  # of one line of a log, which the server bounds
_ENDED = frozenset({"COMPLETED", "FAILED", "CRASHED", "CANCELLED"})


def limit_time(_flow: Flow[..., Any], run: FlowRun, _state: State[Any]) -> None:
    """Watch over the run from its beginning, if it is one of a deployment.

    A run that somebody started at a terminal has somebody who stops it, and a subflow is part of its
    parent, which is watched.
    """
    if run.deployment_id is None:
        return
    try:
        minutes = load_settings().run_limit_minutes
    except SettingsError:
        return  # the run itself is about to say so, and to end
    seconds = minutes * MINUTE_SECONDS
    faulthandler.dump_traceback_later(seconds + GRACE_SECONDS, exit=True)
    watch = threading.Timer(seconds, end_run, args=(str(run.id), minutes))
    watch.name, watch.daemon = "time-limit", True
    watch.start()


def end_run(run_id: str, minutes: int) -> None:
    """Put all stacks into the run's log, set its state, and end this process with those it has started."""
    why = (
        f"it had not ended after {minutes} minutes (FLUXHERO_RUN_LIMIT_MINUTES): where it was is in its log;"
        " the next run does what is due"
    )
    stacks = _stacks()
    logger.critical("run %s is ended: %s\n%s", run_id, why, stacks)
    try:
        _tell(run_id, why, stacks)
    except ServerError as error:
        logger.critical("its state could not be set: %s", error)
    finally:
        _end_process()


def _tell(run_id: str, why: str, stacks: str) -> None:
    api_url = prefect_api_url()
    if api_url is None:
        return
    with ServerApi(api_url, patience_seconds=PATIENCE_SECONDS) as server:
        if server.get(f"/flow_runs/{run_id}")["state_type"] in _ENDED:
            return  # what goes on is the end of the process, and no part of the run
        now = datetime.now(UTC).isoformat()
        line = {"name": __name__, "level": logging.CRITICAL, "timestamp": now}
        message = f"Ended: {why}\n{stacks}"
        server.post("/logs/", [{**line, "flow_run_id": run_id, "message": message}])
        state = {"type": "FAILED", "name": TIMED_OUT, "message": why[0].upper() + why[1:]}
        server.post(f"/flow_runs/{run_id}/set_state", {"state": state, "force": True})


def _stacks() -> str:
    """Where each thread is, those in C too; most recent call first."""
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as file:
        faulthandler.dump_traceback(file, all_threads=True)
        file.seek(0)
        return file.read(_MOST_CHARACTERS)


def _end_process() -> None:
    """SIGKILL, since a thread that is in C has no ear for anything else; what it started first."""
    for child in psutil.Process().children(recursive=True):
        child.kill()
    os.kill(os.getpid(), signal.SIGKILL)
