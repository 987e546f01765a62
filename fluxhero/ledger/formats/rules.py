"""The rules a canonical row must keep, as DuckDB SQL over a page whose columns are all text.

For each column: the SQL of its value, of the first thing wrong with it, and of the text that its
value does not carry exactly. No I/O here; `admission` runs what this module writes.
"""

from fluxhero.engine import identifier, literal
from fluxhero.ledger.schema import Column, Kind, Table

UNKNOWN, POSITION, PROBLEM, EXACT = "_unknown", "_position", "_problem", "_exact"

_NUMBER = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?"
_LONG_TAIL = r"\.[0-9]{28}[0-9]*[1-9]|\.[0-9]{18,}[eE]"
_NOT_FINITE = r"(?i)[+-]?(nan|inf|infinity)"
_OFFSET = r"(Z|[+-][0-9]{2}(:?[0-9]{2})?)"
_TIME = (
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    rf"([T ][0-9]{{2}}:[0-9]{{2}}(:[0-9]{{2}}(\.[0-9]+)?)?({_OFFSET}| UTC)?)?"
)
_HAS_OFFSET = rf"[T ].*({_OFFSET}| UTC)$"
LIMIT = "9999999999.99999999"


def judge_sql(table: Table, relation: str, *, source: str, file: str, timezone: str) -> str:
    """SELECT the canonical columns, `_position`, `_problem` and `_exact` from a page of text.

    Args:
        table: the ledger table.
        relation: the page: every column of the table, `_unknown` and `_position`, all text.
        source: value of `source` where the row has none.
        file: file name from which `source_id` is made where the row has none.
        timezone: zone of the connection, in which naive times are read.
    """
    parsed = ", ".join(_parsed(column) for column in table.columns if column.kind in _PARSED)
    problems = [case for column in table.columns for case in _problems(column)]
    exact = [_exact(column, timezone) for column in table.columns if column.kind in _PARSED]
    if "extra" not in table.names:
        problems += [
            _problem(
                _inexact(c), "precision", c, f"has more than 8 decimals and {table.name} keeps 8"
            )
            for c in table.columns
            if c.kind is Kind.MONEY
        ]
        exact = []
    values = ", ".join(
        f"{_value(column, source, file)} AS {identifier(column.name)}" for column in table.columns
    )
    return (
        f"WITH parsed AS (SELECT *, {parsed} FROM {relation}) "
        f"SELECT {values}, {UNKNOWN}, {POSITION}, CASE {' '.join(problems)} END AS {PROBLEM}, "
        f"{_exact_object(exact)} AS {EXACT} FROM parsed"
    )


def _exact_object(members: list[str]) -> str:
    """A JSON object of the members that are not NULL; NULL when there is none."""
    if not members:
        return "NULL::VARCHAR"
    return f"'{{' || nullif(concat_ws(',', {', '.join(members)}), '') || '}}'"


_PARSED = (Kind.MONEY, Kind.TIME)


def _parsed(column: Column) -> str:
    text, result = identifier(column.name), _result(column)
    if column.kind is Kind.TIME:
        return (
            f"TRY_CAST(CASE WHEN regexp_full_match({text}, '{_TIME}') THEN {text} END "
            f"AS TIMESTAMPTZ) AS {result}"
        )
    wide = _wide(column)
    return (
        f"TRY_CAST(CASE WHEN regexp_full_match(trim({text}), '{_NUMBER}') THEN trim({text}) END "
        f"AS DECIMAL(38,28)) AS {wide}, "
        f"TRY_CAST(round_even({wide}, 8) AS DECIMAL(18,8)) AS {result}"
    )


def _result(column: Column) -> str:
    return identifier(f"{column.name}#value")


def _wide(column: Column) -> str:
    return identifier(f"{column.name}#wide")


def _value(column: Column, source: str, file: str) -> str:
    if column.kind in _PARSED:
        return _result(column)
    text = identifier(column.name)
    if column.name == "source":
        return f"coalesce(nullif({text}, ''), {literal(source)})"
    if column.name == "source_id":
        return f"coalesce(nullif({text}, ''), {literal(file + ':')} || {POSITION})"
    return text


