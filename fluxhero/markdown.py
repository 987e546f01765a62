"""Pieces of a markdown page: the answer first, what to do next, then the figures."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from fluxhero.wording import printable

NONE: Final = "–"

Section = tuple[str, Sequence[str]]


def page(verdict: str, *sections: Section) -> str:
    """A page that begins with its verdict.

    Args:
        verdict: one sentence, the answer.
        sections: a heading, or none, and the blocks below it; one without blocks is left out.
    """
    parts = [f"**{verdict}**"]
    for heading, blocks in sections:
        written = [block for block in blocks if block]
        if written:
            parts += ["", f"### {heading}", ""] if heading else [""]
            parts += written
    return "\n".join(parts)


def points(lines: Iterable[str]) -> list[str]:
    """Lines as a list."""
    return [f"- {line}" for line in lines]


def table_of(records: Sequence[Mapping[str, object]]) -> str:
    """Records as a table; their keys are its heads."""
    return table(list(records[0]), [list(one.values()) for one in records]) if records else ""


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table; heads that begin with > are of numbers. Without a row there is none."""
    lines = [f"| {' | '.join(cell(one) for one in row)} |" for row in rows]
    if not lines:
        return ""
    names = [head.removeprefix(">") for head in heads]
    rule = "|".join("---:" if head.startswith(">") else "---" for head in heads)
    return "\n".join([f"| {' | '.join(names)} |", f"|{rule}|", *lines])


def cell(value: object) -> str:
    """Text of a cell, which may say anything."""
    text = printable(" ".join(str(value).split()))
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;") or NONE
