"""What a process of the local Dask cluster begins with: Dask preloads this module in each.

Workers that somebody starts for a scheduler of their own may do the same: `dask worker --preload tasks.dask_worker`.
"""

import atexit
import os
import sys
from typing import Any

from config.loading import load_settings
from config.logging import configure_logging


def dask_setup(_worker: Any) -> None:
    """Log as the run itself does, and end without a word.

    Raises:
        SettingsError: the settings cannot be used.
    """
    configure_logging(load_settings())
    atexit.register(_leave)


def _leave() -> None:
    """End here, after what other packages do at exit.

    DuckDB's binding would print a page on what it takes for leaks, as Dask's threads still hold its classes.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
