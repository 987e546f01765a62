"""What commands show: reports, tables and JSON on stdout, a bar on a terminal's stderr meanwhile.

Logs and notices go to stderr elsewhere.
"""

import json
import logging
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Protocol

import click

from fluxhero.wording import printable

_WIDTH_OF_PIPES = 10_000
_NARROWEST_COLUMN = 10
_MOST_ROWS = 20  # of a report's table
_KIB = 1024
_TICK = 0.001  # seconds


class Report(Protocol):
    """What every run's report can do."""

    @property
    def ok(self) -> bool:
        """Whether nothing new went wrong."""

    @property
    def verdict(self) -> str:
        """One sentence: the answer first."""

    def details(self) -> list[str]:
        """What else a reader should know, a line each."""

    def table(self) -> list[dict[str, str | int]]:
        """The rows of its table."""

    def model_dump(self, *, mode: str) -> dict[str, Any]:
        """The report as plain data."""


def show_report(report: Report, *, as_json: bool, tabled: bool = True) -> None:
    """Print a run's report, the answer first; without its table where the details say all."""
    if as_json:
        document = report.model_dump(mode="json")
        show_json({"verdict": report.verdict, "ok": report.ok, **document})
        return
    click.secho(printable(report.verdict), bold=True)
    for line in report.details():
        click.echo(f"  {printable(line)}")
    rows = report.table() if tabled else []
    show_records(rows[:_MOST_ROWS])
    if len(rows) > _MOST_ROWS:
        click.echo(f"… and {len(rows) - _MOST_ROWS:,} more; --json lists all")


@contextmanager
def progress_bar(*, as_json: bool) -> Iterator[None]:
    """Within the block, draw how far a step is, where stderr is a terminal; log lines go above it.

    The log's own lines of progress are not shown then; elsewhere, and with `--json`, they are all there is.
    """
    if as_json or not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    from config.logging import StderrHandler
    from fluxhero import progress

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[counted]}"),
    )
    began: dict[str, float] = {}
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, redirect_stdout=False) as bar:
        shown = bar.add_task("", visible=False, counted="")

        def draw(name: str, done: int, total: int | None, things: str) -> None:
            if not done:
                began[name] = time.monotonic()
            rate = done / max(time.monotonic() - began.get(name, 0.0), _TICK)
            whole = "" if total is None else f" of {total:,}"
            counted = f"{done:,}{whole} {things}, {rate:,.0f} {things}/s"
            bar.update(
                shown, description=name, completed=done, total=total, counted=counted, visible=True
            )

        handlers = [h for h in logging.getLogger().handlers if isinstance(h, StderrHandler)]
        for handler in handlers:
            handler.addFilter(_says_more_than_the_bar)
        try:
            with progress.watched_by(draw):
                yield
        finally:
            for handler in handlers:
                handler.removeFilter(_says_more_than_the_bar)


def _says_more_than_the_bar(record: logging.LogRecord) -> bool:
    return record.name != "fluxhero.progress"


def finish(report: Report, *, as_json: bool, tabled: bool = True) -> None:
    """Print a run's report and end with the exit status it deserves; see `show_report`."""
    show_report(report, as_json=as_json, tabled=tabled)
    if not report.ok:
        sys.exit(1)


def show_json(document: Any) -> None:
    """Print one JSON document; numbers keep all their digits, times are ISO 8601."""
    from fluxhero.ledger.formats import exact_json

    click.echo(exact_json.dump(plain(document)))


def plain(value: Any) -> Any:
    """The same value in the types JSON has; bytes are their hexadecimal digits."""
    from decimal import Decimal

    from fluxhero.ledger.formats.exact_json import Number

    if isinstance(value, Mapping):
        return {str(key): plain(member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [plain(member) for member in value]
    if isinstance(value, Decimal):
        return Number(format(value, "f")) if value.is_finite() else str(value)
    if isinstance(value, float):
        return Number(json.dumps(value)) if value - value == 0 else str(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return Number(value)
    if isinstance(value, datetime):
        value = value.isoformat()
    if isinstance(value, bytes):
        value = value.hex()
    return value if value is None or isinstance(value, bool) else str(value)


def show_records(records: Sequence[Mapping[str, Any]]) -> None:
    """Print dictionaries of the same keys as a table."""
    if records:
        show_table(list(records[0]), [list(record.values()) for record in records])


def show_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a table that fits the terminal; piped, its lines are as long as they need to be."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    on_terminal = sys.stdout.isatty()
    console = Console(
        file=sys.stdout, width=None if on_terminal else _WIDTH_OF_PIPES, highlight=False
    )
    if len(columns) * _NARROWEST_COLUMN > console.width:
        _show_upright(columns, rows)
        return
    table = Table(box=SIMPLE, pad_edge=False)
    for place, column in enumerate(columns):
        numeric = any(_is_number(row[place]) for row in rows)
        table.add_column(Text(column), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(text(value)) for value in row))
    console.print(table)


def _show_upright(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a row as a block of lines, for tables too wide for the terminal."""
    width = max(map(len, columns))
    for number, row in enumerate(rows, start=1):
        click.secho(f"row {number}", bold=True)
        for column, value in zip(columns, row, strict=True):
            click.echo(f"  {column:<{width}}  {text(value)}")


def _is_number(value: Any) -> bool:
    from decimal import Decimal

    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def text(value: Any) -> str:
    """A value for human readers: bytes in hexadecimal, whatever holds several values as JSON."""
    from decimal import Decimal

    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="seconds")
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping | list | tuple):
        from fluxhero.ledger.formats import exact_json

        return exact_json.dump(plain(value))
    if isinstance(value, Decimal) and value.is_finite():
        return format(value, "f")
    return printable(str(value), keep="\n\t")


def size(count: int) -> str:
    """Bytes for human readers."""
    amount = float(count)
    for unit in ("bytes", "KiB", "MiB"):
        if amount < _KIB:
            return f"{amount:,.0f} {unit}" if unit == "bytes" else f"{amount:,.1f} {unit}"
        amount /= _KIB
    return f"{amount:,.1f} GiB"
