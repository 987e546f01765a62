"""`fluxhero hold`: trades that must stay in the hot store."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from config.bounds import MOST_DAYS
from fluxhero.commands.output import show_json, show_records
from fluxhero.commands.parameters import json_option, table_option, trades_option
from fluxhero.commands.running import settings_with_logging
from fluxhero.wording import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fluxhero.archive.holds import Hold


@click.group(short_help="Keep trades hot: for a dispute, a tax audit, or until you say so.")
def hold() -> None:
    """Keep trades in the hot store whatever the retention says.

    A restored trade is put on hold by itself. A hold ends after its days, or when it is released.

    \b
    Examples:
      fluxhero hold add --trade live_trades:17 --reason "tax audit 2026"
      fluxhero hold list
      fluxhero hold release --trade live_trades:17
    """


@hold.command("add", short_help="Put trades on hold.")
@trades_option(required=True)
@table_option("What the ids are of.")
@click.option(
    "--reason", default="held by hand", show_default=True, help="Why; listed with the hold."
)
@click.option(
    "--days",
    type=click.IntRange(1, MOST_DAYS),
    metavar="N",
    help="End after so many days (default: when released).",
)
@json_option
def add(
    trades: tuple[str, ...], table: str, reason: str, days: int | None, *, as_json: bool
) -> None:
    """Put trades on hold, so that no archive run moves them.

    \b
    Example:
      fluxhero hold add --trade live_trades:17 --reason "broker dispute" --days 90
    """
    from fluxhero.archive.holds import add_holds
    from fluxhero.archive.lock import archive_lock
    from fluxhero.archive.workspace import Workspace
    from fluxhero.ledger.lookup import hot_ids, noun

    workspace = Workspace.of(settings_with_logging())
    now = datetime.now(UTC)
    until = None if days is None else now + timedelta(days=days)
    with archive_lock(workspace.layout, "hold add"):
        keys = hot_ids(workspace, table, trades)
        added = add_holds(workspace.layout.holds, table, keys, reason=reason, at=now, until=until)
    already = f"; on hold already: {len(keys) - len(added):,}" if len(keys) > len(added) else ""
    _show(added, f"{counted(len(added), noun(table))} put on hold{already}.", as_json)


@hold.command("list", short_help="List the trades on hold.")
@click.option("--all", "everything", is_flag=True, help="Past holds too.")
@json_option
def list_holds(*, everything: bool, as_json: bool) -> None:
    """List the trades on hold, and why.

    \b
    Example:
      fluxhero hold list --all
    """
    from fluxhero.archive.holds import read_holds
    from fluxhero.archive.workspace import Workspace

    workspace = Workspace.of(settings_with_logging())
    now = datetime.now(UTC)
    holds = read_holds(workspace.layout.holds)
    active = [hold for hold in holds if hold.active(now)]
    _show(holds if everything else active, f"On hold: {len(active)}.", as_json)


@hold.command("release", short_help="End holds.")
@trades_option(required=True)
@table_option("What the ids are of.")
@json_option
def release(trades: tuple[str, ...], table: str, *, as_json: bool) -> None:
    """End the holds of trades; the next archive run moves those that are due.

    \b
    Example:
      fluxhero hold release --trade live_trades:17
    """
    from fluxhero.archive.holds import held_keys, release_holds
    from fluxhero.archive.lock import archive_lock
    from fluxhero.archive.workspace import Workspace
    from fluxhero.ledger.lookup import noun, whole_keys

    workspace = Workspace.of(settings_with_logging())
    now = datetime.now(UTC)
    with archive_lock(workspace.layout, "hold release"):
        held = sorted(held_keys(workspace.layout.holds, now)[table])
        nobody = f"no {noun(table)} on hold is called"
        keys = whole_keys(trades, held, nobody, "`fluxhero hold list` lists them")
        released = release_holds(workspace.layout.holds, table, keys, at=now)
    _show(released, f"{counted(len(released), 'hold')} released.", as_json)


def _show(holds: "Sequence[Hold]", verdict: str, as_json: bool) -> None:
    if as_json:
        show_json({"verdict": verdict, "holds": [hold.model_dump(mode="json") for hold in holds]})
        return
    click.echo(verdict)
    show_records([hold.model_dump() for hold in holds])
