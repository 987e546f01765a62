"""How a check or a snapshot ends: a link to its page, and the state of its run."""

from pathlib import Path
from typing import Any

from prefect.artifacts import create_link_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from fluxhero.integrity.check_report import CheckReport
from fluxhero.integrity.rules import Severity
from fluxhero.metrics.report import SnapshotReport
from tasks.policy import io_task


@io_task
def publish_page(key: str, report: CheckReport) -> None:
    """Leave a link to the report's HTML page on the run's page."""
    if report.page is not None:
        link = Path(report.page).as_uri()
        create_link_artifact(link, key=f"{key}-page", link_text="The whole report")


def ended_as(report: CheckReport) -> State[Any]:
    """The state that a check deserves: Failed when critical, else Completed, named after findings."""
    if report.severity is Severity.CRITICAL:
        return Failed(message=report.verdict, data=report)
    return _completed(report)


def measured_as(report: SnapshotReport) -> State[Any]:
    """Completed, whatever was measured: a breached limit is the account's failure, not the run's."""
    return _completed(report)


def _completed(report: CheckReport | SnapshotReport) -> State[Any]:
    name = "Completed" if report.ok else "Completed with findings"
    return Completed(name=name, message=report.verdict, data=report)
