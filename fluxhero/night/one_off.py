"""How the small programs of a night shift run: settings, logging, the server, and errors as exit statuses."""

import logging
import sys
from collections.abc import Callable
from typing import Final, NoReturn

from config.loading import load_settings
from config.logging import configure_logging
from config.prefect_env import prefect_api_url, prepare_prefect_environment
from config.settings import Settings, SettingsError
from fluxhero.errors import FluxHeroError, ServerError
from fluxhero.night.server_api import ServerApi

logger = logging.getLogger(__name__)

PATIENCE_SECONDS: Final = 60.0  # a server that has just been started is busy


def run_once(work: Callable[[Settings, ServerApi], None]) -> NoReturn:
    """Do something at the server of the environment and end the process.

    The exit status is 0, or that of the error, which is said in the log.
    """
    try:
        settings = load_settings()
        configure_logging(settings)
        prepare_prefect_environment()
        with ServerApi(_server(), patience_seconds=PATIENCE_SECONDS) as server:
            work(settings, server)
    except (FluxHeroError, SettingsError) as error:
        logger.error("%s", error)  # noqa: TRY400 - it explains itself
        sys.exit(error.exit_status)
    sys.exit(0)


def _server() -> str:
    found = prefect_api_url()
    if found is None:
        raise ServerError(
            "no Prefect server is set, and none runs on this machine",
            next_step="start one with `fluxhero up`, or set PREFECT_API_URL",
        )
    return found
