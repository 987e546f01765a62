"""What every run begins with: its settings, its days, and logging in whichever process it runs."""

from prefect.runtime import deployment

from config.bounds import MOST_DAYS
from config.loading import load_settings
from config.logging import configure_logging
from config.settings import Settings
from fluxhero.errors import BadInputError
from tasks.run_page import quieten_run_pages


def days_for(purpose: str, days: int) -> int:
    """The days as they are, if they are some that can be counted with.

    Raises:
        BadInputError: they are not.
    """
    if not 0 <= days <= MOST_DAYS:
        raise BadInputError(
            f"a {purpose} of {days} days", next_step=f"give 0 to {MOST_DAYS:,} days"
        )
    return days


def settings_of_run() -> Settings:
    """Read the settings; in a process that a worker started for a deployment, set logging up too.

    A command has set logging up before its flow starts. A worker's process knows nothing of ours:
    it would send Prefect's own lines to the run's page and none of the steps'.

    Raises:
        SettingsError: naming every variable that is unknown or wrong.
    """
    settings = load_settings()
    if deployment.id is not None:
        configure_logging(settings)
    quieten_run_pages()
    return settings
