"""What a reconciliation found, as data and as text. Rendering only; publishing is elsewhere."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal

from pydantic import BaseModel, ConfigDict

from fluxhero.markdown import page, points, table
from fluxhero.reconcile.differences import Difference, Kind
from fluxhero.reconcile.reconciling import Compared, Reconciled
from fluxhero.wording import counted

_MOST_LISTED = 200
_MOST_ORDERS = 3
_BRING_IN = (
    "Bring in the side that is not there, the broker's export or the bot's database, with `fluxhero ingest`, "
    "both into one DuckDB store."
)
_NONE = Decimal(0)
_CENT = Decimal("0.01")
_IN_WORDS = {
    Kind.MISSING: "missing in the bot's ledger",
    Kind.EXTRA: "not at the broker",
    Kind.BROKER_PNL: "of the broker's own result",
}


class DifferenceLine(BaseModel):
    """One difference as a report shows it; see `Difference`."""

    model_config = ConfigDict(frozen=True)

    kind: Kind
    mode: str
    account: str | None
    symbol: str
    currency: str
    side: str
    leg: str
    trade_id: str | None
    orders: tuple[str, ...]
    bot: str
    broker: str
    difference: Decimal | None
    pnl_effect: Decimal | None
    at: datetime


class SumLine(BaseModel):
    """What one account came to in one currency: closed trades whose both legs were found."""

    model_config = ConfigDict(frozen=True)

    mode: str
    account: str
    currency: str
    trades: int
    bot_pnl: Decimal
    broker_pnl: Decimal
    bot_fees: Decimal
    broker_fees: Decimal


class ComparedLine(BaseModel):
    """What was compared of one mode."""

    model_config = ConfigDict(frozen=True)

    mode: str
    accounts: tuple[str, ...]
    start: datetime | None
    end: datetime | None
    orders: int
    trades: int
    outside: int
    carried_in: int
    conversions: int

    def __str__(self) -> str:
        text = (
            f"{self.mode}, {', '.join(self.accounts)}: {counted(self.orders, 'order')} of the broker "
            f"against {counted(self.trades, 'trade')} of the bot, {_time(self.start)} to {_time(self.end)}"
        )
        if self.outside:
            text += f"; {counted(self.outside, 'trade')} outside it"
        if self.carried_in:
            text += (
                f"; {counted(self.carried_in, 'round trip')} began before the broker's first fill"
            )
        if self.conversions:
            text += f"; {counted(self.conversions, 'fill')} of currency conversions left out"
        return text


class ReconcileReport(BaseModel):
    """Outcome of `reconcile_ledger`; `kinds` counts the differences, `effects` is what they change by currency."""

    model_config = ConfigDict(frozen=True)

    run: str
    at: datetime
    store: str
    folder: str | None
    compared: tuple[ComparedLine, ...] = ()
    nothing: tuple[str, ...] = ()
    round_trips: int = 0
    kinds: dict[Kind, int] = {}
    effects: dict[str, Decimal] = {}
    differences: tuple[DifferenceLine, ...] = ()
    sums: tuple[SumLine, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether something was compared, and nothing of it differs."""
        return bool(self.compared) and not self.kinds

    @property
    def verdict(self) -> str:
        """One sentence: the answer first."""
        if not self.compared:
            return f"Nothing to compare: {'; '.join(self.nothing)}."
        if self.kinds:
            found = sum(self.kinds.values())
            parts = ", ".join(
                f"{self.kinds[kind]:,} {_IN_WORDS.get(kind, f'of {_words(kind)}')}"
                for kind in Kind
                if kind in self.kinds
            )
            text = f"Bot and broker differ: {counted(found, 'difference')}: {parts}"
            effects = ", ".join(f"{_money(v)} {c}" for c, v in self.effects.items() if v)
            text += f"; put right, the bot's P&L changes by {effects}" if effects else ""
        else:
            orders = counted(sum(line.orders for line in self.compared), "order")
            trades = counted(sum(line.trades for line in self.compared), "trade")
            text = f"Bot and broker agree: {orders}, {trades}"
        left_out = f" Not compared: {'; '.join(self.nothing)}." if self.nothing else ""
        return f"{text}.{left_out}"

    def details(self) -> list[str]:
        """What else a reader should know, a line each."""
        remedies = (
            f"{_words(kind).capitalize()}: {kind.remedy}" for kind in Kind if kind in self.kinds
        )
        return [*([_BRING_IN] if self.nothing else []), *remedies, *self._facts()]

    def _facts(self) -> list[str]:
        lines = [str(line) for line in self.compared]
        lines += [_told(line) for line in self.sums]
        lines.append(f"Store: {self.store}")
        if self.folder:
            trips = counted(self.round_trips, "round trip")
            lines.append(f"All differences, and {trips} of all fills: {self.folder}")
        return lines

    def table(self) -> list[dict[str, str | int]]:
        """Differences as rows of a table, at most 200."""
        return [
            {
                "kind": line.kind.value,
                "account": line.account or line.mode,
                "symbol": line.symbol,
                "leg": f"{line.side} {line.leg}".strip(),
                "at": f"{line.at:%Y-%m-%d %H:%M:%S}",
                "bot": line.bot,
                "broker": line.broker,
                "P&L effect": ""
                if line.pnl_effect is None
                else f"{_money(line.pnl_effect)} {line.currency}",
                "trade": line.trade_id or "",
                "orders": _few(line.orders),
            }
            for line in self.differences[:_MOST_LISTED]
        ]

    def markdown(self) -> str:
        """The whole report for a page."""
        kinds = [kind for kind in Kind if kind in self.kinds]
        what = [[f"`{kind.value}`", self.kinds[kind], kind.means, kind.remedy] for kind in kinds]
        rows = [list(row.values()) for row in self.table()]
        heads = list(self.table()[0]) if rows else []
        sums = [
            [
                *(line.mode, line.account, line.currency, line.trades),
                *map(_money, (line.bot_pnl, line.broker_pnl, line.bot_fees, line.broker_fees)),
            ]
            for line in self.sums
        ]
        more = len(self.differences) - len(rows)
        return page(
            self.verdict,
            (
                "What to do",
                [
                    f"{_BRING_IN}\n" if self.nothing else "",
                    table(["kind", ">found", "what it means", "do"], what),
                ],
            ),
            ("Differences", [table(heads, rows), f"\n… and {more:,} more" if more > 0 else ""]),
            ("Closed trades that both have", [table(_SUM_HEADS, sums)]),
            ("What was compared", points(self._facts())),
        )


