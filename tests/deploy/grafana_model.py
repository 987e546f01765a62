"""Grafana's classic dashboard model, as far as our dashboard uses it: anything else in it is a mistake.

After https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model/
"""

# ruff: noqa: N815 - the names are Grafana's

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Source(_Strict):
    type: Literal["prometheus"]
    uid: Literal["${datasource}"]  # of whoever imports it


class Place(_Strict):
    h: Annotated[int, Field(ge=1)]
    w: Annotated[int, Field(ge=1, le=24)]
    x: Annotated[int, Field(ge=0, le=23)]
    y: Annotated[int, Field(ge=0)]


class Target(_Strict):
    datasource: Source
    editorMode: Literal["code", "builder"]
    expr: Annotated[str, Field(min_length=1)]
    legendFormat: Annotated[str, Field(min_length=1)]
    refId: Annotated[str, Field(pattern="^[A-Z]$")]
    range: bool
    instant: bool
    format: Literal["time_series"] | None = None


class Step(_Strict):
    color: str
    value: int | float | None


class Thresholds(_Strict):
    mode: Literal["absolute", "percentage"]
    steps: Annotated[list[Step], Field(min_length=1)]


class Mapping(_Strict):
    type: Literal["value"]
    options: dict[str, dict[str, str | int]]


class Defaults(_Strict):
    unit: Literal["short", "percentunit", "currencyUSD", "s", "bytes"]
    thresholds: Thresholds
    mappings: list[Mapping]
    color: dict[str, str]
    noValue: str | None = None
    decimals: int | None = None
    min: int | None = None
    custom: dict[str, Any] | None = None


class Matcher(_Strict):
    id: Literal["byName"]
    options: str


class Override(_Strict):
    matcher: Matcher
    properties: list[dict[str, Any]]


class Fields(_Strict):
    defaults: Defaults
    overrides: list[Override]


class Panel(_Strict):
    id: int
    type: Literal["row", "stat", "timeseries"]
    title: Annotated[str, Field(min_length=1)]
    description: str = ""
    datasource: Source | None = None
    gridPos: Place
    fieldConfig: Fields | None = None
    options: dict[str, Any] | None = None
    targets: list[Target] = Field(default_factory=list)
    collapsed: bool | None = None
    panels: list[Any] | None = None


class Query(_Strict):
    query: str
    refId: str


class Variable(_Strict):
    name: str
    label: str
    type: Literal["datasource", "query"]
    query: Query | Literal["prometheus"]
    datasource: Source | None = None
    definition: str | None = None
    refresh: Literal[1, 2]
    sort: int | None = None
    hide: Literal[0, 1, 2]
    multi: bool
    includeAll: bool
    allValue: str | None = None
    current: dict[str, str]
    regex: str
    options: list[Any]


class Templating(_Strict):
    list: list[Variable]


class Range(_Strict):
    to: str
    from_: Annotated[str, Field(alias="from")]


class Dashboard(_Strict):
    id: None  # Grafana gives it one
    uid: Annotated[str, Field(pattern="^[a-zA-Z0-9_-]{1,40}$")]
    title: str
    description: str
    tags: list[str]
    timezone: Literal["browser", "utc", ""]
    editable: bool
    graphTooltip: Literal[0, 1, 2]
    schemaVersion: Annotated[int, Field(ge=36)]
    version: int
    refresh: str
    time: Range
    links: list[Any]
    annotations: dict[str, list[Any]]
    templating: Templating
    panels: Annotated[list[Panel], Field(min_length=1)]
