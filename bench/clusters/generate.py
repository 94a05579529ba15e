"""Deterministic, unevenly loaded clusters to measure planners on: as plain data, and as Ganeti htools read them.

Usage: generate.py HOSTS VMS [--seed N] [--het] [--drain 2] -o PREFIX
Writes PREFIX.json (neutral), PREFIX.txt (hbal -t), PREFIX.muted.txt (the same with cpu_speed=1e9,
which silences hbal's vcpu_ratio term but keeps the vCPU limit) and PREFIX.util (hbal -U).
"""

import argparse
import json
import random
from pathlib import Path
from typing import Any

MEMORY_SIZES = [1, 2, 4, 8, 16, 32, 64]  # GiB
MEMORY_WEIGHTS = [10, 22, 25, 20, 13, 7, 3]
VCPU_RATIO = 4.0  # vCPUs per physical core, at most

Entry = dict[str, Any]


def generate(hosts: int, vms: int, *, seed: int = 1, het: bool = False, drain: int = 2) -> Entry:
    """Answer a cluster; the draws follow one another in a fixed order, so figures recorded earlier stay comparable."""
    rnd = random.Random(f"{hosts}x{vms}/{seed}/{het}/{drain}")  # noqa: S311  # nothing secret
    guests = [_guest(rnd, number) for number in range(vms)]
    machines = _machines(guests, hosts, drain, het=het)
    for number in rnd.sample(range(hosts), drain):
        machines[number]["drain"] = True
    _group(rnd, guests, hosts - drain)
    _Placing(rnd, machines, guests).place_all()
    return {"vcpu_ratio": VCPU_RATIO, "hosts": machines, "vms": guests}


