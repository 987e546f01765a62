"""The few kinds of task: what is retried, how often, and with what pauses. No other file says so.

An `io_task` touches the store, the disk or the network: what can pass by itself (locks, I/O) is tried
again with exponential back-off and jitter, what cannot (bad input, wrong settings, damaged data) is
not. An `asking_task` asks a provider that is asked again request by request: the step as a whole is not
tried again. A `compute_task` only computes, and is never tried again. What any of them uses of the CPU
counts as work (`tasks.cost`); a `publishing_task` is tried again like the first, and counts as
orchestration.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, ParamSpec, TypeVar

from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.runtime import flow_run
from prefect.tasks import exponential_backoff

from fluxhero.errors import TransientError
from tasks.cost import metered

P = ParamSpec("P")
R = TypeVar("R")

RETRIES = 3
BACKOFF_SECONDS = 2  # pauses of 2, 4 and 8 seconds, each stretched by up to the jitter
JITTER = 0.5

# Parameters that make another kind of run of it.
_WAYS: Final = {"dry_run": "dry run", "deep": "deep", "repair": "repair", "adopt": "adopt"}


def worth_retrying(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Whether a failure may pass by itself."""
    return isinstance(state.result(raise_on_failure=False), TransientError)


def io_task(function: Callable[P, R]) -> Task[P, R]:
    """A step that touches the store, the disk or the network."""
    return publishing_task(metered(function))


def publishing_task(function: Callable[P, R]) -> Task[P, R]:
    """A step that tells Prefect's server something, and so is orchestration and no work."""
    decorate = task(
        name=_name(function),
        retries=RETRIES,
        retry_delay_seconds=exponential_backoff(BACKOFF_SECONDS),
        retry_jitter_factor=JITTER,
        retry_condition_fn=worth_retrying,
        cache_policy=NO_CACHE,
        persist_result=False,
    )
    return decorate(function)


def asking_task(function: Callable[P, R]) -> Task[P, R]:
    """A step of requests each of which is tried again by itself, with pauses of its own."""
    return compute_task(function)


def compute_task(function: Callable[P, R]) -> Task[P, R]:
    """A step that cannot fail for a reason that passes by itself."""
    decorate = task(name=_name(function), retries=0, cache_policy=NO_CACHE, persist_result=False)
    return decorate(metered(function))


def run_name() -> str:
    """A readable name for a flow run: which flow, in which way, and when it started (UTC)."""
    ways = [
        _WAYS[name]
        for name, value in flow_run.parameters.items()
        if value is True and name in _WAYS
    ]
    return " ".join(
        [flow_run.flow_name or "run", *ways, f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"]
    )


def _name(function: Callable[..., Any]) -> str:
    return function.__name__.replace("_", "-")
