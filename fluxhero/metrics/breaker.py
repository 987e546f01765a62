"""The drawdown breaker: ok, warning or critical for each mode, kept across restarts.

Warning and ok follow the drawdown. Critical stays until somebody resets it with a reason, whatever the
account does meanwhile. It informs; it never trades. Where the states are kept: see `breaker_record`.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path

from config.settings import Settings
from fluxhero.errors import AlreadyRunningError, BadInputError
from fluxhero.ledger.schema import MODES
from fluxhero.locks import locked
from fluxhero.metrics import breaker_record
from fluxhero.metrics.breaker_record import BreakerState, Change, Level, Record, Seen
from fluxhero.metrics.exact import loss_percent, lost, money, ratio_percent
from fluxhero.metrics.facts import Account
from fluxhero.metrics.samples import Sample, sample

__all__ = [
    "BreakerState",
    "Change",
    "Level",
    "Seen",
    "Thresholds",
    "breaker_samples",
    "last_seen",
    "level_of",
    "observe",
    "reset",
    "states",
]

_WAIT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Fractions of the high-water mark from which a loss is a warning, and critical."""

    warning: Decimal
    critical: Decimal

    @classmethod
    def of(cls, settings: Settings) -> "Thresholds":
        """Those of the settings."""
        return cls(settings.drawdown_warning_pct, settings.drawdown_critical_pct)


def level_of(equity: Decimal, peak: Decimal, thresholds: Thresholds) -> Level:
    """How far down an account is, compared as money: 120,000 of 150,000 has lost exactly 20 %."""
    if lost(equity, peak, thresholds.critical):
        return Level.CRITICAL
    return Level.WARNING if lost(equity, peak, thresholds.warning) else Level.OK


def states(data_dir: Path) -> dict[str, BreakerState]:
    """The state of each mode that was ever observed; of a damaged record, critical for every mode.

    Raises:
        StorageIOError: the record cannot be read.
    """
    return breaker_record.read(data_dir).safe


def last_seen(data_dir: Path) -> dict[str, list[Seen]]:
    """What the last observation of each mode measured, one a basis."""
    found: dict[str, list[Seen]] = {}
    for seen in breaker_record.read_seen(data_dir):
        found.setdefault(seen.mode, []).append(seen)
    return found


def observe(
    data_dir: Path,
    accounts: Sequence[Account],
    thresholds: Thresholds,
    *,
    now: datetime,
    run: str,
) -> list[Change]:
    """Hold the accounts against the thresholds, and keep what changes.

    A mode without an account, or with one whose value is no number, keeps its state: missing equity is
    never fine. So does a mode whose state comes from a basis that is missing, unless it gets worse.
    Trying again for the same run tells again what that run changed.

    Args:
        data_dir: the data folder.
        accounts: of all modes, one a basis.
        thresholds: from where a loss counts.
        now: the time.
        run: of the snapshot, for the record.

    Returns:
        The modes whose level changed, gravest first.

    Raises:
        AlreadyRunningError: another process has been changing the breaker all along.
        StorageIOError: the record cannot be read or written.
    """
    seen = [
        Seen(
            mode=account.mode,
            basis=account.basis,
            at=now,
            equity=account.equity,
            peak=account.peak,
            level=level_of(account.equity, account.peak, thresholds),
        )
        for account in accounts
        if account.equity.is_finite() and account.peak.is_finite()
    ]
    with _locked(data_dir):
        record = breaker_record.read(data_dir)
        changes = [change for change in record.changes.values() if change.run == run]
        for mode in sorted({one.mode for one in seen}):
            change = _changed(record, [one for one in seen if one.mode == mode], thresholds, run)
            if change:
                breaker_record.append(data_dir, change)
                changes.append(change)
        breaker_record.write_seen(data_dir, seen)
    told = [change for change in changes if change.before is not change.after]
    return sorted(told, key=lambda change: -change.after.rank)


