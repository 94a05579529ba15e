"""A bot whose hosts have power controllers, and one of them dies: what the tests of failover share."""

from __future__ import annotations

import json
import threading
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Self

import sqlalchemy as sa

from bot.adapters.slack.manifest import manifest
from bot.stage import PACE, hosts_for, with_power
from lab import Guest, Lab
from lab.bmc import Bmcs
from lab.slack import Workspace
from lab.slack.shown import Message
from lab.sshd import Door
from plugins.failover import guard
from tests.e2e.play import Play, play
from tests.waiting import until

POLICY = {
    "rules": [
        {
            "name": "careful",
            "risks": ["high"],
            "votes": 2,
            "approvers": ["approver"],
            "expires": "1h",
        },
        {"name": "default", "votes": 1, "approvers": ["approver"], "expires": "1h"},
    ]
}
NO_TABLES: Mapping[str, Any] = {}
OFTEN = {"monitor": {"every": 2, "inventory_every": 2}}
"""Three looks, in all of which a dead host is silent, take less time."""
SETTINGS = {
    "silence": 10,
    "start_cooldown": 0,
    "storm_cooldown": 15,  # on a busy machine all hosts are late now and then
    "confirm_every": 1,
    "mode": "alert",
    "fence_patience": 20,
}


class Watcher:
    """Looks 20 times a second, without libvirt, where QEMU processes of VMs are."""

    def __init__(self, lab: Lab, names: list[str]) -> None:
        self._lab, self._names = lab, names
        self._end = threading.Event()
        self.twice: list[tuple[str, list[str]]] = []
        self.looks = 0
        self._thread = threading.Thread(target=self._look, daemon=True)

    def _look(self) -> None:
        while not self._end.wait(0.05):
            for name in self._names:
                found = self._lab.where(name)
                if len(found) > 1:
                    self.twice.append((name, found))
            self.looks += 1

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()


@contextmanager
def bot_on(
    site: tuple[Lab, Bmcs],
    directory: Path,
    doors: dict[str, Door] | None = None,
    *,
    policy: Mapping[str, Any] = POLICY,
    deadline: float = 6,
    more: Mapping[str, Any] = NO_TABLES,
    also: tuple[str, ...] = (),
    reserve: Mapping[str, int] = NO_TABLES,
    **settings: Any,
) -> Iterator[Play]:
    """A bot that has the hosts' power controllers, and knows whose they are.

    ``deadline`` of a controller's answer in seconds; ``more``: whole tables of its configuration;
    ``also``: more plugins; ``reserve``: bytes of memory that are kept free on each host;
    ``settings`` of the plugin.
    """
    lab, served = site
    hosts = with_power(hosts_for(lab, doors or {}), served, directory, deadline)
    for each in hosts:
        each["reserve"] = reserve.get(each["name"], 0)
    plugins = {
        "enabled": ["host_check", "vm_lifecycle", "migrate", "monitor", "failover", *also],
        "failover": {**SETTINGS, **settings},
    }
    with Workspace(manifest=manifest(), pace=PACE) as workspace:
        tables = {"plugins": plugins, "policy": policy, "monitor": {"every": 5}, **more}
        made = play(lab, workspace, directory, hosts=hosts, **tables)
        with made.bot:
            workspace.wait_connected()
            yield made


def knows(stage: Play, *guests: Guest) -> None:
    """Wait until the definitions of the VMs are kept."""
    for guest in guests:
        until(partial(_kept, stage, guest.name), f"{guest.name} is kept")


def rows(stage: Play, query: str, **values: str) -> list[tuple[Any, ...]]:
    """What the bot's database answers."""
    url = tomllib.loads(stage.bot.config.read_text())["database"]["url"]
    engine = sa.create_engine(url)
    try:
        with engine.connect() as connection:
            return [tuple(row) for row in connection.execute(sa.text(query), values)]
    finally:
        engine.dispose()


def _kept(stage: Play, name: str) -> bool:
    found = rows(stage, "select data from definitions")
    return any(f'"name":"{name}"' in data for (data,) in found)


