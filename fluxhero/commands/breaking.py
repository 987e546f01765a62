"""`fluxhero breaker`: the drawdown breaker's state, and the way back from critical."""

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from fluxhero.commands.output import show_json, show_records
from fluxhero.commands.parameters import json_option
from fluxhero.commands.running import settings_with_logging

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fluxhero.metrics.breaker import BreakerState, Seen


@click.group(short_help="The drawdown breaker: ok, warning or critical, and its reset.")
def breaker() -> None:
    """Show the drawdown breaker, and put it back after it was critical.

    Each snapshot holds every account against FLUXHERO_DRAWDOWN_WARNING_PCT and
    FLUXHERO_DRAWDOWN_CRITICAL_PCT. Warning and ok follow the drawdown; critical stays until it is
    reset. The breaker informs (events, metrics, exit status); it never trades.

    \b
    Examples:
      fluxhero breaker status
      fluxhero breaker reset --reason "halved every size"
    """


@breaker.command("status", short_help="Show the state of each mode; ends with 1 unless all are ok.")
@json_option
def status(*, as_json: bool) -> None:
    """Show the state of each mode, since when, and why.

    Ends with 0 if every mode is ok; with 1 if one is not, or if no account was measured yet.

    \b
    Example:
      fluxhero breaker status || echo "open no new position"
    """
    from fluxhero.metrics.breaker import Level, last_seen, states

    data_dir = settings_with_logging().data_dir
    found = states(data_dir)
    seen = last_seen(data_dir)
    ok = bool(found) and all(state.level is Level.OK for state in found.values())
    rows = [_row(state, seen.get(mode, [])) for mode, state in found.items()]
    verdict = _verdict(found)
    if as_json:
        show_json({"verdict": verdict, "ok": ok, "breakers": rows})
    else:
        click.secho(verdict, bold=True)
        for row in rows:
            if row["level"] != Level.OK:
                click.echo(f"  {row['mode']}: {row['reason']}")
        show_records([_cells(row) for row in rows])
    if not ok:
        sys.exit(1)


def _verdict(found: "Mapping[str, BreakerState]") -> str:
    from fluxhero.metrics.breaker import Level
    from fluxhero.metrics.breaker_record import RESET_COMMAND

    if not found:
        return "No equity was measured yet: see what `fluxhero snapshot` says."
    worst = max((state.level for state in found.values()), key=lambda level: level.rank)
    modes = ", ".join(mode for mode, state in found.items() if state.level is worst)
    if worst is Level.CRITICAL:
        return f"Critical: {modes}. Find out what happened, decide how to go on, then `{RESET_COMMAND}`."
    if worst is Level.WARNING:
        return f"Warning: {modes}. Look at open positions and their stops before it gets critical."
    return f"Ok: {modes}."


def _row(state: "BreakerState", seen: "list[Seen]") -> dict[str, Any]:
    from fluxhero.metrics.exact import loss_percent

    last = max((one.at for one in seen), default=None)
    now = {one.basis.value: loss_percent(one.equity, one.peak) for one in seen}
    return {
        "mode": state.mode,
        "level": state.level.value,
        "since": state.since,
        "reason": state.reason,
        "below_peak_now": ", ".join(f"{loss} ({basis})" for basis, loss in now.items()) or None,
        "measured_at": last,
    }


def _cells(row: "Mapping[str, Any]") -> dict[str, str]:
    return {
        "mode": row["mode"],
        "level": row["level"],
        "since": _minute(row["since"]),
        "below peak now": row["below_peak_now"] or "not known",
        "measured (UTC)": _minute(row["measured_at"]),
    }


def _minute(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M}" if at else ""


@breaker.command("reset", short_help="Put critical breakers back to ok.")
@click.option("--reason", required=True, help="Why trading may go on; kept on record.")
@click.option(
    "--mode", metavar="MODE", help="live, paper or legacy (default: all that are critical)."
)
@json_option
def reset(reason: str, mode: str | None, *, as_json: bool) -> None:
    """Put critical breakers back to ok; the next snapshot decides anew.

    While the account is still that far down, the next snapshot trips it again: record a withdrawal
    that is taken for a loss, or raise FLUXHERO_DRAWDOWN_CRITICAL_PCT, if you mean to go on.

    \b
    Examples:
      fluxhero breaker reset --reason "halved every size"
      fluxhero breaker reset --mode paper --reason "new strategy, new start"
    """
    from fluxhero.metrics.breaker import reset as reset_breaker

    data_dir = settings_with_logging().data_dir
    resets = reset_breaker(data_dir, mode, reason, now=datetime.now(UTC))
    modes = ", ".join(change.mode for change in resets)
    verdict = f"Reset to ok: {modes}." if resets else "Nothing to reset: no breaker is critical."
    if mode and not resets:
        verdict = f"Nothing to reset: {mode} is not critical; a warning goes by itself."
    warnings = [change.trips_again for change in resets if change.trips_again]
    if as_json:
        done = [change.model_dump(mode="json") for change in resets]
        show_json({"verdict": verdict, "warnings": warnings, "resets": done})
        return
    click.secho(verdict, bold=True)
    for warning in warnings:
        click.echo(f"  {warning}")