def _changed(
    record: Record, seen: Sequence[Seen], thresholds: Thresholds, run: str
) -> Change | None:
    """What the accounts of one mode change; None if nothing."""
    worst = max(seen, key=lambda one: (one.level.rank, one.peak - one.equity))
    before = record.states.get(worst.mode)
    level = before.level if before else Level.OK
    if level is Level.CRITICAL:
        return None
    change = Change(
        mode=worst.mode,
        after=Level.CRITICAL if record.damage else worst.level,
        before=level,
        at=worst.at,
        basis=worst.basis,
        equity=worst.equity,
        peak=worst.peak,
        run=run,
        reason=record.damage or _why(worst, thresholds),
    )
    if before is None or change.after.rank > level.rank:
        return change
    blamed = next((one for one in seen if one.basis is before.basis), None)
    if level is Level.OK or blamed is None or blamed.level is level:
        return None
    return change  # it got better, or another basis is at that level now


def _why(seen: Seen, thresholds: Thresholds) -> str:
    what = f"{money(seen.equity)} is {loss_percent(seen.equity, seen.peak)} below the peak of "
    what += f"{money(seen.peak)} ({seen.basis}), "
    if seen.level is Level.CRITICAL:
        return f"{what}and critical is from {ratio_percent(thresholds.critical)} on."
    if seen.level is Level.WARNING:
        return f"{what}and a warning is from {ratio_percent(thresholds.warning)} on."
    return f"{what}less than the {ratio_percent(thresholds.warning)} of a warning."


def reset(data_dir: Path, mode: str | None, reason: str, *, now: datetime) -> list[Change]:
    """Put critical breakers back to ok; the next snapshot decides anew.

    A damaged record is kept in the folder `damaged` beside it, and a new one begun; modes that are not
    reset stay critical in it.

    Args:
        data_dir: the data folder.
        mode: whose breaker; None for all.
        reason: why trading may go on, for whoever looks later.
        now: the time.

    Returns:
        One a breaker that was critical; none if there was nothing to reset.

    Raises:
        BadInputError: there is no reason, or no breaker of that mode.
        AlreadyRunningError: another process has been changing the breaker all along.
        StorageIOError: the record cannot be read or written.
    """
    if not reason.strip():
        raise BadInputError(
            "a reset needs a reason", next_step="say why trading may go on, for whoever looks later"
        )
    with _locked(data_dir):
        record = breaker_record.read(data_dir)
        known = record.safe
        if mode is not None and mode not in known:
            raise BadInputError(
                f"there is no breaker of mode '{mode}'",
                next_step=f"choose from {', '.join(known) or 'none: no account was measured yet'}",
            )
        everything = [*record.states] or [*MODES] if record.damage else [*known]
        chosen = everything if mode is None else [mode]
        resets = [
            _reset(known[one], reason, now, last_seen(data_dir).get(one, []))
            for one in chosen
            if known[one].level is Level.CRITICAL
        ]
        if record.damage:
            kept = [] if mode is None else [state for state in known.values() if state.mode != mode]
            breaker_record.replace(
                data_dir, [*(_still(state, now) for state in kept), *resets], now
            )
        else:
            for change in resets:
                breaker_record.append(data_dir, change)
    return resets


def _reset(state: BreakerState, reason: str, now: datetime, seen: Sequence[Seen]) -> Change:
    worst = max(seen, key=lambda one: one.level.rank, default=None)
    change = Change(
        mode=state.mode, after=Level.OK, before=state.level, at=now, reason=reason.strip()
    )
    if worst is None:
        return change
    found = {"basis": worst.basis, "equity": worst.equity, "peak": worst.peak, "seen": worst.level}
    return change.model_copy(update=found)


def _still(state: BreakerState, now: datetime) -> Change:
    critical = Level.CRITICAL
    return Change(mode=state.mode, after=critical, before=critical, at=now, reason=state.reason)


def breaker_samples(found: Mapping[str, BreakerState]) -> list[Sample]:
    """The states as metrics: each mode has all three levels, and 1 at the one it is in."""
    samples = []
    for mode, state in sorted(found.items()):
        samples += [
            sample("breaker_state", float(level is state.level), mode=mode, state=level.value)
            for level in Level
        ]
        if state.since:
            changed = state.since.timestamp()
            samples.append(sample("breaker_changed_timestamp_seconds", changed, mode=mode))
    return samples


def _locked(data_dir: Path) -> AbstractContextManager[None]:
    busy = AlreadyRunningError(
        "another process is changing the drawdown breaker", next_step="try again when it has ended"
    )
    lock = breaker_record.path_of(data_dir).with_suffix(".lock")
    return locked(lock, lambda: busy, wait_seconds=_WAIT_SECONDS)
