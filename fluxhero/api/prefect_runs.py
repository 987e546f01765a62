"""Flow runs as a Prefect server tells of them: the last and next ones when asked, changes as they happen.

The one module under `fluxhero` beside the commands that imports Prefect. It reads only, never starts a
server, and takes one that does not answer for a `problem` to show, not for an error.
"""

import asyncio
import contextlib
import logging
import ssl
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Protocol
from urllib.parse import urlsplit
from uuid import UUID

import certifi
import httpx
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas import filters
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.events import Event as PrefectEvent
from prefect.events.clients import get_events_subscriber
from prefect.events.filters import EventFilter, EventNameFilter
from prefect.exceptions import PrefectException
from prefect.settings import PREFECT_API_URL, get_current_settings, temporary_settings
from websockets.exceptions import WebSocketException

from fluxhero.alerts.rules import FLOWS
from fluxhero.api.services import NO_SERVER, Event, EventKind, RunLine, Runs
from fluxhero.errors import first_line

logger = logging.getLogger(__name__)

OUR_FLOWS = FLOWS
# Snapshots are so frequent that no other run would be among the last and next ones.
FREQUENT_FLOWS = frozenset({"snapshot-metrics"})
MOST_LAST, MOST_NEXT = 16, 8
MOST_LAST_FREQUENT, MOST_NEXT_FREQUENT = 4, 2
ANSWER_SECONDS = 3.0  # a server that takes longer is as good as none
KEEP_SECONDS, KEEP_PROBLEM_SECONDS = 2.0, 10.0
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 60.0

_UNREACHABLE = (
    PrefectException,
    httpx.HTTPError,
    WebSocketException,
    OSError,
    TimeoutError,
    ValueError,  # what is no JSON, no text, or no run
    RecursionError,
)


class Publisher(Protocol):
    """Where events go: the hub of the operations API."""

    def publish(self, event: Event) -> None:
        """Hand an event to everyone who listens."""
        ...


