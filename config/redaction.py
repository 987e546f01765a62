"""Keeping secrets out of what is logged: by type, by the key they stand under, and by value."""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from pydantic import SecretBytes, SecretStr

MASK: Final = "**********"
SHORTEST_VALUE: Final = 4  # masking every occurrence of a shorter one would garble the log

_KEY = re.compile(
    r"secret|token|passw|passphrase|api[_-]?key|private[_-]?key|authorization|credential|cookie",
    re.IGNORECASE,
)
# `password=…`, `"api_key": "…"`, `Authorization: Bearer …` within running text.
_PAIR = re.compile(
    r"""(?P<key>[\w-]*(?:secret|token|password|passphrase|api[_-]?key|private[_-]?key|authorization)
        [\w-]*["']?\s*[=:]\s*)
        (?P<scheme>(?:bearer|basic)\s+)?
        (?P<value>"[^"]*"|'[^']*'|[^\s,;&"'}\])]+)""",
    re.IGNORECASE | re.VERBOSE,
)
# The password of `https://user:password@host`.
_IN_ADDRESS = re.compile(
    r"(?P<user>\b[a-z][a-z0-9+.-]{0,20}://[^\s/:@]*:)[^\s/@]+(?=@)", re.IGNORECASE
)


class Redactor:
    """Masks secrets in text and in values on their way to a log.

    Args:
        values: literal secrets, masked wherever they appear.
    """

    def __init__(self, values: Iterable[str] = ()) -> None:
        known = sorted({v for v in values if len(v) >= SHORTEST_VALUE}, key=len, reverse=True)
        self._values = re.compile("|".join(map(re.escape, known))) if known else None

    def text(self, text: str) -> str:
        """The text without known secret values, values of tell-tale keys and passwords in addresses."""
        if self._values is not None:
            text = self._values.sub(MASK, text)
        text = _IN_ADDRESS.sub(rf"\g<user>{MASK}", text)
        return _PAIR.sub(rf"\g<key>\g<scheme>{MASK}", text)

    def value(self, value: object, key: str = "") -> object:
        """The value with secrets masked, however deep inside dicts and lists they are."""
        if isinstance(value, SecretStr | SecretBytes) or (value is not None and _KEY.search(key)):
            return MASK
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {k: self.value(v, str(k)) for k, v in value.items()}
        if type(value) in (list, tuple, set, frozenset):
            members = value if isinstance(value, Iterable) else ()
            return type(value)(self.value(member) for member in members)  # type: ignore[call-arg]
        return value
