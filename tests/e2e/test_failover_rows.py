"""More of what can happen around a host's death, on real hosts: silence that is none, words of people, moves, kills.

Whatever it is, no VM ever runs twice; that is watched from outside the bot 20 times a second.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.domain.errors import DroverError
from lab import Lab
from lab.bmc import Bmcs
from lab.sshd import serve
from tests.e2e.dead_host import (
    OFTEN,
    Watcher,
    approved_failover,
    bot_on,
    bound,
    heal,
    heard_again,
    knows,
    rows,
    silent,
)
from tests.e2e.dying import BEFORE
from tests.e2e.play import holds
from tests.waiting import until

# Each waits for several bounded things one after the other, on a machine that may be busy.
pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def site() -> Iterator[tuple[Lab, Bmcs]]:
    with Lab(hosts=3) as lab, Bmcs(lab) as served:
        yield lab, served


def test_g1_a_host_whose_libvirtd_was_killed_is_alive_and_stays_on(
    site: tuple[Lab, Bmcs], tmp_path: Path
) -> None:
    lab, served = site
    guest = lab.guest("deaf-1", host="host-a")
    doors = {name: serve(lab, name) for name in lab.hosts}
    ordered = len(served.orders("host-a"))
    try:
        with (
            bot_on(site, tmp_path, doors, more=OFTEN) as stage,
            Watcher(lab, ["deaf-1"]) as watcher,
        ):
            knows(stage, guest)
            until(lambda: bound(stage, "host-a"), "the controller is bound", 60)
            lab.kill_libvirtd("host-a")
            stage.message("#ops", "host-a lives: its shell answers", timeout=120)
            stage.asks("host failover host-a")
            stage.told("ana", "host-a lives: its shell answers", timeout=60)
            assert len(served.orders("host-a")) == ordered
            assert lab.where("deaf-1") == ["host-a"]
            assert guest.boots() == 1
            assert watcher.twice == []
    finally:
        if lab.hosts["host-a"].libvirtd_pid is None:
            lab.start_libvirtd("host-a")
        heal(lab, served, "deaf-1")


def test_g5_when_no_host_answers_it_is_the_bots_own_trouble(
    site: tuple[Lab, Bmcs], tmp_path: Path
) -> None:
    """All three are silent, and all three live on."""
    lab, served = site
    guest = lab.guest("all-1", host="host-a")
    ordered = {host: len(served.orders(host)) for host in lab.hosts}
    try:
        with bot_on(site, tmp_path, more=OFTEN) as stage, Watcher(lab, ["all-1"]) as watcher:
            knows(stage, guest)
            for host in lab.hosts:
                lab.freeze(host)
            stage.message("#ops", "3 of 3 hosts do not answer", timeout=120)
            stage.asks("host failover host-a")
            stage.told("ana", "more likely Drover's own network", timeout=60)
            for host in lab.hosts:
                lab.thaw(host)
            assert {host: len(served.orders(host)) for host in lab.hosts} == ordered
            assert guest.boots() == 1
            assert watcher.twice == []
    finally:
        heal(lab, served, "all-1")


def test_l1_l15_a_host_that_is_cut_off_and_lives_is_switched_off_before_its_vm_starts(
    site: tuple[Lab, Bmcs], tmp_path: Path
) -> None:
    """Its cables are out and its daemon hangs; QEMU lives, its disk out of reach, until its host loses power."""
    lab, served = site
    guest = lab.guest("cut-1", host="host-a")
    # The way of a test's SSH into host-a itself is no cable
    doors = {name: serve(lab, name) for name in ("host-b", "host-c")}
    ordered = len(served.orders("host-a"))
    try:
        with bot_on(site, tmp_path, doors, more=OFTEN) as stage, Watcher(lab, ["cut-1"]) as watcher:
            knows(stage, guest)
            until(lambda: bound(stage, "host-a"), "the controller is bound", 60)
            lab.cut_network("host-a")
            daemon = lab.hosts["host-a"].libvirtd_pid
            assert daemon is not None
            os.kill(daemon, signal.SIGSTOP)
            silent(stage, "host-a")
            assert lab.where("cut-1") == ["host-a"]
            proposal = approved_failover(stage, "Switch host-a off and start 1 VM")
            stage.ended("Done:", proposal, 180)
            assert served.orders("host-a")[ordered:] == ("ForceOff",)
            (host,) = lab.where("cut-1")
            assert host != "host-a"
            until(lambda: guest.boots() == 2, "it boots again", 60)
            assert watcher.looks > 20
            assert watcher.twice == []
    finally:
        lab.heal_network("host-a")
        heal(lab, served, "cut-1")


ONE_VOTE = {
    "rules": [{"name": "one", "votes": 1, "approvers": ["approver"], "expires": "1h"}],
}


def test_l6_where_host_and_controller_have_no_power_two_people_say_so(
    site: tuple[Lab, Bmcs], tmp_path: Path
) -> None:
    """The requester's own vote does not count; nothing is ordered."""
    lab, served = site
    guest = lab.guest("dark-1", host="host-a")
    ordered = len(served.orders("host-a"))
    try:
        with (
            bot_on(site, tmp_path, policy=ONE_VOTE, more=OFTEN) as stage,
            Watcher(lab, ["dark-1"]) as watcher,
        ):
            knows(stage, guest)
            until(lambda: bound(stage, "host-a"), "the controller is bound", 60)
            served.fault("host-a", "dead")
            lab.power_off("host-a")
            stage.message("#ops", "Neither host-a nor its power controller", timeout=180)
            stage.asks('host attest-off host-a --seen "its cables are burnt"', by="bruno")
            proposal = stage.proposal("by the word of two people")
            stage.approves("bruno", proposal)
            stage.told("bruno", "your vote does not count")
            assert lab.where("dark-1") == []
            stage.approves("carla", proposal)
            stage.ended("Done:", proposal, 180)
            (host,) = lab.where("dark-1")
            assert host != "host-a"
            assert len(served.orders("host-a")) == ordered
            assert watcher.twice == []
    finally:
        heal(lab, served, "dark-1")