_SUM_HEADS = (
    "mode",
    "account",
    "currency",
    ">trades",
    ">P&L, bot",
    ">P&L, broker (after fees)",
    ">fees, bot",
    ">fees, broker",
)


def report_of(
    run: str, at: datetime, store: str, found: Reconciled, folder: str | None
) -> ReconcileReport:
    """The report of a run."""
    differences = [one for compared in found.compared for one in compared.differences]
    counts = Counter(one.kind for one in differences)
    return ReconcileReport(
        run=run,
        at=at,
        store=store,
        folder=folder,
        compared=tuple(_compared_line(compared) for compared in found.compared),
        nothing=found.nothing,
        round_trips=len(found.trips),
        kinds={kind: counts[kind] for kind in Kind if kind in counts},
        effects=_effects(differences),
        differences=tuple(map(_line, differences)),
        sums=tuple(line for compared in found.compared for line in _sum_lines(compared)),
    )


def _effects(differences: Iterable[Difference]) -> dict[str, Decimal]:
    """By currency: money of different ones is never added up."""
    sums: dict[str, Decimal] = {}
    for one in differences:
        if one.pnl_effect:
            sums[one.currency] = sums.get(one.currency, _NONE) + one.pnl_effect
    return dict(sorted(sums.items()))


def _line(one: Difference) -> DifferenceLine:
    return DifferenceLine(**{name: getattr(one, name) for name in Difference.__slots__})


def _compared_line(compared: Compared) -> ComparedLine:
    return ComparedLine(
        mode=compared.mode,
        accounts=compared.accounts,
        start=compared.period.start,
        end=compared.period.end,
        orders=compared.orders,
        trades=compared.trades,
        outside=compared.outside,
        carried_in=compared.carried_in,
        conversions=compared.conversions,
    )


def _sum_lines(compared: Compared) -> Iterable[SumLine]:
    for (account, currency), sums in sorted(compared.sums.items()):
        yield SumLine(
            mode=compared.mode,
            account=account,
            currency=currency,
            **{name: getattr(sums, name) for name in sums.__slots__},
        )


def _told(line: SumLine) -> str:
    text = (
        f"{line.account}, {line.currency}: {counted(line.trades, 'closed trade')}, P&L "
        f"{_money(line.bot_pnl)} by the bot, {_money(line.broker_pnl)} by the broker's fills after "
        f"fees of {_money(line.broker_fees)}"
    )
    return text if line.bot_fees else f"{text}; the bot keeps no fees"


def _words(kind: Kind) -> str:
    return {Kind.PNL: "P&L", Kind.BROKER_PNL: "the broker's P&L"}.get(kind, kind.value)


def _few(orders: tuple[str, ...]) -> str:
    more = len(orders) - _MOST_ORDERS
    return ", ".join(orders[:_MOST_ORDERS]) + (f" and {more} more" if more > 0 else "")


def _money(value: Decimal) -> str:
    return f"{value.quantize(_CENT):,}"


def _time(at: datetime | None) -> str:
    return "…" if at is None else f"{at:%Y-%m-%d %H:%M}"
