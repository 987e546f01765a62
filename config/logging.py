"""Logging, configured in one place: one stream on stderr, in our format, without secrets.

Modules log through `logging.getLogger(__name__)`. Every record knows the flow run, task run, batch
and store it belongs to; inside a run, records of our packages also reach Prefect's API. Prefect is
never imported from here: `configure_logging` takes it over when it has been imported already, so a
process that imports it (`from prefect import flow`; a bare `import prefect` is lazy) calls
`configure_logging` (again) afterwards.
"""

import contextvars
import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import SecretStr

from config.redaction import Redactor
from config.settings import Settings

OUR_LOGGERS: Final = ("fluxhero", "flows", "tasks", "config")

_COLOURS = {"WARNING": "\x1b[33m", "ERROR": "\x1b[31m", "CRITICAL": "\x1b[1;31m"}
_PLAIN = "\x1b[0m"
_PREFECT_API = "APILogHandler"
_PREFECT_CONSOLES = ("PrefectConsoleHandler", "_SafeStreamHandler")
# What Prefect's run loggers put on a record; ours says the same under shorter names.
_PREFECT_FIELDS = {
    "flow_run_name": "flow_run",
    "flow_run_id": "flow_run_id",
    "task_run_name": "task_run",
    "task_run_id": "task_run_id",
}
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "run_context"}
_NOISE = frozenset({"flow_name", "task_name", "deployment_name", "send_to_api", *_PREFECT_FIELDS})

_bound: contextvars.ContextVar[Mapping[str, str]] = contextvars.ContextVar("fluxhero_log")


@contextmanager
def log_context(
    *, batch: str | None = None, store: str | None = None, request: str | None = None
) -> Iterator[None]:
    """Put the batch, the store, the request's id on every record logged inside the block."""
    given = {"batch": batch, "store": store, "request": request}
    new = {key: value for key, value in given.items() if value is not None}
    token = _bound.set({**_bound.get({}), **new})
    try:
        yield
    finally:
        _bound.reset(token)


