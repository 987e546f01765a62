"""Views of tables of which only some columns were loaded: to read another one is an error, never a NULL."""

from collections.abc import Collection, Mapping

from fluxhero.engine import identifier, literal

NOT_LOADED = "was not loaded"  # in the message of DuckDB's error


def partial_sql(relation: str, columns: Mapping[str, str], loaded: Collection[str]) -> str:
    """SELECT all columns from a relation that has only those loaded.

    Args:
        relation: has the loaded columns.
        columns: name and DuckDB type of every column.
        loaded: names of the loaded ones.
    """
    selected = [
        identifier(name)
        if name in loaded
        else f"error({literal(f'column {name} {NOT_LOADED}')})::{kind} AS {identifier(name)}"
        for name, kind in columns.items()
    ]
    return f"SELECT {', '.join(selected)} FROM {relation}"
