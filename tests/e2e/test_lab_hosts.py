"""The lab's hosts are real, its faults are what they say, and nothing of it stays behind."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from lab import Guest, Lab, LabError, machine, network, remains
from tests.waiting import PATIENCE, until

pytestmark = pytest.mark.lab

REPOSITORY = Path(__file__).parents[2]
MIGRATE = ("--live", "--p2p", "--persistent", "--undefinesource", "--auto-converge")


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(hosts=3, memory_mib=4096) as started:
        yield started


@pytest.fixture(scope="module")
def web(lab: Lab) -> Guest:
    return lab.guest("web-1", load=0.3, tags={"env": "dev", "owner": "a <b> & 'c'"})


def goes_on(guest: Guest) -> bool:
    before = guest.ticks()
    return until(lambda: guest.ticks() > before)


def bring_home(lab: Lab, guest: Guest) -> None:
    (host,) = lab.where(guest.name)
    if host != "host-a":
        lab.virsh(host, "migrate", guest.name, lab.hosts["host-a"].peer_uri, *MIGRATE)


def hears(lab: Lab, one: str, other: str) -> bool:
    told = lab.run(
        one, "busybox", "ping", "-c", "1", "-W", "1", lab.hosts[other].address, check=False
    )
    return " 0% packet loss" in told


# Hosts


def found(pattern: str, text: str) -> str:
    """What the pattern's group holds."""
    match = re.search(pattern, text)
    assert match, text
    return match[1]


def test_three_hosts_each_with_a_uuid_a_name_and_a_pool_of_its_own(lab: Lab) -> None:
    assert list(lab.hosts) == ["host-a", "host-b", "host-c"]
    told = {found(r"<uuid>(.*?)</uuid>", lab.virsh(name, "capabilities")) for name in lab.hosts}
    assert told == {host.uuid for host in lab.hosts.values()}
    assert len(told) == 3
    for name, host in lab.hosts.items():
        assert lab.virsh(name, "hostname") == name
        assert len(str(host.socket)) < 108
        pools = lab.virsh(name, "pool-list", "--all").split()
        assert pools == ["local", "active", "yes"]


def test_nothing_of_it_is_on_the_machines_own_network(lab: Lab) -> None:
    inside = lab.run("host-a", "ls", "/sys/class/net").split()
    assert set(inside) >= {"eth0", "eth1", "br0"}
    assert "br0" not in os.listdir("/sys/class/net")  # noqa: PTH208 - names only


def test_a_host_reports_its_own_memory_and_cpu(lab: Lab, web: Guest) -> None:
    def memory(host: str) -> dict[str, int]:
        return {
            name: int(kib)
            for name, kib in re.findall(r"(\w+) *: +(\d+)", lab.virsh(host, "nodememstats"))
        }

    def busy(host: str) -> int:
        return int(found(r"user: +(\d+)", lab.virsh(host, "nodecpustats")))

    assert lab.where(web.name) == ["host-a"]
    assert memory("host-a")["total"] == memory("host-b")["total"] == 4096 * 1024
    until(lambda: memory("host-a")["free"] < memory("host-b")["free"] - 64 * 1024)
    before = busy("host-a"), busy("host-b")
    until(
        lambda: busy("host-a") - before[0] > busy("host-b") - before[1],
        "the host with the VM is the busier one",
    )


# Guests


def test_a_guest_boots_with_its_tags_in_its_definition(lab: Lab, web: Guest) -> None:
    assert web.boots() == 1
    assert lab.where("web-1") == web.where() == ["host-a"]
    definition = lab.virsh("host-a", "dumpxml", "web-1")
    assert web.uuid in definition
    assert 'xmlns:drover="https://drover.dev/tags/1"' in definition
    assert '<drover:tag key="env" value="dev"/>' in definition
    assert goes_on(web)


