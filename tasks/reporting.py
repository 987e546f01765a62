"""Publishing reports as Prefect artifacts: the one thin place that does."""

from typing import Protocol

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from tasks.policy import publishing_task


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


@publishing_task
def publish_report(key: str, report: Report) -> None:
    """Leave a markdown and a table artifact on the run's page.

    Args:
        key: artifact key, lower-case with dashes; versions of one key form a history in the UI.
        report: what to show.
    """
    create_markdown_artifact(report.markdown(), key=key, description=report.verdict)
    create_table_artifact(report.table(), key=f"{key}-table", description=report.verdict)
