"""The steps of a night: each a flow of its own, and what its end means for the ones after it."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from prefect.client.schemas.objects import State
from prefect.exceptions import FailedRun
from prefect.states import Completed, Failed
from prefect.utilities.urls import url_for

from config.settings import SettingsError
from fluxhero.archive.batches import utc_now
from fluxhero.errors import FluxHeroError, first_line
from fluxhero.integrity.rules import CRITICAL_FINDINGS
from fluxhero.night.nightly_report import Ended, NightReport, Step
from tasks.cost import cost_line
from tasks.policy import compute_task
from tasks.starting import settings_of_run

logger = logging.getLogger(__name__)

FOUND, COULD_NOT = 1, 3  # exit statuses


@dataclass(frozen=True)
class Night:
    """A night that has begun, what it is to bring in, and whether the broker is asked first."""

    began_at: datetime
    imports: list[str]
    broker: bool


@compute_task
def open_night(imports: list[str] | None) -> Night:
    """Begin a night.

    Args:
        imports: files and folders to bring in; those of the settings when None.

    Raises:
        SettingsError: naming every variable that is unknown or wrong.
    """
    settings = settings_of_run()
    named = [str(path) for path in settings.nightly_imports] if imports is None else imports
    return Night(utc_now(), named, settings.nightly_broker)


def run_step(name: str, flow_run: Callable[[], State[Any]]) -> Step:
    """Run a step, which is a flow that gives its state, and say what it came to."""
    began = utc_now()
    state = flow_run()
    ended, came_to, status = _judged(state)
    run_id = state.state_details.flow_run_id
    step = Step(
        name=name,
        ended=ended,
        came_to=came_to,
        seconds=max((utc_now() - began).total_seconds(), 0),
        exit_status=status,
        run_id=None if run_id is None else str(run_id),
        url=None if run_id is None else url_for("flow-run", obj_id=run_id),
    )
    level = logging.ERROR if step.ended == "failed" else logging.INFO
    logger.log(level, "%s: %s. %s", step.name, step.shown, step.came_to)
    return step


def skipped(name: str, why: str) -> Step:
    """A step that there is nothing to do for."""
    logger.info("%s is skipped: %s", name, why)
    return Step(name=name, ended="skipped", came_to=why)


def not_run(name: str, because: Step) -> Step:
    """A step that is left out because of how the one before it ended."""
    why = f"{because.name} failed" if because.ended == "failed" else f"{because.name} was not run"
    logger.warning("%s is not run, since %s", name, why)
    return Step(name=name, ended="not run", came_to=why)


@compute_task
def summarise_night(night: Night, steps: Sequence[Step]) -> NightReport:
    """What all steps came to."""
    return NightReport(
        began_at=night.began_at, ended_at=utc_now(), steps=tuple(steps), cost=cost_line()
    )


def night_as(report: NightReport) -> State[Any]:
    """The state that a night deserves: that of its gravest step."""
    if report.failed:
        name = CRITICAL_FINDINGS if report.exit_status == FOUND else "Failed"
        return Failed(name=name, message=report.verdict, data=report)
    name = "Completed" if report.ok else "Completed with findings"
    return Completed(name=name, message=report.verdict, data=report)


def _judged(state: State[Any]) -> tuple[Ended, str, int]:
    """How a step ended, what it came to, and the exit status of it.

    That goes by the state's name and message. Its result may be missing: a server that was too slow to
    confirm the state is asked again, and what it gives back then has none.
    """
    told = state.message or str(state.name)
    if state.is_completed():
        return ("ok", told, 0) if state.name == "Completed" else ("findings", told, FOUND)
    outcome = state.result(raise_on_failure=False)
    if isinstance(outcome, FluxHeroError | SettingsError):
        return "failed", str(outcome), outcome.exit_status
    if isinstance(outcome, BaseException) and not isinstance(outcome, FailedRun):
        return "failed", f"{type(outcome).__name__}: {first_line(outcome)}", COULD_NOT
    return "failed", told, FOUND
