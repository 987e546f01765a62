"""How a run ends that judges something: a link to its page, and the state it deserves."""

from pathlib import Path
from typing import Any, Protocol

from prefect.artifacts import create_link_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from fluxhero.integrity.check_report import CheckReport
from fluxhero.integrity.rules import Severity
from tasks.policy import publishing_task


class Judging(Protocol):
    """A report that says whether anything was found."""

    @property
    def ok(self) -> bool:
        """Whether nothing was."""
        ...

    @property
    def verdict(self) -> str:
        """One sentence: the answer first."""
        ...


class Paged(Protocol):
    """A report that may have an HTML page."""

    @property
    def page(self) -> str | None:
        """Where it is."""
        ...


@publishing_task
def publish_page(key: str, report: Paged) -> None:
    """Leave a link to the report's HTML page on the run's page."""
    if report.page is not None:
        link = Path(report.page).as_uri()
        create_link_artifact(link, key=f"{key}-page", link_text="The whole report")


def ended_as(report: CheckReport) -> State[Any]:
    """The state that a check deserves: Failed when critical, else Completed, named after findings."""
    if report.severity is Severity.CRITICAL:
        return Failed(message=report.verdict, data=report)
    return _completed(report)


def measured_as(report: Judging) -> State[Any]:
    """Completed, whatever was measured: a breached limit is the account's failure, not the run's."""
    return _completed(report)


def evaluated_as(report: Judging) -> State[Any]:
    """Completed, whatever went wrong: an engine or strategy that fails is what was to be found out."""
    return _completed(report)


def _completed(report: Judging) -> State[Any]:
    name = "Completed" if report.ok else "Completed with findings"
    return Completed(name=name, message=report.verdict, data=report)
