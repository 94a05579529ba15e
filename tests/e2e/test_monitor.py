"""Monitoring on real hosts: numbers against /proc and virsh, alerts in time, a digest compared field by field."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from functools import partial

import pytest

from bot.adapters.libvirt import HostAddress
from bot.adapters.libvirt.read.sampling import LibvirtSampler
from bot.domain.metrics import Sweep, VmSample
from bot.stage import PACE
from lab import Guest, Lab
from lab.slack import Command, Workspace
from lab.slack.shown import Message
from tests.e2e.play import Play, holds, play
from tests.waiting import PATIENCE, RealClock, until

pytestmark = pytest.mark.lab

EVERY = 3.0  # seconds between sweeps
LOADS = {"mon-low": 0.1, "mon-mid": 0.25, "mon-high": 0.4}


@pytest.fixture(scope="module")
def guests(lab: Lab) -> Iterator[dict[str, Guest]]:
    """Three guests with known loads, on two hosts."""
    hosts = dict(zip(LOADS, ("host-a", "host-b", "host-b"), strict=True))
    made = {
        name: lab.guest(name, host=hosts[name], load=load, disk="local")
        for name, load in LOADS.items()
    }
    yield made
    for name in made:
        removed(lab, name)


@pytest.fixture
def sampler(lab: Lab) -> Iterator[LibvirtSampler]:
    hosts = [HostAddress(each.name, each.uri, each.peer_uri) for each in lab.hosts.values()]
    made = LibvirtSampler(hosts, clock=RealClock(), deadline=2.0, slow_every=1)
    yield made
    made.close()


@pytest.fixture(scope="module")
def watching(
    lab: Lab, guests: dict[str, Guest], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Play]:
    """One bot that measures, for all tests here. What other tests let crash is not its concern."""
    for host in lab.hosts:
        for name in lab.virsh(host, "list", "--state-shutoff", "--name").split():
            if "crashed" in lab.virsh(host, "domstate", name, "--reason"):
                removed(lab, name)
    with Workspace(commands=(Command("/kvm", "Run the cluster", "help"),), pace=PACE) as workspace:
        made = play(
            lab,
            workspace,
            tmp_path_factory.mktemp("monitor"),
            plugins={
                "enabled": ["migrate", "monitor"],
                "monitor": {"snapshot_days": 0.00001, "backup_days": 1},
            },
            monitor={"every": int(EVERY), "slow_every": 1},
            limits={"host_deadline": 2.0},
        )
        with made.bot:
            workspace.wait_connected()
            until(lambda: holds(shown(made, "status"), "Load by host"), "nothing was measured")
            yield made


def removed(lab: Lab, name: str) -> None:
    for host in lab.hosts:
        lab.virsh(host, "destroy", name, check=False)
        lab.virsh(
            host, "undefine", name, "--snapshots-metadata", "--checkpoints-metadata", check=False
        )


def shown(stage: Play, line: str, by: str = "ana") -> Message:
    """The newest answer to a line that only its asker sees, not that it takes a while."""
    before = {each.ts for each in stage.workspace.messages("#ops", seen_by=by)}
    stage.asks(line, by)

    def new() -> Message | None:
        found = stage.workspace.messages("#ops", seen_by=by)
        mine = (each for each in found if each.ephemeral_to and each.ts not in before)
        return next((each for each in mine if not holds(each, "Working on")), None)

    message = stage.workspace.wait_for(new, PATIENCE)
    assert message is not None, line
    return message


def of(sweep: Sweep, name: str) -> VmSample:
    return next(vm for vm in sweep.vms if vm.name == name)


def test_known_loads_are_reported_within_five_percent_of_proc(
    lab: Lab, guests: dict[str, Guest], sampler: LibvirtSampler
) -> None:
    used = partial(cpu_by_proc, guests)
    first = used(), sampler.sweep(), used()
    # The kernel counts a process's CPU in hundredths of a second.
    until(
        lambda: all(guest.cpu_seconds() - first[2][name][1] >= 1 for name, guest in guests.items()),
        "all use CPU",
        240,
    )
    last = used(), sampler.sweep(), used()
    for name in guests:
        # A sweep reads at some moment between the looks before and after it
        least = (last[0][name][1] - first[2][name][1]) / (last[2][name][0] - first[0][name][0])
        most = (last[2][name][1] - first[0][name][1]) / (last[0][name][0] - first[2][name][0])
        told = of(last[1], name).cpu
        assert told is not None
        assert least * 0.95 <= told <= most * 1.05, name


def cpu_by_proc(guests: dict[str, Guest]) -> dict[str, tuple[float, float]]:
    """When each was looked at, and the seconds of CPU it had used by then."""
    return {name: (time.monotonic(), guest.cpu_seconds()) for name, guest in guests.items()}


def test_memory_disk_and_state_are_what_virsh_says(
    lab: Lab, guests: dict[str, Guest], sampler: LibvirtSampler
) -> None:
    sampler.sweep()
    sweep = sampler.sweep()
    balloon = lab.virsh("host-a", "dommemstat", "mon-low")
    sample = of(sweep, "mon-low")
    assert sample.memory == int(re.findall(r"^actual (\d+)", balloon, re.MULTILINE)[0]) * 1024
    assert sample.used is not None
    assert 0 < sample.used <= sample.memory
    assert (sample.state, sample.host, sample.vcpus) == ("running", "host-a", 1)
    assert (sample.disk is not None, sample.net is not None) == (True, True)
    (host,) = [each for each in sweep.hosts if each.name == "host-a"]
    total = (
        int(re.findall(r"^total\s*:\s*(\d+)", lab.virsh("host-a", "nodememstats"), re.MULTILINE)[0])
        * 1024
    )
    assert host.memory == total


def test_a_frozen_host_delays_nobody_and_keeps_its_age(lab: Lab, sampler: LibvirtSampler) -> None:
    sampler.sweep()
    lab.freeze("host-c")
    try:
        began = time.monotonic()
        sweeps = [sampler.sweep() for _ in range(3)]
        # libvirt's keepalive alone would end a wait after 12 s
        assert time.monotonic() - began < 12
    finally:
        lab.thaw("host-c")
    for sweep in sweeps:
        frozen = sweep.host("host-c")
        assert frozen is not None
        assert frozen.silent
        assert frozen.seen_at is not None
        assert not any(host.silent for host in sweep.hosts if host.name != "host-c")
    until(
        lambda: not any(host.silent for host in sampler.sweep().hosts), "host-c is never seen again"
    )


def test_status_top_and_show_host_answer(watching: Play, lab: Lab) -> None:
    status = shown(watching, "status")
    assert holds(status, "3 of 3 hosts up", "N+1 OK", "Load by host")
    watching.asks("top --by cpu")
    live = watching.message("#ops", "Top VMs by cpu", "mon-high", "live for a minute")
    first = live.plain()
    moved = watching.workspace.wait_message(
        "#ops",
        lambda each: each.ts == live.ts and each.plain() != first and holds(each, "mon-high"),
    )
    assert moved.ts == live.ts
    host = shown(watching, "show host host-b")
    assert holds(host, "host-b: up", "mon-mid", "mon-high", "Pools")
    assert holds(shown(watching, "fits --cpus 1 --memory 64M"), "with N+1 kept")


def test_an_alert_for_a_frozen_host_comes_once_is_taken_up_and_clears(
    watching: Play, lab: Lab
) -> None:
    lab.guest("mon-there", host="host-c", disk=None)
    until(lambda: holds(shown(watching, "show host host-c"), "mon-there"), "the VM is not seen")
    lab.freeze("host-c")
    try:
        alert = watching.message("#ops", "host-c does not answer", "Unreachable is not dead")
        watching.workspace.person("bruno").click(alert, "alert.ack")
        watching.workspace.wait_message(
            "#ops", lambda each: each.ts == alert.ts and holds(each, "acknowledged by")
        )
        assert holds(shown(watching, "status"), "unreachable for", "host-c does not answer")
    finally:
        lab.thaw("host-c")
    watching.workspace.wait_message(
        "#ops", lambda each: each.ts == alert.ts and holds(each, "Resolved:")
    )
    told = [
        each
        for each in watching.workspace.messages("#ops")
        if holds(each, "host-c") and not each.thread_ts
    ]
    assert len([each for each in told if holds(each, "does not answer")]) == 1
    removed(lab, "mon-there")


def test_a_crash_is_told_even_after_libvirtd_was_started_anew(watching: Play, lab: Lab) -> None:
    lab.guest("mon-doomed", host="host-a", disk=None)
    lab.kill_libvirtd("host-a")
    lab.start_libvirtd("host-a")
    until(lambda: holds(shown(watching, "status"), "3 of 3 hosts up"), "host-a is not seen again")
    lab.kill_guest("mon-doomed")
    alert = watching.message("#ops", "mon-doomed crashed")
    lab.virsh("host-a", "start", "mon-doomed")
    watching.workspace.wait_message(
        "#ops", lambda each: each.ts == alert.ts and holds(each, "Resolved:")
    )
    removed(lab, "mon-doomed")


def test_a_digest_says_what_virsh_says_field_by_field(watching: Play, lab: Lab) -> None:
    lab.guest("mon-new", host="host-c", memory_mib=96, disk=None)
    lab.virsh("host-b", "destroy", "mon-mid")
    lab.virsh("host-a", "snapshot-create-as", "mon-low", "before-upgrade")
    backed_up(lab, "host-b", "mon-high")
    restarted(watching)  # a sampler looks for snapshots at its start and every ten minutes
    until(
        lambda: holds(shown(watching, "digest preview"), "before-upgrade"),
        "the snapshot is not told",
    )
    digest = shown(watching, "digest preview").plain()
    running = {host: lab.virsh(host, "list", "--name").split() for host in lab.hosts}
    count = sum(len(names) for names in running.values())
    assert f"3 of 3 hosts up, {count} vms running" in digest.lower()
    assert re.search(r"^New: .*mon-new", digest, re.MULTILINE)
    assert re.search(r"^Stopped: .*mon-mid", digest, re.MULTILINE)
    assert "mon-low: before-upgrade" in digest
    known = {
        name
        for host in lab.hosts for name in lab.virsh(host, "list", "--all", "--name").split()
        if not lab.virsh(host, "checkpoint-list", name, "--name").split()
    }  # fmt: skip
    named, counted = without_backup(digest)
    assert named <= known
    assert len(named) + counted == len(known)
    assert promised_in(digest) == {
        host: pytest.approx(promised(lab, host, running[host]), abs=0.06) for host in lab.hosts
    }
    assert ("N+1 OK" in digest) is any_host_may_go(lab, running)
    removed(lab, "mon-new")


def backed_up(lab: Lab, host: str, name: str) -> None:
    """Let libvirt know a checkpoint, as after a backup; without its bitmap, which the lab's old qcow2 cannot hold."""
    domain = lab.virsh(host, "dumpxml", name)
    disk = "<disks><disk name='vda' checkpoint='bitmap' bitmap='nightly'/></disks>"
    made = f"<name>nightly</name><creationTime>{int(time.time())}</creationTime>{disk}{domain}"
    file = lab.directory / "checkpoint.xml"
    file.write_text(f"<domaincheckpoint>{made}</domaincheckpoint>")
    lab.virsh(host, "checkpoint-create", name, str(file), "--redefine")


