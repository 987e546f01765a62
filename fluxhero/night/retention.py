"""How long the night shift's Prefect server keeps what, as the settings of its vacuum service.

Measured: a snapshot of ten steps leaves one run, ten task runs, twenty log lines and two artifacts, together
some 70 kB, but 45 events of 13 kB each: an event is kept once for each resource that it concerns, in eight
indices. Two thirds of them say what the states of the task runs say as well. So events go first.

The vacuum gives pages of the file back to be used again, not to the file system: the file stays as large as
it once was.
"""

import json
from typing import Final

_HOUR: Final = 3600
_DAY: Final = 24 * _HOUR
_EVENT_DAYS: Final = 3  # a weekend in which nobody looked

# Said by rows of their own, or of no use once they are past.
_SHORT_LIVED: Final = (
    "prefect.flow-run.heartbeat",
    "prefect.task-run.Pending",
    "prefect.task-run.Running",
    "prefect.task-run.Completed",
)


def retention_environment(history_days: int) -> dict[str, str]:
    """The server's environment for it.

    Args:
        history_days: for how long ended runs are kept, with their states, task runs, logs and artifacts.
    """
    return {
        # With the runs' vacuum comes a daily one of what lost its run: logs, artifacts, collections.
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": str(history_days * _DAY),
        "PREFECT_SERVER_EVENTS_RETENTION_PERIOD": f"P{min(history_days, _EVENT_DAYS)}D",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_EVENT_RETENTION_OVERRIDES": json.dumps(
            dict.fromkeys(_SHORT_LIVED, _HOUR)
        ),
    }
