"""A host dies; two people agree; its VMs run again elsewhere, each once, watched from outside 20 times a second."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Self

import pytest

from bot.adapters.slack.manifest import manifest
from bot.stage import PACE, hosts_for
from lab import Guest, Lab
from lab.bmc import PASSWORD, USER, Bmcs
from lab.slack import Workspace
from lab.sshd import Door, serve
from tests.e2e.play import Play, play
from tests.waiting import until

pytestmark = pytest.mark.lab

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
SETTINGS = {
    "silence": 10,
    "start_cooldown": 0,
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


@pytest.fixture(scope="module")
def site() -> Iterator[tuple[Lab, Bmcs]]:
    with Lab(hosts=3) as lab, Bmcs(lab) as served:
        yield lab, served


@contextmanager
def bot_on(
    site: tuple[Lab, Bmcs],
    directory: Path,
    doors: dict[str, Door] | None = None,
    policy: Mapping[str, Any] = POLICY,
    **settings: Any,
) -> Iterator[Play]:
    """A bot that has the hosts' power controllers, and knows whose they are."""
    lab, served = site
    secret = directory / "bmc"
    secret.write_text(PASSWORD)
    secret.chmod(0o600)
    hosts = hosts_for(lab, doors or {})
    for host in hosts:
        name = host["name"]
        options = {
            "url": served.url,
            "ca_file": str(served.certificate),
            "system": served.system(name),
            "username": USER,
        }
        host["fence"] = [
            {
                "agent": "redfish",
                "name": f"bmc-{name}",
                "password_file": str(secret),
                "deadline": 6,
                "options": options,
            }
        ]
    plugins = {
        "enabled": ["host_check", "vm_lifecycle", "migrate", "monitor", "failover"],
        "failover": {**SETTINGS, **settings},
    }
    with Workspace(manifest=manifest(), pace=PACE) as workspace:
        more = {"plugins": plugins, "policy": policy, "monitor": {"every": 5}}
        made = play(lab, workspace, directory, hosts=hosts, **more)
        with made.bot:
            workspace.wait_connected()
            yield made


def knows(stage: Play, *guests: Guest) -> None:
    """Wait until the definitions of the VMs are kept."""
    for guest in guests:
        until(lambda guest=guest: _kept(stage, guest.name), f"{guest.name} is kept", 60)


def _kept(stage: Play, name: str) -> bool:
    with closing(sqlite3.connect(stage.bot.config.with_name("drover.sqlite"))) as database:
        rows = database.execute("select data from definitions").fetchall()
    return any(f'"name":"{name}"' in data for (data,) in rows)


def heard_again(stage: Play, host: str) -> bool:
    """Whether the bot's own alert that the host does not answer is over."""
    with closing(sqlite3.connect(stage.bot.config.with_name("drover.sqlite"))) as database:
        rows = database.execute("select text from notes where key = ?", (f"incident:host:{host}",))
        return any(json.loads(text)["over_at"] for (text,) in rows.fetchall())


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


SLOW = pytest.mark.slow
"""Of each kind one case runs every time; its neighbours run with ``--slow``."""


@pytest.mark.parametrize("death", [pytest.param("power cut", marks=SLOW), "frozen"])
def test_l1_l14_l15_a_dead_hosts_vms_run_again_elsewhere_each_once(
    site: tuple[Lab, Bmcs], tmp_path: Path, death: str
) -> None:
    lab, served = site
    names = [each + death[-3:] for each in ("db", "web")]
    first = lab.guest(names[0], host="host-a", tags={"failover": "first"})
    last = lab.guest(names[1], host="host-a", tags={"failover": "last"})
    ordered = len(served.orders("host-a"))
    try:
        with bot_on(site, tmp_path) as stage, Watcher(lab, names) as watcher:
            knows(stage, first, last)
            lab.power_off("host-a") if death == "power cut" else lab.freeze("host-a")
            silent(stage, "host-a")
            stage.asks("host failover host-a")
            proposal = stage.proposal("Switch host-a off and start 2 VMs")
            assert "no sign of life" in proposal.plain()
            stage.approves("bruno", proposal)
            assert len(served.orders("host-a")) == ordered  # L26
            stage.approves("carla", proposal)
            stage.ended("Done:", proposal, 180)
            assert not lab.is_on("host-a")
            for guest in (first, last):
                (host,) = lab.where(guest.name)
                assert host != "host-a"
                until(lambda guest=guest: guest.boots() == 2, f"{guest.name} boots again", 60)
            orders = served.orders("host-a")[ordered:]
            assert orders == (("ForceOff",) if death == "frozen" else ())  # L12
            lab.power_on("host-a")
            until(lambda: lab.is_on("host-a"), "host-a is on")
            until(lambda: heard_again(stage, "host-a"), "the bot hears host-a again", 90)
            stage.asks("host readmit host-a")
            back = stage.proposal("Admit host-a again")
            stage.approves("bruno", back)
            stage.approves("carla", back)
            stage.ended("Done:", back, 60)
            assert all(name not in lab.virsh("host-a", "list", "--all", "--name") for name in names)
            assert watcher.looks > 20
            assert watcher.twice == []
    finally:
        heal(lab, served, *names)


