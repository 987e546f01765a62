"""Finding the data packages of the `demo` extra, and saying how to install what is missing."""

import importlib
from importlib import resources
from pathlib import Path
from types import ModuleType

from fluxhero.errors import ConfigurationError


def load(module: str) -> ModuleType:
    """Import a module of a demo data package.

    Raises:
        ConfigurationError: the package is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"the demo's data package {module.partition('.')[0]} is not installed",
            next_step="run `make setup`, or `pip install 'fluxhero-pipeline[demo]'`",
        ) from error


def read_text(module: str, *path: str) -> str:
    """Read a text file that ships with a demo data package."""
    file = resources.files(load(module)).joinpath(*path)
    with resources.as_file(file) as found:
        return Path(found).read_text(encoding="utf-8")