def test_g23_a_vm_that_was_moved_by_hand_just_before_is_left_alone(
    site: tuple[Lab, Bmcs], tmp_path: Path
) -> None:
    lab, served = site
    names = ["gone-1", "stays-1"]
    moved, stays = (lab.guest(name, host="host-a") for name in names)
    try:
        with bot_on(site, tmp_path, more=OFTEN) as stage, Watcher(lab, ["stays-1"]) as watcher:
            knows(stage, moved, stays)
            until(lambda: bound(stage, "host-a"), "the controller is bound", 60)
            uri = f"qemu+tcp://{lab.hosts['host-b'].address}/system"
            how = ("--live", "--p2p", "--persistent", "--undefinesource")
            lab.virsh("host-a", "migrate", *how, moved.name, uri)
            lab.power_off("host-a")
            silent(stage, "host-a")
            proposal = approved_failover(stage, "Switch host-a off and start")
            stage.ended("Done:", proposal, 180)
            assert lab.where(moved.name) == ["host-b"]
            assert moved.boots() == 1
            (host,) = lab.where(stays.name)
            assert host != "host-a"
            assert watcher.twice == []
    finally:
        heal(lab, served, *names)


def test_l27_one_vm_is_killed_and_starts_elsewhere(site: tuple[Lab, Bmcs], tmp_path: Path) -> None:
    lab, served = site
    names = ["try-1", "by-1"]
    tried = lab.guest("try-1", host="host-a", tags={"failover.test": "on"})
    beside = lab.guest("by-1", host="host-a")
    ordered = len(served.orders("host-a"))
    try:
        with bot_on(site, tmp_path) as stage, Watcher(lab, names) as watcher:
            knows(stage, tried, beside)
            stage.asks("failover test-vm try-1")
            proposal = stage.proposal("Force off try-1 on host-a")
            stage.approves("bruno", proposal)
            stage.approves("carla", proposal)
            stage.ended("Done:", proposal, 60)
            (host,) = lab.where("try-1")
            assert host != "host-a"
            until(lambda: tried.boots() == 2, "it boots again", 60)
            assert "try-1" not in lab.virsh("host-a", "list", "--all", "--name").split()
            assert (lab.where("by-1"), beside.boots()) == (["host-a"], 1)
            assert len(served.orders("host-a")) == ordered
            assert watcher.twice == []
    finally:
        heal(lab, served, *names)


