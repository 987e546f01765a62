"""Publishing reports as Prefect artifacts: the one thin place that does."""

from pathlib import Path
from typing import Any, Protocol

from prefect.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_table_artifact,
)
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from fluxhero.integrity.check_report import CheckReport
from fluxhero.integrity.rules import Severity
from tasks.policy import io_task


class Report(Protocol):
    """What every run's report can do."""

    @property
    def verdict(self) -> str:
        """One sentence, the answer first."""
        ...

    def table(self) -> list[dict[str, str | int]]:
        """The rows of its table, at most 200."""
        ...

    def markdown(self) -> str:
        """The whole report."""
        ...


@io_task
def publish_report(key: str, report: Report) -> None:
    """Leave a markdown and a table artifact on the run's page.

    Args:
        key: artifact key, lower-case with dashes; versions of one key form a history in the UI.
        report: what to show.
    """
    create_markdown_artifact(report.markdown(), key=key, description=report.verdict)
    create_table_artifact(report.table(), key=f"{key}-table", description=report.verdict)


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
    name = "Completed" if report.ok else "Completed with findings"
    return Completed(name=name, message=report.verdict, data=report)
