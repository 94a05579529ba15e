"""A host dies; two people agree; its VMs run again elsewhere, each once, watched from outside 20 times a second."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from lab import Guest, Lab
from lab.bmc import PASSWORD, Bmcs
from lab.sshd import serve
from tests.e2e.dead_host import (
    AUTOMATIC,
    OFTEN,
    Watcher,
    begun,
    bot_on,
    bound,
    heal,
    heard_again,
    knows,
    pings,
    silent,
)
from tests.waiting import until

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def site() -> Iterator[tuple[Lab, Bmcs]]:
    with Lab(hosts=3) as lab, Bmcs(lab) as served:
        yield lab, served


SLOW = pytest.mark.slow
"""The shortest failover runs every time; what happens around one runs with ``--slow``."""


def has_booted_again(guest: Guest) -> bool:
    """Whether it came up twice."""
    return guest.boots() == 2


def test_l1_l12_l15_a_frozen_hosts_vm_runs_again_elsewhere_once(
    site: tuple[Lab, Bmcs], tmp_path: Path
) -> None:
    """Nothing but the failover itself; its VM is not waited for any more once QEMU runs."""
    lab, served = site
    name = "once-1"
    guest = lab.guest(name, host="host-a")
    ordered = len(served.orders("host-a"))
    try:
        with (
            bot_on(site, tmp_path, more=OFTEN) as stage,
            Watcher(lab, [name]) as watcher,
        ):
            knows(stage, guest)
            lab.freeze("host-a")
            silent(stage, "host-a")
            stage.asks("host failover host-a")
            proposal = stage.proposal("Switch host-a off and start 1 VM")
            assert "no sign of life" in proposal.plain()
            stage.approves("bruno", proposal)
            assert len(served.orders("host-a")) == ordered  # L26
            stage.approves("carla", proposal)
            stage.ended("Done:", proposal, 120)
            assert served.orders("host-a")[ordered:] == ("ForceOff",)
            assert not lab.is_on("host-a")
            (host,) = lab.where(name)
            assert host != "host-a"
            assert watcher.looks > 20
            assert watcher.twice == []
        assert not tells_the_password(tmp_path)  # L25
    finally:
        heal(lab, served, name)


def tells_the_password(directory: Path) -> bool:
    """Whether anything that a bot wrote here, but for the file it is read from, holds the controllers' password."""
    files = [each for each in directory.rglob("*") if each.is_file()]
    written = b"".join(each.read_bytes() for each in files if each.name != "bmc-password")
    assert b"ConfirmOff" in written
    return PASSWORD.encode() in written


@SLOW
@pytest.mark.parametrize("death", ["power cut", "frozen"])
def test_l1_l14_l15_a_dead_hosts_vms_run_again_elsewhere_each_once(
    site: tuple[Lab, Bmcs], tmp_path: Path, death: str
) -> None:
    """Of the frozen one the bot is killed, too, just before it can prove the host off."""
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
            if death == "frozen":
                until(lambda: begun(stage, "ConfirmOff"), "it is being confirmed")
                stage.bot.kill()
                stage.bot.start()
                stage.workspace.wait_connected()
            stage.ended("Done:", proposal, 180)
            assert not lab.is_on("host-a")
            for guest in (first, last):
                (host,) = lab.where(guest.name)
                assert host != "host-a"
                until(partial(has_booted_again, guest), f"{guest.name} boots again")
            orders = served.orders("host-a")[ordered:]
            assert orders == (("ForceOff",) if death == "frozen" else ())  # L12
            lab.power_on("host-a")
            until(lambda: lab.is_on("host-a"), "host-a is on")
            until(lambda: heard_again(stage, "host-a"), "the bot hears host-a again")
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


@SLOW
@pytest.mark.parametrize("after", ["HoldHost", "ConfirmOff", "RestartVm"])
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
            until(lambda: begun(stage, after), f"{after} has begun")
            stage.bot.kill()
            stage.bot.start()
            stage.workspace.wait_connected()
            stage.ended("Done:", proposal, 180)
            (host,) = lab.where(name)
            assert host != "host-a"
            until(lambda: guest.boots() == 2, f"{name} boots again")
            assert set(served.orders("host-a")[ordered:]) == {"ForceOff"}
            assert not lab.is_on("host-a")
            assert watcher.twice == []
    finally:
        heal(lab, served, name)


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
            until(lambda: bound(stage, "host-a"), "the controller is bound")
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


# On a very busy machine the shells of the other hosts are late, and people are asked instead.
@pytest.mark.slow
def test_by_itself_when_two_kinds_of_witnesses_hear_nothing_and_the_rules_say_so(
    site: tuple[Lab, Bmcs], tmp_path: Path
) -> None:
    """Shells on all hosts: other hosts ping the dead one. The default times are kept."""
    lab, served = site
    guest = lab.guest("self-1", host="host-a")
    before = pings(lab, "host-a")
    doors = {name: serve(lab, name) for name in lab.hosts}
    ordered = len(served.orders("host-a"))
    try:
        with (
            bot_on(
                site, tmp_path, doors, policy=AUTOMATIC, mode="auto", silence=45, confirm_every=3
            ) as stage,
            Watcher(lab, ["self-1"]) as watcher,
        ):
            knows(stage, guest)
            until(lambda: bound(stage, "host-a"), "the controller is bound")
            until(lambda: pings(lab, "host-a") >= before + 4, "both other hosts hear it", 60)
            lab.freeze("host-a")
            lab.cut_network("host-a")
            shown = stage.message("#approvals", "Done:", "Switch host-a off", timeout=240)
            assert "Approve?" not in shown.plain()
            (host,) = lab.where("self-1")
            assert host != "host-a"
            assert served.orders("host-a")[ordered:] == ("ForceOff",)
            until(lambda: guest.boots() == 2, "it boots again")
            assert watcher.twice == []
    finally:
        lab.heal_network("host-a")
        heal(lab, served, "self-1")