def configure_logging(settings: Settings) -> None:
    """Set logging up; calling it again replaces what the last call set up.

    Args:
        settings: level, format, and the secrets that no record may show.
    """
    secrets = [
        value.get_secret_value()
        for name in Settings.model_fields
        for given in [getattr(settings, name)]
        for value in (given if isinstance(given, tuple) else (given,))
        if isinstance(value, SecretStr)
    ]
    # A list of secrets shows itself one by one.
    Record.redactor = Redactor(
        part.strip() for text in secrets for part in (text, *text.split(","))
    )
    logging.setLogRecordFactory(Record)
    handler = StderrHandler(settings.log_format)
    root = logging.getLogger()
    for old in [h for h in root.handlers if isinstance(h, StderrHandler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    for name in OUR_LOGGERS:
        logging.getLogger(name).setLevel(settings.log_level)
    logging.captureWarnings(capture=True)
    unify_prefect_logging()


def unify_prefect_logging() -> None:
    """Make Prefect's records and ours one stream, on the console and in its API.

    Prefect's console handlers go, so that their records reach ours; Prefect's API handler is put
    on the loggers of our packages. Without Prefect imported this does nothing.
    """
    if "prefect.logging.handlers" not in sys.modules:
        return
    loggers = [logging.getLogger(name) for name in list(logging.root.manager.loggerDict)]
    for logger in (logging.getLogger(), *loggers):
        consoles = [h for h in logger.handlers if type(h).__name__ in _PREFECT_CONSOLES]
        for handler in consoles:
            logger.removeHandler(handler)
            logger.propagate = True
    extra = logging.getLogger("prefect.extra")
    for api in [h for h in extra.handlers if type(h).__name__ == _PREFECT_API]:
        api.addFilter(_belongs_to_run)
        for name in OUR_LOGGERS:
            logging.getLogger(name).addHandler(api)  # adding it twice is harmless


class Record(logging.LogRecord):
    """A record that knows its run, batch and store, and whose text shows no secret.

    Redaction happens here and not in a handler, so that it holds for every handler there is.
    """

    redactor = Redactor()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        clean = self.redactor.value
        if isinstance(self.args, Mapping):
            self.args = {key: clean(value, key) for key, value in self.args.items()}
        elif self.args:
            self.args = tuple(clean(value) for value in self.args)
        if self.exc_info:
            # Formatters use this text when it is there instead of writing their own.
            text = logging.Formatter().formatException(self.exc_info)
            self.exc_text = self.redactor.text(text)
        self.run_context = {**_prefect_run(), **_bound.get({})}

    def getMessage(self) -> str:  # noqa: N802 - the standard library's name
        """The message with its arguments, without secrets."""
        return self.redactor.text(super().getMessage())


class StderrHandler(logging.Handler):
    """Writes to whatever `sys.stderr` is at that moment, as text or JSON lines."""

    def __init__(self, log_format: str) -> None:
        super().__init__()
        self.log_format = log_format
        self.formatters = {"json": JsonFormatter(), "console": ConsoleFormatter()}
        self.setFormatter(self.formatters["json"])  # Prefect leaves the root alone only with one

    def format(self, record: logging.LogRecord) -> str:
        """The line for a record in the format configured, or the one stderr suits."""
        kind = self.log_format
        if kind == "auto":
            kind = "console" if sys.stderr.isatty() else "json"
        return self.formatters[kind].format(record)

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line; a stream closed while the process ends loses it silently."""
        if sys.stderr is None or sys.stderr.closed:
            return
        try:
            sys.stderr.write(self.format(record) + "\n")
            sys.stderr.flush()
        except (OSError, ValueError, TypeError, KeyError):
            self.handleError(record)


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Time, level, logger, message, where it belongs, then whatever `extra` held."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(record),
        }
        if record.exc_text or record.exc_info:
            line["exception"] = record.exc_text or self.formatException(record.exc_info or _NOTHING)
        if record.stack_info:
            line["stack"] = record.stack_info
        return json.dumps(line, default=str, ensure_ascii=False)


class ConsoleFormatter(logging.Formatter):
    """One readable line, with a traceback below it where there is one."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - as above
        """The line, coloured from WARNING up on a terminal, then the fields as name=value."""
        line = super().formatMessage(record).translate(_UNSEEN)
        if sys.stderr.isatty() and not os.environ.get("NO_COLOR"):
            colour = _COLOURS.get(record.levelname, "")
            line = f"{colour}{line}{_PLAIN if colour else ''}"
        fields = [f"{k}={v}" for k, v in _fields(record).items() if not k.endswith("_id")]
        return f"{line}  [{' '.join(fields).translate(_UNSEEN)}]" if fields else line


_NOTHING = (None, None, None)
# What would move a terminal's cursor or change its colours, spelt out.
_UNSEEN = {n: f"\\x{n:02x}" for n in (*range(32), *range(127, 160)) if chr(n) not in "\n\t"}


def _fields(record: logging.LogRecord) -> dict[str, object]:
    """Run, batch and store of a record, and its other extras, without secrets."""
    fields: dict[str, object] = dict(getattr(record, "run_context", {}))
    for theirs, ours in _PREFECT_FIELDS.items():
        value = getattr(record, theirs, None)
        if value not in (None, "<unknown>"):
            fields[ours] = str(value)
    extras = {k: v for k, v in vars(record).items() if k not in _STANDARD and k not in _NOISE}
    return {**fields, **{k: Record.redactor.value(v, k) for k, v in extras.items()}}


def _belongs_to_run(record: logging.LogRecord) -> bool:
    """Whether Prefect's API has a run to file the record under; it warns about any other."""
    return "flow_run_id" in vars(record) or "flow_run_id" in getattr(record, "run_context", {})


def _prefect_run() -> dict[str, str]:
    """Names and ids of the current flow run and task run, where Prefect is at work."""
    prefect_context = sys.modules.get("prefect.context")
    fields: dict[str, str] = {}
    for kind, attribute in (("FlowRunContext", "flow_run"), ("TaskRunContext", "task_run")):
        context_class = getattr(prefect_context, kind, None)
        context = context_class.get() if context_class is not None else None
        run = getattr(context, attribute, None)
        if run is not None:
            fields[attribute] = str(run.name)
            fields[f"{attribute}_id"] = str(run.id)
    return fields
