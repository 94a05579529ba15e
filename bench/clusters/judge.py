"""A neutral judge of plans, which knows nothing of any planner: legal step by step, and how even the outcome is.

Usage: judge.py CLUSTER.json PLAN (lines "vm target" in the order of execution; "-" for the empty
plan)
"""

import json
import statistics
import sys
from collections import Counter
from pathlib import Path
from typing import Any

Entry = dict[str, Any]


class Host:
    """A host and what runs on it."""

    def __init__(self, entry: Entry) -> None:
        self.name, self.cores, self.drained = entry["name"], entry["cores"], entry["drain"]
        self.memory, self.room = entry["mem"], entry["mem"] - entry["reserve"]
        self.guests: dict[str, Entry] = {}

    def total(self, what: str) -> float:
        """Sum one field over the guests."""
        return float(sum(guest[what] for guest in self.guests.values()))

    def groups(self) -> Counter[str]:
        """Count the guests of each anti-affinity group."""
        return Counter(guest["aa"] for guest in self.guests.values() if guest["aa"])


def objections(guest: Entry, source: Host, target: Host, ratio: float) -> list[str]:
    """Answer every rule that this one move breaks, judged before it is made."""
    broken = {
        "no-op": target is source,
        "target drained": target.drained,
        "memory": target.total("mem") + guest["mem"] > target.room,
        "vcpu": target.total("vcpus") + guest["vcpus"] > ratio * target.cores,
        "anti-affinity": bool(guest["aa"])
        and target is not source
        and target.groups()[guest["aa"]] > 0,
    }
    return [rule for rule, is_broken in broken.items() if is_broken]


def metrics(hosts: list[Host]) -> dict[str, float]:
    """Answer J = sd(CPU share) + sd(memory share) over hosts in service, what is wrong, and the whole score."""
    serving = [host for host in hosts if not host.drained]
    cpu = statistics.pstdev(host.total("cpu") / host.cores for host in serving)
    memory = statistics.pstdev(host.total("mem") / host.memory for host in serving)
    collisions = sum(count - 1 for host in serving for count in host.groups().values())
    stranded = sum(len(host.guests) for host in hosts if host.drained)
    even = cpu + memory
    return {
        "cpu_sd": cpu,
        "mem_sd": memory,
        "J": even,
        "collisions": collisions,
        "stranded": stranded,
        "score": even + 20 * stranded + 2 * collisions,
    }


def judge(cluster: Entry, moves: list[tuple[str, str]]) -> dict[str, Any]:
    """Make the moves one after another; answer metrics before and after, moves, GiB, and every illegal step."""
    hosts = {entry["name"]: Host(entry) for entry in cluster["hosts"]}
    where = {guest["name"]: guest["host"] for guest in cluster["vms"]}
    guests = {guest["name"]: guest for guest in cluster["vms"]}
    for guest in cluster["vms"]:
        hosts[guest["host"]].guests[guest["name"]] = guest
    before, illegal, gib = metrics(list(hosts.values())), [], 0.0
    for name, to in moves:
        source, target = hosts[where[name]], hosts[to]
        if broken := objections(guests[name], source, target, cluster["vcpu_ratio"]):
            illegal.append((name, to, broken))
        target.guests[name] = source.guests.pop(name)
        where[name] = to
        gib += guests[name]["mem"] / 1024
    after = metrics(list(hosts.values()))
    return {
        "before": before,
        "after": after,
        "moves": len(moves),
        "gib": gib,
        "illegal": illegal,
        "where": where,
    }


if __name__ == "__main__":
    given = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    text = "" if sys.argv[2] == "-" else Path(sys.argv[2]).read_text(encoding="utf-8")
    plan = [(line.split()[0], line.split()[1]) for line in text.splitlines() if line.strip()]
    print(
        json.dumps(
            {key: value for key, value in judge(given, plan).items() if key != "where"}, indent=1
        )
    )