def _problems(column: Column) -> list[str]:
    """The CASE branches of one column, the plainest first."""
    text, result = identifier(column.name), _result(column)
    cases = []
    if column.required:
        cases.append(_problem(f"coalesce({text}, '') = ''", "required", column, "is missing"))
    if column.allowed:
        allowed = ", ".join(literal(value) for value in column.allowed)
        words = f"is not one of {', '.join(column.allowed)}"
        cases.append(_problem(f"{text} NOT IN ({allowed})", "allowed", column, words))
    if column.kind is Kind.MONEY:
        given = f"{text} IS NOT NULL AND {result} IS NULL AND "
        number = f"regexp_full_match(trim({text}), '{_NUMBER}')"
        not_finite = f"regexp_full_match(trim({text}), '{_NOT_FINITE}')"
        cases += [
            _problem(given + not_finite, "finite", column, "is not a finite number"),
            _problem(f"{given} NOT {number}", "type", column, "is not a number"),
            _problem(f"{given} {number}", "range", column, f"is not between -{LIMIT} and {LIMIT}"),
        ]
    if column.unsigned:
        words = "is negative, and side tells the direction"
        cases.append(_problem(f"{_wide(column)} < 0", "sign", column, words))
    if column.kind is Kind.TIME:
        words = "is not an ISO-8601 time"
        cases += [
            _problem(f"{text} IS NOT NULL AND {result} IS NULL", "time", column, words),
            _problem(
                f"{result} NOT BETWEEN '0002-01-01' AND '9998-12-31'",
                "range",
                column,
                "is outside all years",
            ),
        ]
    return cases


def _problem(condition: str, rule: str, column: Column, words: str) -> str:
    text = identifier(column.name)
    if rule == "required":
        told = literal(f"{column.name} {words}")
    else:
        before, after = literal(f"{column.name} '"), literal(f"' {words}")
        told = f"{before} || left({text}, 60) || {after}"
    return f"WHEN {condition} THEN {literal(rule + '|')} || {told}"


def _inexact(column: Column) -> str:
    """Whether rounding to 8 decimals changed the number.

    `#wide` holds 28 decimals; texts with more, or with an exponent that hides some, are looked at
    as text, where calling an exact number inexact does no harm.
    """
    text, wide, result = identifier(column.name), _wide(column), _result(column)
    return (
        f"({wide} <> {result} "
        rf"OR ({wide} = 0 AND regexp_matches({text}, '^[^eE]*[1-9]')) "
        f"OR (length({text}) > 18 AND regexp_matches({text}, '{_LONG_TAIL}')))"
    )


def _exact(column: Column, timezone: str) -> str:
    """A member of a JSON object, column: text, where the value says less than the text, or NULL."""
    text, result = identifier(column.name), _result(column)
    if column.kind is Kind.MONEY:
        condition = _inexact(column)
    else:
        condition = rf"regexp_matches({text}, '\.[0-9]{{6}}[0-9]*[1-9]')"
        if timezone != "UTC":
            condition = f"({condition} OR {_unclear(text, result, timezone)})"
    name = literal(f'"{column.name}":')
    return f"CASE WHEN {condition} THEN {name} || to_json({text}) END"


def _unclear(text: str, result: str, timezone: str) -> str:
    """Whether a naive local time happened twice or never, because clocks were changed.

    DuckDB reads a repeated hour as the later one, and one that was skipped as an hour later.
    """
    zone = literal(timezone)
    naive = f"TRY_CAST({text} AS TIMESTAMP)"
    local = f"timezone({zone}, {result})"
    earlier = f"timezone({zone}, {result} - INTERVAL 1 HOUR)"
    has_offset = f"regexp_matches({text}, '{_HAS_OFFSET}')"
    return f"(NOT {has_offset} AND ({local} <> {naive} OR {earlier} = {naive}))"
