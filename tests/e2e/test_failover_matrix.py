"""What goes wrong around a failover, on real hosts: controllers that are slow or stale, power that returns, hosts that die in it.

Whatever it is, no VM ever runs twice; that is watched from outside the bot 20 times a second.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bot.stage import BotProcess
from lab import Lab
from lab.bmc import Bmcs
from lab.errors import LabError
from lab.sshd import serve
from tests import postgres
from tests.e2e.dead_host import (
    OFTEN,
    POLICY,
    Watcher,
    admitted,
    approved_failover,
    begun,
    boot_kept,
    bot_on,
    bound,
    heal,
    heard_again,
    knows,
    put_guard,
    rows,
    silent,
    starts,
)
from tests.e2e.play import Play
from tests.waiting import until

# Each waits for several bounded things one after the other, on a machine that may be busy.
pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def site() -> Iterator[tuple[Lab, Bmcs]]:
    with Lab(hosts=3) as lab, Bmcs(lab) as served:
        yield lab, served


def ended(stage: Play, proposal: Any, *words: str, timeout: float = 180) -> str:
    """How the operation ended, one of these words."""
    shown = stage.workspace.wait_message(
        "#approvals",
        lambda each: each.ts == proposal.ts and any(word in each.plain().lower() for word in words),
        timeout,
    )
    return str(shown.plain())


def test_l4_a_button_pressed_between_two_waves_stops_the_second(
    site: tuple[Lab, Bmcs], tmp_path: Path
) -> None:
    """The first wave waits for an agent that never answers; then somebody switches the dead host on."""
    lab, served = site
    names = ["wave-1", "wave-2"]
    tags = {"failover": "first", "failover.ready": "agent"}
    first = lab.guest(names[0], host="host-a", tags=tags)
    last = lab.guest(names[1], host="host-a", tags={"failover": "last"})
    try:
        with (
            bot_on(site, tmp_path, ready_patience=40) as stage,
            Watcher(lab, names) as watcher,
        ):
            knows(stage, first, last)
            lab.freeze("host-a")
            silent(stage, "host-a")
            proposal = approved_failover(stage, "Switch host-a off and start 2 VMs")
            until(lambda: begun(stage, "AwaitReady"), "the first wave is awaited")
            served.press_button("host-a")
            said = ended(stage, proposal, "failed:", "done:")
            assert "wave-2 was not started" in said
            assert lab.where("wave-2") == []
            (host,) = lab.where("wave-1")
            assert host != "host-a"
            assert watcher.twice == []
    finally:
        heal(lab, served, *names)


def test_a_slow_controller_proves_a_dead_host_off_all_the_same(
    site: tuple[Lab, Bmcs], tmp_path: Path
) -> None:
    """Each answer takes six seconds."""
    lab, served = site
    guest = lab.guest("slow-1", host="host-a")
    try:
        with (
            bot_on(site, tmp_path, deadline=20, fence_patience=60) as stage,
            Watcher(lab, ["slow-1"]) as watcher,
        ):
            knows(stage, guest)
            until(lambda: bound(stage, "host-a"), "the controller is bound")
            served.fault("host-a", "slow")
            lab.freeze("host-a")
            silent(stage, "host-a")
            proposal = approved_failover(stage, "Switch host-a off and start 1 VM")
            stage.ended("Done:", proposal, 240)
            (host,) = lab.where("slow-1")
            assert host != "host-a"
            assert watcher.twice == []
    finally:
        heal(lab, served, "slow-1")


def test_l3_a_stale_controller_that_still_reads_on_proves_nothing(
    site: tuple[Lab, Bmcs], tmp_path: Path
) -> None:
    """The host has lost its power, and its controller goes on showing what it read before."""
    lab, served = site
    guest = lab.guest("stale-1", host="host-a")
    try:
        with (
            bot_on(site, tmp_path, fence_patience=10) as stage,
            Watcher(lab, ["stale-1"]) as watcher,
        ):
            knows(stage, guest)
            until(lambda: bound(stage, "host-a"), "the controller is bound")
            served.fault("host-a", "stale")
            lab.power_off("host-a")
            silent(stage, "host-a")
            proposal = approved_failover(stage, "Switch host-a off and start 1 VM")
            assert "does not read off" in ended(stage, proposal, "failed:", "done:")
            assert lab.where("stale-1") == []
            assert watcher.twice == []
    finally:
        heal(lab, served, "stale-1")


def test_l4_a_stale_controller_that_still_reads_off_starts_nothing_while_the_host_answers(
    site: tuple[Lab, Bmcs], tmp_path: Path
) -> None:
    """The host comes back between the votes and the fence, and its controller does not see it."""
    lab, served = site
    guest = lab.guest("stale-2", host="host-a", autostart=True)
    try:
        with bot_on(site, tmp_path) as stage, Watcher(lab, ["stale-2"]) as watcher:
            knows(stage, guest)
            until(lambda: bound(stage, "host-a"), "the controller is bound")
            lab.power_off("host-a")
            silent(stage, "host-a")
            stage.asks("host failover host-a")
            proposal = stage.proposal("Switch host-a off and start 1 VM")
            served.fault("host-a", "stale")
            lab.power_on("host-a")
            until(lambda: lab.where("stale-2") == ["host-a"], "it runs there again")
            stage.approves("bruno", proposal)
            stage.approves("carla", proposal)
            ended(stage, proposal, "failed:", "not done,", "stale")
            assert lab.where("stale-2") == ["host-a"]
            assert watcher.twice == []
    finally:
        heal(lab, served, "stale-2")


def test_a_target_that_dies_between_two_waves_is_not_waited_for(
    site: tuple[Lab, Bmcs], tmp_path: Path
) -> None:
    """What was to start there starts on the host that is left."""
    lab, served = site
    names = ["tail-1", "tail-2", "tail-3"]
    tags = {"failover": "first", "failover.ready": "agent"}
    made = [
        lab.guest(name, host="host-a", tags=tags if name == "tail-1" else {"failover": "last"})
        for name in names
    ]
    try:
        with (
            bot_on(site, tmp_path, ready_patience=60) as stage,
            Watcher(lab, names) as watcher,
        ):
            knows(stage, *made)
            lab.freeze("host-a")
            silent(stage, "host-a")
            proposal = approved_failover(stage, "Switch host-a off and start 3 VMs")
            until(lambda: begun(stage, "AwaitReady"), "the first wave is awaited")
            planned = starts(stage)
            dead = next(planned[name] for name in names[1:] if planned[name] != planned["tail-1"])
            (left,) = set(lab.hosts) - {"host-a", dead}
            lab.power_off(dead)
            ended(stage, proposal, "done:", timeout=240)
            assert [lab.where(name) for name in names] == [[left]] * 3
            assert watcher.twice == []
    finally:
        heal(lab, served, *names)


ONE_FOR_MOVES = {
    "rules": [
        {"name": "moves", "commands": ["migrate"], "votes": 1, "approvers": ["approver"]},
        *POLICY["rules"],
    ]
}


@pytest.mark.parametrize("dies", ["source", "target"])
def test_g21_a_host_that_dies_while_a_vm_leaves_it_or_comes_to_it(
    site: tuple[Lab, Bmcs], tmp_path: Path, dies: str
) -> None:
    """In pre-copy: with its source the VM is lost and starts elsewhere; with its target it just runs on."""
    lab, served = site
    name = f"moved-{dies}"
    source, target = ("host-a", "host-b") if dies == "source" else ("host-b", "host-a")
    guest = lab.guest(name, host=source, memory_mib=192)
    resident = lab.guest(f"{name}-by", host="host-a")
    try:
        with (
            bot_on(site, tmp_path, policy=ONE_FOR_MOVES) as stage,
            Watcher(lab, [resident.name]) as watcher,
        ):
            knows(stage, guest, resident)
            until(lambda: bound(stage, "host-a"), "the controller is bound")
            # The wire is narrow and not the plan: a guest that boots writes faster than 2 MiB/s
            lab.limit_bandwidth(source, 2)
            stage.asks(f"migrate {name} to {target}")
            move = stage.proposal(name)
            stage.approves("bruno", move)
            until(lambda: len(lab.where(name)) == 2, "it is on its way")
            lab.power_off("host-a")
            silent(stage, "host-a")
            lost = 2 if dies == "source" else 1
            proposal = approved_failover(stage, f"Switch host-a off and start {lost} VM")
            stage.ended("Done:", proposal, 180)
            assert watcher.twice == []
            for each in (guest, resident):
                (host,) = lab.where(each.name)
                assert host != "host-a"
            if dies == "target":
                assert guest.boots() == 1
            else:
                until(lambda: guest.boots() == 2, "it boots again")
    finally:
        heal(lab, served, name, resident.name)
        lab.limit_bandwidth(source, None)


@pytest.mark.parametrize("dies", ["source", "target"])
def test_g22_a_host_that_loses_its_power_in_the_middle_of_a_vms_postcopy(
    site: tuple[Lab, Bmcs], tmp_path: Path, dies: str
) -> None:
    """Neither half lives alone: what the other host has of it is ended, and it starts anew.

    With its source the target's libvirt calls it running for minutes, and hears nothing that closes
    the connection; with its target its newest memory is lost.
    """
    lab, served = site
    name, lost = f"half-{dies}", "host-a" if dies == "source" else "host-b"
    guest = lab.guest(name, host="host-a", memory_mib=192, dirty_mib_s=20)
    resident = lab.guest(f"{name}-by", host=lost)
    try:
        with bot_on(site, tmp_path, policy=ONE_FOR_MOVES, more=OFTEN) as stage:
            knows(stage, guest, resident)
            until(lambda: bound(stage, lost), "the controller is bound", 60)
            lab.limit_bandwidth("host-a", 4)  # most of its memory is still on the source then
            stage.asks(f"migrate {name} to host-b --policy postcopy --bandwidth 8")
            stage.approves("bruno", stage.proposal(name))
            until(lambda: len(lab.where(name)) == 2, "it is on its way")
            until(lambda: switched(lab, name), "it runs on the target", 60)
            if dies == "target":
                stage.asks(f"vm show {name}")  # which reads all hosts: host-b is last seen with it
                stage.told("ana", name, "vCPU")
            lab.cut_network(lost)  # as a power cut: no word of an end leaves the host
            lab.power_off(lost)
            with Watcher(lab, [guest.name, resident.name]) as watcher:
                silent(stage, lost)
                if dies == "source":
                    assert "running (post-copy)" in why(lab, name)
                proposal = approved_failover(stage, f"Switch {lost} off and start 2 VMs", lost)
                if dies == "source":
                    assert lab.where(name) == ["host-b"]
                stage.ended("Done:", proposal, 180)
                assert watcher.twice == []
            for each in (guest, resident):
                (host,) = lab.where(each.name)
                assert host != lost
                until(lambda each=each: each.boots() == 2, "it boots again", 60)  # type: ignore[misc]
    finally:
        heal(lab, served, guest.name, resident.name)
        lab.limit_bandwidth("host-a", None)


def switched(lab: Lab, name: str) -> bool:
    """Whether the migration from host-a, begun by the bot, goes on in post-copy by now."""
    lab.virsh("host-a", "migrate-postcopy", name, check=False)
    return "running (post-copy)" in why(lab, name)


def why(lab: Lab, name: str) -> str:
    """The state of a VM on host-b with its reason."""
    return lab.virsh("host-b", "domstate", "--reason", name, check=False)


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Postgres]:
    if postgres.missing():
        pytest.skip(postgres.missing())
    with postgres.running() as running:
        yield running


def test_l15_of_two_replicas_one_fences_and_the_other_sees_it_through(
    site: tuple[Lab, Bmcs], server: postgres.Postgres, tmp_path: Path
) -> None:
    """The replica that has given the order is killed before the proof stands."""
    lab, served = site
    guest = lab.guest("pair-1", host="host-a")
    ordered = len(served.orders("host-a"))
    more = {"database": {"url": server.database()}}
    try:
        with (
            bot_on(site, tmp_path, deadline=20, fence_patience=60, more=more) as stage,
            Watcher(lab, ["pair-1"]) as watcher,
        ):
            knows(stage, guest)
            until(lambda: bound(stage, "host-a"), "the controller is bound")
            lab.freeze("host-a")
            silent(stage, "host-a")
            stage.asks("host failover host-a")
            proposal = stage.proposal("Switch host-a off and start 1 VM")
            served.fault("host-a", "slow")
            stage.approves("bruno", proposal)
            stage.approves("carla", proposal)
            until(lambda: begun(stage, "FenceHost"), "it has begun")
            second = tomllib.loads(stage.bot.config.read_text()) | {"replica": "drover-2"}
            with BotProcess(stage.workspace, tmp_path, second) as other:
                until(lambda: served.orders("host-a")[ordered:], "it was ordered off")
                stage.bot.kill()
                ended(stage, proposal, "done:", timeout=240)
                assert b"taken over" in other.log.read_bytes()
            (host,) = lab.where("pair-1")
            assert host != "host-a"
            assert set(served.orders("host-a")[ordered:]) == {"ForceOff"}
            assert not lab.is_on("host-a")
            assert watcher.twice == []
    finally:
        heal(lab, served, "pair-1")


def test_l21_a_host_that_starts_anew_starts_nothing_by_itself_and_gets_its_vms_from_drover(
    site: tuple[Lab, Bmcs], tmp_path: Path
) -> None:
    """libvirt's autostart is taken over on a real host; its new boot id is read over its shell."""
    lab, served = site
    guest = lab.guest("own-1", host="host-a", autostart=True)
    doors = {name: serve(lab, name) for name in lab.hosts}
    try:
        with (
            bot_on(site, tmp_path, doors, mode="propose", silence=600) as stage,
            Watcher(lab, ["own-1"]) as watcher,
        ):
            knows(stage, guest)
            stage.asks("failover protect")
            stage.approves("bruno", stage.proposal("Let Drover start VMs"))
            stage.message("#approvals", "Done:", "Let Drover start VMs")
            assert "enable" not in lab.virsh("host-a", "dominfo", "own-1").split("Autostart:")[1]
            until(
                lambda: any("host-a" in text for (text,) in rows(stage, BOOTS)), "its boot id", 60
            )
            lab.power_off("host-a")
            until(lambda: rows(stage, GONE), "its silence is noticed")
            lab.power_on("host-a")
            serve(lab, "host-a")
            back = stage.proposal("Start the VMs of host-a", timeout=180)
            assert lab.where("own-1") == []
            stage.approves("bruno", back)
            stage.ended("Done:", back)
            assert lab.where("own-1") == ["host-a"]
            stage.asks("failover protect own-1 --off")
            stage.approves("bruno", stage.proposal("Let libvirt start VMs"))
            stage.message("#approvals", "Done:", "Let libvirt start VMs")
            assert "enable" in lab.virsh("host-a", "dominfo", "own-1").split("Autostart:")[1]
            assert watcher.twice == []
    finally:
        heal(lab, served, "own-1")


