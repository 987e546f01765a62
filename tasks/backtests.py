"""The steps of a backtest evaluation, a task each."""

import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from typing import TypeVar

from prefect.futures import PrefectFuture

from fluxhero.archive.batches import utc_now
from fluxhero.backtest.asked import Asked, chosen_engines, chosen_strategies
from fluxhero.backtest.contract import Contract
from fluxhero.errors import BadInputError
from fluxhero.integrity.findings import new_run_id
from fluxhero.market.timeframe import Timeframe
from tasks.policy import io_task
from tasks.starting import settings_of_run

logger = logging.getLogger(__name__)

T = TypeVar("T")


@io_task
def open_evaluation(
    strategies: Sequence[str],
    symbols: Sequence[str],
    timeframe: str,
    span: tuple[date | None, date | None],
    variants: tuple[Sequence[str], Sequence[str]],
    engines: Sequence[str],
    *,
    shares: int | None,
    allow_short: bool,
    speed_bars: int,
    build: bool,
    pdf: bool,
) -> Asked:
    """Read the settings and check the parameters.

    Raises:
        BadInputError: one of them makes no sense.
    """
    now, settings = utc_now(), settings_of_run()
    usable, unusable = chosen_strategies(strategies, *variants)
    first, last = span
    if first and last and first > last:
        raise BadInputError(f"from {first} to {last} there is no day", next_step="swap the two")
    return Asked(
        run=new_run_id(now),
        at=now,
        settings=settings,
        strategies=usable,
        unusable=unusable,
        symbols=tuple(dict.fromkeys(symbols)),
        timeframe=Timeframe.read(timeframe),
        first=first,
        last=last,
        engines=chosen_engines(engines),
        contract=Contract.of(settings, shares=shares, allow_short=allow_short),
        speed_bars=speed_bars,
        build=build,
        pdf=pdf,
    )


@contextmanager
def working_folder(asked: Asked) -> Iterator[None]:
    """Have a folder for files within the block."""
    asked.folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        shutil.rmtree(asked.folder, ignore_errors=True)


def all_of(futures: Sequence[PrefectFuture[T]]) -> list[T]:
    """What tasks that run beside each other came to."""
    return [future.result() for future in futures]