def restarted(stage: Play) -> None:
    stage.bot.stop()
    stage.bot.start()
    stage.workspace.wait_connected()


def without_backup(digest: str) -> tuple[set[str], int]:
    """The VMs that are named, and how many more there are."""
    (line,) = re.findall(r"^\*Backups that are too old\*\n(.*)$", digest, re.MULTILINE)
    more = re.search(r"(\d+) more", line)
    return set(re.findall(r"(\S+): no known backup", line)), int(more[1]) if more else 0


def promised_in(digest: str) -> dict[str, float]:
    """Percent by host, from the digest's chart."""
    (line,) = re.findall(r"^now: (.*)$", digest, re.MULTILINE)
    return {name: float(value) for name, value in (part.split() for part in line.split(", "))}


def promised(lab: Lab, host: str, names: list[str]) -> float:
    """Percent of a host's memory that virsh says is given to running guests."""
    kib = sum(
        int(re.findall(r"Used memory:\s+(\d+)", lab.virsh(host, "dominfo", name))[0])
        for name in names
    )
    total = int(re.findall(r"Memory size:\s+(\d+)", lab.virsh(host, "nodeinfo"))[0])
    return 100 * kib / total


def any_host_may_go(lab: Lab, running: dict[str, list[str]]) -> bool:
    """By virsh's numbers alone: what any host runs would fit on each single other one."""
    shares = {host: promised(lab, host, names) for host, names in running.items()}
    return all(
        shares[lost] + shares[other] <= 100 for lost in shares for other in shares if other != lost
    )
