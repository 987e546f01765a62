"""What every run begins with: its settings, and logging in whichever process it runs."""

from prefect.runtime import deployment

from config.logging import configure_logging
from config.settings import Settings, load_settings


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
    return settings
