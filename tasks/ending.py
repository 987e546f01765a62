"""How a run ends: a link to its report's page, and a state that says what it came to."""

from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

from prefect.artifacts import (
    create_image_artifact,
    create_link_artifact,
    create_markdown_artifact,
)
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from fluxhero.integrity.check_report import CheckReport
from fluxhero.integrity.rules import CRITICAL_FINDINGS, Severity
from fluxhero.night.state import read_state
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


class Plotted(Protocol):
    """A report that may have a plot."""

    @property
    def plot(self) -> str | None:
        """Where it is."""
        ...


Told = TypeVar("Told", bound=Judging)


@publishing_task
def publish_page(key: str, report: Paged) -> None:
    """Say on the run's page where the report's HTML page is.

    A browser opens no file from a page of a server. So it is a link where a night shift serves the
    operations page, which opens reports, and else the file's path.
    """
    if report.page is None:
        return
    path = Path(report.page)
    night = read_state(path.parents[1])
    key, about = f"{key}-page", f"The whole report: {path}"
    if night is not None and night.page_url is not None:
        text = f"The whole report: {path.name}, on the operations page"
        create_link_artifact(night.page_url, key=key, link_text=text, description=about)
    else:
        create_markdown_artifact(f"{about}\n\nOpen it in a browser.", key=key, description=about)


@publishing_task
def publish_plot(key: str, report: Plotted) -> None:
    """Show the report's plot on the run's page, where a night shift serves it."""
    if report.plot is None:
        return
    path = Path(report.plot)
    night = read_state(path.parents[1])
    if night is not None and night.page_url is not None:
        url = f"{night.page_url.rstrip('/')}/plots/{path.name}"
        create_image_artifact(url, key=f"{key}-plot", description="Equity of every strategy")


def told_by(report: Told) -> Told:
    """The report as a run's result: what it says is the run's message, and what it found is in its name.

    The caller of the flow gets the report itself, as does who calls a flow's body without a run.
    """
    return report if flow_run.id is None else cast(Told, _completed(report))


def ended_as(report: CheckReport) -> State[Any]:
    """The state that a check deserves: a failed one when critical, else Completed, named after findings."""
    if report.severity is Severity.CRITICAL:
        return Failed(name=CRITICAL_FINDINGS, message=report.verdict, data=report)
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