class PrefectRuns:
    """The runs of our flows on one Prefect server; a `RunSource`."""

    def __init__(
        self,
        api_url: str,
        ui_url: str | None = None,
        *,
        flows: Sequence[str] = OUR_FLOWS,
        expected: bool = True,
    ) -> None:
        """Touches nothing yet.

        Args:
            api_url: of the server, as http://127.0.0.1:4200/api.
            ui_url: of its UI; where the API is, if nothing is said.
            flows: names of the flows whose runs are shown.
            expected: whether there should be a server; one that has answered is expected from then on.
        """
        self._api_url = api_url.rstrip("/")
        self._ui_url = ui_url.rstrip("/") if ui_url else _without_login(self._api_url)
        self._flows = frozenset(flows)
        self._expected = expected
        self._tls = ssl.create_default_context(cafile=certifi.where())
        self._lock = asyncio.Lock()
        self._known = Runs()
        self._until = 0.0
        self._news = 0

    async def runs(self) -> Runs:
        """The runs as they stood at most two seconds ago; of a server that does not answer, why."""
        if self._known.problem and self._lock.locked():
            return self._known  # somebody is finding out whether it is back, which takes seconds
        async with self._lock:
            if time.monotonic() >= self._until:
                news = self._news
                self._known = await self._asked()
                kept = KEEP_PROBLEM_SECONDS if self._known.problem else KEEP_SECONDS
                # What happened while the server was answering may not be in the answer.
                self._until = time.monotonic() + kept if news == self._news else 0.0
            return self._known

    async def follow(self, hub: Publisher) -> None:
        """Publish each change of state of a run of ours, until cancelled.

        A server that is away, or goes away, is tried again with growing pauses.
        """
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                async for event in self._changes():
                    pause = FIRST_PAUSE_SECONDS
                    if event is None and not self._known.problem:
                        continue
                    self._until, self._news = 0.0, self._news + 1  # who asks now wants to see it
                    if event is not None:
                        hub.publish(event)
                logger.info("the Prefect server closed the stream of events; connecting again")
            except Exception as error:  # noqa: BLE001 - the subscriber raises bare Exception
                logger.log(
                    logging.WARNING if pause == FIRST_PAUSE_SECONDS else logging.DEBUG,
                    "no events from the Prefect server at %s (%s); trying again in %.0f s",
                    self._api_url,
                    first_line(error),
                    pause,
                )
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    async def _asked(self) -> Runs:
        try:
            async with asyncio.timeout(ANSWER_SECONDS), self._client() as client:
                runs = await self._read(client)
        except _UNREACHABLE as error:
            if not self._expected:
                return Runs(problem=NO_SERVER)
            problem = _problem(error)
            logger.info("%s (%s: %s)", problem, self._api_url, first_line(error))
            return Runs(ui_url=self._ui_url, problem=problem)
        self._expected = True
        return runs

    @asynccontextmanager
    async def _client(self) -> AsyncIterator[PrefectClient]:
        api = get_current_settings().api
        client = PrefectClient(
            self._api_url,
            auth_string=api.auth_string.get_secret_value() if api.auth_string else None,
            api_key=api.key.get_secret_value() if api.key else None,
            httpx_settings={"verify": self._tls, "timeout": ANSWER_SECONDS},
        )
        async with client:
            yield client

    async def _read(self, client: PrefectClient) -> Runs:
        often, seldom = self._flows & FREQUENT_FLOWS, self._flows - FREQUENT_FLOWS
        last, coming, frequent_last, frequent_coming, flows = await asyncio.gather(
            _last(client, seldom, MOST_LAST),
            _coming(client, seldom, MOST_NEXT),
            _last(client, often, MOST_LAST_FREQUENT),
            _coming(client, often, MOST_NEXT_FREQUENT),
            client.read_flows(flow_filter=_of(self._flows)),
        )
        names = {flow.id: flow.name for flow in flows}
        last = sorted([*last, *frequent_last], key=_started, reverse=True)
        coming = sorted([*coming, *frequent_coming], key=_expected)
        deployments = await _deployment_names(client, [*last, *coming])
        return Runs(
            last=tuple(self._line(run, names, deployments) for run in last),
            next=tuple(self._line(run, names, deployments) for run in coming),
            ui_url=self._ui_url,
        )

    def _line(self, run: FlowRun, flows: dict[UUID, str], deployments: dict[UUID, str]) -> RunLine:
        state = run.state
        return RunLine(
            id=str(run.id),
            name=run.name,
            flow=flows.get(run.flow_id, "unknown"),
            deployment=deployments.get(run.deployment_id) if run.deployment_id else None,
            state=state.type.value if state else "UNKNOWN",
            state_name=(state.name if state else None) or "Unknown",
            message=state.message if state else None,
            expected_at=run.next_scheduled_start_time or run.expected_start_time,
            started_at=run.start_time,
            ended_at=run.end_time,
            seconds=_seconds(run),
            url=self._page(str(run.id)),
        )

    def _page(self, run_id: str) -> str:
        return f"{self._ui_url}/runs/flow-run/{run_id}"

    async def _changes(self) -> AsyncIterator[Event | None]:
        """Events of our runs; None for another sign of life, such as the connection itself."""
        names = EventFilter(event=EventNameFilter(prefix=["prefect.flow-run."]))
        with temporary_settings({PREFECT_API_URL: self._api_url}):  # or it would start a server
            subscriber = get_events_subscriber(names, reconnection_attempts=0)
        since = datetime.now(UTC)
        async with subscriber:
            logger.info("following the runs of the Prefect server at %s", self._api_url)
            yield None
            async for told in subscriber:
                # On connecting it tells of the minute before, too.
                yield self._event(told) if told.occurred >= since else None

    def _event(self, told: PrefectEvent) -> Event | None:
        state = told.resource.get("prefect.state-type")
        flow = _related(told, "flow")
        if state is None or flow not in self._flows:
            return None
        run_id = told.resource.id.removeprefix("prefect.flow-run.")
        running = state == StateType.RUNNING.value
        ended = state in {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
        line = RunLine(
            id=run_id,
            name=told.resource.get("prefect.resource.name") or run_id,
            flow=flow,
            deployment=_related(told, "deployment"),
            state=state,
            state_name=told.resource.get("prefect.state-name") or state,
            message=told.resource.get("prefect.state-message") or None,
            expected_at=None,
            started_at=told.occurred if running else None,
            ended_at=told.occurred if ended else None,
            seconds=None,
            url=self._page(run_id),
        )
        return Event(EventKind.RUN, told.occurred, line.model_dump(mode="json"))


def _without_login(api_url: str) -> str:
    """Where the UI is, by the address of the API; pages show it."""
    parts = urlsplit(api_url.removesuffix("/api"))
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl().rstrip("/")


def _problem(error: Exception) -> str:
    if isinstance(error, TimeoutError | httpx.TimeoutException):
        return "the Prefect server takes too long to answer: see how busy it is"
    if isinstance(error, httpx.HTTPStatusError):
        status = error.response.status_code
        if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            return (
                "the Prefect server wants a login: set PREFECT_API_AUTH_STRING or PREFECT_API_KEY"
            )
        return f"the Prefect server answers with status {status}: see its log"
    if isinstance(error, OSError | httpx.TransportError):
        return "the Prefect server is away: see that `fluxhero up` runs"
    return "what answers is no Prefect server: see what PREFECT_API_URL says"


async def _last(client: PrefectClient, flows: Iterable[str], most: int) -> list[FlowRun]:
    kind = filters.FlowRunFilterStateType(not_any_=[StateType.SCHEDULED])
    return await client.read_flow_runs(
        flow_filter=_of(flows),
        flow_run_filter=_in_state(kind),
        sort=FlowRunSort.START_TIME_DESC,
        limit=most,
    )


async def _coming(client: PrefectClient, flows: Iterable[str], most: int) -> list[FlowRun]:
    kind = filters.FlowRunFilterStateType(any_=[StateType.SCHEDULED])
    return await client.read_flow_runs(
        flow_filter=_of(flows),
        flow_run_filter=_in_state(kind),
        sort=FlowRunSort.EXPECTED_START_TIME_ASC,
        limit=most,
    )


def _of(flows: Iterable[str]) -> filters.FlowFilter:
    return filters.FlowFilter(name=filters.FlowFilterName(any_=sorted(flows)))


def _started(run: FlowRun) -> datetime:
    return run.start_time or _expected(run)


def _expected(run: FlowRun) -> datetime:
    return (
        run.next_scheduled_start_time or run.expected_start_time or datetime.max.replace(tzinfo=UTC)
    )


def _in_state(kind: filters.FlowRunFilterStateType) -> filters.FlowRunFilter:
    return filters.FlowRunFilter(state=filters.FlowRunFilterState(type=kind))


async def _deployment_names(client: PrefectClient, runs: Iterable[FlowRun]) -> dict[UUID, str]:
    wanted = {run.deployment_id for run in runs if run.deployment_id}
    if not wanted:
        return {}
    chosen = filters.DeploymentFilter(id=filters.DeploymentFilterId(any_=sorted(wanted)))
    found = await client.read_deployments(deployment_filter=chosen)
    return {deployment.id: deployment.name for deployment in found}


def _seconds(run: FlowRun) -> float | None:
    return run.total_run_time.total_seconds() if run.start_time and run.end_time else None


def _related(told: PrefectEvent, role: str) -> str | None:
    with contextlib.suppress(KeyError):
        return told.resource_in_role[role].name
    return None
