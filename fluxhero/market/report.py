"""What a refresh of the bars brought, as data and as text. Rendering only; publishing is elsewhere."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict

from fluxhero.markdown import page, points, table_of
from fluxhero.market.refresh import Refreshed
from fluxhero.wording import counted

_MOST_LINES = 200
_MOST_SHOWN = 20
_FAILED = "Failed: "


class RefreshedLine(BaseModel):
    """One symbol's bars."""

    model_config = ConfigDict(frozen=True)

    symbol: str
    added: int
    changed: int
    left_out: int
    bars: int
    first: datetime
    last: datetime
    adjustment: str
    readjusted: bool
    file: str
    set_aside: str | None = None

    @classmethod
    def of(cls, done: Refreshed) -> "RefreshedLine":
        """The line about one symbol."""
        return cls(
            symbol=done.symbol,
            added=done.added,
            changed=len(done.changed),
            left_out=done.left_out,
            bars=done.bars,
            first=done.first,
            last=done.last,
            adjustment=done.adjustment,
            readjusted=done.readjusted,
            file=str(done.path),
            set_aside=None if done.set_aside is None else str(done.set_aside),
        )


class FailedSymbol(BaseModel):
    """A symbol, or a file, whose bars could not be brought in; the cache is as it was."""

    model_config = ConfigDict(frozen=True)

    symbol: str
    reason: str


class RefreshReport(BaseModel):
    """Outcome of `refresh_market_data`."""

    model_config = ConfigDict(frozen=True)

    cache: str
    timeframe: str
    lines: tuple[RefreshedLine, ...] = ()
    failed: tuple[FailedSymbol, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every symbol is up to date, and no file was found damaged."""
        return not self.failed and not any(line.set_aside for line in self.lines)

    @property
    def verdict(self) -> str:
        """One sentence: the answer first."""
        if not self.lines and not self.failed:
            return "Nothing to refresh: no trade is open, and no symbol was given."
        added = sum(line.added for line in self.lines)
        changed = sum(line.changed for line in self.lines)
        symbols = counted(len(self.lines), "symbol")
        if added or changed:
            text = f"Added {counted(added, f'new {self.timeframe} bar')} of {symbols}"
            text += f", {changed:,} corrected." if changed else "."
        else:
            text = f"Nothing new: {symbols} up to date." if self.lines else "Nothing came in."
        return f"{text} {counted(len(self.failed), 'symbol')} failed." if self.failed else text

    def details(self) -> list[str]:
        """What else a reader should know, a line each."""
        lines = [f"Cache: {self.cache}"]
        lines += [
            f"Damaged, moved to {line.set_aside} and fetched again: {line.file}"
            for line in self.lines
            if line.set_aside
        ]
        if readjusted := [line.symbol for line in self.lines if line.readjusted]:
            lines.append(
                "Fetched again from the first bar, for the provider adjusted its prices anew: "
                + ", ".join(readjusted[:_MOST_SHOWN])
            )
        if unknown := [line.symbol for line in self.lines if line.adjustment == "unknown"]:
            lines.append(
                "What prices are adjusted for is not known, for they came from elsewhere "
                f"(--adjustment says it): {', '.join(unknown[:_MOST_SHOWN])}"
            )
        lines += [f"{_FAILED}{one.symbol}: {one.reason}" for one in self.failed[:_MOST_SHOWN]]
        if (more := len(self.failed) - _MOST_SHOWN) > 0:
            lines.append(f"{_FAILED}and {more:,} more; --json lists all")
        return lines

    def table(self) -> list[dict[str, str | int]]:
        """Symbols as rows of a table, at most 200."""
        return [
            {
                "symbol": line.symbol,
                "added": line.added,
                "corrected": line.changed,
                "left out": line.left_out,
                "bars": line.bars,
                "first": f"{line.first:%Y-%m-%d %H:%M}",
                "last": f"{line.last:%Y-%m-%d %H:%M}",
                "adjusted for": line.adjustment,
            }
            for line in self.lines[:_MOST_LINES]
        ]

    def markdown(self) -> str:
        """The whole report for a page."""
        told = self.details()
        failed = [line for line in told if line.startswith(_FAILED)]
        return page(
            self.verdict,
            ("What is wrong, and what to do", points(failed)),
            ("Symbols", [table_of(self.table())]),
            ("Facts", points(line for line in told if line not in failed)),
        )
