"""Prefect's server understands how long it is told to keep things."""

import json
import os
import subprocess
import sys

import pytest

from fluxhero.night.retention import retention_environment

DAY = 86_400.0
ASK = """
import json
from prefect.settings import get_current_settings
server = get_current_settings().server
vacuum = server.services.db_vacuum
print(json.dumps({
    "enabled": sorted(vacuum.enabled_vacuum_types),
    "runs": vacuum.retention_period.total_seconds(),
    "events": server.events.retention_period.total_seconds(),
    "overrides": {name: kept.total_seconds() for name, kept in vacuum.event_retention_overrides.items()},
}))
"""


@pytest.mark.parametrize(("history_days", "event_days"), [(1, 1), (3, 3), (30, 3), (10_000, 3)])
def test_the_server_keeps_runs_for_the_history_and_events_for_a_weekend(
    history_days: int, event_days: int
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ASK],
        env={**os.environ, **retention_environment(history_days)},
        stdout=subprocess.PIPE,
        check=True,
    )
    understood = json.loads(done.stdout)
    assert understood["enabled"] == ["events", "flow_runs", "orphans"]
    assert understood["runs"] == history_days * DAY
    assert understood["events"] == event_days * DAY
    assert set(understood["overrides"].values()) == {3600.0}
    assert "prefect.flow-run.heartbeat" in understood["overrides"]
