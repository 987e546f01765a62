"""`fluxhero query`."""

import sys
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from config.bounds import MOST_ROWS
from fluxhero.commands.output import show_json, show_table, text
from fluxhero.commands.parameters import SECONDS, json_option
from fluxhero.commands.running import settings_with_logging
from fluxhero.wording import counted

if TYPE_CHECKING:
    from fluxhero.ledger.query import QueryResult

_LIMIT = 1000


@click.command(short_help="Read-only SQL over everything, hot and archived.")
@click.argument("sql")
@click.option(
    "--limit",
    type=click.IntRange(0, MOST_ROWS),
    show_default=f"{_LIMIT}; with --csv all",
    metavar="ROWS",
    help="Print at most this many rows; 0 prints all.",
)
@click.option(
    "--timeout",
    type=SECONDS,
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="Stop a query that takes longer.",
)
@click.option("--csv", "as_csv", is_flag=True, help="Print comma-separated values.")
@json_option
def query(sql: str, *, limit: int | None, timeout: float, as_csv: bool, as_json: bool) -> None:
    """Run one reading SQL statement (DuckDB's dialect) over hot and archived rows together.

    Each row of `trades`, `orders`, `cash_flows`, `equity` and `positions` is there once;
    `_location` says where a trade or order is, hot or archive. `batches` lists what was archived,
    `quarantine` what could not be used, `findings` what every storage check found, `snapshots` what
    was measured when, `trials` every backtest that was tried, `bars` the price bars of the cache (times
    in UTC). With - the statement is read from standard input.

    Bytes are shown in hexadecimal. With --json, a second column of the same name gets a number.

    \b
    Examples:
      fluxhero query "SELECT _location, count(*) FROM trades GROUP BY 1"
      fluxhero query "FROM trades WHERE symbol = 'AAPL' ORDER BY exit_time" --csv > aapl.csv
      fluxhero query "FROM bars WHERE symbol = 'AAPL' AND timeframe = '1d' ORDER BY timestamp"
      fluxhero query "DESCRIBE trades"
    """
    from fluxhero.archive.workspace import Workspace
    from fluxhero.ledger.query import run_query

    if as_csv and as_json:
        raise click.UsageError("--csv and --json exclude each other")
    settings = settings_with_logging()
    statement = sys.stdin.read() if sql == "-" else sql
    most = (0 if as_csv else _LIMIT) if limit is None else limit
    result = run_query(
        Workspace.of(settings),
        statement,
        most or None,
        timeout=timeout,
    )
    if as_json:
        show_json(
            {"columns": result.names, "rows": result.records(), "truncated": result.truncated}
        )
    elif as_csv:
        _show_csv(result)
    else:
        show_table(result.columns, result.rows)
    if result.truncated and not as_json:
        click.echo(f"Shown: the first {counted(most, 'row')}; --limit 0 shows all.", err=True)


def _show_csv(result: "QueryResult") -> None:
    import csv

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(result.columns)
    writer.writerows([_csv(value) for value in row] for row in result.rows)
    sys.stdout.flush()  # here, where a closed pipe is dealt with; not when Python ends


def _csv(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else text(value)
