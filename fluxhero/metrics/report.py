"""What a snapshot measured, as data and as text. Rendering only; publishing is elsewhere."""

from collections.abc import Sequence
from datetime import datetime
from decimal import ROUND_DOWN, Decimal

from pydantic import BaseModel, ConfigDict, Field

from fluxhero.integrity.check_report import FindingLine
from fluxhero.integrity.results import Outcome
from fluxhero.markdown import page, points, table_of
from fluxhero.metrics.breaker import BreakerState, Change, Level
from fluxhero.metrics.exact import loss_percent
from fluxhero.metrics.facts import Account, Holdings
from fluxhero.wording import counted

_CENT = Decimal("0.01")
_MOST_TOLD = 20


class AccountLine(BaseModel):
    """One mode's account on one basis; money in USD, ratios as fractions."""

    model_config = ConfigDict(frozen=True)

    mode: str
    basis: str
    at: datetime | None
    equity: Decimal
    peak: Decimal
    drawdown: Decimal
    drawdown_ratio: float | None
    worst_ratio: Decimal

    @classmethod
    def of(cls, account: Account) -> "AccountLine":
        """The line about one account."""
        return cls(
            mode=account.mode,
            basis=account.basis.value,
            at=account.at,
            equity=account.equity,
            peak=account.peak,
            drawdown=account.drawdown,
            drawdown_ratio=float(account.drawdown / account.peak) if account.peak > 0 else None,
            worst_ratio=account.worst_ratio,
        )


class HoldingsLine(BaseModel):
    """What one mode holds; `exposure` is None where a position has no price."""

    model_config = ConfigDict(frozen=True)

    mode: str
    positions: int
    exposure: Decimal | None
    largest_symbol: str | None
    risk_at_stops: Decimal
    without_stop: int

    @classmethod
    def of(cls, holdings: Holdings) -> "HoldingsLine":
        """The line about one mode."""
        return cls(
            mode=holdings.mode,
            positions=holdings.positions,
            exposure=holdings.exposure,
            largest_symbol=holdings.largest_symbol,
            risk_at_stops=holdings.risk_at_stops,
            without_stop=holdings.without_stop,
        )


class BreakerLine(BaseModel):
    """The breaker of one mode, and whether this snapshot changed it."""

    model_config = ConfigDict(frozen=True)

    mode: str
    level: Level
    since: datetime | None
    reason: str
    changed: bool


class SnapshotReport(BaseModel):
    """Outcome of `snapshot_metrics`.

    `findings` has the limits that are breached and those just kept again, gravest first. `charts` are for
    its page only.
    """

    model_config = ConfigDict(frozen=True)

    run: str
    at: datetime
    accounts: tuple[AccountLine, ...]
    holdings: tuple[HoldingsLine, ...]
    breaker: tuple[BreakerLine, ...]
    findings: tuple[FindingLine, ...]
    samples: int
    file: str
    textfile: str | None = None
    charts: tuple[str, ...] = Field(default=(), exclude=True)

    @property
    def breached(self) -> list[FindingLine]:
        """The findings that count."""
        return [line for line in self.findings if line.state.counts]

    @property
    def ok(self) -> bool:
        """Whether every limit is kept and every breaker is ok."""
        return not self.breached and all(line.level is Level.OK for line in self.breaker)

    @property
    def verdict(self) -> str:
        """One sentence: the answer first."""
        tripped = [f"{b.mode} {b.level.value}" for b in self.breaker if b.level is not Level.OK]
        if tripped:
            first = f"Drawdown breaker: {', '.join(tripped)}"
        elif self.breached:
            first = self._breaches()
        elif not self.accounts:
            first = "Nothing to measure: there are no closed trades, cash flows or recorded values"
        else:
            first = "Within every limit"
        return ". ".join([first, *(_told(line) for line in self.accounts)]) + "."

    def _breaches(self) -> str:
        failed = sum(line.outcome is Outcome.FAILED for line in self.breached)
        untold = failed < len(self.breached)
        if not failed:
            return "Whether every limit is kept could not be told"
        return f"Breached: {counted(failed, 'limit')}{'; others could not be told' * untold}"

    def details(self) -> list[str]:
        """What else a reader should know, a line each."""
        return [*self._wrong(), *map(_held, self.holdings), *self._places()]

    def _wrong(self) -> list[str]:
        lines = [
            f"{f.severity.value.upper()}  {f.rule}, {f.object}: {f.observed} → {f.remedy}"
            for f in self.breached[:_MOST_TOLD]
        ]
        lines += [
            f"Breaker {b.mode}: {b.level.value}{_since(b.since)}: {b.reason}"
            for b in self.breaker
            if b.changed or b.level is not Level.OK
        ]
        return lines

    def _places(self) -> list[str]:
        lines = [f"Snapshot: {self.file}, {counted(self.samples, 'number')}"]
        if self.textfile:
            lines.append(f"For the node exporter: {self.textfile}")
        return lines

    def table(self) -> list[dict[str, str | int]]:
        """Accounts as rows of a table."""
        return [
            {
                "mode": line.mode,
                "basis": line.basis,
                "equity": _money(line.equity),
                "high-water mark": _money(line.peak),
                "drawdown": loss_percent(line.equity, line.peak),
                "worst": _ratio(line.worst_ratio),
                "as of": f"{line.at:%Y-%m-%d %H:%M}" if line.at else "",
            }
            for line in self.accounts
        ]

    def markdown(self) -> str:
        """The whole report for a page, with each account's history as Mermaid charts."""
        return page(
            self.verdict,
            ("What is wrong, and what to do", points(self._wrong())),
            ("Accounts", [table_of(self.table())]),
            ("Positions", points(map(_held, self.holdings))),
            ("History", self.charts),
            ("", points(self._places())),
        )


def breaker_lines(
    states: Sequence[BreakerState], changes: Sequence[Change]
) -> tuple[BreakerLine, ...]:
    """The breaker of each mode, by name."""
    changed = {change.mode for change in changes}
    return tuple(
        BreakerLine(
            mode=state.mode,
            level=state.level,
            since=state.since,
            reason=state.reason,
            changed=state.mode in changed,
        )
        for state in sorted(states, key=lambda state: state.mode)
    )


def _told(line: AccountLine) -> str:
    text = f"{line.mode} ({line.basis}) {_money(line.equity)} USD"
    if not line.drawdown:
        return f"{text}, at its high-water mark"
    below = f"{_money(line.drawdown)} USD ({loss_percent(line.equity, line.peak)})"
    return f"{text}, {below} below its high-water mark"


def _since(at: datetime | None) -> str:
    return "" if at is None else f" since {at:%Y-%m-%d %H:%M} UTC"


def _held(line: HoldingsLine) -> str:
    exposure = "not known" if line.exposure is None else f"{_money(line.exposure)} USD"
    text = f"{line.mode}: {counted(line.positions, 'open position')}, exposure {exposure}"
    text += f", {_money(line.risk_at_stops)} USD at risk at stops"
    return text + (f", {line.without_stop:,} without a stop" if line.without_stop else "")


def _money(amount: Decimal) -> str:
    return f"{amount.quantize(_CENT):,}"


def _ratio(ratio: Decimal) -> str:
    """Cut, not rounded: it never shows a limit before it is reached."""
    return f"{(ratio * 100).quantize(_CENT, ROUND_DOWN)} %"
