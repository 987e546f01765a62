"""Scheduled runs on days without trading: they end at once, well, and count for nothing."""

import functools
import logging
from typing import Any, ParamSpec, TypeVar, cast

from prefect import Flow
from prefect.context import FlowRunContext
from prefect.states import Completed

from fluxhero.market.trading_days import IN_SESSION, TRADING_DAYS, Closed, closed_at
from tasks.starting import settings_of_run

P = ParamSpec("P")
R = TypeVar("R")

logger = logging.getLogger(__name__)


def on_trading_days(flow: Flow[P, R]) -> Flow[P, R]:
    """A flow whose body is left out where its deployment is bound to trading and there is none.

    That goes by the tags of the deployment (`fluxhero.market.trading_days`) and the moment at which the
    run was to start, not the one at which a worker came to it. A run that somebody asked for always runs.
    """
    body = flow.fn

    @functools.wraps(body)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        closed = _closed()
        if closed is None:
            return body(*args, **kwargs)
        logger.info("nothing to do: %s", closed.why)
        state: Any = Completed(name=closed.name, message=closed.why)
        return cast(R, state)  # a flow that returns a state ends in it

    flow.fn = guarded  # afterwards, so that the flow has the version and the place of its own file
    return flow


def _closed() -> Closed | None:
    context = FlowRunContext.get()
    run = None if context is None else context.flow_run
    if run is None or not run.auto_scheduled or run.expected_start_time is None:
        return None
    if not {TRADING_DAYS, IN_SESSION} & set(run.tags):
        return None
    return closed_at(settings_of_run().exchange, run.tags, run.expected_start_time)