GONE = "select text from notes where key = 'incident:host:host-a'"
BOOTS = "select text from notes where key = 'watch:failover'"


def test_l27_a_real_drill_switches_an_empty_host_off_and_on(
    site: tuple[Lab, Bmcs], tmp_path: Path
) -> None:
    lab, served = site
    ordered = len(served.orders("host-c"))
    try:
        with bot_on(site, tmp_path) as stage:
            until(lambda: bound(stage, "host-c"), "the controller is bound")
            stage.asks("failover drill host-c --real")
            stage.told("ana", "not in maintenance")
            stage.asks("host maintenance host-c on")
            stage.approves("bruno", stage.proposal("Put host-c into maintenance"))
            stage.message("#approvals", "Done:", "Put host-c into maintenance")
            stage.asks("failover drill host-c --real")
            proposal = stage.proposal("Test the power controllers of host-c")
            stage.approves("bruno", proposal)
            stage.approves("carla", proposal)
            stage.ended("Done:", proposal, 180)
            assert served.orders("host-c")[ordered:] == ("ForceOff", "On")
            assert lab.is_on("host-c")
    finally:
        heal(lab, served)


def test_g7_a_liar_whose_frozen_host_wakes_is_found_out_and_both_copies_are_paused(
    site: tuple[Lab, Bmcs], tmp_path: Path
) -> None:
    """The one way to two copies that no reading can exclude: what follows it is all that is left.

    Everybody is silent, the controller reads off three times, and the host was only frozen.
    """
    lab, served = site
    guest = lab.guest("liar-1", host="host-a")
    doors = {name: serve(lab, name) for name in lab.hosts}
    try:
        with bot_on(site, tmp_path, doors, more=OFTEN) as stage:
            knows(stage, guest)
            until(lambda: bound(stage, "host-a"), "the controller is bound")
            until(lambda: boot_kept(stage, "host-a"), "its boot id is kept")
            served.fault("host-a", "liar")
            lab.freeze("host-a")
            lab.cut_network("host-a")
            silent(stage, "host-a")
            proposal = approved_failover(stage, "Switch host-a off and start 1 VM")
            stage.ended("Done:", proposal, 180)
            (other,) = set(lab.where("liar-1")) - {"host-a"}
            lab.heal_network("host-a")
            lab.thaw("host-a")
            stage.message("#ops", "read host-a off while it ran on", timeout=180)
            assert not bound(stage, "host-a")
            stage.asks("failover stop-copies host-a")
            stops = stage.proposal("Stop what runs twice")
            stage.approves("bruno", stops)
            stage.approves("carla", stops)
            stage.ended("Done:", stops)
            for host in ("host-a", other):
                assert lab.virsh(host, "domstate", "liar-1").strip() == "paused"
    finally:
        lab.heal_network("host-a")
        heal(lab, served, "liar-1")


