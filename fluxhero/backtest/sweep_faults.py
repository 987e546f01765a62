"""What a sweep came upon that its owner must know: combinations without a result, and a best one that looks ahead."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from fluxhero.backtest.asked import Asked
from fluxhero.backtest.material import Signalled
from fluxhero.backtest.referenced import Referenced
from fluxhero.backtest.shipped import SHIPPED
from fluxhero.backtest.signals import signals_of
from fluxhero.backtest.sweep_files import DIED
from fluxhero.backtest.sweeps import SweepOutcome
from fluxhero.backtest.trials import OK
from fluxhero.errors import StrategyError


@dataclass(frozen=True)
class SweepFaults:
    """What was found.

    Attributes:
        peeks: how often leaving later bars out changed a signal of the best combination.
        failures: what went wrong.
        unknown: combinations that have no result, as they refuse to be made or raise.
    """

    peeks: int = 0
    failures: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


def faults_of(asked: Asked, one: Referenced, outcome: SweepOutcome) -> SweepFaults:
    """Look through a sweep.

    Only the best combination is asked whether it looks ahead: if looking ahead pays, that one does.
    """
    refused, died = _without_result(outcome)
    peeks, fault = _best(asked, one, outcome)
    about = f"{outcome.plan.strategies[0].name} on {outcome.plan.symbol}"
    failures = [*(f"{about}: {text}" for text in died), *([fault] if fault else [])]
    return SweepFaults(peeks, tuple(failures), tuple(f"sweep: {text}" for text in refused))


def _without_result(outcome: SweepOutcome) -> tuple[list[str], list[str]]:
    """In a sentence each: those that failed, and those that took their process with them or were not reached."""
    rows = outcome.table.select(["outcome", "error"]).to_pylist()
    died = [row["error"] for row in rows if row["outcome"] == DIED]
    refused = [row["error"] for row in rows if row["outcome"] not in {OK, DIED}]
    return list(_told(refused, len(rows))), list(_told(died, len(rows)))


def _told(errors: list[str], combinations: int) -> Iterator[str]:
    if errors:
        yield (
            f"{len(errors):,} of {combinations:,} combinations of its grid without a result,"
            f" the first of them: {errors[0]}"
        )


def _best(asked: Asked, one: Referenced, outcome: SweepOutcome) -> tuple[int, str | None]:
    """How often the best combination was found to look ahead, and what to say of it."""
    signalled, best = one.signalled, outcome.best
    chosen = signalled.chosen
    if best is None or best.reference in SHIPPED.values():
        return 0, None
    if best.parameters == chosen.named.parameters:  # has been asked
        return 0, None
    found = signals_of([best], signalled.bars, one.contract, asked.bounds, asked.folder)[0]
    if isinstance(found, StrategyError):
        return 0, f"{best.label} on {signalled.bars.symbol}, asked again: {found}"
    again = Signalled(replace(chosen, named=best), signalled.bars, found)
    return again.peeks, again.fault
