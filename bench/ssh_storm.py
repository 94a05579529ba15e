"""Hosts over SSH: processes and sessions a host, and what it takes when all hosts come back at once.

The real bot runs between the local workspace and lab hosts, each with a real sshd and libvirtd. A
few lab hosts stand for many: each of the bot's hosts is a file of libvirt's test driver that one of
those libvirtd opens (``test+ssh://HOST/FILE.xml``), through an ssh of its own. Then all lab hosts
are frozen, as by a switch that drops everything, until the bot says so, and thawed together.

    ./drover bench ssh_storm [--hosts 30] [--labs 3] [--vms 20] [--quiet 30]

Needs root, for the lab.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench import scale  # noqa: E402
from bench.goals import Goal, conclude  # noqa: E402
from bot.adapters.slack.manifest import manifest  # noqa: E402
from lab import Lab  # noqa: E402
from lab.slack import Workspace  # noqa: E402
from lab.sshd import Door, serve  # noqa: E402

GOALS: Mapping[str, float] = {
    "ssh processes a host when idle": 1.05,  # a few hosts have a second one for a minute
    "most ssh processes a host": 2,
    "threads when idle": 60,
    "s for status": 2,
    "s for status while no host answers": 2,
    "messages of the storm": 2,
    "s until every host answers again": 60,
    "ssh processes a host after the storm": 1.05,
    "s to stop": 10,
}
CLOSED = 90.0  # seconds: a second connection is closed a minute after its last use
QUIET = 20.0  # seconds without a new message after which the storm has been told


def uri(door: Door, file: Path) -> str:
    """A host of the test driver, opened by the libvirtd behind a door."""
    return f"test+ssh://{door.target}{file}?keyfile={door.key_file}&command={door.client}"


def settings(
    workspace: Workspace, directory: Path, doors: list[Door], hosts: int, vms: int
) -> dict[str, Any]:
    """As the scale bench's, but for the hosts' addresses."""
    made = scale.config(workspace, directory, hosts, vms, 86_400)
    for number, host in enumerate(made["hosts"]):
        host["uri"] = uri(doors[number % len(doors)], directory / f"host-{number}.xml")
    return made


def ssh_processes(bot: int) -> int:
    """How many processes named ssh the bot has started, and not ended."""
    return sum(name == "ssh" for name in _children(bot))


def _children(parent: int) -> Iterator[str]:
    """The names of all processes below one; one that ends meanwhile is not there."""
    parents: dict[int, tuple[int, str]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                head, _, tail = (entry / "stat").read_text().rpartition(")")
            except OSError:  # it has just ended
                continue
            parents[int(entry.name)] = (int(tail.split()[1]), head.partition("(")[2])
    for number, (_, name) in parents.items():
        above = number
        while above in parents and above != parent:
            above = parents[above][0]
        if above == parent and number != parent:
            yield name


def unanswered(workspace: Workspace) -> int:
    """How many hosts the bot says it cannot reach now."""
    _, _, text = scale.ask(workspace, "/kvm status")
    found = re.search(r"(\d+) of (\d+) hosts up", text)
    if found is None:
        raise SystemExit(f"status does not say how many hosts are up:\n{text}")
    return int(found[2]) - int(found[1])


def active(workspace: Workspace) -> int:
    """How many alerts stand."""
    _, _, text = scale.ask(workspace, "/kvm alerts")
    found = re.search(r"(\d+) active", text)
    return int(found[1]) if found else 0


def alerts(workspace: Workspace) -> int:
    """How many messages stand in the channel, answers left out."""
    return len([each for each in workspace.messages("#ops") if not each.thread_ts and each.user])


def measured(lab: Lab, hosts: int, vms: int, quiet: float) -> dict[str, float]:
    """Every figure."""
    doors = [serve(lab, name) for name in lab.hosts]
    with (
        # Where the lab's hosts see it too: each has a /tmp of its own
        tempfile.TemporaryDirectory(dir=lab.directory) as folder,
        Workspace(manifest=manifest(), pace=1.0) as workspace,
    ):
        directory = Path(folder)
        process = scale.Process.begin(
            workspace, directory, settings(workspace, directory, doors, hosts, vms)
        )
        try:
            return _figures(lab, workspace, process, hosts, quiet)
        finally:
            for name in lab.hosts:
                lab.thaw(name)
            if process.process.poll() is None:
                process.kill()


def _figures(
    lab: Lab, workspace: Workspace, process: scale.Process, hosts: int, quiet: float
) -> dict[str, float]:
    found: dict[str, float] = {}
    scale.settled(workspace)
    time.sleep(quiet)  # what a start does once is over
    cpu, since = process.cpu(), time.monotonic()
    time.sleep(quiet)
    found["% of a core when idle, without its ssh"] = (
        (process.cpu() - cpu) / (time.monotonic() - since) * 100
    )
    pid = process.process.pid
    found["ssh processes a host when idle"] = ssh_processes(pid) / hosts
    found["threads when idle"] = process.count("Threads")
    found["s for status"] = scale.ask(workspace, "/kvm status")[1]
    before = alerts(workspace)
    most: Counter[str] = Counter()

    def look() -> None:
        most["ssh"] = max(most["ssh"], ssh_processes(pid))

    for name in lab.hosts:
        lab.freeze(name)
    until(lambda: unanswered(workspace) == hosts, look, "every host is silent")
    until(lambda: active(workspace) > 0, look, "an alert stands")
    found["s for status while no host answers"] = scale.ask(workspace, "/kvm status")[1]
    for name in lab.hosts:
        lab.thaw(name)
    began = time.monotonic()
    until(lambda: unanswered(workspace) == 0, look, "every host answers again")
    found["s until every host answers again"] = time.monotonic() - began
    told, grew = alerts(workspace), time.monotonic()
    while time.monotonic() - grew < QUIET:
        look()
        if (now := alerts(workspace)) > told:
            told, grew = now, time.monotonic()
        time.sleep(0.5)
    found["messages of the storm"] = float(told - before)
    found["most ssh processes a host"] = most["ssh"] / hosts
    time.sleep(CLOSED)
    found["ssh processes a host after the storm"] = ssh_processes(pid) / hosts
    found["s to stop"] = process.terminate()
    return found


def until(done: Any, look: Any, what: str) -> None:
    """Wait for it, and look meanwhile; ends the bench when it does not come."""
    deadline = time.monotonic() + scale.PATIENCE
    while not done():
        look()
        if time.monotonic() > deadline:
            raise SystemExit(f"not within {scale.PATIENCE} s: {what}")
        time.sleep(scale.SPACED)


def main() -> None:
    """Measure, print the table and what became of the goals."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hosts", type=int, default=30)
    parser.add_argument("--labs", type=int, default=3, help="lab hosts that stand for them")
    parser.add_argument("--vms", type=int, default=20, help="VMs a host")
    parser.add_argument("--quiet", type=float, default=30.0, help="seconds of idling")
    asked = parser.parse_args()
    with Lab(hosts=asked.labs) as lab:
        found = measured(lab, asked.hosts, asked.vms, asked.quiet)
    scale.table([asked.hosts], [found])
    conclude(Goal(name, found[name], most=most) for name, most in GOALS.items())


if __name__ == "__main__":
    main()