def test_l21_a_host_with_the_guard_starts_no_old_copy_before_it_is_admitted(
    site: tuple[Lab, Bmcs], tmp_path: Path
) -> None:
    """By hand, from saved memory, by migration: libvirt on the host itself refuses."""
    lab, served = site
    ours = {"failover.autostart": "on"}
    names = ["old-1", "kept-1", "free-1", "come-1"]
    moved = lab.guest("old-1", host="host-a", tags=ours)
    kept = lab.guest("kept-1", host="host-a", tags=ours)
    lab.guest("free-1", host="host-a", running=False)
    comes = lab.guest("come-1", host="host-b", tags=ours)
    lab.virsh("host-a", "managedsave", kept.name)
    doors = {name: serve(lab, name) for name in lab.hosts}
    try:
        put_guard(lab, "host-a")
        with (
            bot_on(site, tmp_path, doors, more=OFTEN) as stage,
            Watcher(lab, names) as watcher,
        ):
            knows(stage, moved, comes)
            until(lambda: bound(stage, "host-a"), "the controller is bound", 60)
            until(lambda: admitted(lab, "host-a"), "its guard knows that it is admitted", 90)
            lab.power_off("host-a")
            silent(stage, "host-a")
            proposal = approved_failover(stage, "Switch host-a off and start 1 VM")
            stage.ended("Done:", proposal, 180)
            lab.power_on("host-a")
            serve(lab, "host-a")
            for name in (moved.name, kept.name):
                with pytest.raises(LabError, match=f"{name} may run elsewhere"):
                    lab.virsh("host-a", "start", name)
            with pytest.raises(LabError, match=f"{comes.name} may run elsewhere"):
                migrate(lab, comes.name)
            assert lab.where(comes.name) == ["host-b"]
            lab.virsh("host-a", "start", "free-1")
            until(lambda: heard_again(stage, "host-a"), "the bot hears host-a again", 90)
            assert not admitted(lab, "host-a")
            stage.asks("host readmit host-a")
            back = stage.proposal("Admit host-a again")
            stage.approves("bruno", back)
            stage.approves("carla", back)
            stage.ended("Done:", back, 60)
            until(lambda: admitted(lab, "host-a"), "its guard knows that it is admitted", 90)
            lab.virsh("host-a", "start", kept.name)
            migrate(lab, comes.name)
            assert [lab.where(name) for name in (kept.name, comes.name)] == [["host-a"]] * 2
            assert "host-a" not in lab.where(moved.name)
            assert [name for name, _ in watcher.twice if name != comes.name] == []
    finally:
        (lab.hosts["host-a"].directory / "etc" / "hooks" / "qemu.d" / "drover").unlink()
        heal(lab, served, *names)


def migrate(lab: Lab, name: str) -> None:
    """By hand, from host-b to host-a."""
    uri = f"qemu+tcp://{lab.hosts['host-a'].address}/system"
    lab.virsh("host-b", "migrate", "--live", "--p2p", "--persistent", "--undefinesource", name, uri)
