"""What every flow does at its end, however it ends: the run is counted in the data folder's history."""

import logging
from datetime import timedelta
from typing import Any, Final

from prefect import Flow, State
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.objects import StateType as Type

from config.loading import load_settings
from config.settings import SettingsError
from fluxhero.errors import FluxHeroError
from fluxhero.market.trading_days import NOTHING_TO_DO
from fluxhero.metrics.jobs import RunOutcome, RunRecord, record_run
from tasks.time_limit import limit_time

logger = logging.getLogger(__name__)

_OUTCOMES: Final = {
    Type.COMPLETED: RunOutcome.OK,
    Type.FAILED: RunOutcome.FAILED,
    Type.CRASHED: RunOutcome.CRASHED,
    Type.CANCELLING: RunOutcome.CANCELLED,
    Type.CANCELLED: RunOutcome.CANCELLED,
}


def count_run(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Add the run to its flow's history; where that cannot be done, the run ends as it would have.

    A dry run is not counted, nor one on a day without trading, since it did nothing of what the flow is
    for. Nor is anything where the data folder is not there: a run that found nothing to work on makes none.
    """
    if flow_run.parameters.get("dry_run") or state.name in NOTHING_TO_DO:
        return
    try:
        data_dir = load_settings().data_dir
    except SettingsError:
        logger.debug("not counted, since the settings cannot be used, as the run itself has said")
        return
    if not data_dir.is_dir():
        return
    try:
        record_run(
            data_dir,
            RunRecord(
                flow=flow.name,
                outcome=_outcome(state),
                ended_at=state.timestamp,
                seconds=_seconds(flow_run, state),
            ),
        )
    except FluxHeroError as error:
        logger.warning("the run is not in the history of %s: %s", flow.name, error)


def _outcome(state: State[Any]) -> RunOutcome:
    """What the flow came to; `Completed` under another name means that it found something."""
    if state.type is Type.COMPLETED and state.name != "Completed":
        return RunOutcome.FINDINGS
    return _OUTCOMES[state.type]


def _seconds(flow_run: FlowRun, state: State[Any]) -> float | None:
    """How long the run took; not known of a process that a worker saw dying, and 0 if a clock was set back."""
    if flow_run.start_time is None:
        return None
    return max(state.timestamp - flow_run.start_time, timedelta()).total_seconds()


# For every `@flow(…, **HOOKS)`. Prefect runs them in the run's own process, or beside it where that died.
HOOKS: Final[dict[str, Any]] = {
    "on_running": [limit_time],
    "on_completion": [count_run],
    "on_failure": [count_run],
    "on_crashed": [count_run],
    "on_cancellation": [count_run],
}