def test_l5_l13_l15_killed_after_every_event_of_a_failover(
    site: tuple[Lab, Bmcs], tmp_path: Path
) -> None:
    """In one and the same failover, from its beginning to its end.

    Before it has begun, a bot that has just started knows of no silence: it is proposed anew.
    """
    lab, served = site
    guest = lab.guest("often-1", host="host-a")
    ordered = len(served.orders("host-a"))
    deaths = 0
    try:
        with (
            bot_on(site, tmp_path, more=OFTEN, also=("tests.e2e.dying",)) as stage,
            Watcher(lab, ["often-1"]) as watcher,
        ):
            knows(stage, guest)
            until(lambda: bound(stage, "host-a"), "the controller is bound", 60)
            stage.bot.stop()
            stage.bot.start(DIE_AFTER="*")
            stage.workspace.wait_connected()
            lab.freeze("host-a")
            silent(stage, "host-a")
            proposal = approved_failover(stage, "Switch host-a off and start 1 VM")

            def revived_until_done() -> bool:
                nonlocal deaths
                if stage.bot.pid is None:
                    deaths += 1
                    with contextlib.suppress(DroverError):  # it died again before it ran
                        stage.bot.start(DIE_AFTER="*")
                shown = stage.workspace.messages("#approvals")
                return any(each.ts == proposal.ts and holds(each, "Done:") for each in shown)

            until(revived_until_done, "it is done", 400)
            events = rows(stage, "select kind from events")
            kinds = [kind for (kind,) in events if kind not in BEFORE]
            assert len(list(tmp_path.glob("died-*"))) == len(kinds) >= 10
            assert deaths >= 8
            assert set(served.orders("host-a")[ordered:]) == {"ForceOff"}
            (host,) = lab.where("often-1")
            assert host != "host-a"
            until(lambda: guest.boots() == 2, "it boots again", 60)
            assert watcher.twice == []
    finally:
        heal(lab, served, "often-1")


def test_g4_a_host_that_is_cut_off_and_whose_vm_works_on_stays_on(
    site: tuple[Lab, Bmcs], tmp_path: Path
) -> None:
    """To switch it off would end what works. Another host sees that its VM writes a disk that both reach."""
    lab, served = site
    guest = lab.guest("isle-1", host="host-a", disk=None, running=False)
    image = lab.directory / "isle-1.img"
    image.write_bytes(bytes(1 << 20))
    how = ("vda", "--config", "--targetbus", "virtio", "--subdriver", "raw")
    lab.virsh("host-a", "attach-disk", guest.name, str(image), *how)
    lab.virsh("host-a", "start", guest.name)
    until(lambda: guest.boots() == 1, "it is up", 60)
    doors = {name: serve(lab, name) for name in ("host-b", "host-c")}
    ordered = len(served.orders("host-a"))
    try:
        with bot_on(site, tmp_path, doors, more=OFTEN) as stage, Watcher(lab, [guest.name]) as seen:
            knows(stage, guest)
            until(lambda: bound(stage, "host-a"), "the controller is bound", 60)
            lab.cut_network("host-a")
            daemon = lab.hosts["host-a"].libvirtd_pid
            assert daemon is not None
            os.kill(daemon, signal.SIGSTOP)  # the bot's way to it is no cable
            stage.message("#ops", "host-a is cut off, but its VMs still work", timeout=120)
            stage.asks("host failover host-a")
            stage.told("ana", "host-a is cut off, but its VMs still work", timeout=60)
            assert len(served.orders("host-a")) == ordered
            assert (lab.where(guest.name), guest.boots()) == (["host-a"], 1)
            assert seen.twice == []
    finally:
        lab.heal_network("host-a")
        heal(lab, served, guest.name)


