"""What a PromQL expression asks for: the metrics and labels in it, as far as rules and dashboards need that."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_KEYWORDS = {
    "and",
    "or",
    "unless",
    "on",
    "ignoring",
    "by",
    "without",
    "bool",
    "offset",
    "group_left",
}
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left)\s*\(([^)]*)\)")
_NAME = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(\{[^}]*\}|\()?")
_MATCHER = re.compile(r'([a-zA-Z_]\w*)\s*(=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"')
_DURATION = re.compile(r"\[[^\]]*\]")


@dataclass(frozen=True)
class Selector:
    """A metric, and (label, operator, value) of each matcher on it."""

    metric: str
    matchers: tuple[tuple[str, str, str], ...]


def selectors(expression: str) -> Iterator[Selector]:
    """Every metric that an expression reads."""
    bare = _GROUPING.sub(" ", _DURATION.sub("", expression))
    for name, after in _NAME.findall(bare):
        if after != "(" and name not in _KEYWORDS:
            yield Selector(name, tuple(_MATCHER.findall(after)))


def groupings(expression: str) -> set[str]:
    """Every label that an expression groups or matches by."""
    lists = _GROUPING.findall(expression)
    return {label.strip() for labels in lists for label in labels.split(",") if label.strip()}
