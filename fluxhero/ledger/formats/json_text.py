"""One value of parsed JSON as the text of a ledger column.

Shared by the formats whose files are JSON; what a text then means is judged by `admission`.
"""

from typing import Any

from fluxhero.ledger.formats import exact_json


class WrongTypeError(ValueError):
    """A value of a kind that its column cannot hold."""

    rule = "type"


def text_of(name: str, value: Any, *, is_json: bool = False) -> str | None:
    """The text of a value, every digit as it was written.

    Args:
        name: the column, for the message.
        value: as `exact_json` parses it, or an int, which carries its digits itself.
        is_json: whether the column holds JSON, so that an object or an array fits.

    Raises:
        WrongTypeError: it is an object or an array, and the column holds none.
        ValueError: no UTF-8 text can hold it.
    """
    if isinstance(value, str):
        return storable(str(value))
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if not is_json:
        raise WrongTypeError(f"{name} is a JSON {'object' if isinstance(value, dict) else 'array'}")
    return storable(exact_json.dump(value))


def storable(text: str) -> str:
    """Refuse half of a surrogate pair, which no UTF-8 text can hold."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError("it holds half of a surrogate pair") from None
    return text