def test_g17_memory_saved_on_a_returned_host_is_removed_before_it_is_admitted(
    site: tuple[Lab, Bmcs], tmp_path: Path
) -> None:
    """People started the VM elsewhere meanwhile: a start from the old memory would spoil its disk."""
    lab, served = site
    names = ["kept-1", "lost-1"]
    saved, lost = (lab.guest(name, host="host-a") for name in names)
    definition = tmp_path / "kept-1.xml"
    definition.write_text(lab.virsh("host-a", "dumpxml", "--inactive", saved.name))
    lab.virsh("host-a", "managedsave", saved.name)
    try:
        with bot_on(site, tmp_path, more=OFTEN) as stage, Watcher(lab, names) as watcher:
            knows(stage, saved, lost)
            until(lambda: bound(stage, "host-a"), "the controller is bound", 60)
            lab.power_off("host-a")
            silent(stage, "host-a")
            proposal = approved_failover(stage, "Switch host-a off and start 1 VM")
            stage.ended("Done:", proposal, 180)
            assert lab.where(saved.name) == []
            lab.virsh("host-b", "define", str(definition))
            lab.virsh("host-b", "start", saved.name)
            until(lambda: saved.boots() == 2, "it boots on host-b", 60)
            lab.power_on("host-a")
            until(lambda: heard_again(stage, "host-a"), "the bot hears host-a again", 90)
            assert saved.name in lab.virsh("host-a", "list", "--with-managed-save", "--all")
            stage.asks("host readmit host-a")
            back = stage.proposal("Admit host-a again")
            assert "Memory saved on host-a is removed: kept-1" in back.plain()
            stage.approves("bruno", back)
            stage.approves("carla", back)
            stage.ended("Done:", back, 60)
            left = lab.virsh("host-a", "list", "--all", "--name").split()
            assert not {*names} & {*left}
            assert lab.where(saved.name) == ["host-b"]
            assert saved.boots() == 2
            assert watcher.twice == []
    finally:
        heal(lab, served, *names)


def test_g29_what_has_no_room_stays_off_and_starts_when_there_is_some(
    site: tuple[Lab, Bmcs], tmp_path: Path
) -> None:
    """host-b has room for one VM, host-c for none; the first one by its tag starts."""
    lab, served = site
    names = ["first-1", "last-1"]
    first = lab.guest(names[0], host="host-a", tags={"failover": "first"})
    last = lab.guest(names[1], host="host-a", tags={"failover": "last"})
    rest = {"host-b": 192 << 20, "host-c": 64 << 20}
    keep = {host: max(0, memory_of(lab) - rest[host]) for host in rest}
    try:
        with (
            bot_on(site, tmp_path, reserve=keep, more=OFTEN) as stage,
            Watcher(lab, names) as watcher,
        ):
            knows(stage, first, last)
            until(lambda: bound(stage, "host-a"), "the controller is bound", 60)
            lab.power_off("host-a")
            silent(stage, "host-a")
            stage.asks("host failover host-a")
            proposal = stage.proposal("Switch host-a off and start 1 VM")
            assert "last-1 stays off: last-1 needs 128 MiB" in proposal.plain()
            stage.approves("bruno", proposal)
            stage.approves("carla", proposal)
            stage.ended("Done:", proposal, 180)
            assert (lab.where("first-1"), lab.where("last-1")) == (["host-b"], [])
            lab.virsh("host-b", "destroy", "first-1")
            lab.virsh("host-b", "undefine", "first-1")
            stage.asks("host failover host-a --only last-1")
            proposal = stage.proposal("Switch host-a off and start 1 VM")
            stage.approves("bruno", proposal)
            stage.approves("carla", proposal)
            stage.ended("Done:", proposal, 180)
            assert lab.where("last-1") == ["host-b"]
            assert watcher.twice == []
    finally:
        heal(lab, served, *names)


def memory_of(lab: Lab) -> int:
    """Bytes of memory that each host has, for all are on one machine."""
    (line,) = [each for each in lab.virsh("host-b", "nodeinfo").splitlines() if "Memory" in each]
    return int(line.split()[-2]) << 10
