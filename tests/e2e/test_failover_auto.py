"""Failover by itself on real hosts, with the guard in their libvirt: what returns, and what happens twice in a day."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import Lab
from lab.bmc import Bmcs
from lab.errors import LabError
from lab.sshd import serve
from plugins.failover import guard
from tests.e2e.dead_host import (
    AUTOMATIC,
    OFTEN,
    Watcher,
    admitted,
    boot_kept,
    bot_on,
    bound,
    heal,
    heard_again,
    knows,
    pings,
    put_guard,
)
from tests.e2e.play import Play
from tests.waiting import until

# Each waits for several bounded things one after the other, on a machine that may be busy.
pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def site() -> Iterator[tuple[Lab, Bmcs]]:
    with Lab(hosts=3) as lab, Bmcs(lab) as served:
        for host in lab.hosts:
            put_guard(lab, host)
        yield lab, served


def test_auto_and_guard_a_returned_host_starts_no_old_copy_and_a_second_death_is_peoples(
    site: tuple[Lab, Bmcs], tmp_path: Path
) -> None:
    """By itself once (G28: not twice in a day), and never around the guard of a host that was not admitted."""
    lab, served = site
    admit_by_hand(lab)
    guest = lab.guest("own-1", host="host-a", tags={"failover.autostart": "on"})
    before = pings(lab, "host-a")
    doors = {name: serve(lab, name) for name in lab.hosts}
    ordered = len(served.orders("host-a"))
    try:
        with (
            bot_on(
                site, tmp_path, doors, policy=AUTOMATIC, more=OFTEN, mode="auto", silence=20
            ) as stage,
            Watcher(lab, ["own-1"]) as watcher,
        ):
            knows(stage, guest)
            until(lambda: bound(stage, "host-a"), "the controller is bound", 60)
            until(lambda: pings(lab, "host-a") >= before + 4, "both other hosts hear it", 60)
            dies(lab, "host-a")
            shown = stage.message("#approvals", "Done:", "Switch host-a off", timeout=240)
            assert "Approve?" not in shown.plain()
            (host,) = lab.where("own-1")
            assert host != "host-a"
            until(lambda: guest.boots() == 2, "it boots again", 60)
            returns(lab, "host-a")
            with pytest.raises(LabError, match="own-1 may run elsewhere"):
                lab.virsh("host-a", "start", "own-1")
            until(lambda: heard_again(stage, "host-a"), "the bot hears host-a again", 90)
            assert not admitted(lab, "host-a")
            readmit(stage)
            until(lambda: admitted(lab, "host-a"), "host-a is admitted again", 90)
            assert (lab.where("own-1"), guest.boots()) == ([host], 2)
            moved = lab.guest("own-2", host="host-a", tags={"failover.autostart": "on"})
            knows(stage, moved)
            dies(lab, "host-a")
            asked = stage.proposal("Switch host-a off and start 1 VM", timeout=240)
            assert lab.where("own-2") == []
            stage.approves("bruno", asked)
            stage.approves("carla", asked)
            stage.ended("Done:", asked, 180)
            assert len(lab.where("own-2")) == 1
            assert set(served.orders("host-a")[ordered:]) <= {"ForceOff"}
            assert watcher.twice == []
    finally:
        heal(lab, served, "own-1", "own-2")


def test_auto_and_guard_a_host_that_starts_anew_at_once_gets_its_vms_back_by_itself(
    site: tuple[Lab, Bmcs], tmp_path: Path
) -> None:
    """It is back before its silence means death: its guard admits it, and its VMs start there."""
    lab, served = site
    admit_by_hand(lab)
    guest = lab.guest("back-1", host="host-a", tags={"failover.autostart": "on"})
    doors = {name: serve(lab, name) for name in lab.hosts}
    policy = {"rules": [RESUME, *AUTOMATIC["rules"]]}
    try:
        with (
            bot_on(
                site, tmp_path, doors, policy=policy, more=OFTEN, mode="auto", silence=600
            ) as stage,
            Watcher(lab, ["back-1"]) as watcher,
        ):
            knows(stage, guest)
            until(lambda: boot_kept(stage, "host-a"), "its boot id is kept", 90)
            dies(lab, "host-a")
            returns(lab, "host-a")
            shown = stage.message("#approvals", "Done:", "Start the VMs of host-a", timeout=240)
            assert "Approve?" not in shown.plain()
            assert lab.where("back-1") == ["host-a"]
            until(lambda: guest.boots() == 2, "it boots again", 60)
            assert admitted(lab, "host-a")
            assert watcher.twice == []
    finally:
        heal(lab, served, "back-1")


RESUME = {
    "name": "a host that has started anew gets its VMs back",
    "commands": ["host resume"],
    "automatic": True,
    "votes": 0,
    "approvers": ["approver"],
    "expires": "1h",
}


def admit_by_hand(lab: Lab) -> None:
    """As the guard says, before there is a bot."""
    for host in lab.hosts:
        lab.run(host, "cp", "/proc/sys/kernel/random/boot_id", guard.ADMITTED)


def dies(lab: Lab, host: str) -> None:
    """The host loses its power, and nothing tells anybody."""
    lab.cut_network(host)
    lab.power_off(host)


def returns(lab: Lab, host: str) -> None:
    """It gets power again, with its guard and its door."""
    lab.power_on(host)
    serve(lab, host)


def readmit(stage: Play) -> None:
    """By two people."""
    stage.asks("host readmit host-a")
    back = stage.proposal("Admit host-a again")
    stage.approves("bruno", back)
    stage.approves("carla", back)
    stage.ended("Done:", back, 60)
