"""Logging: one stream in our format, with run, batch and store, without secrets."""

import io
import json
import logging
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from config.logging import StderrHandler, configure_logging, log_context
from config.redaction import MASK, Redactor
from config.settings import Settings

log = logging.getLogger("fluxhero.test_logging")


class Terminal(io.StringIO):
    """A stderr that is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def isolated(restored_logging: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)


class Captured:
    """What the test has written to stderr so far."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys
        self.text = ""

    def getvalue(self) -> str:
        self.text += self.capsys.readouterr().err
        return self.text


@pytest.fixture
def stderr(capsys: pytest.CaptureFixture[str]) -> Captured:
    return Captured(capsys)


def lines(stream: Captured | io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_json_lines_when_not_a_terminal(settings: Settings, stderr: Captured) -> None:
    configure_logging(settings)
    log.info("archived %d rows", 3, extra={"path": Path("a b.parquet")})
    (line,) = lines(stderr)
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "info",
        "logger": "fluxhero.test_logging",
        "message": "archived 3 rows",
        "path": "a b.parquet",
    }


def test_readable_on_a_terminal(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    configure_logging(settings)
    with log_context(batch="b1", store="bot.db"):
        log.info("archived")
        log.error("refused")
    monkeypatch.setenv("NO_COLOR", "1")
    log.error("plain")
    first, second, third = stream.getvalue().splitlines()
    assert first.endswith("INFO    fluxhero.test_logging: archived  [batch=b1 store=bot.db]")
    assert second.startswith("\x1b[31m")
    assert "\x1b" not in first + third


def test_the_format_can_be_chosen(
    settings: Settings, stderr: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure_logging(settings.model_copy(update={"log_format": "console"}))
    log.info("text")
    assert stderr.getvalue().endswith("fluxhero.test_logging: text\n")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    configure_logging(settings.model_copy(update={"log_format": "json"}))
    log.info("object")
    assert lines(terminal)[0]["message"] == "object"


def test_configuring_twice_logs_once(settings: Settings, stderr: Captured) -> None:
    configure_logging(settings)
    configure_logging(settings)
    log.info("once")
    assert len(lines(stderr)) == 1
    assert sum(isinstance(h, StderrHandler) for h in logging.getLogger().handlers) == 1


def test_level_applies_to_ours_and_warning_to_others(settings: Settings, stderr: Captured) -> None:
    configure_logging(settings.model_copy(update={"log_level": "DEBUG"}))
    log.debug("ours")
    logging.getLogger("third.party").info("theirs")
    logging.getLogger("third.party").warning("theirs, loudly")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("also a record", UserWarning, stacklevel=1)
    messages = [line["message"] for line in lines(stderr)]
    assert messages[:2] == ["ours", "theirs, loudly"]
    assert "also a record" in messages[2]


def test_context_nests_and_ends(settings: Settings, stderr: Captured) -> None:
    configure_logging(settings)
    with log_context(store="hot"):
        with log_context(batch="b1"):
            log.info("inner")
        log.info("outer")
    log.info("none")
    inner, outer, none = lines(stderr)
    assert (inner["store"], inner["batch"]) == ("hot", "b1")
    assert outer["store"] == "hot"
    assert "batch" not in outer
    assert "store" not in none


def test_an_extra_may_share_a_context_name(settings: Settings, stderr: Captured) -> None:
    configure_logging(settings)
    with log_context(batch="outer"):
        log.info("x", extra={"batch": "given", "flow_run_id": "f", "flow_run": "calm-owl"})
    (line,) = lines(stderr)
    assert (line["batch"], line["flow_run_id"], line["flow_run"]) == ("given", "f", "calm-owl")


def test_exceptions_and_stacks(settings: Settings, stderr: Captured) -> None:
    configure_logging(settings.model_copy(update={"auth_secret": SecretStr("hunter2-hunter2")}))
    try:
        raise RuntimeError("refused hunter2-hunter2")
    except RuntimeError:
        log.exception("failed", stack_info=True)
    (line,) = lines(stderr)
    assert "RuntimeError: refused **********" in line["exception"]
    assert "test_exceptions_and_stacks" in line["stack"]
    assert "hunter2" not in stderr.getvalue()


def test_secrets_by_value_type_and_key(settings: Settings, stderr: Captured) -> None:
    secret = SecretStr("hunter2-hunter2")
    configure_logging(settings.model_copy(update={"alpaca_api_secret": secret}))
    log.info("with hunter2-hunter2 inside, and %s, %r", "again hunter2-hunter2", secret)
    log.info("%s", {"password": "pa55word", "deep": [{"api_key": "k3y"}, secret]})
    log.info("%(token)s for %(symbol)s", {"token": "t0ken", "symbol": "SPY"})
    log.info("Authorization: Bearer abc.def and password='pa55 word' end")
    log.info("x", extra={"authorization": "Basic k3y", "cfg": {"client_secret": "k3y", "n": 1}})
    text = stderr.getvalue()
    for leak in ("hunter2", "pa55", "k3y", "t0ken", "abc.def"):
        assert leak not in text
    messages = lines(stderr)
    assert messages[2]["message"] == f"{MASK} for SPY"
    assert messages[3]["message"].endswith(" end")
    assert messages[4]["cfg"] == {"client_secret": MASK, "n": 1}


def test_each_of_several_tokens_is_a_secret(settings: Settings, stderr: Captured) -> None:
    tokens = SecretStr("first-of-two, second-of-two")
    configure_logging(settings.model_copy(update={"auth_secret": tokens}))
    log.info("one is first-of-two and the other second-of-two")
    assert "of-two" not in stderr.getvalue()


def test_redaction_leaves_the_rest_alone() -> None:
    redactor = Redactor(["abc", "longer-secret", "longer-secret-still"])
    assert redactor.text("abc longer-secret-still, 5 tokens used") == f"abc {MASK}, 5 tokens used"
    assert redactor.value(("a", 1, {"longer-secret"})) == ("a", 1, {MASK})
    assert redactor.value({"token": None, "n": 1.5}) == {"token": None, "n": 1.5}
    moment = object()
    assert redactor.value(moment) is moment


def test_a_wrong_format_string_does_not_reach_the_caller(stderr: Captured) -> None:
    record = log.makeRecord("fluxhero", logging.INFO, "x.py", 1, "%d rows", ("three",), None)
    StderrHandler("json").handle(record)
    assert "--- Logging error ---" in stderr.getvalue()


def test_a_closed_stderr_is_survived(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    configure_logging(settings)
    stream = io.StringIO()
    stream.close()
    monkeypatch.setattr(sys, "stderr", stream)
    log.info("lost")


def stored_logs(flow_run_id: Any, expected: int) -> list[Any]:
    """What Prefect's API kept of a run, once it has it all."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId

    run_filter = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[flow_run_id]))
    for _ in range(100):
        with get_client(sync_client=True) as client:
            logs = client.read_logs(run_filter)
        if len([record for record in logs if "marker" in record.message]) >= expected:
            break
        time.sleep(0.1)
    return logs


@pytest.mark.server
def test_prefect_and_we_are_one_stream(
    prefect_harness: str,
    settings: Settings,
    stderr: Captured,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from prefect import flow, get_run_logger, task

    other = logging.NullHandler()
    extra = logging.getLogger("prefect.extra")
    monkeypatch.setattr(extra, "handlers", [*extra.handlers, other])
    configure_logging(settings.model_copy(update={"auth_secret": SecretStr("hunter2-hunter2")}))
    assert not other.filters, "a handler that is not Prefect's is left alone"

    @task(task_run_name="verify-one")
    def step() -> None:
        with log_context(batch="b7"):
            log.info("marker ours in the task, hunter2-hunter2")
        get_run_logger().info("marker theirs in the task, hunter2-hunter2")

    @flow(flow_run_name="calm-owl")
    def one_stream() -> None:
        log.info("marker ours in the flow")
        get_run_logger().info("marker theirs in the flow")
        step()

    state = one_stream(return_state=True)
    log.info("outside any run")
    console = lines(stderr)  # every line is JSON: nobody else writes

    for message in ("ours in the flow", "theirs in the flow"):
        (line,) = [line for line in console if line["message"] == f"marker {message}"]
        assert line["flow_run"] == "calm-owl"
        assert "task_run" not in line
    for message in ("ours in the task", "theirs in the task"):
        (line,) = [line for line in console if line["message"].startswith(f"marker {message}")]
        assert (line["flow_run"], line["task_run"]) == ("calm-owl", "verify-one")
    assert [line["batch"] for line in console if "batch" in line] == ["b7"]
    assert "outside any run" in [line["message"] for line in console]

    logs = stored_logs(state.state_details.flow_run_id, expected=4)
    marked = [record for record in logs if "marker" in record.message]
    assert len(marked) == 4
    assert {record.level for record in marked} == {logging.INFO}
    assert sorted(record.task_run_id is not None for record in marked) == [False, False, True, True]
    assert "hunter2" not in str(logs)
    assert "hunter2" not in stderr.getvalue()


@pytest.mark.parametrize("first", ["prefect", "ours"])
def test_either_import_order_gives_one_stream(settings: Settings, first: str) -> None:
    """A worker imports Prefect before us, the command after; neither may change what is logged."""
    steps = ["from prefect import flow", "configure_logging(Settings())"]
    script = [
        "import logging",
        "from config.logging import configure_logging",
        "from config.prefect_env import prepare_prefect_environment",
        "from config.settings import Settings",
        "prepare_prefect_environment()" if first == "ours" else "",
        *(steps if first == "prefect" else [*reversed(steps), "configure_logging(Settings())"]),
        "loggers = [logging.getLogger(n) for n in list(logging.root.manager.loggerDict)]",
        "kinds = [type(h).__name__ for lg in [logging.root, *loggers] for h in lg.handlers]",
        "assert kinds.count('StderrHandler') == 1, kinds",
        "assert 'PrefectConsoleHandler' not in kinds, kinds",
        "ours = logging.getLogger('fluxhero')",
        "assert [type(h).__name__ for h in ours.handlers] == ['APILogHandler'], ours.handlers",
        "ours.info('outside a run')",
        "logging.getLogger('prefect.flow_runs').info('theirs')",
    ]
    unset = ("PREFECT_LOGGING_EXTRA_LOGGERS", "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", "\n".join(script)],
        env={
            **{name: value for name, value in os.environ.items() if name not in unset},
            "PYTHONPATH": str(Path(__file__).parents[2]),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    messages = [json.loads(line)["message"] for line in done.stderr.splitlines()]
    assert messages == ["outside a run", "theirs"]