def _guest(rnd: random.Random, number: int) -> Entry:
    gib = rnd.choices(MEMORY_SIZES, MEMORY_WEIGHTS)[0]
    usual = {1: 1, 2: 1, 4: 2, 8: 4, 16: 4, 32: 8, 64: 16}[gib]
    vcpus = max(1, min(16, usual * rnd.choice([1, 1, 1, 2]) // rnd.choice([1, 1, 1, 2])))
    busy = rnd.uniform(0.75, 1.0) if rnd.random() < 0.05 else rnd.betavariate(0.6, 3.0)
    cpu = round(vcpus * busy, 4)
    return {
        "name": f"vm{number:05d}",
        "mem": gib * 1024,
        "vcpus": vcpus,
        "cpu": cpu,
        "aa": None,
        "host": None,
    }


def _machines(guests: list[Entry], count: int, drain: int, *, het: bool) -> list[Entry]:
    """Size hosts so that, once the drained ones are empty, memory is 60–80 % used and CPU under 50 %."""
    memory_each = sum(guest["mem"] for guest in guests) / (count - drain)
    cpu_each = sum(guest["cpu"] for guest in guests) / (count - drain)
    sizes = (64, 96, 128, 192, 256, 384, 512, 768, 1024)
    memory = next(size for size in sizes if size * 1024 * 0.80 >= memory_each) * 1024
    cores = next(size for size in (8, 16, 24, 32, 48, 64, 96) if size * 0.50 >= cpu_each)
    factors = [2 if het and number % 3 == 2 else 1 for number in range(count)]
    return [
        {
            "name": f"h{number:03d}",
            "mem": memory * factor,
            "reserve": 4096,
            "cores": cores * factor,
            "drain": False,
        }
        for number, factor in enumerate(factors)
    ]


def _group(rnd: random.Random, guests: list[Entry], usable: int) -> None:
    """Put about 12 % of the guests in anti-affinity groups of two to five."""
    order = list(range(len(guests)))
    rnd.shuffle(order)
    start = group = 0
    while start < len(guests) * 0.12:
        size = min(rnd.choice([2, 2, 3, 3, 4, 5]), usable)
        for number in order[start : start + size]:
            guests[number]["aa"] = f"g{group:04d}"
        start += size
        group += 1


class _Placing:
    """A skewed start: some hosts crowded to about 96 % of their memory, some nearly empty."""

    def __init__(self, rnd: random.Random, machines: list[Entry], guests: list[Entry]) -> None:
        self.rnd, self.machines, self.guests = rnd, machines, guests
        count = len(machines)
        self.weight = [rnd.lognormvariate(0, 0.5) for _ in machines]
        self.crowded = set(rnd.sample(range(count), max(1, count * 15 // 100)))
        rest = [number for number in range(count) if number not in self.crowded]
        for number in self.crowded:
            self.weight[number] *= 12
        for number in set(rnd.sample(rest, max(1, count * 15 // 100))):
            self.weight[number] *= 0.10
        self.mem, self.vcpus, self.cpu = [0] * count, [0] * count, [0.0] * count
        self.groups: list[set[str]] = [set() for _ in machines]

    def place_all(self) -> None:
        large_first = sorted(
            self.guests, key=lambda guest: -guest["mem"] * self.rnd.uniform(0.4, 1)
        )
        for guest in large_first:
            self._place(guest)

    def _place(self, guest: Entry) -> None:
        fitting = self._fitting(guest)
        if guest["aa"]:
            fitting = self._apart(guest, fitting)
        number = self.rnd.choices(
            fitting, [self.weight[i] * self.machines[i]["cores"] for i in fitting]
        )[0]
        guest["host"] = self.machines[number]["name"]
        self.mem[number] += guest["mem"]
        self.vcpus[number] += guest["vcpus"]
        self.cpu[number] += guest["cpu"]
        if guest["aa"]:
            self.groups[number].add(guest["aa"])

    def _fitting(self, guest: Entry) -> list[int]:
        for strict in (True, False):
            numbers = [i for i in range(len(self.machines)) if self._fits(guest, i, strict=strict)]
            if numbers:
                return numbers
        raise SystemExit(f"No host has room for {guest['name']}; ask for more hosts or fewer VMs.")

    def _fits(self, guest: Entry, number: int, *, strict: bool) -> bool:
        machine = self.machines[number]
        room = machine["mem"] - machine["reserve"]
        memory = room * (0.97 if number in self.crowded else 0.88) if strict else room - 1
        return bool(
            self.mem[number] + guest["mem"] <= memory
            and self.vcpus[number] + guest["vcpus"] <= VCPU_RATIO * machine["cores"]
            and self.cpu[number] + guest["cpu"] <= machine["cores"] * (1.0 if strict else 1.3)
        )

    def _apart(self, guest: Entry, fitting: list[int]) -> list[int]:
        """Keep groups apart, except for a few that start broken on purpose."""
        clean = [i for i in fitting if guest["aa"] not in self.groups[i]]
        broken = [i for i in fitting if guest["aa"] in self.groups[i]]
        if broken and self.rnd.random() < (0.35 if len(self.guests) <= 300 else 0.05):
            return broken
        return clean or fitting


def htools_text(cluster: Entry, *, muted: bool) -> str:
    """Answer the cluster as `hbal -t` reads it (fields: see ganeti's htools text backend)."""
    used: dict[str, int] = {machine["name"]: 0 for machine in cluster["hosts"]}
    for guest in cluster["vms"]:
        used[guest["host"]] += guest["mem"]
    lines = ["default|g0|preferred||", ""]
    for machine in cluster["hosts"]:
        free = machine["mem"] - machine["reserve"] - used[machine["name"]]
        lines.append(
            f"{machine['name']}|{machine['mem']}|{machine['reserve']}|{free}|1000000|1000000|{machine['cores']}|"
            f"{'Y' if machine['drain'] else 'N'}|g0|1||N|0|0|{'1000000000.0' if muted else '1.0'}"
        )
    lines.append("")
    for guest in cluster["vms"]:
        tag = f"aa:{guest['aa']}" if guest["aa"] else ""
        lines.append(
            f"{guest['name']}|{guest['mem']}|10240|{guest['vcpus']}|running|Y|{guest['host']}||ext|{tag}|1|-|N"
        )
    ratio = f"{cluster['vcpu_ratio']:.1f}"
    policy = f"128,1,1024,1,1,1|128,1,1024,1,1,1;1048576,64,104857600,16,8,12|drbd,plain,ext,rbd,sharedfile|{ratio}|32.0"
    lines += ["", "htools:iextags:aa", "", "|" + policy, "default|" + policy]
    return "\n".join(lines) + "\n"


def htools_load(cluster: Entry) -> str:
    """Answer CPU load as `hbal -U` reads it: in shares of the smallest host, for hbal never divides by capacity."""
    smallest = min(machine["cores"] for machine in cluster["hosts"])
    return "".join(
        f"{guest['name']} {guest['cpu'] / smallest:.8f} 0 0 0\n" for guest in cluster["vms"]
    )


def write(cluster: Entry, prefix: Path) -> None:
    """Write all four files beside one another."""
    for ending, text in (
        (".json", json.dumps(cluster)),
        (".txt", htools_text(cluster, muted=False)),
        (".muted.txt", htools_text(cluster, muted=True)),
        (".util", htools_load(cluster)),
    ):
        prefix.with_name(prefix.name + ending).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("hosts", type=int)
    parser.add_argument("vms", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--het", action="store_true")
    parser.add_argument("--drain", type=int, default=2)
    parser.add_argument("-o", required=True, type=Path)
    asked = parser.parse_args()
    write(
        generate(asked.hosts, asked.vms, seed=asked.seed, het=asked.het, drain=asked.drain), asked.o
    )
