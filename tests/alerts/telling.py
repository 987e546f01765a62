"""Incidents to tell, as tests need them."""

from datetime import UTC, datetime
from typing import Any

from fluxhero.alerts.incidents import Incident, Urgency

NOW = datetime(2026, 11, 30, 3, 30, 5, tzinfo=UTC)  # the evening before in New York


def incident(key: str = "run:1:failed", **changes: Any) -> Incident:
    """One incident."""
    given: dict[str, Any] = {
        "key": key,
        "rule": "run-failed",
        "subject": "archive-trades",
        "urgency": Urgency.CRITICAL,
        "title": f"archive-trades failed ({key})",
        "text": "The disk is full: 0 bytes free of 20 GB.",
        "next_step": "make room, then run `fluxhero archive`",
        "at": NOW,
        "url": "http://127.0.0.1:4200/runs/flow-run/1",
    }
    return Incident(**{**given, **changes})
