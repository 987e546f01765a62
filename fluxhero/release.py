"""Which release of the product this is."""

from importlib.metadata import version

DISTRIBUTION = "fluxhero-pipeline"


def release() -> str:
    """Version of the installed product."""
    return version(DISTRIBUTION)
