"""How the alerts stand, as the status, the health checks and Prometheus are told."""

from collections import Counter
from typing import Final

from config.settings import Settings
from fluxhero.alerts.entries import Standing
from fluxhero.alerts.incidents import Urgency
from fluxhero.alerts.standing import AlertLine, Alerts
from fluxhero.api.sources import shown
from fluxhero.api.status_models import AlertsLine, ToldLine
from fluxhero.metrics.samples import Sample, sample

MOST_ALERTS: Final = 20


def alerts_line(alerts: Alerts, settings: Settings) -> AlertsLine:
    """The newest alerts, and how many have not arrived."""
    return AlertsLine(
        text=shown(alerts.verdict, settings),
        targets=alerts.targets,
        waiting=alerts.waiting,
        overdue=alerts.overdue,
        given_up=alerts.given_up,
        last=tuple(_told(line, settings) for line in alerts.lines[:MOST_ALERTS]),
    )


def _told(line: AlertLine, settings: Settings) -> ToldLine:
    return ToldLine(
        at=line.at,
        rule=line.rule,
        urgency=line.urgency,
        title=shown(line.title, settings),
        text=shown(line.text, settings),
        next_step=shown(line.next_step, settings),
        url=line.url,
        standing=line.standing,
        problem=None if line.problem is None else shown(line.problem, settings),
    )


def alert_samples(alerts: Alerts) -> list[Sample]:
    """Every combination, those that are 0 too: a series that comes and goes cannot be counted."""
    counts = Counter((line.urgency, line.standing) for line in alerts.lines)
    samples = [
        sample("alerts", counts[urgency, standing], urgency=urgency, standing=_label(standing))
        for urgency in Urgency
        for standing in Standing
    ]
    return [*samples, sample("alert_targets", alerts.targets)]


def _label(standing: Standing) -> str:
    return standing.value.replace(" ", "_")
