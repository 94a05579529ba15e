"""What a sweep costs: against the raw libvirt call on real hosts, and how it grows to 300 hosts × 6000 VMs.

The lab part asks the same host turn by turn: Drover's sampler, the one raw bulk call, a ``virsh
domstats`` process, which is what a script would do, and one scrape of
``prometheus-libvirt-exporter`` (Debian's package of that name; left out, and said so, where it is
not installed). The growth part answers from recorded records, so that only Drover's own work is
counted.

    ./drover bench sampling [--guests 6] [--rounds 40] [--no-lab]

Claim: at most 1.3 times the raw call for everything; at the usual pace (balloon, disks and network
at every fourth sweep) no more than the exporter, which tells neither balloon nor waiting.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import libvirt

from bench.goals import Goal, conclude
from bot.adapters.libvirt.read.sampling import HostSampler
from bot.adapters.libvirt.transport.connections import HostAddress, open_connection
from bot.adapters.sql.series import SqlSeries
from bot.domain.metrics import points
from bot.flow.monitoring.history_writer import Recorder
from bot.settings import MonitorSection
from lab import Lab

GOAL = 1.3
HOSTS, PER_HOST = 300, 20
SLOW_EVERY = MonitorSection().slow_every
NOWAIT = libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
GROUPS = (
    libvirt.VIR_DOMAIN_STATS_STATE | libvirt.VIR_DOMAIN_STATS_CPU_TOTAL | libvirt.VIR_DOMAIN_STATS_VCPU
    | libvirt.VIR_DOMAIN_STATS_BALLOON | libvirt.VIR_DOMAIN_STATS_INTERFACE | libvirt.VIR_DOMAIN_STATS_BLOCK
)  # fmt: skip


class WallClock:
    """The port ``Clock`` by the machine's."""

    def now(self) -> datetime:
        """The moment."""
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        """Nobody waits here."""
        raise NotImplementedError(seconds)


def timed(call: Callable[[], Any]) -> tuple[float, float]:
    """Milliseconds of wall clock and of this process's CPU."""
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return (time.perf_counter() - wall) * 1e3, (time.process_time() - cpu) * 1e3


