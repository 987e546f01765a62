"""What a run's page in the UI does without: Prefect's own lines that say nothing, or say it again.

The process's stream has them all the same. What failed keeps its lines, and every retry its own.
"""

import logging
from typing import Final

from prefect.exceptions import FailedRun

from fluxhero.errors import FluxHeroError

_LOGGERS: Final = ("prefect.flow_runs", "prefect.task_runs")
_API_HANDLER: Final = "APILogHandler"
# Hooks are ours, for each run the same one; a step that ends well has told what it did in its own line.
_SAY_NOTHING: Final = ("Running hook '", "Hook '", "Finished in state Completed(")
_AGAIN: Final = "Engine execution exited with unexpected exception"
_ENCOUNTERED: Final = "Encountered exception during execution"
_JUDGED: Final = (
    "cannot be resolved into an exception"  # what a Failed state holds that is a report
)
_STEP_ENGINE: Final = "task_engine.py"


def quieten_run_pages() -> None:
    """Keep those lines from the server; doing it again changes nothing."""
    for name in _LOGGERS:
        for handler in logging.getLogger(name).handlers:
            if type(handler).__name__ == _API_HANDLER:
                handler.addFilter(tells_something)


def tells_something(record: logging.LogRecord) -> bool:
    """Whether a line of Prefect's belongs on a run's page."""
    text = str(record.msg)
    if record.levelno <= logging.INFO:
        hook = record.name == "prefect.flow_runs" and text.startswith(_SAY_NOTHING[:2])
        step = record.name == "prefect.task_runs" and record.getMessage().startswith(_SAY_NOTHING)
        return not (hook or step)
    return not (_explains_itself(record) and _told_before(record, text))


def _explains_itself(record: logging.LogRecord) -> bool:
    """Whether the line is about an error of ours, or about a run that was judged to have failed."""
    error = record.exc_info[1] if record.exc_info else None
    judged = isinstance(error, FailedRun) or (
        isinstance(error, TypeError) and _JUDGED in str(error)
    )
    return judged or isinstance(error, FluxHeroError)


def _told_before(record: logging.LogRecord, text: str) -> bool:
    """Whether another line of the run's has said it: the step that raised it, or the flow's last line."""
    if text.startswith(_AGAIN):
        return True
    trace = record.exc_info[2] if record.exc_info else None
    while trace is not None:
        if trace.tb_frame.f_code.co_filename.endswith(_STEP_ENGINE):
            return text.startswith(_ENCOUNTERED)
        trace = trace.tb_next
    return False
