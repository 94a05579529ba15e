"""On real hosts, through chat: load evened out, hosts emptied and filled again, commands in between, CPU shared out."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.stage import hosts_for
from lab import Guest, Lab
from lab.slack import Workspace
from lab.slack.shown import Message
from lab.sshd import Door, serve
from tests.e2e.play import HOSTS, Play, holds, play, runs_once
from tests.waiting import until

# Six guests move twice; a busy machine takes its time
pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]

BALANCE = {"band": 0.02, "cooldown_minutes": 0}
MONITOR = {"every": 2, "settle": 3}
ENOUGH = 2.0  # seconds of CPU over which load is measured from outside, however long they take


@pytest.fixture(scope="module")
def crowd(lab: Lab) -> Iterator[list[Guest]]:
    """Six small busy guests, all on one host."""
    made = [
        lab.guest(f"even-{number}", host="host-a", memory_mib=96, load=0.08) for number in range(6)
    ]
    yield made
    for guest in made:
        lab.kill_guest(guest.name)


@pytest.fixture(scope="module")
def doors(lab: Lab) -> dict[str, Door]:
    return {host: serve(lab, host) for host in HOSTS}


@pytest.fixture
def stage(lab: Lab, doors: dict[str, Door], workspace: Workspace, tmp_path: Path) -> Iterator[Play]:
    run = {"marks": str(tmp_path), "commands": [f"hostname >>{tmp_path}/ran"]}
    plugins = {"enabled": ["migrate", "balance"], "balance": {**BALANCE, "rolling": run}}
    made = play(
        lab, workspace, tmp_path, plugins=plugins, hosts=hosts_for(lab, doors), monitor=MONITOR
    )
    with made.bot:
        workspace.wait_connected()
        yield made


def places(lab: Lab, crowd: list[Guest]) -> dict[str, str]:
    """Where each guest runs; every one runs exactly once."""
    found = {guest.name: lab.where(guest.name) for guest in crowd}
    assert all(len(hosts) == 1 for hosts in found.values()), found
    return {name: hosts[0] for name, hosts in found.items()}


def measured(lab: Lab, crowd: list[Guest]) -> dict[str, float]:
    """Cores that the guests of each host use, from /proc, over a few seconds."""
    where = places(lab, crowd)
    before = {guest.name: guest.cpu_seconds() for guest in crowd}
    began = time.monotonic()

    def used() -> dict[str, float]:
        load = dict.fromkeys(HOSTS, 0.0)
        for guest in crowd:
            load[where[guest.name]] += guest.cpu_seconds() - before[guest.name]
        return load

    until(lambda: sum(used().values()) >= ENOUGH, "the VMs use some CPU", 240)
    return {host: spent / (time.monotonic() - began) for host, spent in used().items()}


def spread(load: dict[str, float]) -> float:
    """How far the busiest host is from the idlest, in cores."""
    return max(load.values()) - min(load.values())


def approved(stage: Play, line: str, title: str) -> None:
    stage.asks(line)
    proposal = stage.proposal(title)
    stage.approves("bruno", proposal)
    stage.ended("Done in", proposal, timeout=240)


def left(lab: Lab, crowd: list[Guest], host: str) -> int:
    """How many guests have left a host."""
    return sum(host not in lab.where(guest.name) for guest in crowd)


def evened(stage: Play) -> None:
    """Balance the cluster, by the proposals that follow where the load changed before their turn."""
    stage.asks("balance --min-gain 0.001")
    proposal = stage.proposal("Balance the cluster")
    while not evens(stage, proposal):
        proposal = stage.proposal("Balance the cluster")


def evens(stage: Play, proposal: Message) -> bool:
    """Whether a plan was carried out; one that brings nothing any more is not."""
    stage.approves("bruno", proposal)
    end = stage.workspace.wait_message(
        "#approvals",
        lambda each: (
            each.ts == proposal.ts
            and (holds(each, "Done in") or holds(each, "The load has changed"))
        ),
        240,
    )
    return holds(end, "Done in")


def test_a_drain_survives_a_kill_half_way_empties_its_host_and_undrain_brings_everyone_home(
    crowd: list[Guest], stage: Play
) -> None:
    lab = stage.lab
    home = places(lab, crowd)
    stage.asks("host drain host-a")
    proposal = stage.proposal("Drain host-a")
    stage.approves("bruno", proposal)
    until(lambda: left(lab, crowd, "host-a"), "a VM leaves", seconds=240)
    stage.bot.kill()
    assert left(lab, crowd, "host-a") < len(crowd), "it was killed when all was done"
    stage.bot.start()
    stage.ended("Done in", proposal, timeout=240)
    assert lab.virsh("host-a", "list", "--name").split() == []
    assert len(stage.operations_shown()) == 1
    stage.asks("migrate even-0 to host-a")
    stage.told("ana", "host-a is in maintenance")
    approved(stage, "host undrain host-a", "Undrain host-a")
    assert places(lab, crowd) == home
    for guest in crowd:
        runs_once(lab, guest, home[guest.name])


def picks_two(stage: Play, proposal: Message) -> Message:
    """Bruno picks the first two moves; what he proposes instead."""
    bruno = stage.workspace.person("bruno")
    bruno.click(proposal, "op.pick")
    assert bruno.submit(bruno.wait_view(title="Pick of op-1"), {"steps-0": ["0", "1"]}).ok
    stage.ended("stands in its place", proposal)
    return stage.proposal("with 2 migrations")


def test_an_uneven_cluster_becomes_even_in_two_parts_and_the_gain_is_measured(
    crowd: list[Guest], stage: Play
) -> None:
    before = measured(stage.lab, crowd)
    assert before["host-a"] > 0.2, "the guests do not burn what they should"
    stage.asks("balance --dry-run")
    stage.told("ana", "Balance as of now", "Nothing was moved")
    assert set(places(stage.lab, crowd).values()) == {"host-a"}
    stage.asks("balance")
    part = picks_two(stage, stage.proposal("Balance the cluster"))
    stage.approves("carla", part)
    stage.ended("Done:", part, timeout=240)
    assert Counter(places(stage.lab, crowd).values())["host-a"] == 4
    # Right after a move a guest uses less; moves that bring too little then are rightly skipped
    measured(stage.lab, crowd)
    evened(stage)
    assert max(Counter(places(stage.lab, crowd).values()).values()) <= 3
    assert len(set(places(stage.lab, crowd).values())) == 3
    after = measured(stage.lab, crowd)
    assert spread(after) < spread(before) / 2, (before, after)
    stage.asks("balance why even-0")
    stage.told("ana", "Why even-0 is not moved", "host-b")
    stage.message(
        "#approvals",
        "Done:",
        "Balance the cluster",
        "CPU of the busiest and idlest host",
        "→ measured",
    )


@pytest.fixture
def extra(lab: Lab, crowd: list[Guest]) -> Iterator[tuple[Guest, Guest]]:
    """Two idle guests beside the first of the crowd, for a test that shuts one of them off."""
    host = places(lab, crowd)["even-0"]
    made = (
        lab.guest("shy-1", host=host, memory_mib=96, load=0.0),
        lab.guest("shy-2", host=host, memory_mib=96, load=0.0),
    )
    yield made
    for guest in made:
        if guest.where():
            lab.kill_guest(guest.name)


@pytest.mark.slow
def test_hosts_have_their_turn_one_by_one_across_a_kill_and_a_guest_shut_off_meanwhile_is_skipped(
    crowd: list[Guest], extra: tuple[Guest, Guest], stage: Play, tmp_path: Path
) -> None:
    lab, everyone = stage.lab, [*crowd, *extra]
    home = places(lab, everyone)
    first = home["even-0"]
    second = next(host for host in HOSTS if host != first)
    stage.asks(f'host rolling {first} {second} --run "hostname >>{tmp_path}/ran"')
    proposal = stage.proposal("Rolling maintenance of")
    order = re.findall(rf"Move (\S+) from {first} to", proposal.plain())
    shy = max(extra, key=lambda guest: order.index(guest.name))
    stage.approves("bruno", proposal)
    until(
        lambda: len(lab.where(order[0])) == 2 or first not in lab.where(order[0]),
        "a VM leaves",
        seconds=240,
    )
    lab.virsh(first, "destroy", shy.name)
    waiting = stage.ended("to press Continue", proposal, timeout=240)
    assert (tmp_path / "ran").read_text() == f"{first}\n"
    others = [guest for guest in everyone if guest is not shy]
    assert places(lab, others) == {guest.name: home[guest.name] for guest in others}
    stage.bot.kill()
    stage.bot.start()
    stage.workspace.wait_connected()
    assert stage.workspace.person("bruno").click(waiting, "op.continue").ok
    done = stage.ended("Done in", proposal, timeout=240)
    assert holds(done, f"skipped: {shy.name} does not run")
    assert (tmp_path / "ran").read_text() == f"{first}\n{second}\n"
    for guest in others:
        runs_once(lab, guest, home[guest.name])
    assert shy.where() == []


@pytest.fixture
def rivals(lab: Lab) -> Iterator[tuple[Guest, Guest]]:
    """Two guests that each want a whole core, on one core."""
    gold = lab.guest("gold", host="host-b", memory_mib=96, load=1.0, tags={"priority": "gold"})
    silver = lab.guest(
        "silver", host="host-b", memory_mib=96, load=1.0, tags={"priority": "silver"}
    )
    for guest in (gold, silver):
        lab.virsh("host-b", "vcpupin", guest.name, "0", "0", "--live")
    yield gold, silver
    for guest in (gold, silver):
        lab.kill_guest(guest.name)


def split(first: Guest, second: Guest) -> float:
    """The first one's share of the CPU that both get, over a few seconds of it: others may use the core meanwhile."""
    before = first.cpu_seconds(), second.cpu_seconds()

    def used() -> tuple[float, float]:
        return first.cpu_seconds() - before[0], second.cpu_seconds() - before[1]

    until(lambda: sum(used()) >= ENOUGH, "the two get CPU", 240)
    return used()[0] / sum(used())


@pytest.mark.slow
def test_shares_change_the_measured_split_of_one_core_and_a_ceiling_holds(
    rivals: tuple[Guest, Guest], stage: Play
) -> None:
    gold, silver = rivals
    assert split(gold, silver) == pytest.approx(0.5, abs=0.1)
    approved(stage, "balance shares host-b", "Set the CPU shares of host-b")
    assert split(gold, silver) == pytest.approx(400 / 500, rel=0.15)
    approved(stage, "balance shares host-b --undo", "Undo the CPU shares of host-b")
    assert split(gold, silver) == pytest.approx(0.5, abs=0.1)
    approved(stage, "vm limit gold --cpu 20%", "Limit gold to 0.2 cores")
    assert "20000" in stage.lab.virsh("host-b", "schedinfo", "gold")
    before, began = gold.cpu_seconds(), time.monotonic()
    used = until(
        lambda: (spent := gold.cpu_seconds() - before) >= ENOUGH / 4 and spent,
        "gold uses some CPU",
        240,
    )
    assert used / (time.monotonic() - began) < 0.2 * 1.5
