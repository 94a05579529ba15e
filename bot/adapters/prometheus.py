"""Prometheus: Drover's own ``/metrics`` and ``/healthz``.

Also a site's Prometheus as the source of the history.
"""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import prometheus_client
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector

from bot.adapters.wsgi import Environ, Respond, WsgiServer
from bot.domain.errors import SettingsError, StoreError
from bot.domain.message import words
from bot.domain.metrics import Bucket, Metric, Pressure
from bot.plugin_api import Measured

_SHARES = ("cpu", "memory", "memory_full", "io", "io_full")  # in the order of Pressure's fields
_THREADS = 2  # one that is slow to read its answer must not hold up `/healthz`
_CONNECTIONS = 500  # at once: monitors are few, but silent ones are kept until they are hung up on
_BIGGEST_BODY = 1 << 16  # nothing is ever sent to it

Healthy = Callable[[], str]
"""Why the bot is not well; '' when it is."""


class Exposed(Collector):
    """What is measured, as Prometheus reads it.

    Newest values only, and nothing of hosts that are silent.

    Args:
        measured: what is measured now.
        silence: seconds for which the chat has been out of reach; 0: it is not.
    """

    def __init__(
        self, measured: Callable[[], Measured], silence: Callable[[], float] = lambda: 0.0
    ) -> None:
        self._measured = measured
        self._silence = silence

    def collect(self) -> Iterable[Family]:
        """One family per metric."""
        found = self._measured()
        yield from _hosts(found)
        yield from _guests(found)
        yield GaugeMetricFamily(
            # no message: the help of a metric
            "drover_alerts",
            # no message: the help of a metric
            "Alerts that stand.",
            sum(each.open for each in found.incidents),
        )
        yield GaugeMetricFamily(
            # no message: the help of a metric
            "drover_history_waiting",
            # no message: the help of a metric
            "Minutes that wait for the database.",
            found.losses.waiting,
        )
        yield GaugeMetricFamily(
            # no message: the help of a metric
            "drover_chat_silence_seconds",
            # no message: the help of a metric
            "Seconds for which nobody's requests arrive from the chat; 0 while they do.",
            self._silence(),
        )
        yield CounterMetricFamily(
            # no message: the help of a metric
            "drover_history_dropped",
            # no message: the help of a metric
            "Minutes of history given up.",
            found.losses.dropped,
        )


def _hosts(found: Measured) -> Iterator[Family]:
    hosts = found.sweep.hosts if found.sweep else ()
    up = GaugeMetricFamily(
        # no message: the help of a metric
        "drover_host_up",
        # no message: the help of a metric
        "Whether the host answered the last sweep.",
        labels=["host"],
    )
    # no message: the help of a metric
    took = GaugeMetricFamily("drover_sweep_seconds", "How long its answer took.", labels=["host"])
    cpu = GaugeMetricFamily("drover_host_cpu_cores", "Busy cores.", labels=["host"])
    used = GaugeMetricFamily(
        # no message: the help of a metric
        "drover_host_memory_used_bytes",
        # no message: the help of a metric
        "Memory in use, without huge pages.",
        labels=["host"],
    )
    huge = GaugeMetricFamily(
        # no message: the help of a metric
        "drover_host_memory_huge_bytes",
        # no message: the help of a metric
        "Set aside as huge pages.",
        labels=["host"],
    )
    # no message: the help of a metric
    waits = "Share of the last minute in which something waited for it; …_full: everything did."
    pressure = GaugeMetricFamily("drover_host_pressure_ratio", waits, labels=["host", "resource"])
    for host in hosts:
        up.add_metric([host.name], float(not host.silent))
        if not host.silent:
            took.add_metric([host.name], host.took)
            if host.memory_used is not None:
                used.add_metric([host.name], host.memory_used)
            huge.add_metric([host.name], host.huge)
        if host.cpu is not None:
            cpu.add_metric([host.name], host.cpu)
        shares = {name: getattr(host.pressure, name) for name in _SHARES} if host.pressure else {}
        for resource, value in shares.items():
            pressure.add_metric([host.name, resource], value)
    yield from (up, took, cpu, used, huge, pressure)


def _guests(found: Measured) -> Iterator[Family]:
    labels = ["vm", "uuid", "host"]
    families = {
        "cpu": GaugeMetricFamily("drover_vm_cpu_cores", "Host cores used.", labels=labels),
        # no message: the help of a metric
        "wait": GaugeMetricFamily("drover_vm_wait_cores", "Cores it waited for.", labels=labels),
        "memory": GaugeMetricFamily(
            # no message: the help of a metric
            "drover_vm_memory_bytes",
            # no message: the help of a metric
            "What its balloon holds.",
            labels=labels,
        ),
        "disk": GaugeMetricFamily(
            # no message: the help of a metric
            "drover_vm_disk_bytes_per_second",
            # no message: the help of a metric
            "Read and written.",
            labels=labels,
        ),
        "net": GaugeMetricFamily(
            # no message: the help of a metric
            "drover_vm_network_bytes_per_second",
            # no message: the help of a metric
            "Received and sent.",
            labels=labels,
        ),
    }
    for vm in found.sweep.vms if found.sweep else ():
        for name, family in families.items():
            value = getattr(vm, name)
            if value is not None:
                family.add_metric([vm.name, vm.uuid, vm.host], float(value))
    yield from families.values()


