"""`fluxhero archive` and `fluxhero restore`."""

from datetime import datetime

import click

from config.bounds import MOST_ROWS
from fluxhero.commands.output import finish
from fluxhero.commands.parameters import (
    DAYS,
    ID,
    UTC_TIME,
    json_option,
    table_option,
    trades_option,
)
from fluxhero.commands.running import prefect_ready


@click.command(short_help="Move trades older than the retention to the Parquet archive.")
@click.option(
    "--retention-days",
    type=DAYS,
    metavar="N",
    help="Days a closed trade stays hot (default: FLUXHERO_RETENTION_DAYS).",
)
@click.option("--as-of", type=UTC_TIME, help="Moment to count back from (default: now).")
@click.option("--dry-run", is_flag=True, help="Only list what would move.")
@click.option(
    "--no-purge", is_flag=True, help="Copy and verify; remove nothing from the hot store."
)
@click.option(
    "--limit",
    type=click.IntRange(1, MOST_ROWS),
    metavar="ROWS",
    help="Move at most this many rows, oldest first.",
)
@click.option(
    "--adopt",
    is_flag=True,
    help="Take over an archive whose store was moved or made anew, or one at another place.",
)
@json_option
def archive(
    retention_days: int | None,
    as_of: datetime | None,
    *,
    dry_run: bool,
    no_purge: bool,
    limit: int | None,
    adopt: bool,
    as_json: bool,
) -> None:
    """Move closed and cancelled trades, and finished orders, older than the retention.

    Each batch is written, hashed from disk, read back and compared with the store value by value.
    Only then are its rows removed from the hot store. Stop it whenever you like: the next run
    completes what was interrupted.

    \b
    Examples:
      fluxhero archive --dry-run            what would move; changes nothing
      fluxhero archive --no-purge           copy and verify, remove nothing
      fluxhero archive                      the real thing
      fluxhero archive --retention-days 90  keep three months hot
    """
    with prefect_ready():
        from flows.archive_trades import archive_trades

        report = archive_trades(
            retention_days=retention_days,
            as_of=as_of,
            dry_run=dry_run,
            purge=not no_purge,
            limit=limit,
            adopt=adopt,
        )
    finish(report, as_json=as_json)


@click.command(short_help="Bring archived trades back into the hot store.")
@trades_option(required=False)
@click.option(
    "--batch", type=ID, metavar="ID", help="A whole batch; `fluxhero status --batches` lists them."
)
@click.option("--from", "closed_from", type=UTC_TIME, help="Closed at this time or later.")
@click.option("--to", "closed_to", type=UTC_TIME, help="Closed before this time.")
@table_option("What to restore.")
@click.option(
    "--hold",
    "hold_days",
    type=DAYS,
    metavar="DAYS",
    help="Days the rows stay hot at least, 0 for no hold (default: FLUXHERO_HOLD_DAYS).",
)
@click.option(
    "--reason",
    default="restored by hand",
    show_default=True,
    help="Recorded with the hold and in the archive.",
)
@click.option("--dry-run", is_flag=True, help="Only list what would come back.")
@json_option
def restore(
    trades: tuple[str, ...],
    batch: str | None,
    closed_from: datetime | None,
    closed_to: datetime | None,
    *,
    table: str,
    hold_days: int | None,
    reason: str,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Bring archived rows back, exactly as they were; restoring twice changes nothing.

    Name trades, one batch, or a range of close times. Given together, they narrow each other: of a
    batch or a range only the trades that are named, of a batch only what was closed in the range.
    The rows stay in the archive too, and are on hold, so that the next archive run leaves them where
    they are.

    \b
    Examples:
      fluxhero restore --trade live_trades:17 --dry-run
      fluxhero restore --trade T-1 --trade T-2 --reason "broker dispute" --hold 90
      fluxhero restore --from 2026-03-01 --to 2026-04-01
    """
    if not (trades or batch or closed_from or closed_to):
        raise click.UsageError(
            "nothing to restore was named; give --trade, --batch or --from and --to"
        )
    if closed_from and closed_to and closed_from >= closed_to:
        raise click.UsageError("nothing lies in that range; --from must be earlier than --to")
    with prefect_ready():
        from flows.restore_trades import restore_trades

        report = restore_trades(
            trade_ids=list(trades),
            batch_id=batch,
            closed_from=closed_from,
            closed_to=closed_to,
            table=table,
            hold_days=hold_days,
            reason=reason,
            dry_run=dry_run,
        )
    finish(report, as_json=as_json)
