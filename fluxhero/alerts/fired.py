"""Which of Prefect's automations fired, for what has no other source: that a run is missing.

Everything else that fires was found by the courier itself, from what outlives the server.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from fluxhero.alerts import rules
from fluxhero.alerts.folder_incidents import missing_incident
from fluxhero.alerts.memory import Memory, Raised
from fluxhero.alerts.run_incidents import Noticed
from fluxhero.alerts.server_facts import Firing

_MISSING: Final = {
    rules.SNAPSHOT_MISSING: (rules.SNAPSHOT_FLOW, rules.SNAPSHOT_WINDOW),
    rules.NIGHTLY_MISSING: (rules.NIGHTLY_FLOW, rules.NIGHTLY_WINDOW),
}


def fired_incidents(firings: Iterable[Firing], memory: Memory, watching_since: datetime) -> Noticed:
    """What is to be told of automations that fired.

    Args:
        firings: since the last look, oldest first.
        memory: what is remembered.
        watching_since: since when this machine has been awake and the server been there: a server that was
            off fires for what it missed meanwhile.
    """
    incidents = []
    for firing in firings:
        memory = memory.model_copy(update={"fired_until": max(memory.fired_until, firing.at)})
        if firing.automation not in _MISSING:
            continue
        flow, window = _MISSING[firing.automation]
        if f"missing:{flow}" in memory.levels:
            continue
        last = memory.ended.get(flow, memory.since)
        if firing.at - max(last, watching_since) < window:
            continue
        incident = missing_incident(flow, last, None, firing.at)
        incidents.append(incident)
        raised = Raised(key=incident.key, at=incident.at)
        memory = memory.with_level(f"missing:{flow}", raised)
    return incidents, memory