def test_a_guest_burns_the_load_it_was_given(lab: Lab, web: Guest) -> None:
    def spent() -> tuple[float, float]:
        told = lab.virsh("host-a", "domstats", "web-1", "--vcpu")
        running, waiting = (
            int(found(rf"vcpu.0.{name}=(\d+)", told)) / 1e9 for name in ("time", "delay")
        )
        return running, running + waiting

    began, before = time.monotonic(), spent()
    after = until(lambda: (now := spent())[0] - before[0] >= 1 and now, "it runs for a second")
    elapsed = time.monotonic() - began
    running, ready = ((now - then) / elapsed for now, then in zip(after, before, strict=True))
    # A guest cannot know when the machine gives its CPU to somebody else, so on a busy machine it
    # runs less. Running and waiting to run together cannot be less; with CPU to spare both are the
    # load, which is 0.3.
    assert running < 0.5
    assert ready > 0.15


def test_a_guest_dirties_memory_at_about_its_rate(lab: Lab) -> None:
    lab.guest("db-1", host="host-c", dirty_mib_s=16, disk=None)

    def rate() -> int:
        lab.virsh("host-c", "domdirtyrate-calc", "db-1", "--seconds", "1")
        until(lambda: "calc_status=2" in lab.virsh("host-c", "domstats", "db-1", "--dirtyrate"))
        return int(
            lab.virsh("host-c", "domstats", "db-1", "--dirtyrate").split("megabytes_per_second=")[1]
        )

    # QEMU samples pages and a busy machine starves the guest, so it is asked until it had its turn;
    # idle guests show 0.
    until(lambda: 4 <= rate() <= 32)
    lab.kill_guest("db-1")


def test_a_quota_throttles(lab: Lab) -> None:
    burner = lab.guest("burner", host="host-b", load=1.0, disk=None)

    def throttled() -> int:
        """How often the kernel held its vCPU back."""
        group = "/sys/fs/cgroup -path '*burner*vcpu0*' -name cpu.stat"
        stat = lab.run("host-b", "sh", "-c", f"find {group} | xargs cat")
        return int(found(r"nr_throttled (\d+)", stat))

    assert throttled() == 0
    lab.virsh("host-b", "schedinfo", "burner", "--set", "vcpu_quota=15000", "--live")
    until(lambda: throttled() > 5, "it is held back")
    began, before = time.monotonic(), burner.cpu_seconds()
    used: float = until(
        lambda: (spent := burner.cpu_seconds() - before) >= 0.5 and spent,
        "it uses half a second",
    )
    # An upper bound, which a busy machine does not touch
    assert used / (time.monotonic() - began) < 0.25
    lab.kill_guest("burner")


def test_a_guest_that_is_off_is_only_defined(lab: Lab) -> None:
    guest = lab.guest("off-1", host="host-b", running=False, autostart=True)
    assert lab.where("off-1") == []
    assert "off-1" in lab.virsh("host-b", "list", "--all", "--autostart")
    with pytest.raises(LabError, match="runs on no host"):
        guest.cpu_seconds()


def test_a_guest_is_shut_down_by_its_power_button(lab: Lab) -> None:
    lab.guest("polite", host="host-b", persistent=False, disk=None)
    lab.virsh("host-b", "shutdown", "polite")
    until(lambda: "polite" not in lab.virsh("host-b", "list", "--all"), "libvirt forgets it")
    assert lab.where("polite") == []


def test_memory_of_an_emulated_guest_is_migrated_page_by_page(lab: Lab) -> None:
    if machine.domain_type() != "qemu":
        pytest.skip("guests of this machine have no emulated CPUs")
    lab.guest("paged", host="host-b", disk=None)
    asked = ("qemu-monitor-command", "paged", "--hmp", "info memory_size_summary")
    size = int(found(r"base memory: (\d+)", lab.virsh("host-b", *asked)))
    assert size % (64 * 4096), "QEMU before 9.0 loses writes to it: see lab/guest/emulator"
    lab.kill_guest("paged")


