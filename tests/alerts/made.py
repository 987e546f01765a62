"""Facts as tests make them: runs, and what is remembered."""

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from fluxhero.alerts.memory import Memory
from fluxhero.alerts.server_facts import Run

START = datetime(2026, 11, 30, 21, 0, tzinfo=UTC)
MEMORY = Memory.fresh(START)
_NUMBERS = count(1)


def minutes(number: float) -> timedelta:
    return timedelta(minutes=number)


def a_run(kind: str = "COMPLETED", after: float = 1, **more: Any) -> Run:
    """One that ended so many minutes after the start."""
    at = START + minutes(after)
    given: dict[str, Any] = {
        "id": f"run-{next(_NUMBERS)}",
        "name": "nightly of Monday",
        "flow": "nightly",
        "deployment": "nightly/nightly",
        "kind": kind,
        "state": kind.capitalize(),
        "message": "check: 3 findings",
        "since": at,
        "ended_at": at,
        "expected_at": at - minutes(1),
        "attempts": 1,
        "beats": True,
    }
    return Run(**given | more)


def page(run_id: str) -> str:
    return f"http://ui/{run_id}"
