"""What a program that is not trusted gets to see of our environment: what it needs to start, no more.

Settings, tokens and Prefect's variables stay here, and so does `PYTHONPATH`, which would lead one
environment's packages into another.
"""

import os
from typing import Final

_TO_START: Final = frozenset(
    {
        "LANG",
        "LD_LIBRARY_PATH",
        "PATH",
        "SYSTEMROOT",
        # How coverage follows the tests into the processes that they start.
        "COVERAGE_PROCESS_CONFIG",
        "COVERAGE_PROCESS_START",
    }
)
_TO_INSTALL: Final = frozenset(
    {
        "ALL_PROXY",
        "CURL_CA_BUNDLE",
        "HTTPS_PROXY",
        "HTTP_PROXY",
        "NO_PROXY",
        "REQUESTS_CA_BUNDLE",
        "SSL_CERT_DIR",
        "SSL_CERT_FILE",
        "XDG_CACHE_HOME",
        "XDG_CONFIG_HOME",
        "HOME",  # pip's configuration and cache lie there
    }
)


def child_environment(*, installs: bool = False) -> dict[str, str]:
    """The variables of ours that a child process may see.

    Args:
        installs: it is pip, which has to find its index as it does when the user calls it.
    """
    seen = {}
    for name, value in os.environ.items():
        allowed = name in _TO_START or name.startswith("LC_")
        if installs:
            allowed = allowed or name.upper() in _TO_INSTALL or name.startswith("PIP_")
        if allowed:
            seen[name] = value
    return seen