@pytest.mark.parametrize(
    ("wish", "complaint"),
    [
        ({"name": "a/b"}, "cannot name a guest"),
        ({"name": "x", "load": 1.5}, "between 0 and 1"),
        ({"name": "x", "dirty_mib_s": -1}, "cannot be -1"),
        ({"name": "x", "memory_mib": 32}, "96 MiB"),
        ({"name": "x", "vcpus": 0}, "one vCPU"),
        ({"name": "x", "host": "host-z"}, "no host 'host-z'"),
    ],
)
def test_a_wish_that_cannot_be_met_is_refused(
    lab: Lab, wish: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(LabError, match=complaint):
        lab.guest(**wish)


# Migration


def test_live_migration_on_shared_storage(lab: Lab, web: Guest) -> None:
    before = web.ticks()
    lab.virsh("host-a", "migrate", "web-1", lab.hosts["host-b"].peer_uri, *MIGRATE)
    assert lab.where("web-1") == ["host-b"]
    until(lambda: web.ticks() > before)
    assert web.boots() == 1
    assert "web-1" in lab.virsh("host-b", "list", "--name", "--persistent")
    assert "web-1" not in lab.virsh("host-a", "list", "--all")
    image = lab.directory / "shared" / "web-1.raw"

    def written() -> int:
        return int(image.read_bytes()[:512].split()[1])

    arrived = written()
    until(lambda: written() > arrived)
    bring_home(lab, web)


def test_live_migration_with_copied_storage(lab: Lab) -> None:
    guest = lab.guest("files-1", disk="local")
    refusal = lab.virsh(
        "host-a", "migrate", "files-1", lab.hosts["host-b"].peer_uri, *MIGRATE, check=False
    )
    assert "error" in refusal
    assert lab.where("files-1") == ["host-a"]
    lab.virsh(
        "host-a", "migrate", "files-1", lab.hosts["host-b"].peer_uri, *MIGRATE, "--copy-storage-all"
    )
    assert lab.where("files-1") == ["host-b"]
    assert goes_on(guest)
    assert guest.boots() == 1
    copy = lab.hosts["host-b"].directory / "lib" / "images" / "files-1.qcow2"
    raw = lab.directory / "sector"
    argv = [
        "qemu-img",
        "dd",
        "-U",
        "-f",
        "qcow2",
        "-O",
        "raw",
        "bs=512",
        "count=1",
        f"if={copy}",
        f"of={raw}",
    ]
    subprocess.run(argv, check=True, capture_output=True)
    assert raw.read_bytes().startswith(b"tick ")
    lab.kill_guest("files-1")


# Faults


def test_a_killed_libvirtd_leaves_its_guests_and_finds_them_again(lab: Lab, web: Guest) -> None:
    before = lab.hosts["host-a"].libvirtd_pid
    lab.kill_libvirtd("host-a")
    assert not lab.hosts["host-a"].libvirtd_pid
    with pytest.raises(LabError, match="failed"):
        lab.virsh("host-a", "list")
    assert goes_on(web)
    lab.start_libvirtd("host-a")
    assert lab.hosts["host-a"].libvirtd_pid not in {None, before}
    until(lambda: "web-1" in lab.virsh("host-a", "list", "--name"))


def test_a_cut_network_and_a_cut_pair(lab: Lab) -> None:
    assert hears(lab, "host-a", "host-b")
    lab.cut_network("host-b")
    assert not hears(lab, "host-a", "host-b")
    assert hears(lab, "host-a", "host-c")
    lab.heal_network("host-b")
    until(lambda: hears(lab, "host-a", "host-b"))
    lab.cut_between("host-a", "host-b")
    assert not hears(lab, "host-a", "host-b")
    assert hears(lab, "host-a", "host-c")
    assert hears(lab, "host-b", "host-c")
    lab.heal_between("host-a", "host-b")
    lab.heal_between("host-a", "host-b")
    until(lambda: hears(lab, "host-a", "host-b"))


def test_a_migration_over_a_narrow_wire_lasts_and_fails_when_it_is_cut(
    lab: Lab, web: Guest
) -> None:
    lab.limit_bandwidth("host-a", 2)
    with ThreadPoolExecutor(1) as pool:
        moving = pool.submit(
            lab.virsh,
            "host-a",
            "migrate",
            "web-1",
            lab.hosts["host-c"].peer_uri,
            *MIGRATE,
            check=False,
        )
        until(lambda: lab.where("web-1") == ["host-a", "host-c"])
        until(
            lambda: "Outgoing migration" in lab.virsh("host-a", "domjobinfo", "web-1", check=False)
        )
        assert not moving.done()
        lab.cut_between("host-a", "host-c")
        assert "error" in moving.result()
    lab.heal_between("host-a", "host-c")
    lab.limit_bandwidth("host-a", None)
    until(lambda: lab.where("web-1") == ["host-a"])
    assert goes_on(web)
    assert web.boots() == 1


def test_a_frozen_host_does_not_answer_until_it_is_thawed(lab: Lab, web: Guest) -> None:
    lab.freeze("host-a")
    client = ["virsh", "--connect", lab.hosts["host-a"].uri, "list", "--name"]
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run(client, timeout=1.5, check=False, capture_output=True)
    still = web.ticks()
    time.sleep(1.5)
    assert web.ticks() == still
    lab.thaw("host-a")
    assert goes_on(web)
    assert "web-1" in lab.virsh("host-a", "list", "--name")


def test_a_missing_bridge_keeps_a_guest_from_arriving(lab: Lab, web: Guest) -> None:
    lab.remove_bridge("host-c")
    refusal = lab.virsh(
        "host-a", "migrate", "web-1", lab.hosts["host-c"].peer_uri, *MIGRATE, check=False
    )
    assert "br0" in refusal
    lab.restore_bridge("host-c")
    lab.virsh("host-a", "migrate", "web-1", lab.hosts["host-c"].peer_uri, *MIGRATE)
    assert lab.where("web-1") == ["host-c"]
    bring_home(lab, web)


def test_a_host_loses_power_and_comes_back_with_its_autostart_guests(lab: Lab) -> None:
    guest = lab.guest("early", host="host-b", autostart=True)
    cards = [
        lab.run("host-b", "cat", f"/sys/class/net/{name}/address") for name in ("eth0", "eth1")
    ]
    lab.run("host-a", "busybox", "ping", "-c", "1", "-W", "5", network.SWITCH)
    storage = found(r"lladdr (\S+)", lab.run("host-a", "ip", "neigh", "show", network.SWITCH))
    lab.power_off("host-b")
    assert lab.where("early") == []
    with pytest.raises(LabError):
        lab.virsh("host-b", "list")
    lab.power_on("host-b")
    until(lambda: guest.boots() == 2)
    assert lab.where("early") == ["host-b"]
    assert hears(lab, "host-a", "host-b")
    # As a machine's own cards and a switch's own port: what anybody sends arrives at once
    lab.run("host-a", "ip", "neigh", "flush", "dev", "eth0")
    lab.run("host-a", "busybox", "ping", "-c", "1", "-W", "5", network.SWITCH)
    heard = lab.run("host-a", "ip", "neigh", "show", network.SWITCH)
    assert found(r"lladdr (\S+)", heard) == storage
    now = [lab.run("host-b", "cat", f"/sys/class/net/{name}/address") for name in ("eth0", "eth1")]
    assert now == cards
    lab.kill_guest("early")


def test_a_killed_guest_is_off(lab: Lab) -> None:
    lab.guest("victim", host="host-c", disk=None)
    lab.kill_guest("victim")
    assert lab.where("victim") == []
    until(lambda: "shut off" in lab.virsh("host-c", "domstate", "victim"))
    with pytest.raises(LabError, match="runs on no host"):
        lab.kill_guest("victim")


# The end

CHILD = """
import json, os, signal, sys, time
from lab import Lab, remains
# As in a terminal, also when the tests run in the background of a shell, which ignores it
signal.signal(signal.SIGINT, signal.default_int_handler)
with Lab(hosts=1) as lab:
    if sys.argv[1:] != ["end"]:
        lab.guest("web")
    pids = [pid for room in [lab._switch, *lab._rooms.values()] for pid in [room.pid, *room.pids()]]
    born = {pid: remains.started(pid) for pid in pids}
    print(json.dumps({"directory": str(lab.directory), "born": born, "janitor": lab._janitor.pid}), flush=True)
    if sys.argv[1:] == ["raise"]:
        raise ValueError("in the body")
    if sys.argv[1:] == ["end"]:
        sys.exit()
    time.sleep(600)
"""


class Child:
    """A process that runs a small lab, for it to be ended in some way."""

    def __init__(self, *args: str) -> None:
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
        argv = [sys.executable, "-c", CHILD, *args]
        self.process = subprocess.Popen(
            argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert self.process.stdout is not None
        told = json.loads(self.process.stdout.readline())
        self.directory = Path(told["directory"])
        self.born = {int(pid): born for pid, born in told["born"].items()}
        self.janitor = told["janitor"]
        # Two first processes, libvirtd; NBD server, QEMU
        assert len(self.born) >= (3 if args == ("end",) else 5)

    def remains(self) -> list[str]:
        groups = [
            str(path)
            for path in Path("/sys/fs/cgroup").glob(f"**/drover-lab-{self.directory.name}*")
        ]
        processes = [str(pid) for pid, born in self.born.items() if remains.started(pid) == born]
        mounts = [
            line
            for line in Path("/proc/mounts").read_text().splitlines()
            if str(self.directory) in line
        ]
        return [
            *groups,
            *processes,
            *mounts,
            *([str(self.directory)] if self.directory.exists() else []),
        ]

    def end(self, number: int | None = None) -> str:
        if number:
            self.process.send_signal(number)
        _out, err = self.process.communicate(timeout=PATIENCE)
        return err.decode()


@pytest.fixture
def children() -> Iterator[list[Child]]:
    made: list[Child] = []
    yield made
    for child in made:
        if child.process.poll() is None:
            child.process.kill()
        child.process.communicate()


def test_a_new_host_knows_qemu_from_the_hosts_before() -> None:
    with Lab(hosts=1):
        pass
    began = time.time()
    with Lab(hosts=1) as lab:
        learned = lab.hosts["host-a"].directory / "cache" / "qemu" / "capabilities"
        times = [each.stat().st_mtime for each in learned.glob("*.xml")]
    assert times
    assert max(times) < began


def test_nothing_is_left_after_the_block(children: list[Child]) -> None:
    child = Child("end")
    children.append(child)
    assert child.end() == ""
    assert child.process.returncode == 0
    assert child.remains() == []


def test_nothing_is_left_after_an_exception_in_the_block(children: list[Child]) -> None:
    child = Child("raise")
    children.append(child)
    assert "ValueError: in the body" in child.end()
    assert child.remains() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_after_a_signal(children: list[Child], number: int) -> None:
    child = Child()
    children.append(child)
    assert child.remains() != []
    child.end(number)
    until(lambda: child.remains() == [], lambda: f"nothing is left but {child.remains()}")


def test_the_next_lab_cleans_up_after_owner_and_janitor_were_killed(
    lab: Lab, children: list[Child]
) -> None:
    child = Child()
    children.append(child)
    os.kill(child.janitor, signal.SIGKILL)
    child.end(signal.SIGKILL)
    assert child.directory.exists()
    with Lab(hosts=1):
        assert child.remains() == []
    # The lab of a living owner was not touched.
    assert lab.virsh("host-a", "hostname") == "host-a"
    assert lab.directory.exists()


# Errors


def test_what_a_machine_lacks_is_told_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine.missing() == []
    monkeypatch.setenv("PATH", "/nowhere")
    (programs,) = [line for line in machine.missing() if "Programs" in line]
    assert "apt-get install" in programs
    assert "libvirt-daemon-system" in programs
    assert "qemu-system-x86" in programs
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(LabError, match="needs root"), Lab():
        pass


def test_an_accelerator_is_trusted_only_after_a_guest_booted_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(machine, "_TRIAL_S", PATIENCE)
    assert machine.boots("tcg")
    assert not machine.boots("no-such-accelerator")
    if machine.domain_type() == "kvm":
        assert machine.boots("kvm")


def test_a_failed_start_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Lab(hosts=2)

    def refuse(name: str) -> None:
        raise LabError(f"{name} is broken")

    monkeypatch.setattr(broken, "_start_host", refuse)
    with pytest.raises(LabError, match="is broken"), broken:
        pass
    assert not broken.directory.exists()
    assert list(Path("/sys/fs/cgroup").glob(f"**/drover-lab-{broken.directory.name}*")) == []


def test_a_lab_has_a_sensible_number_of_hosts_and_memory() -> None:
    with pytest.raises(LabError, match="1 to 9"):
        Lab(hosts=0)
    with pytest.raises(LabError, match="256 MiB"):
        Lab(memory_mib=10)