class Exporter:
    """The peer, as a site runs it: a process beside the host that asks libvirt whenever it is scraped."""

    PROGRAM = "prometheus-libvirt-exporter"

    def __init__(self, program: str, uri: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            where = f"127.0.0.1:{probe.getsockname()[1]}"
        self._url = f"http://{where}/metrics"
        words = [program, f"--web.listen-address={where}", f"--libvirt.uri={uri}"]
        self._process = subprocess.Popen(
            words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def scrape(self) -> str:
        """Its metrics."""
        # Our own process
        with urllib.request.urlopen(self._url, timeout=20) as answer:  # noqa: S310
            text: str = answer.read().decode()
            return text

    def begin(self, guests: int) -> None:
        """Wait until it answers, and check that it tells of every guest."""
        deadline = time.monotonic() + 20
        while True:
            try:
                text = self.scrape()
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        told = {
            line.split('domain="')[1].split('"')[0]
            for line in text.splitlines()
            if 'domain="bench-' in line
        }
        if len(told) != guests:
            raise RuntimeError(f"{self.PROGRAM} tells of {len(told)} of {guests} guests")

    def cpu(self) -> float:
        """Milliseconds of CPU it has used."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * 1e3 / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(20)


@contextmanager
def exporter(uri: str, guests: int) -> Iterator[Exporter | None]:
    """The peer at work; None, and what to install, where it is not there."""
    program = shutil.which(Exporter.PROGRAM)
    if program is None:
        print(
            f"  {Exporter.PROGRAM} is not installed, and left out: apt-get install {Exporter.PROGRAM}"
        )
        yield None
        return
    made = Exporter(program, uri)
    try:
        made.begin(guests)
        yield made
    finally:
        made.close()


def on_the_lab(guests: int, rounds: int) -> list[Goal]:
    """Print each way's medians; what became of the goals."""
    with Lab(hosts=1) as lab, ExitStack() as ends:
        for number in range(guests):
            lab.guest(f"bench-{number}", load=0.0, disk="local")
        uri = lab.hosts["host-a"].uri
        peer = ends.enter_context(exporter(uri, guests))
        connection = open_connection(uri)
        sampler = HostSampler(
            HostAddress("host-a", uri, ""), clock=WallClock(), deadline=5.0, slow_every=1
        )
        usual = HostSampler(
            HostAddress("host-a", uri, ""), clock=WallClock(), deadline=5.0, slow_every=SLOW_EVERY
        )
        for each in (sampler, usual):
            each.begin().wait(time.monotonic() + 20)
        ways: dict[str, Callable[[], Any]] = {
            "raw bulk call": lambda: connection.getAllDomainStats(GROUPS, NOWAIT),
            "Drover": lambda: sampler.begin().wait(time.monotonic() + 20),
            "Drover, usual pace": lambda: usual.begin().wait(time.monotonic() + 20),
            "virsh domstats": lambda: subprocess.run(
                ["virsh", "-c", uri, "domstats", "--nowait"], capture_output=True, check=True
            ),
        }
        if peer is not None:
            ways["exporter"] = peer.scrape
        before = peer.cpu() if peer is not None else 0.0
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, call in ways.items():
                found[name].append(timed(call))
        own = (peer.cpu() - before) / rounds if peer is not None else 0.0
        sampler.line.close()
        usual.line.close()
        connection.close()
    walls = {name: median(wall for wall, _ in times) for name, times in found.items()}
    for name, times in found.items():
        cpu = median(each for _, each in times)
        print(
            f"  {name:18} {walls[name]:8.2f} ms a sweep of {guests} guests, {cpu:6.2f} ms of our CPU"
        )
    # The median of pairs: what the machine does meanwhile hits both of a pair.
    pairs = zip(found["Drover"], found["raw bulk call"], strict=True)
    ratio = median(mine / raw for (mine, _), (raw, _) in pairs)
    print(
        f"  Drover ÷ raw: {ratio:.2f}; virsh ÷ Drover: {walls['virsh domstats'] / walls['Drover']:.1f}"
    )
    paced = sum(wall for wall, _ in found["Drover, usual pace"]) / rounds
    mean_scrape = sum(wall for wall, _ in found.get("exporter", [])) / rounds
    print(f"  Drover at its usual pace: {paced:.2f} ms a sweep on average")
    goals = [Goal("a sweep, of the raw libvirt call", ratio, most=GOAL)]
    if "exporter" in walls:
        goals.append(
            Goal(
                "a sweep at the usual pace, of the exporter's scrape", paced / mean_scrape, most=1.0
            )
        )
        print(
            f"  exporter ÷ Drover: {walls['exporter'] / walls['Drover']:.1f} with everything at every sweep, "
            f"{mean_scrape / paced:.1f} at the usual pace; "
            f"the exporter used {own:.1f} ms of its own CPU a scrape"
        )
    return goals


@dataclass(frozen=True)
class RecordedDomain:
    """A guest's handle, which keeps name and UUID."""

    identity: str
    title: str

    def UUIDString(self) -> str:  # noqa: N802 - libvirt's name
        """Its UUID."""
        return self.identity

    def name(self) -> str:
        """Its name."""
        return self.title


class Recorded:
    """A connection that answers at once with what one of the lab's guests once told, counted up."""

    def __init__(self, host: int) -> None:
        self._turn = 0
        names = [f"vm-{host}-{number}" for number in range(PER_HOST)]
        self._domains = [
            RecordedDomain(str(uuid.uuid5(uuid.NAMESPACE_DNS, name)), name) for name in names
        ]

    def getAllDomainStats(  # noqa: N802
        self, groups: int, flags: int
    ) -> list[tuple[RecordedDomain, dict[str, int]]]:
        """Twenty guests with two vCPUs, two disks and a network card."""
        del groups, flags
        self._turn += 1
        return [
            (domain, record(self._turn + number)) for number, domain in enumerate(self._domains)
        ]

    def getInfo(self) -> list[Any]:  # noqa: N802 - libvirt's name
        """As ``virNodeGetInfo``."""
        return ["x86_64", 262144, 64, 2400, 2, 2, 16, 1]

    def getMemoryStats(self, cell: int) -> dict[str, int]:  # noqa: N802
        """As ``virNodeGetMemoryStats``, in KiB."""
        del cell
        return {"total": 1 << 28, "free": 1 << 26, "buffers": 1000, "cached": 1 << 20}

    def getCPUStats(self, cpu: int) -> dict[str, int]:  # noqa: N802
        """As ``virNodeGetCPUStats``, in ns."""
        del cpu
        return {
            "kernel": self._turn * 10**9,
            "user": self._turn * 10**10,
            "idle": 1,
            "iowait": self._turn,
        }

    def listAllDomains(self, flags: int) -> list[Any]:  # noqa: N802
        """No snapshots."""
        del flags
        return []


def record(turn: int) -> dict[str, int]:
    """The keys that QEMU 7.2 under libvirt 9 gives for such a guest."""
    found = {
        "state.state": 1,
        "state.reason": 1,
        "cpu.time": turn * 10**8,
        "cpu.user": turn,
        "cpu.system": turn,
    }
    found |= {
        f"balloon.{key}": 1 << 20
        for key in ("current", "maximum", "available", "unused", "usable", "rss")
    }
    found |= {"vcpu.current": 2, "vcpu.maximum": 2, "net.count": 1, "block.count": 2}
    for vcpu in range(2):
        found |= {f"vcpu.{vcpu}.{key}": turn * 1000 for key in ("state", "time", "wait", "delay")}
    for disk in range(2):
        keys = ("rd.reqs", "rd.bytes", "rd.times", "wr.reqs", "wr.bytes", "wr.times", "fl.reqs", "fl.times",
                "allocation", "capacity", "physical")  # fmt: skip
        found |= {f"block.{disk}.{key}": turn * 4096 for key in keys}
    traffic = (
        "rx.bytes",
        "rx.pkts",
        "rx.errs",
        "rx.drop",
        "tx.bytes",
        "tx.pkts",
        "tx.errs",
        "tx.drop",
    )
    return found | {f"net.0.{key}": turn * 1500 for key in traffic}


def growth() -> list[Goal]:
    """Print Drover's own work for one sweep of 300 × 20, and for a minute's history of it; what became of the goals."""
    clock = WallClock()
    hosts = [
        (
            HostSampler(
                HostAddress(f"h{n}", "test:///default", ""), clock=clock, deadline=5.0, slow_every=1
            ),
            Recorded(n),
        )
        for n in range(HOSTS)
    ]
    asking = [timed(lambda: [c.getAllDomainStats(0, 0) for _, c in hosts]) for _ in range(3)]
    # Without its line
    sweeps = [timed(lambda: [h._measure(c) for h, c in hosts]) for _ in range(5)]  # noqa: SLF001
    recording = median(cpu for _, cpu in asking)
    cpu = median(each for _, each in sweeps[1:]) - recording
    print(
        f"  one sweep of {HOSTS} hosts × {HOSTS * PER_HOST} VMs: {cpu:.0f} ms of CPU beside libvirt's"
    )
    answers = [host._measure(connection) for host, connection in hosts]  # noqa: SLF001
    with tempfile.TemporaryDirectory() as directory:
        series = SqlSeries(f"sqlite:///{Path(directory)}/bench.sqlite")
        recorder = Recorder(series)
        minute = int(time.time()) // 60 * 60 - 900
        takes, writes = [], []
        for number in range(8):
            at = datetime.fromtimestamp(minute + 60 * number, UTC)
            some = [point for each in answers for point in points_of(each, at)]
            takes.append(timed(lambda at=at, some=some: recorder.take(at, some)))  # type: ignore[misc]
            writes.append(timed(lambda at=at: recorder.write(at)))  # type: ignore[misc]
        print(
            f"  taking it into the minute: {median(c for _, c in takes):.0f} ms of CPU; writing a minute, rollups and "
            f"all: {median(c for _, c in writes):.0f} ms, at most {max(c for _, c in writes):.0f} ms "
            f"({max(w for w, _ in writes):.0f} ms of wall clock)"
        )
        series.close()
    return [Goal(f"CPU ms of a sweep of {HOSTS * PER_HOST} VMs", cpu, most=5000)]


def points_of(answer: Any, at: datetime) -> Any:
    """A host's answer as points."""
    from bot.domain.metrics import Sweep

    return points(Sweep(at, (answer.host,), answer.vms))


def main() -> None:
    """Run both parts."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--guests", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--no-lab", action="store_true")
    chosen = parser.parse_args()
    print(f"{os.cpu_count()} cores")
    goals = growth()
    if not chosen.no_lab:
        goals += on_the_lab(chosen.guests, chosen.rounds)
    conclude(goals)


if __name__ == "__main__":
    main()
