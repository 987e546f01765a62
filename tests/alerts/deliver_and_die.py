"""A process that delivers what is due and is killed right after the target took it: `DATA_DIR URL`."""

import os
import signal
import sys
from pathlib import Path
from typing import NoReturn
from unittest.mock import patch

from config.loading import load_settings
from fluxhero.alerts import delivery
from fluxhero.alerts.entries import Progress
from fluxhero.alerts.outbox import Outbox
from tests.alerts.telling import NOW


def die(*_arguments: object) -> NoReturn:
    """As the kernel would do it."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    settings = load_settings(None, data_dir=folder, alert_urls=sys.argv[2])
    with patch.object(Progress, "delivered", die):
        delivery.deliver_due(settings, Outbox(folder), NOW)
