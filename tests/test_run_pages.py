"""What a run's page shows: which of Prefect's lines, where the report is, and what its state says."""

import logging
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from prefect.exceptions import FailedRun
from pydantic import BaseModel

from fluxhero.errors import BadInputError
from fluxhero.night.state import NightState, process_created, write_state
from tasks import ending, policy
from tasks.ending import publish_page, publish_plot, told_by
from tasks.run_page import quieten_run_pages, tells_something

STEP, FLOW = "prefect.task_runs", "prefect.flow_runs"


def record(name: str, message: str, level: int = logging.INFO, error: Any = None) -> Any:
    """A record as Prefect's engines log it."""
    return logging.LogRecord(name, level, __file__, 1, message, (), error)


def raised(error: Exception, file: str = __file__) -> Any:
    """What `sys.exc_info` says of an error that passed through a function of this file."""
    scope: dict[str, Any] = {"error": error.with_traceback(None)}
    exec(compile("def fail():\n    raise error\n", file, "exec"), scope)
    try:
        scope["fail"]()
    except type(error):
        return sys.exc_info()
    raise AssertionError


BAD = BadInputError("a limit of 0 rows", next_step="give 1 to 10 rows")
JUDGED = TypeError("Unexpected result for failed state: … cannot be resolved into an exception")
AGAIN = "Engine execution exited with unexpected exception"
ENCOUNTERED = "Encountered exception during execution: BadInputError()"
IN_STEP = "/site-packages/prefect/task_engine.py"


@pytest.mark.parametrize(
    ("shown", "line"),
    [
        (False, record(STEP, "Finished in state Completed()")),
        (True, record(STEP, "Task run failed with exception: X - Retry 1/3 will start")),
        (True, record(STEP, "Finished in state Failed()", logging.ERROR)),
        (False, record(FLOW, "Running hook 'count_run' in response to entering state")),
        (False, record(FLOW, "Hook 'count_run' finished running successfully")),
        (True, record(FLOW, "Finished in state Completed('Nothing new was due.')")),
        (True, record(FLOW, "Hook 'count_run' failed", logging.ERROR)),
        (False, record(FLOW, AGAIN, logging.ERROR, raised(BAD))),
        (False, record(FLOW, AGAIN, logging.ERROR, raised(JUDGED))),
        (False, record(FLOW, AGAIN, logging.ERROR, raised(FailedRun("Check: 1 critical.")))),
        (True, record(FLOW, AGAIN, logging.ERROR, raised(TypeError("no such argument")))),
        (False, record(FLOW, ENCOUNTERED, logging.ERROR, raised(BAD, IN_STEP))),
        (True, record(FLOW, ENCOUNTERED, logging.ERROR, raised(BAD))),
        (True, record(FLOW, ENCOUNTERED, logging.ERROR, raised(ValueError("x"), IN_STEP))),
        (True, record(FLOW, "No memory", logging.ERROR)),
    ],
)
def test_a_page_tells_each_thing_once(shown: bool, line: logging.LogRecord) -> None:
    assert tells_something(line) is shown


def test_only_the_server_is_spared_the_lines() -> None:
    class APILogHandler(logging.NullHandler):
        """Known by its name."""

    logger, api, stream = logging.getLogger(STEP), APILogHandler(), logging.NullHandler()
    logger.addHandler(api)
    logger.addHandler(stream)
    try:
        quieten_run_pages()
        quieten_run_pages()
        assert (api.filters, stream.filters) == ([tells_something], [])
    finally:
        logger.removeHandler(api)
        logger.removeHandler(stream)


# ------------------------------------------------------------------------ where the report is


class Paged(BaseModel):
    page: str | None


Published = Callable[..., dict[str, Any]]


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> Published:
    """Publishes a page's place, and says what kind of artifact with what."""
    made: list[dict[str, Any]] = []
    for kind in ("link", "markdown"):
        create = lambda what, kind=kind, **more: made.append({kind: what, **more})  # noqa: E731
        monkeypatch.setattr(ending, f"create_{kind}_artifact", create)

    def _publish(page: str | None) -> dict[str, Any]:
        publish_page.fn("check-storage", Paged(page=page))
        return made.pop() if made else {}

    return _publish


def test_a_report_is_linked_where_a_page_serves_it(tmp_path: Path, published: Published) -> None:
    page = str(tmp_path / "reports" / "check-1.html")
    assert published(None) == {}
    told = published(page)
    assert page in told["markdown"], "no browser opens a file from a server's page"
    assert told["key"] == "check-storage-page"

    (tmp_path / "night").mkdir()
    write_state(tmp_path, night(page_url="http://127.0.0.1:8000/"))
    linked = published(page)
    assert linked["link"] == "http://127.0.0.1:8000/"
    assert "check-1.html" in linked["link_text"]
    write_state(tmp_path, night(page_url=None))
    assert page in published(page)["markdown"]


class Plotted(BaseModel):
    plot: str | None


def test_a_plot_is_shown_where_a_page_serves_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []
    monkeypatch.setattr(ending, "create_image_artifact", lambda url, **_more: shown.append(url))
    plot = str(tmp_path / "plots" / "evaluation-0.png")
    publish_plot.fn("evaluate-backtests", Plotted(plot=plot))
    (tmp_path / "night").mkdir()
    write_state(tmp_path, night(page_url="http://127.0.0.1:8400/"))
    publish_plot.fn("evaluate-backtests", Plotted(plot=None))
    assert shown == []
    publish_plot.fn("evaluate-backtests", Plotted(plot=plot))
    assert shown == ["http://127.0.0.1:8400/plots/evaluation-0.png"]


def night(page_url: str | None) -> NightState:
    """A night shift whose supervisor is this process."""
    return NightState(
        token="t",
        pid=os.getpid(),
        created=process_created(os.getpid()),
        started_at=datetime.now(UTC),
        api_url="http://127.0.0.1:4200/api",
        ui_url="http://127.0.0.1:4200",
        page_url=page_url,
        parts=(),
    )


# --------------------------------------------------------------------------- what a run is called


class Judged(BaseModel):
    ok: bool
    verdict: str


@pytest.mark.server
@pytest.mark.parametrize(("ok", "name"), [(True, "Completed"), (False, "Completed with findings")])
def test_a_run_is_named_by_its_way_and_its_state_says_what_it_came_to(
    prefect_harness: str, ok: bool, name: str
) -> None:
    from prefect import flow
    from prefect.runtime import flow_run

    names: list[str] = []

    @flow(name="archive-trades", flow_run_name=policy.run_name)
    def judged(dry_run: bool = False, purge: bool = True) -> Judged:
        names.append(str(flow_run.name))
        return told_by(Judged(ok=ok, verdict="Nothing new was due."))

    report = judged.fn()
    assert report == judged() == judged(dry_run=True), "the caller gets the report itself"
    state: Any = judged(return_state=True)
    assert (state.name, state.message) == (name, "Nothing new was due.")
    plain, dry = names[1], names[2]
    assert plain.startswith("archive-trades 20")
    assert plain.endswith(" UTC")
    assert dry.startswith("archive-trades dry run 20")
