"""Runs that are dead though the server says they run: those that its own automations missed.

The server looks for lost heartbeats itself, and marks such runs as crashed. It forgets what it was
waiting for when it is away for a minute longer than that, and never knew of heartbeats that came in
right before it was killed. So the courier looks as well, once a server has been back for long enough
that a run which lives has sent a heartbeat. It also brings back a run that the server took for dead
since it was away itself, or lost an event while its database was locked, if the run's process is on
this machine and lives.
"""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

import psutil

from fluxhero.alerts import rules
from fluxhero.alerts.server_facts import Run, ServerFacts, as_child_of

logger = logging.getLogger(__name__)

# A bit more than the server's own windows, so that it goes first.
SILENT_AFTER: Final = rules.HEARTBEAT_WINDOW + timedelta(seconds=8)
UNSTARTED_AFTER: Final = rules.PENDING_WINDOW + timedelta(seconds=8)
SETTLED_AFTER: Final = rules.HEARTBEAT_EVERY + timedelta(seconds=10)
RUN_VARIABLE: Final = "PREFECT__FLOW_RUN_ID"
_REVIVED: Final = (
    "Its process lives: the server had been away or busy, and took its silence for death."
)
_TAKEN_FOR_DEAD: Final = frozenset({rules.HEARTBEAT_LOST_MESSAGE, rules.STUCK_PENDING_MESSAGE})
_ENGINE: Final = "prefect"  # in the command line of a run's own process, and not of what it starts

Lives = Callable[[str], bool]  # whether the process of a run with this id is on this machine


def mark_dead(
    facts: ServerFacts, now: datetime, back_since: datetime, disabled: tuple[str, ...], lives: Lives
) -> list[Run]:
    """Mark runs as crashed that are dead, with their subflows; returns them.

    Args:
        facts: of the server.
        now: the time.
        back_since: since when the server has answered without a break.
        disabled: automations that are switched off: what they would do is not done here either.
        lives: whether a run's process is on this machine.

    Raises:
        ServerError: the server does not answer, or refuses.
    """
    if now - back_since < SETTLED_AFTER:
        return []
    dead = []
    for run in facts.at_work():
        message = _died(facts, run, now, disabled)
        if message is None or lives(run.id):
            continue
        logger.warning("%s (%s) is dead: %s", run.name, run.deployment, message)
        facts.crash(run, message)
        mark_children(facts, run)
        dead.append(run)
    return dead


def _died(facts: ServerFacts, run: Run, now: datetime, disabled: tuple[str, ...]) -> str | None:
    """Why a run must be dead; None if it need not be."""
    if run.kind == "PENDING":
        if rules.STUCK_PENDING in disabled or now - run.since < UNSTARTED_AFTER:
            return None
        return rules.STUCK_PENDING_MESSAGE
    if rules.HEARTBEAT_LOST in disabled or not run.beats or now - run.since < SILENT_AFTER:
        return None
    last = facts.last_heartbeat(run.id, now - SILENT_AFTER)
    return None if last is not None else rules.HEARTBEAT_LOST_MESSAGE


def mark_children(facts: ServerFacts, parent: Run) -> None:
    """Mark the subflows of a run as crashed that has ended without them.

    Raises:
        ServerError: the server does not answer, or refuses.
    """
    for child in facts.children(parent.id):
        facts.crash(child, rules.PARENT_ENDED_MESSAGE)
        mark_children(facts, as_child_of(child, parent))


def was_taken_for_dead(run: Run, lives: Lives) -> bool:
    """Whether a run was marked as crashed for its silence, had begun to run, and lives all the same.

    One that never began though its process lives hangs: brought back, it would keep others waiting.
    """
    silent = run.kind == "CRASHED" and run.message in _TAKEN_FOR_DEAD
    return silent and run.attempts > 0 and lives(run.id)


def revive(facts: ServerFacts, run: Run) -> None:
    """Say that a run runs which was taken for dead.

    Raises:
        ServerError: the server does not answer, or refuses.
    """
    logger.warning("%s (%s) was taken for dead and lives", run.name, run.deployment)
    facts.revive(run, _REVIVED)


def lives_here(run_id: str) -> bool:
    """Whether a process of this run is on this machine; one of another user cannot be told."""
    return any(_is_of(process, run_id) for process in psutil.process_iter())


def _is_of(process: psutil.Process, run_id: str) -> bool:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        mine: bool = process.environ().get(RUN_VARIABLE) == run_id
        return mine and any(_ENGINE in part for part in process.cmdline())
    except psutil.Error:
        return False
