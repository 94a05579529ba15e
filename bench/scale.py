"""The whole bot on many hosts: threads, memory, CPU, connections, answers' times, a storm of alerts, and its end.

The real bot runs as a process between hosts of libvirt's test driver (``test:///FILE.xml``, one
file a host, which needs no root and no lab) and the local workspace. It is quiet first (idle, then
the commands), then started again so that every host is short of memory at once. CPU is told in
seconds of the process beside the wall clock, which a busy machine makes longer.

    ./drover bench scale [--hosts 30] [--vms 20] [--quiet 20]
    ./drover bench scale --growth 10,30,100,300    (each size, and the exponent of each figure)
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import libvirt  # noqa: E402
import tomli_w  # noqa: E402

from bench.goals import Goal, conclude  # noqa: E402
from bot.adapters.slack.manifest import manifest  # noqa: E402
from bot.stage import POLICY, ROLES  # noqa: E402
from lab.slack import Workspace  # noqa: E402

CORES, MEMORY_MIB, VM_MIB = 16, 65536, 3072  # 20 VMs of 3 GiB fill a host: no other takes one more
PATIENCE = 180.0
TIMES = 3  # how often each question is asked
STORM = 60.0  # seconds for which a storm is watched
STORM_QUIET = 20.0  # seconds without a new message after which it has been told
SPACED = 1.5  # seconds between two questions: a channel takes a message a second

LATE: list[str] = []
"""Commands that were not acknowledged within Slack's three seconds."""

GOALS: Mapping[str, float] = {
    "threads when idle": 60,
    "MiB when idle": 220,
    "% of a core when idle": 3,
    "connections a host when idle": 1.05,  # a few hosts have a second one for a minute
    "most connections a host": 2,
    "s for status": 0.3,
    "s for vms": 0.3,
    "s for top": 0.3,
    "s for host drain where nothing can move": 2,
    "s until host pair --all says something": 1,
    "s for host pair --all": 3,
    "most threads while asked": 90,
    "messages of a storm": 2,
    "s for an answer in the storm": 2,
    "s to stop in the storm": 10,
    "commands acknowledged too late": 0,
}


def host_file(directory: Path, number: int, vms: int) -> Path:
    """A host for the test driver: so many running VMs of one size, nearly all its memory promised."""
    guests = "".join(
        "<domain type='test'>"
        f"<name>vm-{number}-{each}</name>"
        f"<uuid>{uuid.uuid5(uuid.NAMESPACE_DNS, f'vm-{number}-{each}')}</uuid>"
        f"<memory unit='MiB'>{VM_MIB}</memory><vcpu>2</vcpu><os><type>hvm</type></os></domain>"
        for each in range(vms)
    )
    file = directory / f"host-{number}.xml"
    file.write_text(
        f"<node><cpu><mhz>2000</mhz><model>x86_64</model><active>{CORES}</active><nodes>1</nodes>"
        f"<sockets>1</sockets><cores>{CORES}</cores><threads>1</threads>"
        f"<memory>{MEMORY_MIB * 1024}</memory></cpu>{guests}</node>"
    )
    return file


def config(
    workspace: Workspace, directory: Path, hosts: int, vms: int, hold: float
) -> dict[str, Any]:
    """The bot's configuration; ``hold``: seconds until short memory is an alert."""
    files = [host_file(directory, number, vms) for number in range(hosts)]
    return {
        "slack": {
            "team": "T0LAB",
            "ops_channel": "C0OPS",
            "approvals_channel": "C0APPROVALS",
            "api_url": workspace.web_api,
            "requests_per_minute": 6000,
        },
        "database": {"url": f"sqlite:///{directory}/drover.sqlite"},
        "hosts": [
            {"name": f"host-{number:03}", "uri": f"test://{file}", "reserve": "2G"}
            for number, file in enumerate(files)
        ],
        "roles": ROLES,
        "policy": POLICY,
        "plugins": {"monitor": {"memory_hold": hold}},
        "log_level": "warning",
    }


def run_hosts(paths: Sequence[str]) -> None:
    """Open every host once, as the bot does, and print the MiB that the test driver takes for it."""
    before = resident()
    kept = [libvirt.open(f"test://{path}") for path in paths]
    print(resident() - before)
    del kept


