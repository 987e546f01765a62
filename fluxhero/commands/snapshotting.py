"""`fluxhero snapshot`: every metric now, or those of a period for Prometheus."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from fluxhero.commands.output import finish
from fluxhero.commands.parameters import UTC_TIME, json_option
from fluxhero.commands.running import prefect_ready, report_of, settings_with_logging

_DAYS = 40


@click.command(short_help="Measure every metric now; or write those of a period for Prometheus.")
@click.option(
    "--openmetrics",
    is_flag=True,
    help="Measure nothing; write the snapshots of a period as OpenMetrics text, for promtool.",
)
@click.option(
    "--from",
    "first",
    type=UTC_TIME,
    metavar="TIME",
    help="Begin of the period (default: 40 days ago).",
)
@click.option(
    "--to", "last", type=UTC_TIME, metavar="TIME", help="End of the period (default: now)."
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File for the OpenMetrics text (default: standard output).",
)
@json_option
def snapshot(
    *,
    openmetrics: bool,
    first: datetime | None,
    last: datetime | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Measure the whole ledger, hot and archived, and the store: equity, drawdown, orders, limits.

    The numbers are kept as Parquet (`fluxhero query "FROM snapshots"`) and are what `/metrics` shows.
    Ends with 1 when a limit is breached or the drawdown breaker is not ok.

    \b
    Examples:
      fluxhero snapshot
      fluxhero snapshot --openmetrics --from 2026-10-01 --out backfill.om
      promtool tsdb create-blocks-from openmetrics backfill.om prometheus-data
    """
    if openmetrics:
        _write_openmetrics(first, last, out, as_json=as_json)
        return
    given = [name for name, value in (("--from", first), ("--to", last), ("--out", out)) if value]
    if given:
        raise click.UsageError(f"{given[0]} goes with --openmetrics")
    with prefect_ready():
        from flows.snapshot_metrics import snapshot_metrics

        report = report_of(snapshot_metrics(return_state=True))
    finish(report, as_json=as_json)


def _write_openmetrics(
    first: datetime | None, last: datetime | None, out: Path | None, *, as_json: bool
) -> None:
    from fluxhero.metrics.openmetrics import write_openmetrics

    if as_json:
        raise click.UsageError("--openmetrics writes its own format; leave --json out")
    settings = settings_with_logging()
    last = last or datetime.now(UTC)
    first = first or last - timedelta(days=_DAYS)
    if first > last:
        raise click.UsageError("--from is later than --to, which is now unless you say")
    with click.open_file(
        str(out or "-"), "w", encoding="utf-8", lazy=False, atomic=out is not None
    ) as stream:
        written = write_openmetrics(settings.data_dir, first, last, stream)
    if not written:
        click.echo(
            f"No snapshot from {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC.", err=True
        )
