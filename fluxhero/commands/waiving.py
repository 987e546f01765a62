"""`fluxhero waiver`: findings that are accepted for a while."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from config.bounds import MOST_DAYS
from fluxhero.commands.output import show_json, show_records
from fluxhero.commands.parameters import ID, json_option
from fluxhero.commands.running import settings_with_logging
from fluxhero.wording import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fluxhero.integrity.waivers import Waiver

_DAYS = 90


@click.group(short_help="Accept findings for a while: of the storage check, or a risk limit.")
def waiver() -> None:
    """Accept findings that somebody has looked at, with a reason and an end.

    A waived finding stays on record and is found again by every check; it no longer makes a check
    or a snapshot end with 1. What could not be checked cannot be waived.

    \b
    Examples:
      fluxhero waiver add --rule trades.pnl --key T-17 --reason "broker confirmed the fee"
      fluxhero waiver list
      fluxhero waiver withdraw --rule trades.pnl --key T-17
    """


@waiver.command("add", short_help="Waive a rule, as a whole or for some rows or files.")
@click.option("--rule", required=True, type=ID, help="The rule, as in trades.pnl.")
@click.option(
    "--key",
    "keys",
    type=ID,
    multiple=True,
    help="A row's key, or a file as the check names it; repeat for more (default: the whole rule).",
)
@click.option("--reason", required=True, help="Why; listed with the waiver.")
@click.option(
    "--days",
    type=click.IntRange(1, MOST_DAYS),
    default=_DAYS,
    show_default=True,
    metavar="N",
    help="End after so many days.",
)
@json_option
def add(rule: str, keys: tuple[str, ...], reason: str, days: int, *, as_json: bool) -> None:
    """Waive a rule, as a whole or for some rows or files.

    \b
    Example:
      fluxhero waiver add --rule trades.pnl --key T-17 --reason "broker confirmed it" --days 30
    """
    from fluxhero.integrity.catalogue import rule_named
    from fluxhero.integrity.waivers import add_waivers

    name = rule_named(rule).name
    now = datetime.now(UTC)
    until = now + timedelta(days=days)
    data_dir = settings_with_logging().data_dir
    added = add_waivers(_file(data_dir), name, keys, reason=reason, at=now, until=until)
    what = counted(len(keys), "finding") if keys else "the whole rule"
    verdict = f"Waived until {until:%Y-%m-%d}: {what} of {name}."
    if unfound := _unfound(data_dir, name, keys):
        verdict += f" The last check did not find {', '.join(unfound)}: see whether it is spelt so."
    _show(added, verdict, as_json)


@waiver.command("list", short_help="List what is waived.")
@click.option("--all", "everything", is_flag=True, help="Past waivers too.")
@json_option
def list_waivers(*, everything: bool, as_json: bool) -> None:
    """List what is waived, why, and until when.

    \b
    Example:
      fluxhero waiver list --all
    """
    from fluxhero.integrity.waivers import read_waivers

    now = datetime.now(UTC)
    waivers = read_waivers(_file(settings_with_logging().data_dir))
    active = [one for one in waivers if one.active(now)]
    _show(waivers if everything else active, f"Waived: {len(active)}.", as_json)


@waiver.command("withdraw", short_help="End waivers.")
@click.option("--rule", required=True, type=ID, help="The rule, as in trades.pnl.")
@click.option(
    "--key", "keys", type=ID, multiple=True, help="Only these (default: all of the rule)."
)
@json_option
def withdraw(rule: str, keys: tuple[str, ...], *, as_json: bool) -> None:
    """End the waivers of a rule; what they hid counts again in the next check.

    \b
    Example:
      fluxhero waiver withdraw --rule trades.pnl
    """
    from fluxhero.integrity.waivers import withdraw_waivers

    ended = withdraw_waivers(
        _file(settings_with_logging().data_dir), rule, keys, at=datetime.now(UTC)
    )
    verdict = f"{counted(len(ended), 'waiver')} withdrawn."
    if not ended:
        verdict += f" Of {rule}{' and these keys' if keys else ''} none was active; `fluxhero waiver list` has all."
    _show(ended, verdict, as_json)


def _file(data_dir: Path) -> Path:
    from fluxhero.integrity.waivers import waivers_file

    return waivers_file(data_dir)


def _unfound(data_dir: Path, rule: str, keys: tuple[str, ...]) -> list[str]:
    """Which of the keys the last check did not name, so far as it names them all."""
    from fluxhero.integrity.findings import Area, latest_findings

    now = datetime.now(UTC)
    latest = [finding for area in Area for finding in latest_findings(data_dir, now, area)]
    found = [finding for finding in latest if finding.rule == rule]
    if any(finding.count > len(finding.keys) > 0 for finding in found):
        return []
    named = {name for finding in found for name in (finding.object, *finding.keys)}
    return [key for key in keys if key not in named]


def _show(waivers: "Sequence[Waiver]", verdict: str, as_json: bool) -> None:
    if as_json:
        show_json({"verdict": verdict, "waivers": [w.model_dump(mode="json") for w in waivers]})
        return
    click.echo(verdict)
    show_records([one.model_dump() for one in waivers])
