"""Runs as a real Prefect server tells of them; and one that is away, slow, or talks nonsense."""

import asyncio
import re
import socket
from collections.abc import Coroutine
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fluxhero.api import prefect_runs
from fluxhero.api.prefect_runs import OUR_FLOWS, PrefectRuns
from fluxhero.api.services import NO_SERVER, Event

FLOWS = Path(__file__).parents[2] / "flows"


class Heard:
    """A hub of one listener."""

    def __init__(self) -> None:
        self.events: asyncio.Queue[Event] = asyncio.Queue()

    def publish(self, event: Event) -> None:
        self.events.put_nowait(event)

    async def until(self, state: str) -> list[Event]:
        """What is heard up to the next event of this state."""
        heard: list[Event] = []
        while not heard or heard[-1].data["state"] != state:
            heard.append(await asyncio.wait_for(self.events.get(), 30))
        return heard


def test_every_flow_is_known() -> None:
    named = {
        match[1]
        for path in FLOWS.glob("[!_]*.py")
        for match in re.finditer(r'@flow\(\s*name="([a-z-]+)"', path.read_text("utf-8"))
    }
    assert named == set(OUR_FLOWS)


@pytest.mark.server
def test_runs_and_their_changes(prefect_harness: str) -> None:
    from prefect import flow
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.objects import State, StateType
    from prefect.states import Completed, Failed, Running, Scheduled

    @flow(name="f1-ours")
    def ours() -> None:
        """One of ours."""

    @flow(name="f1-others")
    def others() -> None:
        """Another program's."""

    soon = datetime.now(UTC) + timedelta(hours=1)

    async def scenario() -> None:
        source = PrefectRuns(prefect_harness, "http://ui.example/", flows=["f1-ours"])
        heard = Heard()
        following = asyncio.create_task(source.follow(heard))
        async with get_client() as client:
            await client.create_flow(others)
            flow_id = await client.create_flow(ours)
            deployment = await client.create_deployment(flow_id, "nightly", entrypoint="x.py:x")

            async def run(state: State[Any], then: State[Any], of: Any = ours) -> str:
                made = await client.create_flow_run(of, state=state)
                await client.set_flow_run_state(made.id, then, force=True)
                return str(made.id)

            assert (await source.runs()).last == ()
            stranger = await run(Running(), Completed(), others)
            good = await run(Running(), Completed(message="all of it"))
            events = await heard.until("COMPLETED")
            assert {event.data["id"] for event in events} == {good}
            assert stranger != good
            assert events[-1].data["url"] == f"http://ui.example/runs/flow-run/{good}"
            assert events[-1].data["message"] == "all of it"
            assert events[-1].data["ended_at"] is not None
            bad = await run(Running(), Failed(message="the disk is full"))
            assert (await heard.until("FAILED"))[-1].data["flow"] == "f1-ours"
            planned = await client.create_flow_run_from_deployment(
                deployment, state=Scheduled(scheduled_time=soon)
            )
            assert (await heard.until("SCHEDULED"))[-1].data["deployment"] == "nightly"

            runs = await source.runs()  # asked anew, since something happened
            assert [line.id for line in runs.last] == [bad, good]
            assert (runs.last[0].state, runs.last[0].message) == ("FAILED", "the disk is full")
            assert runs.last[0].seconds is not None
            (coming,) = runs.next
            assert (coming.id, coming.deployment) == (str(planned.id), "nightly")
            assert coming.expected_at == soon
            assert coming.state == StateType.SCHEDULED.value
            assert (runs.problem, runs.ui_url) == (None, "http://ui.example")
            assert await source.runs() is runs  # a moment later
            await client.delete_deployment(deployment)  # the server is every test's
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following

    asyncio.run(scenario())


async def _cancelled(work: Coroutine[Any, Any, None], after: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(work, after)


def test_a_server_that_is_away(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setattr(prefect_runs, "FIRST_PAUSE_SECONDS", 0.01)

    async def scenario() -> None:
        source = PrefectRuns(f"http://me:pa55@127.0.0.1:{port}/api")
        runs = await source.runs()
        assert runs.problem == "the Prefect server is away: see that `fluxhero up` runs"
        assert runs.ui_url == f"http://127.0.0.1:{port}"
        assert (runs.last, runs.next) == ((), ())
        assert await source.runs() is runs
        nobody = await PrefectRuns(f"http://127.0.0.1:{port}/api", expected=False).runs()
        assert (nobody.problem, nobody.ui_url) == (NO_SERVER, None)
        await _cancelled(source.follow(Heard()), 1.5)

    asyncio.run(scenario())
    said = [one.getMessage() for one in caplog.records if one.name == prefect_runs.__name__]
    assert len([text for text in said if "no events from the Prefect server" in text]) == 1


def test_who_asked_and_left_does_not_keep_others_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefect_runs, "ANSWER_SECONDS", 0.3)

    async def scenario() -> None:
        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            asked.set()
            await reader.read()
            writer.close()

        asked = asyncio.Event()
        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        source = PrefectRuns(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/api")
        first = asyncio.create_task(source.runs())
        await asked.wait()
        first.cancel()
        runs = await source.runs()
        assert first.cancelled()
        assert runs.problem is not None
        assert "takes too long" in runs.problem
        server.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (b"", "takes too long to answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "is no Prefect server"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n[{}]", "is no Prefect server"),
        (b'HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n["\xff"', "is no Prefect server"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n" + b"[" * 9999, "is no Prefect server"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n" + b"9" * 9999, "is no Prefect server"),
        (b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n", "wants a login"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "with status 404"),
    ],
)
def test_a_server_that_is_none(
    monkeypatch: pytest.MonkeyPatch, answer: bytes, problem: str
) -> None:
    monkeypatch.setattr(prefect_runs, "ANSWER_SECONDS", 2.0 if answer else 0.3)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(answer)
            await writer.drain()
            if answer:
                break
        if answer:
            writer.close()

    async def scenario() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        runs = await PrefectRuns(f"http://127.0.0.1:{port}/api").runs()
        assert runs.problem is not None
        assert problem in runs.problem
        server.close()

    asyncio.run(scenario())
