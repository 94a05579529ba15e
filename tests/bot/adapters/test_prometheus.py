"""Drover's own metrics, and a real Prometheus from Debian's package that scrapes them and answers as the history."""

from __future__ import annotations

import os
import resource
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector

from bot.adapters.prometheus import MetricsServer, PrometheusPast
from bot.domain.errors import SettingsError, StoreError
from bot.domain.metrics import (
    CLUSTER,
    Bucket,
    HostSample,
    Incident,
    Losses,
    Metric,
    Pressure,
    Sweep,
    VmSample,
)
from bot.plugin_api import Measured
from tests.waiting import until

pytestmark = pytest.mark.process

NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
MEASURED = Measured(
    Sweep(
        NOW,
        (
            HostSample(
                "host-a", NOW, "", 8, 2.5, 0.1, 100, 40, 0.02, Pressure(0.5, 0.1, 0.0, 0.2, 0.1)
            ),
            HostSample("host-b", NOW, "no answer"),
        ),
        (
            VmSample(
                "u-1", 'web "1"', "host-a", "running", 2, 0.75, 0.1, 1000, read=5.0, written=6.0
            ),
        ),
    ),
    None,
    (Incident("k", "host-b is gone", NOW),),
    Losses(waiting=3, dropped=2),
)


@pytest.fixture
def server() -> Iterator[MetricsServer]:
    made = MetricsServer("127.0.0.1", 0, lambda: MEASURED, lambda: "")
    made.start()
    yield made
    made.stop()


def read(server: MetricsServer, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{path}", timeout=60) as answer:
        text: str = answer.read().decode()
        return text


def test_what_is_measured_is_told_and_nothing_of_silent_hosts(server: MetricsServer) -> None:
    lines = read(server, "/metrics").splitlines()
    for line in (
        'drover_host_up{host="host-a"} 1.0',
        'drover_host_up{host="host-b"} 0.0',
        'drover_host_cpu_cores{host="host-a"} 2.5',
        'drover_host_memory_huge_bytes{host="host-a"} 0.0',
        'drover_vm_cpu_cores{host="host-a",uuid="u-1",vm="web \\"1\\""} 0.75',
        'drover_vm_disk_bytes_per_second{host="host-a",uuid="u-1",vm="web \\"1\\""} 11.0',
        'drover_host_pressure_ratio{host="host-a",resource="cpu"} 0.5',
        "drover_alerts 1.0",
        "drover_history_waiting 3.0",
        "drover_history_dropped_total 2.0",
    ):
        assert line in lines
    assert not [line for line in lines if "host-b" in line and "host_up" not in line]


def test_healthz_says_why_it_is_not_well() -> None:
    problems = ["the database is gone"]
    server = MetricsServer("127.0.0.1", 0, lambda: MEASURED, lambda: "".join(problems))
    server.start()
    try:
        with pytest.raises(urllib.error.HTTPError) as refused:
            read(server, "/healthz")
        assert refused.value.code == 503
        assert "the database is gone" in refused.value.read().decode()
        refused.value.close()
        problems.clear()
        assert read(server, "/healthz") == "ok\n"
        with pytest.raises(urllib.error.HTTPError, match="404") as missing:
            read(server, "/else")
        missing.value.close()
    finally:
        server.stop()


def test_silent_clients_hold_up_nobody_and_are_hung_up_on() -> None:
    server = MetricsServer("127.0.0.1", 0, lambda: MEASURED, lambda: "", patience=1)
    server.start()
    silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(12)]
    try:
        for number, each in enumerate(silent):
            each.settimeout(30)
            if number % 2:
                # Half a request, and then nothing
                each.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n")
        assert read(server, "/healthz") == "ok\n"
        assert "drover_host_up" in read(server, "/metrics")
        assert {each.recv(1) for each in silent} == {b""}, "each is hung up on"
    finally:
        for each in silent:
            each.close()
        server.stop()