def resident() -> float:
    """MiB of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:"))


def driver_memory(directory: Path) -> float:
    """MiB that libvirt's test driver keeps in the bot's process for hosts: real ones are elsewhere."""
    files = map(str, directory.glob("host-*.xml"))
    done = subprocess.run(
        [sys.executable, __file__, "--open", *files], stdout=subprocess.PIPE, text=True, check=True
    )
    return float(done.stdout)


def run_bot(path: str, report: str) -> None:
    """The bot as ``drover run`` starts it; at SIGUSR1 it writes down its connections by host."""
    from bot.__main__ import main as drover

    made: list[tuple[str, weakref.ref[Any]]] = []
    most: Counter[str] = Counter()
    for way in ("open", "openReadOnly"):
        setattr(libvirt, way, _counted(getattr(libvirt, way), made, most))

    def tell(*_: object) -> None:
        names = Counter(each.name.rstrip("-0123456789") for each in threading.enumerate())
        told = {"connections": _alive(made), "most": dict(most), "threads": dict(names)}
        Path(f"{report}.new").write_text(json.dumps(told))
        Path(f"{report}.new").rename(report)

    signal.signal(signal.SIGUSR1, tell)
    sys.argv = ["drover", "--config", path, "run"]
    drover()


def _counted(
    way: Callable[[str], Any], made: list[tuple[str, weakref.ref[Any]]], most: Counter[str]
) -> Callable[[str], Any]:
    """A way to open a connection that also notes it, and the most that a host had at once."""

    def opened(uri: str) -> Any:
        connection = way(uri)
        made.append((uri, weakref.ref(connection)))
        most[uri] = max(most[uri], _alive(made)[uri])
        return connection

    return opened


def _alive(made: list[tuple[str, weakref.ref[Any]]]) -> dict[str, int]:
    """Connections that are open, by host."""
    made[:] = [each for each in made if getattr(each[1](), "_o", None) is not None]
    return dict(Counter(uri for uri, _ in made))


@dataclass
class Process:
    """The bot while it runs, and the most threads and memory it was seen with."""

    directory: Path
    process: subprocess.Popen[bytes]
    most: dict[str, float] = field(default_factory=dict)
    _end: threading.Event = field(default_factory=threading.Event)

    @classmethod
    def begin(cls, workspace: Workspace, directory: Path, settings: Mapping[str, Any]) -> Self:
        """Start it, and wait until it says that it runs."""
        path, log = directory / "drover.toml", directory / "drover.log"
        path.write_text(tomli_w.dumps(settings), encoding="utf-8")
        before = log.stat().st_size if log.exists() else 0
        secrets = {"SLACK_BOT_TOKEN": workspace.bot_token, "SLACK_APP_TOKEN": workspace.app_token}
        command = [sys.executable, __file__, "--bot", str(path), "--report", f"{directory}/told"]
        with log.open("ab") as out:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT), **secrets},
                stdout=out,
                stderr=out,
            )
        made = cls(directory, process)
        threading.Thread(target=made._watch, daemon=True).start()
        deadline = time.monotonic() + PATIENCE
        while b"Drover is running." not in log.read_bytes()[before:]:
            if process.poll() is not None or time.monotonic() > deadline:
                made.kill()
                raise SystemExit(f"the bot did not start:\n{log.read_text()[-3000:]}")
            time.sleep(0.02)
        return made

    def _watch(self) -> None:
        while not self._end.wait(0.1):
            try:
                now = {"threads": self.count("Threads"), "MiB": self.count("VmRSS") / 1024}
            except OSError:
                return
            self.most = {key: max(value, self.most.get(key, 0)) for key, value in now.items()}

    def count(self, name: str) -> float:
        """A figure of proc(5)."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return float(line.split()[1])
        raise ProcessLookupError(self.process.pid)

    def cpu(self) -> float:
        """Seconds of CPU that it has used."""
        told = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(told[11]) + int(told[12])) / os.sysconf("SC_CLK_TCK")

    def told(self) -> Mapping[str, Any]:
        """What it tells of itself: connections by host, threads by name."""
        file = self.directory / "told"
        file.unlink(missing_ok=True)
        self.process.send_signal(signal.SIGUSR1)
        deadline = time.monotonic() + PATIENCE
        while not file.exists():
            if time.monotonic() > deadline:
                raise SystemExit("the bot does not tell its connections")
            time.sleep(0.05)
        told: Mapping[str, Any] = json.loads(file.read_text())
        return told

    def terminate(self) -> float:
        """Seconds from SIGTERM to its end."""
        began = time.monotonic()
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.kill()
            return math.inf
        self._end.set()
        return time.monotonic() - began

    def kill(self) -> None:
        """End it now."""
        self._end.set()
        self.process.kill()
        self.process.wait(30)


