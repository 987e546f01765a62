"""The engines' environments, for tests that run engines for real.

They lie in `.engines` of the repository, or where TEST_ENGINES_DIR says, and stay there: one is built when the
first test asks for it (backtrader's takes a quarter of a minute and is the only one that tests not marked
`slow` may ask for). A test whose engine cannot be built fails.
"""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from config.settings import Settings
from fluxhero.backtest.engines import engine_named
from fluxhero.backtest.environments import Environment, environment_of

_ENGINES = Path(os.environ.get("TEST_ENGINES_DIR", Path(__file__).parents[2] / ".engines"))

EnvironmentOf = Callable[[str], Environment]


@pytest.fixture(scope="session")
def environment_for() -> EnvironmentOf:
    """The environment of an engine by its name; built if it is not there."""
    settings = Settings(data_dir=_ENGINES.parent / "data", engines_dir=_ENGINES)
    return lambda name: environment_of(engine_named(name), settings, build=True)