@pytest.mark.parametrize(
    "after",
    [pytest.param("HoldHost", marks=SLOW), "ConfirmOff", pytest.param("RestartVm", marks=SLOW)],
)
def test_l5_l13_l15_a_bot_killed_in_a_failover_goes_on_where_it_was(
    site: tuple[Lab, Bmcs], tmp_path: Path, after: str
) -> None:
    """The bot is killed once a step of this kind has begun, and started again."""
    lab, served = site
    name = f"crash-{after.lower()}"
    guest = lab.guest(name, host="host-a")
    ordered = len(served.orders("host-a"))
    try:
        with bot_on(site, tmp_path) as stage, Watcher(lab, [name]) as watcher:
            knows(stage, guest)
            lab.freeze("host-a")
            silent(stage, "host-a")
            stage.asks("host failover host-a")
            proposal = stage.proposal("Switch host-a off and start 1 VM")
            stage.approves("bruno", proposal)
            stage.approves("carla", proposal)
            until(lambda: begun(stage, after), f"{after} has begun", 60)
            stage.bot.kill()
            stage.bot.start()
            stage.workspace.wait_connected()
            stage.ended("Done:", proposal, 180)
            (host,) = lab.where(name)
            assert host != "host-a"
            until(lambda: guest.boots() == 2, f"{name} boots again", 60)
            assert set(served.orders("host-a")[ordered:]) == {"ForceOff"}
            assert not lab.is_on("host-a")
            assert watcher.twice == []
    finally:
        heal(lab, served, name)


def begun(stage: Play, kind: str) -> bool:
    """Whether a step of this kind of the first operation has begun."""
    with closing(sqlite3.connect(stage.bot.config.with_name("drover.sqlite"))) as database:
        stored = database.execute("select kind, data from events order by seq").fetchall()
    steps = [json.loads(data)["plan"]["steps"] for what, data in stored if what == "Proposed"]
    started = [json.loads(data)["index"] for what, data in stored if what == "StepBegan"]
    return any(steps[0][index]["is"] == kind for index in started)


@SLOW
@pytest.mark.parametrize("fault", ["idle", "dead", "wrong-machine"])
def test_l2_l3_l7_a_controller_that_fails_starts_nothing(
    site: tuple[Lab, Bmcs], tmp_path: Path, fault: str
) -> None:
    """A frozen host whose controller takes orders and does nothing, is dead, or is another host's."""
    lab, served = site
    name = f"bad-{fault[:4]}"
    guest = lab.guest(name, host="host-a")
    try:
        with bot_on(site, tmp_path) as stage, Watcher(lab, [name]) as watcher:
            knows(stage, guest)
            until(lambda: bound(stage, "host-a"), "the controller is bound", 60)
            lab.freeze("host-a")
            silent(stage, "host-a")
            stage.asks("host failover host-a")
            proposal = stage.proposal("Switch host-a off and start 1 VM")
            served.fault("host-a", fault)
            stage.approves("bruno", proposal)
            stage.approves("carla", proposal)
            shown = stage.workspace.wait_message(
                "#approvals",
                lambda each: (
                    each.ts == proposal.ts
                    and any(word in each.plain().lower() for word in ("failed:", "not done,"))
                ),
                120,
            )
            assert "Done:" not in shown.plain()
            assert all(lab.is_on(host) for host in lab.hosts)
            served.fault("host-a")
            lab.thaw("host-a")
            assert guest.boots() == 1
            assert lab.where(name) == ["host-a"]
            assert watcher.twice == []
    finally:
        heal(lab, served, name)


def bound(stage: Play, host: str) -> bool:
    """Whether the host's controller was shown to be its own."""
    with closing(sqlite3.connect(stage.bot.config.with_name("drover.sqlite"))) as database:
        rows = database.execute("select data from bonds where host = ?", (host,)).fetchall()
    return any(json.loads(data)["by"] == "uuid" for (data,) in rows)


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


# On a busy machine the shells of the other hosts are late, and people are asked instead.
@pytest.mark.slow
def test_by_itself_when_two_kinds_of_witnesses_hear_nothing_and_the_rules_say_so(
    site: tuple[Lab, Bmcs], tmp_path: Path
) -> None:
    """Shells on all hosts: other hosts ping the dead one. The default times are kept."""
    lab, served = site
    guest = lab.guest("self-1", host="host-a")
    doors = {name: serve(lab, name) for name in lab.hosts}
    ordered = len(served.orders("host-a"))
    try:
        with (
            bot_on(
                site, tmp_path, doors, AUTOMATIC, mode="auto", silence=45, confirm_every=3
            ) as stage,
            Watcher(lab, ["self-1"]) as watcher,
        ):
            knows(stage, guest)
            until(lambda: bound(stage, "host-a"), "the controller is bound", 60)
            lab.freeze("host-a")
            lab.cut_network("host-a")
            shown = stage.message("#approvals", "Done:", "Switch host-a off", timeout=240)
            assert "Approve?" not in shown.plain()
            (host,) = lab.where("self-1")
            assert host != "host-a"
            assert served.orders("host-a")[ordered:] == ("ForceOff",)
            until(lambda: guest.boots() == 2, "it boots again", 60)
            assert watcher.twice == []
    finally:
        lab.heal_network("host-a")
        heal(lab, served, "self-1")
