"""A cluster in the middle of an upgrade: one host has a newer Debian, and every operation of the cluster still works.

Host-a has the machine's own libvirt and QEMU, host-b those of the next Debian release.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bot.adapters.libvirt import HostAddress
from bot.adapters.libvirt.read.sampling import LibvirtSampler
from bot.stage import hosts_for, image_for
from lab import Guest
from lab.releases import next_release
from lab.slack import Workspace
from lab.slack.shown import Message
from lab.sshd import Door, serve
from tests.e2e.play import Play, holds, play, runs_once
from tests.waiting import RealClock, until

if TYPE_CHECKING:
    from lab import Lab

# Each moves VMs several times; a busy machine takes its time
pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.timeout(900)]

OLD, NEW = "host-a", "host-b"
PATIENCE = 240.0


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    from lab import Lab

    with Lab(2, release={NEW: next_release()}) as made:
        yield made


@pytest.fixture(scope="module")
def doors(lab: Lab) -> dict[str, Door]:
    return {host: serve(lab, host) for host in lab.hosts}


@pytest.fixture(scope="module")
def couple(lab: Lab) -> list[Guest]:
    """Two VMs that began on the older host, so that both hosts know their machine type."""
    return [lab.guest(name, host=OLD, memory_mib=96, load=0.1) for name in ("one", "two")]


@pytest.fixture(scope="module")
def native(lab: Lab) -> Guest:
    """A VM of a machine type that only the newer host has."""
    return lab.guest("native", host=NEW, memory_mib=96)


@pytest.fixture
def stage(lab: Lab, doors: dict[str, Door], workspace: Workspace, tmp_path: Path) -> Iterator[Play]:
    run = {"marks": str(tmp_path), "commands": [f"hostname >>{tmp_path}/ran"]}
    plugins = {
        "enabled": ["migrate", "balance", "vm_lifecycle", "host_check", "monitor"],
        "balance": {"cooldown_minutes": 0, "rolling": run},
        "vm_lifecycle": image_for(lab),
    }
    made = play(lab, workspace, tmp_path, plugins=plugins, hosts=hosts_for(lab, doors))
    with made.bot:
        workspace.wait_connected()
        yield made


def done(stage: Play, line: str, title: str) -> tuple[Message, Message]:
    """Ask, approve and wait for the end: the proposal as it was read, and the message at the end."""
    stage.asks(line)
    proposal = stage.proposal(title)
    stage.approves("bruno", proposal)
    end = stage.workspace.wait_message(
        "#approvals",
        lambda each: each.ts == proposal.ts and (holds(each, "Done in") or holds(each, "Failed")),
        PATIENCE,
    )
    assert holds(end, "Done in"), end.plain()
    return proposal, end


def gather(lab: Lab, couple: list[Guest], host: str) -> None:
    """Bring the couple to a host, without Drover."""
    for guest in couple:
        (here,) = lab.where(guest.name)
        if here != host:
            way = ("--live", "--p2p", "--persistent", "--undefinesource")
            lab.virsh(here, "migrate", guest.name, lab.hosts[host].peer_uri, *way)


def test_a_vm_moves_to_the_newer_host_and_back_and_the_way_back_is_warned_of(
    couple: list[Guest], stage: Play
) -> None:
    gather(stage.lab, couple, OLD)
    there, _ = done(stage, f"migrate one to {NEW}", "Move one")
    assert not holds(there, "is older than")
    runs_once(stage.lab, couple[0], NEW)
    back, _ = done(stage, f"migrate one to {OLD}", f"Move one from {NEW}")
    assert holds(back, f"QEMU on {OLD}", "is older than", "machine type of one")
    runs_once(stage.lab, couple[0], OLD)


def test_a_vm_of_the_newer_hosts_own_machine_type_is_refused_before_anybody_votes(
    native: Guest, stage: Play
) -> None:
    stage.asks(f"migrate native to {OLD}")
    stage.told("ana", f"QEMU on {OLD} does not have the machine type", "native")
    runs_once(stage.lab, native, NEW)


def test_the_newer_host_is_drained_to_the_older_and_filled_again(
    couple: list[Guest], native: Guest, stage: Play
) -> None:
    gather(stage.lab, couple, NEW)
    plan, _ = done(stage, f"host drain {NEW}", f"Drain {NEW}")
    assert holds(plan, "native stays")
    for guest in couple:
        runs_once(stage.lab, guest, OLD)
    done(stage, f"host undrain {NEW}", f"Undrain {NEW}")
    for guest in (*couple, native):
        runs_once(stage.lab, guest, NEW)


def test_a_rolling_maintenance_of_the_older_host_names_who_cannot_come_back(
    couple: list[Guest], native: Guest, stage: Play, tmp_path: Path
) -> None:
    gather(stage.lab, couple, OLD)
    plan, end = done(
        stage, f'host rolling {OLD} --run "hostname >>{tmp_path}/ran"', "Rolling maintenance of"
    )
    assert holds(plan, f"1 VM cannot come back to {OLD}", "native (pc-i440fx-")
    assert holds(end, "4 migrations took", "predicted")
    assert (tmp_path / "ran").read_text() == f"{OLD}\n"
    for guest in couple:
        runs_once(stage.lab, guest, OLD)
    runs_once(stage.lab, native, NEW)


def test_the_pair_is_checked_each_way_with_what_the_older_lacks(native: Guest, stage: Play) -> None:
    assert native.where() == [NEW]
    stage.asks(f"host pair {NEW} {OLD}")
    stage.told("ana", "machine types", f"{OLD} lacks what VMs use: pc-i440fx-", timeout=PATIENCE)
    stage.asks(f"host pair {OLD} {NEW}")
    stage.told("ana", "machine types", "all", timeout=PATIENCE)
    stage.asks(f"host check {NEW}")
    stage.told("ana", "libvirt-daemon-driver-interface", timeout=PATIENCE)


def test_a_vm_made_on_the_newer_host_can_move_to_the_older(stage: Play) -> None:
    plan, _ = done(stage, f"vm create made --host {NEW} --image tiny", "Create made")
    assert holds(plan, "the newest that all hosts know")
    defined = stage.lab.virsh(NEW, "dumpxml", "made")
    (machine,) = re.findall(r"machine='(.*?)'", defined)
    assert f"'{machine}'" in stage.lab.virsh(OLD, "capabilities")


def test_snapshots_are_taken_gone_back_to_and_removed_on_the_newer_host(
    lab: Lab, stage: Play
) -> None:
    guest = lab.guest("kept", host=NEW, memory_mib=96, disk="local")
    done(stage, "vm snapshot create kept before", "before")
    assert lab.virsh(NEW, "snapshot-list", "kept", "--name").split() == ["before"]
    ticks = guest.ticks()
    until(lambda: guest.ticks() > ticks, "it goes on")
    done(stage, "vm snapshot revert kept before", "Revert")
    assert guest.where() == [NEW]
    done(stage, "vm snapshot delete kept before", "Delete")
    assert lab.virsh(NEW, "snapshot-list", "kept", "--name").split() == []
    lab.kill_guest("kept")


def test_cpu_shares_and_ceilings_are_set_on_the_newer_host(
    couple: list[Guest], stage: Play
) -> None:
    gather(stage.lab, couple, NEW)
    done(stage, "vm limit one --cpu 20%", "Limit one")
    assert re.search(r"vcpu_quota\s*: 20000", stage.lab.virsh(NEW, "schedinfo", "one"))
    done(stage, f"migrate one to {OLD}", f"Move one from {NEW}")
    assert re.search(r"vcpu_quota\s*: 20000", stage.lab.virsh(OLD, "schedinfo", "one"))


def test_samples_of_the_newer_host_are_what_its_processes_use(
    lab: Lab, couple: list[Guest]
) -> None:
    gather(lab, couple, NEW)
    guest = couple[0]
    addresses = [HostAddress(each.name, each.uri, each.peer_uri) for each in lab.hosts.values()]
    sampler = LibvirtSampler(addresses, clock=RealClock(), deadline=5.0, slow_every=1)
    try:
        sampler.sweep()
        before, began = guest.cpu_seconds(), time.monotonic()
        # The kernel counts a process's CPU in hundredths of a second
        until(lambda: guest.cpu_seconds() - before >= 1, "it uses CPU", PATIENCE)
        (sample,) = [each for each in sampler.sweep().vms if each.uuid == guest.uuid]
        truth = (guest.cpu_seconds() - before) / (time.monotonic() - began)
    finally:
        sampler.close()
    assert (sample.host, sample.state, sample.vcpus) == (NEW, "running", 1)
    assert sample.cpu == pytest.approx(truth, rel=0.1)
    assert None not in {sample.memory, sample.used, sample.disk, sample.net}
