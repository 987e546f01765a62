"""How a command gets its settings, its logs and, where it runs a flow, Prefect."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from prefect import State

    from config.settings import Settings


def settings_with_logging() -> "Settings":
    """Read the settings and set logging up by them."""
    from config.loading import load_settings
    from config.logging import configure_logging

    settings = load_settings()
    configure_logging(settings)
    return settings


@contextmanager
def prefect_ready() -> Iterator["Settings"]:
    """Import Prefect, set up for us; flows are imported and run inside the block.

    A flow runs in this process. Its history is kept by the server that is configured, or by the
    local one if it runs; without either, Prefect starts one that lives as long as the command.
    """
    from config.prefect_env import prepare_prefect_environment, starts_temporary_server

    settings = settings_with_logging()
    prepare_prefect_environment()
    if starts_temporary_server():
        click.echo(
            "No Prefect server runs; starting a temporary one, this can take a minute.", err=True
        )
    from prefect import flow  # noqa: F401 - `import prefect` alone would load nothing yet

    from config.logging import StderrHandler, configure_logging

    configure_logging(settings)
    for handler in logging.getLogger().handlers:
        if isinstance(handler, StderrHandler):
            handler.addFilter(_without_traceback_of_known_errors)
            if sys.stderr.isatty():
                handler.addFilter(_without_steps_that_end_well)
    yield settings


def _without_traceback_of_known_errors(record: logging.LogRecord) -> bool:
    """An error raised on purpose explains itself; where in our code it was raised helps nobody."""
    from fluxhero.errors import FluxHeroError

    if record.exc_info and isinstance(record.exc_info[1], FluxHeroError):
        record.exc_info = None
        record.exc_text = None
    return True


def _without_steps_that_end_well(record: logging.LogRecord) -> bool:
    """Who looks at a terminal is told by the report what every step came to."""
    from_flow = record.name in {"prefect.flow_runs", "prefect.engine"}
    hook = from_flow and "hook '" in record.getMessage().lower()
    return not (hook or record.name == "prefect.task_runs") or record.levelno > logging.INFO


def report_of(state: "State[Any]") -> Any:
    """The report of a flow that ends in a state of its own making, which may be a failed one.

    Raises:
        Exception: what the flow raised instead.
    """
    outcome = state.result(raise_on_failure=False)
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome
