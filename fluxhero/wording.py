"""Words and text for reports and messages. Imports next to nothing."""

import unicodedata


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """A count with its noun: "1 row", "2,000 rows", "3 batches"."""
    several = plural or (f"{noun}es" if noun.endswith("ch") else f"{noun}s")
    return f"{count:,} {noun if count == 1 else several}"


def printable(text: str, keep: str = "") -> str:
    """Text in which what moves a cursor, ends a line or hides is spelt out: data may say what it likes.

    Args:
        text: as for a terminal.
        keep: characters that stay all the same, such as the end of a line.
    """
    if text.isprintable():
        return text
    return "".join(one if one in keep or _is_seen(one) else _spelt(one) for one in text)


def _is_seen(character: str) -> bool:
    category = unicodedata.category(character)
    return category[0] != "C" and category not in {"Zl", "Zp"}


def _spelt(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
