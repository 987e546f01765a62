"""Writing a tearsheet for every strategy and symbol of an evaluation."""

from collections.abc import Sequence
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np

from fluxhero.backtest.asked import Asked
from fluxhero.backtest.bars import Floats
from fluxhero.backtest.drawing import pdf
from fluxhero.backtest.evaluation import Evaluation
from fluxhero.backtest.in_words import rules_in_words
from fluxhero.backtest.performance import (
    DAYS_A_YEAR,
    daily_returns,
    day_ends,
)
from fluxhero.backtest.plots import ROLLING_DAYS, Track
from fluxhero.backtest.referenced import Referenced
from fluxhero.backtest.tearsheet import Tearsheet
from fluxhero.durable import make_folder, write_atomically
from fluxhero.reports import FOLDER

KIND: Final = "tearsheet"


def write_sheets(
    asked: Asked, evaluation: Evaluation, references: Sequence[Referenced]
) -> list[tuple[str, str]]:
    """Write them into the folder of reports; returns what each is called and its file's name.

    Raises:
        StorageIOError: the disk is full or refuses.
    """
    folder = asked.settings.data_dir / FOLDER
    make_folder(folder)
    written = []
    for number, one in enumerate(references, start=1):
        sheet = sheet_of(asked, evaluation, one)
        if sheet is None:
            continue
        path = folder / f"{KIND}-{asked.run}-{number:02d}.html"
        write_atomically(path, sheet.html().encode())
        written.append((sheet.title, path.name))
        if asked.pdf:
            paper = path.with_suffix(".pdf")
            pdf(sheet.figures(), paper, sheet.title, asked.at)
            written.append((f"{sheet.title}, plots as PDF", paper.name))
    return written


def sheet_of(asked: Asked, evaluation: Evaluation, one: Referenced) -> Tearsheet | None:
    """The tearsheet of one strategy and symbol; None where it could not be judged."""
    found = next(
        (
            luck
            for luck in evaluation.luck
            if (luck.label, luck.symbol) == (one.row.label, one.row.symbol)
        ),
        None,
    )
    data = next(used for used in evaluation.data if used.symbol == one.row.symbol)
    if found is None or found.luck is None or one.row.performance is None:
        return None
    zone = asked.calendar(one.signalled.bars).zone
    return Tearsheet(
        label=one.row.label,
        data=data,
        rules=rules_in_words(one.contract),
        track=_track(one, asked.risk_free, zone),
        performance=one.row.performance,
        luck=found.luck,
    )


def _track(one: Referenced, risk_free: float, zone: ZoneInfo) -> Track:
    bars, cash = one.signalled.bars, one.contract.cash
    returns = daily_returns(one.result.equity, cash, zone)
    days = [bars.over(int(place)).astimezone(zone).date() for place in day_ends(bars.ends, zone)]
    return Track(bars, one.result, cash, days, returns, _rolling(returns, risk_free))


def _rolling(returns: Floats, risk_free: float) -> Floats:
    """Yearly Sharpe ratio of the last days up to each; not a number where they are all the same or too few.

    Each window is reckoned anew: a running sum keeps rounding errors, which over idle days are all there is
    and would give ratios of millions.
    """
    ratio = np.full(len(returns), np.nan)
    if len(returns) >= ROLLING_DAYS:
        windows = np.lib.stride_tricks.sliding_window_view(returns, ROLLING_DAYS)
        spread = windows.std(axis=1, ddof=1)
        spread[windows.max(axis=1) == windows.min(axis=1)] = np.nan
        mean = windows.mean(axis=1) - risk_free / DAYS_A_YEAR
        ratio[ROLLING_DAYS - 1 :] = mean / spread * DAYS_A_YEAR**0.5
    return ratio
