"""Words that depend on a number, for reports and messages. Imports nothing."""


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """A count with its noun: "1 row", "2,000 rows", "3 batches"."""
    several = plural or (f"{noun}es" if noun.endswith("ch") else f"{noun}s")
    return f"{count:,} {noun if count == 1 else several}"
