"""`fluxhero status`."""

from typing import TYPE_CHECKING

import click

from fluxhero.commands.output import show_json, show_records, size
from fluxhero.commands.parameters import json_option
from fluxhero.commands.running import settings_with_logging
from fluxhero.wording import counted, printable

if TYPE_CHECKING:
    from fluxhero.alerts.standing import Alerts
    from fluxhero.status import Status


@click.command(short_help="Where things stand, and what to do next.")
@click.option("--batches", is_flag=True, help="List every archived batch.")
@json_option
def status(*, batches: bool, as_json: bool) -> None:
    """Show what is hot, what is archived, what is due, and what to do next. Changes nothing.

    \b
    Examples:
      fluxhero status
      fluxhero status --batches
      fluxhero status --json
    """
    from fluxhero.alerts.standing import standing_now
    from fluxhero.archive.workspace import Workspace
    from fluxhero.status import collect_status

    settings = settings_with_logging()
    found = collect_status(Workspace.of(settings), settings.retention_days, batches=batches)
    alerts = standing_now(settings)
    if as_json:
        told = alerts.model_dump(mode="json", exclude={"lines"})
        show_json({**found.model_dump(mode="json"), "alerts": {"verdict": alerts.verdict, **told}})
    else:
        _show(found, alerts)


def _show(status: "Status", alerts: "Alerts") -> None:
    click.secho(status.next_step, bold=True)
    click.echo()
    for name, value in (*_lines(status), ("Alerts", printable(alerts.verdict))):
        click.echo(f"{name + ':':<12} {value}")
    if status.archived:
        show_records([total.model_dump() for total in status.archived])
    if status.batches:
        show_records([batch.model_dump() for batch in status.batches])


def _lines(status: "Status") -> list[tuple[str, str]]:
    hot = ", ".join(
        counted(rows, table.removesuffix("s"), table)
        for table, rows in status.hot_rows.items()
        if rows
    )
    archived = f"{counted(status.archived_rows, 'row')} in {counted(status.archived_files, 'file')}"
    retention = counted(status.retention_days, "day")
    lines = [
        ("Hot", f"{hot or 'nothing'}; {size(status.hot_bytes)} in {status.store}"),
        ("Archive", f"{archived}; {size(status.archived_bytes)} in {status.archive}"),
        ("Due", f"{counted(status.due, 'row')} older than {retention}"),
    ]
    if status.due_purge_only:
        lines.append(("To purge", f"{counted(status.due_purge_only, 'row')} archived already"))
    if oldest := status.oldest_due:
        closed = f"{oldest.closed_at:%Y-%m-%d %H:%M} UTC, {counted(oldest.age_days, 'day')} ago"
        lines.append(("Oldest", f"{oldest.key}, closed {closed}"))
    if last := status.last_batch:
        lines.append(("Last batch", f"{last.batch} at {last.created_at:%Y-%m-%d %H:%M} UTC"))
    if status.unpurged:
        lines.append(
            ("Unpurged", f"{counted(len(status.unpurged), 'batch')}, from {status.unpurged[0]}")
        )
    lines += [
        ("On hold", f"{status.holds:,}"),
        ("Quarantine", counted(status.quarantined, "row")),
    ]
    return lines
