"""Time zones as a user names them."""

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from fluxhero.errors import BadInputError


def zone_named(name: str) -> ZoneInfo:
    """The zone of this IANA name.

    Raises:
        BadInputError: there is none.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise BadInputError(
            f"there is no time zone '{name}'",
            next_step="give an IANA name such as America/New_York",
        ) from None