@contextmanager
def bot(hosts: int, vms: int, hold: float) -> Iterator[tuple[Workspace, Process]]:
    """A workspace with Slack's limits, and the bot in it; its log goes to stderr if something fails."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Workspace(manifest=manifest(), pace=1.0) as workspace,
    ):
        process = Process.begin(
            workspace, Path(folder), config(workspace, Path(folder), hosts, vms, hold)
        )
        try:
            yield workspace, process
        finally:
            if process.process.poll() is None:
                process.kill()
            told = (Path(folder) / "drover.log").read_text()
            if "Traceback" in told:
                print(told[-6000:], file=sys.stderr)


def ask(workspace: Workspace, line: str, channel: str = "#ops") -> tuple[float, float, str]:
    """Seconds until something was said and until the answer was there, and its text.

    What only says that work goes on is edited into the answer, or is followed by it.
    """
    # Ephemeral answers count too, and those in the direct conversation with the app.
    places = (channel, "#approvals", "@ana")
    before = {
        (place, each.ts) for place in places for each in workspace.messages(place, seen_by="ana")
    }
    began = time.monotonic()
    first: list[float] = []
    while not (acked := workspace.person("ana").command(line, channel)).ok:
        LATE.append(line)  # Slack says so to who typed it, who types it again
        if time.monotonic() - began > PATIENCE:
            raise SystemExit(f"{line}: {acked.text}")

    def look() -> str | None:
        for place in places:
            for each in workspace.messages(place, seen_by="ana"):
                # An answer that stays up to date, such as that of top, is edited all the time
                if (place, each.ts) in before or not is_answer(each):
                    continue
                first.append(time.monotonic())
                if not is_progress(each.text):
                    return each.text + "\n" + each.plain()
        return None

    found = workspace.wait_for(look, PATIENCE)
    if found is None:
        return (math.inf if not first else first[0] - began), math.inf, ""
    return first[0] - began, time.monotonic() - began, found


def is_answer(message: Any) -> bool:
    """Whether a message can be an answer, and is no alert."""
    alert = any(action == "alert.ack" for _, action, _ in message.buttons())
    return not alert and not message.thread_ts


def is_progress(text: str) -> bool:
    """Whether a message only says that work goes on."""
    return text.startswith("Working on")


def settled(workspace: Workspace) -> None:
    """Wait until every host was seen."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        _, _, text = ask(workspace, "/kvm hosts")
        if "never seen" not in text:
            return
        time.sleep(1)
    raise SystemExit("not every host was seen")


def questions(hosts: int) -> Mapping[str, str]:
    """What is asked, by the name of its figure."""
    del hosts
    return {
        "status": "/kvm status",
        "vms": "/kvm vms",
        "top": "/kvm top",
        "hosts": "/kvm hosts",
        "host drain where nothing can move": "/kvm host drain host-000",
        "host pair --all": "/kvm host pair --all",
    }


def quiet(hosts: int, vms: int, seconds: float) -> dict[str, float]:
    """Idle, then each command, then its end."""
    found: dict[str, float] = {}
    began = time.monotonic()
    with bot(hosts, vms, 86_400) as (workspace, process):
        found["s to start"] = time.monotonic() - began
        settled(workspace)
        time.sleep(seconds)  # what a start does once is over
        cpu, since = process.cpu(), time.monotonic()
        time.sleep(seconds)
        found["% of a core when idle"] = (process.cpu() - cpu) / (time.monotonic() - since) * 100
        found["threads when idle"] = process.count("Threads")
        whole = process.count("VmRSS") / 1024
        told = process.told()["connections"]
        hosts_own = driver_memory(process.directory) * sum(told.values()) / len(told)
        found["MiB when idle, with the hosts' own"] = whole
        found["MiB when idle"] = whole - hosts_own
        found["connections a host when idle"] = sum(told.values()) / len(told)
        process.most = {}
        for name, line in questions(hosts).items():
            times = 1 if name.startswith("host ") else TIMES
            cpu = process.cpu()
            taken = []
            for _ in range(times):
                taken.append(ask(workspace, line))
                time.sleep(SPACED)
            print(f"  {line} was answered with {taken[-1][2][:90]!r}", file=sys.stderr)
            found[f"s for {name}"] = median(each[1] for each in taken)
            found[f"s until {name} says something"] = median(each[0] for each in taken)
            found[f"CPU s for {name}"] = (process.cpu() - cpu) / times
        found["most threads while asked"] = process.most.get("threads", 0)
        found["most MiB"] = process.most.get("MiB", 0)
        found["most connections a host"] = max(process.told()["most"].values())
        found["s to stop"] = process.terminate()
    return found


