"""`docs/metrics.md`: a guide for whoever reads the numbers, and every metric, made from the list of them."""

from collections.abc import Sequence
from pathlib import Path

from fluxhero.metrics import families
from fluxhero.metrics.exposition import exposed_type
from fluxhero.metrics.families import Family

DOCUMENT = Path("docs/metrics.md")
_GUIDE = """\
# Metrics

*Generated from the list of metrics by `python -m fluxhero.metrics.metrics_page`.*

In short: the flow `snapshot_metrics` measures the whole ledger at intervals and keeps every number for ever.
The operations page and Prometheus show the newest snapshot; `fluxhero query` reads all of them as the table
`snapshots`. Live, paper and legacy trades are never added up.

## Where the numbers come from

Everything is measured over the whole ledger, hot rows and archived ones together, each once. Archiving,
restoring or restarting therefore moves no number, and what only ever accumulates (`…_total`) never falls
because rows have left the hot store.

A number that cannot be known is not there: a ledger without order times has no latency, an account with a
closed trade that has no result has no equity. It is never shown as 0, and an alert that needs it says so.
`trading_trades_unusable` counts the trades that stand in the way.

Nothing is measured when somebody looks. `trading_snapshot_timestamp_seconds` says how old the numbers are;
if a newer snapshot's file cannot be read, `trading_snapshot_files_unreadable` counts it and the one before is
shown. What the operations API counts by itself, such as requests, is measured as it happens.

## Equity and drawdown

The value of an account is reckoned in two ways that are kept apart, by the label `basis`:

- **closed**: the initial capital (`FLUXHERO_INITIAL_CAPITAL`), plus cash flows, plus the results of closed
  trades, each at the time it was closed. A trade's result in this ledger is what is left after its fees, so
  fees are not taken off again.
- **marked**: the values that the source recorded with its open positions at their market price. It is there
  for a source that records them.

The high-water mark is the largest value since inception, and it begins with the initial capital: an account
that has only ever lost has a drawdown. A deposit raises the mark by its amount; a withdrawal lowers it by the
same part as the equity, so that taking money out is no loss and putting money in is no profit (Interactive
Brokers prorates the losses of managed accounts so). Dividends, interest and fees count as performance.

**Drawdown** is how far the account is below its mark, in money and as a fraction of the mark. From 150,000 to
120,000 it is 20 %. Limits are compared as money, to the last digit: a loss of exactly 20 % has reached a
limit of 20 %, whatever the fraction looks like in floating point. The **duration** counts from the moment
the account was last at its mark.

## Latency and other quantiles

The latency of an order is the time from its submission to the broker's acknowledgement, or to its last fill,
from the broker's own times. `0.95` is the value that 95 of 100 orders did not exceed. These quantiles are exact:

- They are taken over the orders (or trades) of the last day, 7 days, 30 days, or all, by the label `window`.
- Order types are kept apart: a limit order may rest for hours, which says nothing of the connection.
- `0.99` is given from 100 values on and `0.95` from 20 on, for below that they are mostly one order. The number
  of values is beside them (`…_samples`).
- A negative latency (two clocks, or times cut to whole seconds) is in no quantile. It is counted in
  `trading_order_latency_negative_total`.
- Never average quantiles over windows, modes or order types. To add up latencies, use the histograms.

## Ask your own questions

Each row of `snapshots` is one number of one snapshot:

| column | what |
|---|---|
| `timestamp` | when it was measured (UTC) |
| `name` | of the metric, as below; of a histogram with `_bucket`, `_sum` or `_count` |
| `labels` | a map: `labels['mode']` is `live`, `paper` or `legacy` |
| `type` | gauge, counter or histogram |
| `value` | the number |
| `window` | of an exact quantile: the span of time it covers |
| `count` | of an exact quantile: how many values it was taken from |
| `run` | which snapshot it belongs to |

The equity at the end of each day, and the worst drawdown of each month:

```sh
fluxhero query "SELECT timestamp::DATE AS day, arg_max(value, timestamp) AS equity FROM snapshots WHERE name = \
'trading_equity_usd' AND labels['mode'] = 'live' AND labels['basis'] = 'closed' GROUP BY day ORDER BY day"
fluxhero query "SELECT date_trunc('month', timestamp) AS month, max(value) AS drawdown FROM snapshots WHERE name = \
'trading_drawdown_ratio' AND labels['mode'] = 'live' AND labels['basis'] = 'closed' GROUP BY month ORDER BY month"
```

The 95 % fill latency of market orders over the last 7 days, as it was at each snapshot:

```sh
fluxhero query "SELECT timestamp, value AS seconds, count AS orders FROM snapshots WHERE name = \
'trading_order_fill_latency_window_seconds' AND \\"window\\" = '7d' AND labels['order_type'] = 'market' AND \
labels['quantile'] = '0.95' ORDER BY timestamp"
```

The files are `data/snapshots/{day}/{run}.parquet`. Once a day is over they become one file,
`data/snapshots/{day}.parquet`, and an hour later the small ones go: from that moment on use `snapshots` rather than
file names, for it has every snapshot once, also in between. A copy that is made while they are compacted has
every snapshot too. `fluxhero check` holds every file against the record beside it.

## Prometheus

`GET /metrics` of the operations API has everything below in Prometheus' text format, for those who have the
token. Ready scrape configuration, alert rules and a dashboard are in the folder `deploy`.

**Without the API.** Set `FLUXHERO_METRICS_TEXTFILE` to a file in the node exporter's textfile folder, ending in
`.prom`. Every snapshot replaces it as a whole.

**Fill in the past.** Prometheus knows nothing from before it was installed; the snapshots do. They are written
with their times as OpenMetrics text, which Prometheus' own tool makes into blocks of its database:

```sh
fluxhero snapshot --openmetrics --from 2026-01-01 --out metrics.txt
promtool tsdb create-blocks-from openmetrics metrics.txt /var/lib/prometheus/metrics2
```

Run the second line as the user that Prometheus runs as, or it cannot remove those blocks again. They become
visible within a few minutes, without the labels `job` and `instance`: the dashboard shows them where *Installation*
is *All*. Leave out the time that Prometheus has scraped itself, and mind its retention
(`--storage.tsdb.retention.time`): what is older is removed again.

**Labels.** No symbol, order or trade is ever a label. Of brokers at most ten are told apart, and of what is
not known in advance the rest is `other`.

| label | values |
|---|---|
| `mode` | `live`, `paper`, `legacy` |
| `basis` | `closed`, `marked` |
| `window` | `1d`, `7d`, `30d`, `all` |
| `quantile` | `0.5`, `0.9`, `0.95`, `0.99` |
| `outcome` | of a trade `win`, `loss`, `flat`, `unknown`; of a flow's run `ok`, `findings`, `failed`, \
`crashed`, `cancelled` |
| `state` | `ok`, `warning`, `critical` |
| `event` | `ack`, `fill` |

# All metrics

A **gauge** is a value now. A **counter** only accumulates: look at its increase. A **histogram** counts values by
size, to be added up over labels. A **summary** is exact quantiles.
"""
_GROUPS: tuple[tuple[str, str, tuple[Family, ...]], ...] = (
    ("Account", "From trades, cash flows and recorded equity.", families.ACCOUNT),
    ("Trades", "From trades; a trade is of the time it was closed.", families.TRADES),
    (
        "Holdings",
        "From the positions that the source lists, else from open trades.",
        families.HOLDINGS,
    ),
    (
        "Limits and the drawdown breaker",
        "From the settings, and what is held against them. The breaker informs; it never trades.",
        families.LIMITS,
    ),
    ("Orders", "From orders and the broker's times on them.", families.ORDERS),
    (
        "Storage",
        "From the hot store, the archive's manifests, the quarantine and the storage checks' findings.",
        families.STORAGE,
    ),
    ("Flows", "From the record of the flows' runs.", families.JOBS),
    ("Snapshot", "From the snapshot itself.", families.SNAPSHOT),
    (
        "Operations API",
        "Counted by the API since it was started, or read when it is asked; on `/metrics` only, in no snapshot.",
        families.SERVICE,
    ),
)
_UNITS = {
    "_timestamp_seconds": "Unix time, seconds",
    "_seconds": "seconds",
    "_bytes": "bytes",
    "_ratio": "fraction, 1 is 100 %",
    "_usd": "account currency",
}
_COLUMNS = ("metric", "kind", "labels", "unit", "meaning", "formula", "source")


def render() -> str:
    """The text of the page."""
    return "\n".join([_GUIDE, *(_section(*group) for group in _GROUPS)])


def _section(title: str, origin: str, members: Sequence[Family]) -> str:
    rows = [_row(family) for family in members]
    shown = [column for column in _COLUMNS if any(row[column] for row in rows)]
    lines = [
        f"## {title}",
        "",
        origin,
        "",
        f"| {' | '.join(shown)} |",
        "|---" * len(shown) + "|",
        *(f"| {' | '.join(row[column] for column in shown)} |" for row in rows),
    ]
    return "\n".join(lines) + "\n"


def _row(family: Family) -> dict[str, str]:
    return {
        "metric": f"`{family.name}`",
        "kind": exposed_type(family),
        "labels": ", ".join(f"`{name}`" for name in family.labels),
        "unit": unit_of(family),
        "meaning": family.help,
        "formula": family.formula,
        "source": family.source,
    }


def unit_of(family: Family) -> str:
    """The unit in which a metric is given, in words."""
    name = family.name.removesuffix("_total")
    return next((unit for end, unit in _UNITS.items() if name.endswith(end)), "number")


if __name__ == "__main__":
    DOCUMENT.write_text(render(), encoding="utf-8")