class MetricsServer:
    """Serves ``/metrics`` and ``/healthz`` with waitress, in threads of its own.

    A client that says nothing, or reads nothing, holds up nobody: waitress reads requests without
    blocking and hangs up on who is silent for too long. It polls: a bot of many hosts has more open
    files than select() can take.

    Args:
        host: address to listen on.
        port: 0 takes any free one; ``port`` tells which.
        measured: what is measured now.
        problem: why the bot is not well; '' when it is.
        silence: seconds for which the chat has been out of reach.
        trouble: why it is; '' when it is not. The bot is well without it.
        patience: seconds after which a silent connection is closed.

    Raises:
        SettingsError: the address is taken.
    """

    def __init__(
        self,
        host: str,
        port: int,
        measured: Callable[[], Measured],
        problem: Healthy,
        *,
        patience: int = 30,
        silence: Callable[[], float] = lambda: 0.0,
        trouble: Healthy = str,
    ) -> None:
        registry = prometheus_client.CollectorRegistry()
        registry.register(Exposed(measured, silence))
        self._trouble = trouble
        prometheus_client.ProcessCollector(registry=registry)
        self._metrics = prometheus_client.make_wsgi_app(registry)
        self._problem = problem
        try:
            listening = socket.create_server(
                (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET
            )
        except OSError as error:
            raise SettingsError(
                words(
                    "Cannot listen on {host}:{port}: {reason}.",
                    host=host,
                    port=str(port),
                    reason=str(error),
                ),
                words("Choose another `port` in `[metrics]`."),
            ) from error
        self._server = WsgiServer(
            self._answer,
            listening,
            name="metrics",
            threads=_THREADS,
            max_request_body_size=_BIGGEST_BODY,
            channel_timeout=patience,
            cleanup_interval=min(patience, 30),
            connection_limit=_CONNECTIONS,
        )

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._server.port

    def start(self) -> None:
        """Begin to answer."""
        self._server.start()

    def stop(self) -> None:
        """Answer no more."""
        self._server.close()

    def _answer(self, environ: Environ, start_response: Respond) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path == "/metrics":
            found: Iterable[bytes] = self._metrics(environ, start_response)
            return found
        if path == "/healthz":
            problem = self._problem()
            start_response(
                "503 Service Unavailable" if problem else "200 OK", [("Content-Type", "text/plain")]
            )
            return [f"{problem or self._trouble() or 'ok'}\n".encode()]
        start_response("404 Not Found", [("Content-Type", "text/plain")])
        return [b"There is /metrics and /healthz.\n"]


def _stall_query(metric: str) -> str:
    """PromQL for the share of time that Prometheus' node exporter counts as waited.

    A host's label is its name.
    """
    rate = f"rate(node_pressure_{metric}_seconds_total[2m])"
    return f'label_replace({rate}, "host", "$1", "instance", "([^:]+).*")'


# What Drover's own metrics are called, and the node exporter's for what Drover cannot see; a site
# that scrapes another exporter names its queries in the configuration.
QUERIES: Mapping[str, str] = {
    "host:cpu": "drover_host_cpu_cores",
    "host:memory": "drover_host_memory_used_bytes",
    "cluster:cpu": "sum(drover_host_cpu_cores)",
    "cluster:memory": "sum(drover_host_memory_used_bytes)",
    "vm:cpu": "drover_vm_cpu_cores",
    "vm:wait": "drover_vm_wait_cores",
    "vm:memory": "drover_vm_memory_bytes",
    "vm:disk": "drover_vm_disk_bytes_per_second",
    "vm:net": "drover_vm_network_bytes_per_second",
    "host:pressure_cpu": _stall_query("cpu_waiting"),
    "host:pressure_memory": _stall_query("memory_waiting"),
    "host:pressure_memory_full": _stall_query("memory_stalled"),
    "host:pressure_io": _stall_query("io_waiting"),
    "host:pressure_io_full": _stall_query("io_stalled"),
}
_LABEL = {"host": "host", "vm": "uuid", "cluster": ""}  # the cluster is one series without labels
_MOST_POINTS = 300  # of one series: a chart shows no more, and Prometheus limits them
_PATIENCE = 10.0  # seconds


class PrometheusPast:
    """The port ``Past`` from a Prometheus that the site already has.

    Args:
        url: such as ``http://prometheus:9090``.
        queries: PromQL by ``kind:metric`` instead of what ``QUERIES`` has; each answers one series
            a thing, labelled ``host`` or ``uuid``.

    Raises:
        SettingsError: a query is for nothing that is ever asked.
        StoreError (each method): it does not answer, or refuses the query.
    """

    def __init__(self, url: str, queries: Mapping[str, str] | None = None) -> None:
        self._url = url.rstrip("/")
        strangers = sorted((queries or {}).keys() - QUERIES.keys())
        if strangers:
            raise SettingsError(
                words("`[monitor.queries]` has the unknown query “{name}”.", name=strangers[0]),
                words("Known queries: {names}.", names=list(QUERIES)),
            )
        self._queries = {**QUERIES, **(queries or {})}

    def history(
        self, entities: Collection[str], metric: Metric, since: datetime, until: datetime
    ) -> Mapping[str, tuple[Bucket, ...]]:
        """Buckets of each entity; see the port.

        A bucket's percentile and peak are asked for as well.
        """
        kinds = {entity.partition(":")[0] for entity in entities}
        step = max(60, int((until - since).total_seconds()) // _MOST_POINTS // 60 * 60)
        wanted = frozenset(entities)
        found: dict[str, tuple[Bucket, ...]] = {}
        for kind in kinds & _LABEL.keys():
            read = self._buckets(kind, metric, since, until, step)
            found |= {entity: buckets for entity, buckets in read.items() if entity in wanted}
        return found

    def summary(
        self, kind: str, metric: Metric, since: datetime, until: datetime
    ) -> Mapping[str, Bucket]:
        """One bucket over the whole time for each; see the port."""
        if kind not in _LABEL:
            return {}
        whole = max(60, int((until - since).total_seconds()))
        return {
            entity: buckets[-1]
            for entity, buckets in self._buckets(kind, metric, until, until, whole).items()
        }

    def pressures(self) -> Mapping[str, Pressure]:
        """The hosts' pressure now; hosts of which not all of it is known are left out."""
        found = [self._now("host", self._queries[f"host:pressure_{name}"]) for name in _SHARES]
        known = set(found[0]).intersection(*found[1:])
        cpu, memory, memory_full, io, io_full = found
        return {
            host: Pressure(cpu[host], memory[host], memory_full[host], io[host], io_full[host])
            for host in known
        }

    def _now(self, kind: str, query: str) -> dict[str, float]:
        """A query's newest values, by the name of the thing."""
        answer = self._get(f"{self._url}/api/v1/query?{urllib.parse.urlencode({'query': query})}")
        label = _LABEL[kind]
        return {
            series["metric"][label]: float(series["value"][1])
            for series in answer["data"]["result"] if label in series["metric"]
        }  # fmt: skip

    def _buckets(
        self, kind: str, metric: Metric, since: datetime, until: datetime, step: int
    ) -> dict[str, tuple[Bucket, ...]]:
        query = self._queries.get(f"{kind}:{metric.value}")
        if query is None:
            return {}
        over = f"({query})[{step}s:60s]"
        mean, p95, peak, count = (
            self._series(kind, asked, since, until, step)
            for asked in (
                f"avg_over_time({over})",
                f"quantile_over_time(0.95, {over})",
                f"max_over_time({over})",
                f"count_over_time({over})",
            )
        )
        return {
            entity: tuple(
                Bucket(
                    datetime.fromtimestamp(at - step, UTC),
                    step,
                    value,
                    p95[entity][at],
                    peak[entity][at],
                    int(count[entity][at]),
                )
                for at, value in values.items()
                if at in p95.get(entity, {})
                and at in peak.get(entity, {})
                and at in count.get(entity, {})
            )
            for entity, values in mean.items()
        }

    def _series(
        self, kind: str, query: str, since: datetime, until: datetime, step: int
    ) -> dict[str, dict[float, float]]:
        asked = {"query": query, "start": since.timestamp(), "end": until.timestamp(), "step": step}
        answer = self._get(f"{self._url}/api/v1/query_range?{urllib.parse.urlencode(asked)}")
        label = _LABEL[kind]
        return {
            f"{kind}:{series['metric'][label] if label else 'all'}": {
                float(at): float(value) for at, value in series["values"]
            }
            for series in answer["data"]["result"]
            if not label or label in series["metric"]
        }

    def _get(self, url: str) -> Any:
        advice = words("Check `monitor.prometheus_url`, and that Prometheus runs.")
        try:
            # The operator's own URL
            with urllib.request.urlopen(url, timeout=_PATIENCE) as answer:  # noqa: S310
                found = json.load(answer)
        except urllib.error.HTTPError as error:
            said = error.read(500).decode(errors="replace")
            raise StoreError(
                words("Prometheus refused a query: {reason}", reason=said),
                words("Check the queries in the configuration."),
            ) from error
        except (OSError, ValueError) as error:
            raise StoreError(
                words("Prometheus does not answer: {reason}.", reason=str(error)), advice
            ) from error
        if found.get("status") != "success":
            raise StoreError(
                words(
                    "Prometheus failed: {reason}.",
                    reason=found.get("error") or words("no reason given"),
                ),
                advice,
            )
        return found
