"""What the operations API counts about itself while it runs, in a registry of its app's own.

Every label is bounded: methods and reasons are lists, a route is its template, never the path asked for.
"""

from collections.abc import Iterator
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from fluxhero.api.hub import Hub
from fluxhero.metrics.families import SERVICE
from fluxhero.metrics.samples import OTHER, PREFIX

METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})
NO_ROUTE: Final = "none"  # of a request that no route matches

_FAMILIES = {family.name.removeprefix(PREFIX): family for family in SERVICE}
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class ServiceMetrics(Collector):
    """The counts, collected without the `_created` series that client libraries add.

    Attributes:
        registry: where these and the metrics of the last snapshot are registered.
    """

    def __init__(self, hub: Hub) -> None:
        self.registry = CollectorRegistry()
        self._own = CollectorRegistry()
        self._hub = hub
        self._durations = Histogram(
            *_named("http_request_duration_seconds"), buckets=_SECONDS, registry=self._own
        )
        self._refused = Counter(*_named("auth_failures_total"), registry=self._own)
        self._limited = Counter(*_named("rate_limited_total"), registry=self._own)
        Gauge(*_named("websocket_clients"), registry=self._own).set_function(lambda: len(hub))
        self.registry.register(self)

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request has been answered."""
        self._durations.labels(method_label(method), route, f"{status // 100}xx").observe(seconds)

    def refused(self, reason: str) -> None:
        """A request or a handshake had no valid token; `reason` is one of a few words."""
        self._refused.labels(reason).inc()

    def limited(self, kind: str) -> None:
        """A request, a handshake or an attempt to log in was one too many."""
        self._limited.labels(kind).inc()

    def collect(self) -> Iterator[Metric]:
        """The metrics as they stand."""
        for metric in self._own.collect():
            metric.samples = [s for s in metric.samples if not s.name.endswith("_created")]
            yield metric
        name, text, _labels = _named("websocket_dropped_total")
        yield CounterMetricFamily(name, text, value=self._hub.dropped)


def method_label(method: str) -> str:
    """The method, if it is one of HTTP's own."""
    return method if method in METHODS else OTHER


def _named(name: str) -> tuple[str, str, tuple[str, ...]]:
    family = _FAMILIES[name]
    return family.name, family.help, family.labels