def heard_again(stage: Play, host: str) -> bool:
    """Whether the bot's own alert that the host does not answer is over."""
    found = rows(stage, "select text from notes where key = :key", key=f"incident:host:{host}")
    return any(json.loads(text)["over_at"] for (text,) in found)


def pings(lab: Lab, host: str) -> int:
    """How many pings the host has received since its last start.

    The bot lets each other host send two once it hears them all; only then their silence counts.
    """
    names, values = (
        line.split()[1:]
        for line in lab.run(host, "cat", "/proc/net/snmp").splitlines()
        if line.startswith("Icmp:")
    )
    return int(dict(zip(names, values, strict=True))["InEchos"])


def approved_failover(stage: Play, what: str, host: str = "host-a") -> Message:
    """Asked for by one person and approved by two."""
    stage.asks(f"host failover {host}")
    proposal = stage.proposal(what)
    stage.approves("bruno", proposal)
    stage.approves("carla", proposal)
    return proposal


def silent(stage: Play, host: str) -> None:
    """Wait until the bot takes the host's silence for death."""
    stage.message("#ops", f"{host} is dead", timeout=120)


def heal(lab: Lab, served: Bmcs, *names: str) -> None:
    """All hosts on and well, without these VMs."""
    for host in lab.hosts:
        served.fault(host)
        if not lab.is_on(host):
            lab.power_on(host)
        lab.thaw(host)
    for host in lab.hosts:
        for name in names:
            lab.virsh(host, "destroy", name, check=False)
            lab.virsh(host, "undefine", name, "--managed-save", check=False)


def begun(stage: Play, kind: str) -> bool:
    """Whether a step of this kind of the newest operation has begun."""
    stored = rows(stage, "select operation, kind, data from events order by position")
    newest = max((number for number, _, _ in stored), default=0)
    mine = [(what, json.loads(data)) for number, what, data in stored if number == newest]
    steps: list[dict[str, Any]] = next(
        (data["plan"]["steps"] for what, data in mine if what == "Proposed"), []
    )
    return any(steps[data["index"]]["is"] == kind for what, data in mine if what == "StepBegan")


def starts(stage: Play) -> dict[str, str]:
    """Where the plan of the newest operation starts each VM."""
    ((data,),) = rows(
        stage, "select data from events where kind = 'Proposed' order by position desc limit 1"
    )
    steps = json.loads(data)["plan"]["steps"]
    return {each["name"]: each["target"] for each in steps if each["is"] == "RestartVm"}


def bound(stage: Play, host: str) -> bool:
    """Whether the host's controller was shown to be its own."""
    found = rows(stage, "select data from bonds where host = :host", host=host)
    return any(json.loads(data)["by"] == "uuid" for (data,) in found)


def boot_kept(stage: Play, host: str) -> bool:
    """Whether the host's boot id is in the database."""
    found = rows(stage, "select data from last_seen where host = :host", host=host)
    return any(json.loads(data)["boot"] for (data,) in found)


def put_guard(lab: Lab, host: str) -> None:
    """The hook on a host, whose daemon then finds it."""
    hook = lab.hosts[host].directory / "etc" / "hooks" / "qemu.d" / "drover"
    hook.parent.mkdir(parents=True)
    hook.write_text(guard.SCRIPT)
    hook.chmod(0o755)
    lab.kill_libvirtd(host)
    lab.start_libvirtd(host)


def admitted(lab: Lab, host: str) -> bool:
    """Whether its guard was told that the host is admitted since its last start."""
    mark = lab.run(host, "cat", guard.ADMITTED, check=False)
    return bool(mark) and mark == lab.run(host, "cat", "/proc/sys/kernel/random/boot_id")


AUTOMATIC = {
    "rules": [
        {
            "name": "a dead host that its own controller proves off",
            "commands": ["host failover"],
            "automatic": True,
            "votes": 0,
            "approvers": ["approver"],
            "max_vms": 40,
            "expires": "1h",
        },
        *POLICY["rules"],
    ]
}