def storm(hosts: int, vms: int) -> dict[str, float]:
    """Every host short of memory at once: messages, an answer meanwhile, and its end in the middle of it."""
    with bot(hosts, vms, 0) as (workspace, process):
        if not workspace.wait_for(lambda: _alerts(workspace) or None, PATIENCE):
            raise SystemExit("no alert came")
        answers = []
        began = grew = time.monotonic()
        count = 0
        while (now := time.monotonic()) - began < STORM and now - grew < STORM_QUIET:
            answers.append(ask(workspace, "/kvm vms")[1])
            if (told := len(_alerts(workspace))) > count:
                count, grew = told, now
            time.sleep(1)
        found = {
            "messages of a storm": float(len(_alerts(workspace))),
            "s for an answer in the storm": max(answers),
            "CPU s of the storm": process.cpu(),
        }
        found["s to stop in the storm"] = process.terminate()
    return found


def _alerts(workspace: Workspace) -> list[Any]:
    return [each for each in workspace.messages("#ops") if not each.thread_ts and each.user]


def measured(hosts: int, vms: int, seconds: float) -> dict[str, float]:
    """Every figure at one size."""
    LATE.clear()
    found = {**quiet(hosts, vms, seconds), **storm(hosts, vms)}
    return {**found, "commands acknowledged too late": float(len(LATE))}


def exponent(sizes: Sequence[int], values: Sequence[float]) -> float:
    """The slope of a figure over the size, both as logarithms; least squares."""
    points = [
        (math.log(size), math.log(value))
        for size, value in zip(sizes, values, strict=True)
        if value > 0 and math.isfinite(value)
    ]
    if len(points) < 2:
        return math.nan
    middle_x = sum(x for x, _ in points) / len(points)
    middle_y = sum(y for _, y in points) / len(points)
    spread = sum((x - middle_x) ** 2 for x, _ in points)
    return sum((x - middle_x) * (y - middle_y) for x, y in points) / spread


def table(sizes: Sequence[int], found: Sequence[Mapping[str, float]]) -> None:
    """Print every figure at every size, and how it grows."""
    grown = len(sizes) > 1
    print(
        f"{'hosts':<44}"
        + "".join(f"{size:>10}" for size in sizes)
        + ("  exponent" if grown else "")
        + "      goal"
    )
    for name in found[-1]:
        values = [each[name] for each in found]
        line = f"{name:<44}" + "".join(f"{value:>10.2f}" for value in values)
        line += f"{exponent(sizes, values):>10.2f}" if grown else ""
        goal = GOALS.get(name)
        print(line + (f"{goal:>10g}" if goal is not None else ""))


def main() -> None:
    """Measure, print the table and what became of the goals."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hosts", type=int, default=30)
    parser.add_argument("--vms", type=int, default=20, help="VMs a host")
    parser.add_argument(
        "--quiet", type=float, default=30.0, help="seconds of idling: a multiple of a sweep"
    )
    parser.add_argument("--growth", default="", help="sizes, such as 10,30,100,300")
    parser.add_argument("--bot", default="", help=argparse.SUPPRESS)
    parser.add_argument("--report", default="", help=argparse.SUPPRESS)
    parser.add_argument("--open", nargs="+", default=(), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.open:
        run_hosts(asked.open)
        return
    if asked.bot:
        run_bot(asked.bot, asked.report)
        return
    sizes = [int(each) for each in asked.growth.split(",") if each] or [asked.hosts]
    found = []
    for size in sizes:
        found.append(measured(size, asked.vms, asked.quiet))
        table(sizes[: len(found)], found)  # what is known so far, should a larger size fail
    conclude(Goal(name, found[-1][name], most=most) for name, most in GOALS.items())


if __name__ == "__main__":
    main()