def test_a_bot_with_more_open_files_than_select_takes_is_measured_all_the_same() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 3000:
        pytest.skip("this machine allows too few open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 3000), hard))
    taken = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        server = MetricsServer("127.0.0.1", 0, lambda: MEASURED, lambda: "")
        server.start()
        try:
            assert read(server, "/healthz") == "ok\n"
        finally:
            server.stop()
    finally:
        for each in taken:
            os.close(each)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_one_client_that_reads_nothing_holds_up_nobody(server: MetricsServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as greedy:
        greedy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        greedy.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 500)
        assert read(server, "/healthz") == "ok\n"


def test_a_port_that_is_taken_is_told_at_start(server: MetricsServer) -> None:
    with pytest.raises(SettingsError, match="Cannot listen on"):
        MetricsServer("127.0.0.1", server.port, lambda: MEASURED, lambda: "")


def test_a_prometheus_that_is_not_there_is_told() -> None:
    with pytest.raises(StoreError, match="does not answer"):
        PrometheusPast("http://127.0.0.1:9").history(
            ["host:a"], Metric.CPU, NOW - timedelta(hours=1), NOW
        )


def test_a_query_for_nothing_is_refused() -> None:
    with pytest.raises(SettingsError, match="host:cups"):
        PrometheusPast("http://127.0.0.1:9", {"host:cups": "1"})


class Stalling(Collector):
    """What the node exporter tells of a host that waits a quarter of its time for everything."""

    def collect(self) -> Iterable[Family]:
        for what in ("cpu_waiting", "memory_waiting", "memory_stalled", "io_waiting", "io_stalled"):
            yield CounterMetricFamily(
                f"node_pressure_{what}_seconds", "Waited.", time.monotonic() / 4
            )


@pytest.fixture
def node_exporter() -> Iterator[int]:
    registry = CollectorRegistry()
    registry.register(Stalling())
    served, thread = start_http_server(0, "127.0.0.1", registry)
    yield served.server_port
    served.shutdown()
    served.server_close()
    thread.join()


@pytest.fixture
def prometheus(server: MetricsServer, node_exporter: int, tmp_path: Path) -> Iterator[str]:
    """A real one that scrapes both once a second."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("Prometheus is not installed: apt-get install prometheus")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = tmp_path / "prometheus.yml"
    targets = f"'127.0.0.1:{server.port}', '127.0.0.1:{node_exporter}'"
    config.write_text(
        "global: {scrape_interval: 1s}\n"
        f"scrape_configs: [{{job_name: drover, honor_labels: true, static_configs: [{{targets: [{targets}]}}]}}]\n"
    )
    storage = tmp_path / "tsdb"
    words = [program, f"--config.file={config}", f"--storage.tsdb.path={storage}"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [*words, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log
        )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(60)


def test_a_sites_prometheus_is_the_history(prometheus: str) -> None:
    past = PrometheusPast(prometheus)

    def now() -> datetime:
        # A subquery's values stand on whole minutes: take the next
        return datetime.now(UTC) + timedelta(seconds=60)

    def history() -> Mapping[str, Sequence[Bucket]]:
        series = ["host:host-a", "vm:u-1", "vm:u-2", CLUSTER]
        try:
            return past.history(series, Metric.CPU, now() - timedelta(hours=1), now())
        except StoreError:
            return {}  # it is still starting

    until(lambda: len(history()) == 3, lambda: f"Prometheus has three series: {history()}")
    found = history()
    assert set(found) == {"host:host-a", "vm:u-1", CLUSTER}
    assert {bucket.mean for bucket in found["host:host-a"]} == {2.5}
    assert {(bucket.mean, bucket.p95, bucket.peak) for bucket in found["vm:u-1"]} == {
        (0.75, 0.75, 0.75)
    }
    summary = past.summary("vm", Metric.DISK, now() - timedelta(hours=1), now())
    assert summary["vm:u-1"].mean == 11.0
    assert past.summary("pool", Metric.SPACE, now() - timedelta(hours=1), now()) == {}
    (stalled,) = until(past.pressures, "a pressure is told").items()  # a rate takes two scrapes
    assert stalled[0] == "127.0.0.1"
    shares = {name: share for name, share in asdict(stalled[1]).items() if name != "available"}
    # Over two minutes, of which less passed
    assert all(0 < share < 0.3 for share in shares.values())
    named = PrometheusPast(prometheus, dict.fromkeys(
        (f"host:pressure_{what}" for what in ("cpu", "memory", "memory_full", "io", "io_full")),
        'drover_host_pressure_ratio{resource="cpu"}',
    ))  # fmt: skip
    assert named.pressures() == {"host-a": Pressure(0.5, 0.5, 0.5, 0.5, 0.5)}
    bad = PrometheusPast(prometheus, {"vm:cpu": "sum(("})
    with pytest.raises(StoreError, match="refused a query"):
        bad.history(["vm:u-1"], Metric.CPU, now() - timedelta(hours=1), now())
