"""One object that cannot be read, or holds nonsense, costs itself alone, and its reason is shown."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import libvirt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bot.adapters.libvirt import HostAddress, LibvirtHypervisor
from bot.adapters.libvirt.read import domain_xml, inventory, target_equipment
from bot.adapters.libvirt.read.domain_xml import parse
from bot.adapters.libvirt.read.sampling import LibvirtSampler
from bot.adapters.libvirt.transport import connections
from bot.domain.cluster import Lack, Snapshot, Vm, VmSnapshot, VmState
from bot.domain.definition import Definition, Unreadable
from bot.domain.errors import HypervisorError
from bot.domain.metrics import HostSample, Metric, VmSample, points
from bot.testing import TickingClock
from tests.bot.adapters.libvirt.odd import CODES, GARBAGE, OddHost, Thing, failure
from tests.examples import examples

ADDRESS = HostAddress("host-a", "odd:///system", "odd:///system")
VANISHED = {libvirt.VIR_ERR_NO_NETWORK, libvirt.VIR_ERR_NO_INTERFACE, libvirt.VIR_ERR_NO_STORAGE_POOL,
            *(getattr(libvirt, f"VIR_ERR_NO_{kind}") for kind in (
                "DOMAIN", "DOMAIN_SNAPSHOT", "DOMAIN_CHECKPOINT", "STORAGE_VOL", "SECRET", "NODE_DEVICE"
            ))}  # fmt: skip
GONE = {libvirt.VIR_ERR_NO_DOMAIN}

# What is one of many, and what each of them is asked.
OBJECTS: dict[str, tuple[str, ...]] = {
    "vm-2": ("XMLDesc", "isPersistent", "snapshotNum", "stats"),
    "br1": ("XMLDesc",),
    "net1": ("XMLDesc",),
    "pool1": ("XMLDesc", "info", "autostart"),
    "host": (
        "listAllInterfaces", "listAllNetworks", "listAllStoragePools", "getCPUStats", "getCapabilities", "getHostname",
        "getVersion", "getLibVersion", "domainEventRegisterAny", "networkEventRegisterAny",
        "storagePoolEventRegisterAny",
    ),
}  # fmt: skip
BREAKS = [(who, method) for who, methods in OBJECTS.items() for method in methods]


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> OddHost:
    made = OddHost()
    monkeypatch.setattr(connections, "open_connection", lambda *_, **__: made)
    return made


@pytest.fixture
def hypervisor(host: OddHost) -> Iterator[LibvirtHypervisor]:
    made = LibvirtHypervisor(
        [ADDRESS], clock=TickingClock(), deadline=20.0, measure_dirty_rate=False
    )
    yield made
    made.close()


def look(host: OddHost) -> Snapshot:
    """A first look at the host, as it is broken now."""
    hypervisor = LibvirtHypervisor(
        [ADDRESS], clock=TickingClock(), deadline=20.0, measure_dirty_rate=False
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connections, "open_connection", lambda *_, **__: host)
        try:
            return hypervisor.snapshot()
        finally:
            hypervisor.close()


def told(seen: Snapshot) -> str:
    """Everything that is shown of what could not be read."""
    (host,) = seen.hosts
    return " | ".join(
        [*(str(each.text) for each in host.unread), *(str(vm.problem) for vm in seen.vms)]
    ).strip(" |")


def bare(vm: Vm) -> Vm:
    return replace(vm, cpu=None)


WHOLE = look(OddHost())


class BadTextError(UnicodeDecodeError):
    """What libvirt's bindings raise of a text that is no UTF-8."""

    def __init__(self) -> None:
        super().__init__("utf-8", b"\xff", 0, 1, "invalid start byte")


def made_at(seconds: int) -> str:
    """A snapshot or checkpoint that was made so long after 1970."""
    return f"<made><name>odd</name><creationTime>{seconds}</creationTime></made>"


def dates() -> st.SearchStrategy[str]:
    return st.integers(-(1 << 66), 1 << 66).map(made_at)


def wrongs() -> st.SearchStrategy[Any]:
    return st.one_of(st.sampled_from(CODES).map(failure), st.sampled_from(GARBAGE))


@settings(max_examples=examples(300))
@given(where=st.sampled_from(BREAKS), wrong=wrongs())
def test_whatever_one_object_answers_everything_else_is_read(
    where: tuple[str, str], wrong: Any
) -> None:
    host = OddHost()
    host.answers.broken[where] = wrong
    seen = look(host)
    (box,), (whole,) = seen.hosts, WHOLE.hosts
    assert (box.up, box.problem) == (True, "")
    assert bare(seen.vm("vm-1")) == bare(WHOLE.vm("vm-1")), "the other VM is as it was"
    assert (box.cpus, box.memory) == (whole.cpus, whole.memory)
    who, method = where
    if "Interface" not in method:
        assert "br0" in box.bridges
    if "Network" not in method:
        assert "net0" in box.networks
    if "StoragePools" not in method:
        assert [pool for pool in box.pools if pool.name == "pool0"] == [whole.pools[0]]
    if who == "vm-2":
        _is_whole_or_told(seen, wrong)
    elif who != "host":
        gone = isinstance(wrong, libvirt.libvirtError) and wrong.get_error_code() in VANISHED
        same = (box.bridges, box.networks, box.pools) == (
            whole.bridges,
            whole.networks,
            whole.pools,
        )
        assert gone or same or who in told(seen)


def _is_whole_or_told(seen: Snapshot, wrong: Any) -> None:
    found = [vm for vm in seen.vms if vm.name == "vm-2"]
    if not found:
        assert isinstance(wrong, libvirt.libvirtError)
        assert wrong.get_error_code() in GONE, "only what left is left out"
        return
    (vm,) = found
    assert vm.state.active, "what runs is never taken for what is off"
    assert (vm.vcpus, vm.memory) == (2, 512 << 20), "its size is known another way"
    whole = replace(WHOLE.vm("vm-2"), cpu=None, persistent=vm.persistent)
    assert vm.problem or bare(vm) == whole


@pytest.mark.parametrize(
    "code",
    [
        libvirt.VIR_ERR_INTERNAL_ERROR,
        libvirt.VIR_ERR_SYSTEM_ERROR,
        libvirt.VIR_ERR_RPC,
        libvirt.VIR_ERR_NO_CONNECT,
    ],
)
@pytest.mark.parametrize(
    ("who", "method", "shown"),
    [
        ("vm-2", "XMLDesc", "definition"),
        ("br1", "XMLDesc", "interface br1"),
        ("net1", "XMLDesc", "network net1"),
        ("pool1", "info", "pool pool1"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_reason(
    who: str, method: str, shown: str, code: int
) -> None:
    host = OddHost()
    host.answers.broken[who, method] = failure(code)
    said = told(look(host))
    assert shown in said
    assert f"error {code}" in said


@pytest.mark.parametrize(
    ("method", "shown"),
    [
        ("listAllInterfaces", "all interfaces: error"),
        ("listAllNetworks", "all networks: error"),
        ("listAllStoragePools", "all pools: error"),
    ],
)
def test_a_missing_daemon_is_a_missing_part(method: str, shown: str) -> None:
    host = OddHost()
    host.answers.broken["host", method] = failure(libvirt.VIR_ERR_SYSTEM_ERROR)
    seen = look(host)
    assert shown in told(seen)
    assert len(seen.vms) == 2


def test_a_host_without_a_driver_of_a_kind_lacks_nothing() -> None:
    host = OddHost()
    for method in ("listAllNetworks", "listAllStoragePools"):
        host.answers.broken["host", method] = failure(libvirt.VIR_ERR_NO_SUPPORT)
    assert told(look(host)) == ""


def test_without_a_driver_for_interfaces_bridges_are_not_known_for_they_need_no_libvirt() -> None:
    host = OddHost()
    host.answers.broken["host", "listAllInterfaces"] = failure(libvirt.VIR_ERR_NO_SUPPORT)
    seen = look(host)
    assert told(seen) == "all interfaces: libvirt has no driver for interfaces"
    assert seen.hosts[0].why_unread("interface")
    assert "net0-br" in seen.hosts[0].bridges


def test_an_interface_that_cannot_be_described_counts_as_the_bridge_that_vms_need() -> None:
    host = OddHost()
    host.answers.broken["br1", "XMLDesc"] = failure(libvirt.VIR_ERR_INTERNAL_ERROR)
    assert {"br0", "br1"} <= look(host).hosts[0].bridges


def test_what_was_known_of_a_part_stands_while_it_cannot_be_read(
    host: OddHost, hypervisor: LibvirtHypervisor
) -> None:
    before = hypervisor.snapshot(["vm-1"])
    host.answers.broken["vm-2", "XMLDesc"] = failure(libvirt.VIR_ERR_INTERNAL_ERROR)
    host.answers.broken["pool1", "info"] = failure(libvirt.VIR_ERR_INTERNAL_ERROR)
    host.answers.broken["host", "getCapabilities"] = "<"
    seen = hypervisor.snapshot(["vm-2"])
    assert (dict(seen.vm("vm-2").tags), seen.vm("vm-2").memory) == ({"env": "dev"}, 512 << 20)
    assert "error 1" in str(seen.vm("vm-2").problem)
    assert seen.hosts[0].pools == before.hosts[0].pools
    assert seen.hosts[0].cpu_model == "EPYC"


def test_capabilities_are_read_anew_when_their_text_is_another(
    host: OddHost, hypervisor: LibvirtHypervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[str] = []

    def document(xml: str) -> object:
        parsed.append(xml)
        return domain_xml.document(xml)

    monkeypatch.setattr(inventory, "document", document)
    first, second = (hypervisor.snapshot(["vm-1"]).hosts[0] for _ in "12")
    told = host.truth["getCapabilities"]()
    host.truth["getCapabilities"] = lambda: told.replace("EPYC", "Broadwell")
    third = hypervisor.snapshot(["vm-1"]).hosts[0]
    assert [each.cpu_model for each in (first, second, third)] == ["EPYC", "EPYC", "Broadwell"]
    assert (second.uuid, second.arch, second.machines) == (first.uuid, first.arch, first.machines)
    assert len([each for each in parsed if "<capabilities>" in each]) == 2


def test_a_host_that_does_not_tell_its_size_is_told_and_not_planned_with() -> None:
    host = OddHost()
    host.answers.broken["host", "getInfo"] = ["x86_64", 0, 0, 0, 1, 1, 1, 1]
    (box,) = look(host).hosts
    assert not box.up
    assert "0 CPUs" in str(box.problem)


@settings(max_examples=examples(150))
@given(
    wrong=wrongs(),
    method=st.sampled_from(["blockInfo", "blockJobInfo", "jobStats", "XMLDesc", "snapshotNum"]),
)
def test_a_deeper_look_at_one_vm_spoils_no_other(method: str, wrong: Any) -> None:
    host = OddHost()
    host.answers.broken["vm-2", method] = wrong
    hypervisor = LibvirtHypervisor(
        [ADDRESS], clock=TickingClock(), deadline=20.0, measure_dirty_rate=False
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connections, "open_connection", lambda *_, **__: host)
        try:
            seen = hypervisor.snapshot(["vm-1", "vm-2"])
        finally:
            hypervisor.close()
    one = seen.vm("vm-1")
    assert (one.problem, one.detail and one.detail.job) == ("", "")
    assert one.detail is not None
    assert one.detail.disks[0].capacity == 1 << 30


@settings(max_examples=examples(200))
@given(
    where=st.sampled_from([
        ("vm-2", "stats"), ("vm-2", "listAllSnapshots"), ("vm-2", "listAllCheckpoints"), ("vm-2/snap", "getXMLDesc"),
        ("vm-2/snap", "getName"), ("vm-2/check", "getXMLDesc"), ("vm-2", "ID"), ("host", "getCPUStats"),
        ("host", "domainEventRegisterAny"), ("host", "listAllDomains"), ("host", "getMemoryStats"),
        ("host", "getCapabilities"),
    ]),
    wrong=st.one_of(wrongs(), dates()),
)  # fmt: skip
@example(where=("vm-2/snap", "getXMLDesc"), wrong=made_at(1 << 60))
@example(where=("vm-2/check", "getXMLDesc"), wrong=made_at(-(1 << 60)))
def test_a_sweep_measures_everything_but_what_is_broken(where: tuple[str, str], wrong: Any) -> None:
    host = OddHost()
    host.answers.broken[where] = wrong
    sampler = LibvirtSampler([ADDRESS], clock=TickingClock(), deadline=20.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connections, "open_connection", lambda *_, **__: host)
        try:
            sweep = sampler.sweep()
        finally:
            sampler.close()
    (box,) = sweep.hosts
    assert (box.silent, box.cpus) == (False, 8)
    assert "vm-1" in [vm.name for vm in sweep.vms]
    if where[0].startswith("vm-2"):
        assert "vm-1" in [seen.vm for seen in sweep.snapshots]
        assert "vm-1" in [seen.vm for seen in sweep.checkpoints]
        assert (box.memory, box.used) == (8 << 30, 3 << 30)


def test_a_host_whose_memory_cannot_be_measured_tells_why_and_all_else() -> None:
    host = OddHost()
    host.answers.broken["host", "getMemoryStats"] = failure(libvirt.VIR_ERR_INTERNAL_ERROR)
    (box,), (one, *_), points = measure(host)
    assert (box.silent, box.cpus, box.memory_used) == (False, 8, None)
    assert [(each.kind, each.why) for each in box.unread] == [("memory", "error 1")]
    assert one.name == "vm-1"
    assert Metric.MEMORY not in points.get("host:host-a", {})


def test_a_host_that_does_not_tell_its_cpus_is_measured_with_those_it_had() -> None:
    host = OddHost()
    sampler = LibvirtSampler([ADDRESS], clock=TickingClock(), deadline=20.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connections, "open_connection", lambda *_, **__: host)
        try:
            sampler.sweep()
            host.answers.broken["host", "getInfo"] = failure(libvirt.VIR_ERR_SYSTEM_ERROR)
            (box,) = sampler.sweep().hosts
        finally:
            sampler.close()
    assert (box.silent, box.cpus) == (False, 8)


def measure(
    host: OddHost,
) -> tuple[tuple[HostSample, ...], tuple[VmSample, ...], dict[str, dict[Metric, float]]]:
    """One sweep, and what the history keeps of it by entity."""
    sampler = LibvirtSampler([ADDRESS], clock=TickingClock(), deadline=20.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connections, "open_connection", lambda *_, **__: host)
        try:
            sweep = sampler.sweep()
        finally:
            sampler.close()
    return sweep.hosts, sweep.vms, {each.entity: dict(each.values) for each in points(sweep)}


@settings(max_examples=examples(150))
@given(
    where=st.sampled_from([
        ("br1", "XMLDesc"), ("net1", "XMLDesc"), ("net1", "isActive"), ("pool1", "XMLDesc"), ("pool1", "info"),
        ("secret1", "UUIDString"), ("host", "listAllSecrets"), ("host", "listAllNetworks"),
        ("host", "listAllInterfaces"), ("host", "getSysinfo"), ("host", "getMemoryParameters"),
        ("host", "getCapabilities"), ("host", "getVersion"), ("host", "getHostname"),
    ]),
    wrong=wrongs(),
)  # fmt: skip
def test_a_host_is_checked_whatever_one_of_its_parts_says(
    where: tuple[str, str], wrong: Any
) -> None:
    host = OddHost()
    host.answers.broken[where] = wrong
    hypervisor = LibvirtHypervisor([ADDRESS], clock=TickingClock(), deadline=20.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connections, "open_connection", lambda *_, **__: host)
        try:
            facts = hypervisor.host_facts("host-a")
        finally:
            hypervisor.close()
    assert facts.cpus == 8
    if where[1] != "getHostname":
        assert facts.hostname == "host-a.example"
    assert "pool0" in [pool.name for pool in facts.pools]
    if where[1] != "listAllNetworks":
        assert "net0" in [net.name for net in facts.networks]


ODD_PAGES = "<capabilities><host><topology><cells><cell><pages size='x'>y</pages></cell></cells></topology></host></capabilities>"


@pytest.mark.parametrize("wrong", [ODD_PAGES, "<", failure(libvirt.VIR_ERR_INTERNAL_ERROR)])
def test_a_host_whose_capabilities_make_no_sense_is_checked_without_them(wrong: Any) -> None:
    host = OddHost()
    host.answers.broken["host", "getCapabilities"] = wrong
    hypervisor = LibvirtHypervisor([ADDRESS], clock=TickingClock(), deadline=20.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connections, "open_connection", lambda *_, **__: host)
        try:
            facts = hypervisor.host_facts("host-a")
        finally:
            hypervisor.close()
    assert facts.why_unread("capabilities") or facts.why_unread("huge-pages")
    assert ([net.name for net in facts.networks], len(facts.secrets)) == (["net0", "net1"], 2)


@settings(max_examples=examples(150))
@given(
    method=st.sampled_from(["XMLDesc", "isPersistent", "state"]),
    wrong=st.one_of(wrongs(), st.just(BadTextError)),
)
def test_one_definition_that_cannot_be_read_keeps_no_other_from_being_kept(
    method: str, wrong: Any
) -> None:
    host = OddHost()
    host.answers.broken["vm-2", method] = wrong() if wrong is BadTextError else wrong
    hypervisor = LibvirtHypervisor([ADDRESS], clock=TickingClock(), deadline=20.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connections, "open_connection", lambda *_, **__: host)
        try:
            found = {each.uuid: each for each in hypervisor.definitions("host-a")}
        finally:
            hypervisor.close()
    one, two = (each.UUIDString() for each in OddHost().domains)
    whole = found[one]
    assert isinstance(whole, Definition)
    assert whole.name == "vm-1"
    left = isinstance(wrong, libvirt.libvirtError) and wrong.get_error_code() in VANISHED
    assert left == (two not in found)
    if isinstance(found.get(two), Unreadable):
        assert found[two] == Unreadable(two, "vm-2", "host-a", getattr(found[two], "why", ""))
        assert getattr(found[two], "why", "")


@pytest.mark.parametrize(
    "wrong", [BadTextError(), None, "<", failure(libvirt.VIR_ERR_NO_SUPPORT), {"fs.count": "x"}]
)
def test_what_a_guests_agent_says_spoils_no_look_at_its_vm(
    host: OddHost, hypervisor: LibvirtHypervisor, wrong: Any
) -> None:
    host.answers.broken["vm-2", "interfaceAddresses"] = wrong
    host.answers.broken["vm-2", "guestInfo"] = wrong
    uuid = host.domains[1].UUIDString()
    assert hypervisor.addresses("host-a", uuid) == ()
    assert hypervisor.file_systems("host-a", uuid) == ()


@pytest.mark.parametrize(
    ("operation", "shown", "local"),
    [
        (libvirt.VIR_DOMAIN_JOB_OPERATION_BACKUP, "backup", True),
        (libvirt.VIR_DOMAIN_JOB_OPERATION_DUMP, "dump", True),
        (libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT, "migration", False),
        (libvirt.VIR_DOMAIN_JOB_OPERATION_SNAPSHOT_REVERT, "snapshot revert", False),
        (99, "job", False),
    ],
)
def test_which_job_ends_with_its_vm_is_known(
    host: OddHost, hypervisor: LibvirtHypervisor, operation: int, shown: str, *, local: bool
) -> None:
    host.answers.broken["vm-2", "jobStats"] = {
        "type": libvirt.VIR_DOMAIN_JOB_UNBOUNDED,
        libvirt.VIR_DOMAIN_JOB_OPERATION: operation,
    }
    detail = hypervisor.snapshot(["vm-2"]).vm("vm-2").detail
    assert detail is not None
    assert (str(detail.job), detail.local_job) == (shown, local)


@pytest.mark.parametrize("wrong", [None, "<", failure(libvirt.VIR_ERR_INTERNAL_ERROR)])
def test_one_snapshot_that_cannot_be_read_hides_no_other_from_a_plan(
    host: OddHost, hypervisor: LibvirtHypervisor, wrong: Any
) -> None:
    well = Thing(host.answers, "well", getName="well", getXMLDesc=(
        "<domainsnapshot><name>well</name><state>shutoff</state></domainsnapshot>"
    ))  # fmt: skip
    host.domains[1]._truth["listAllSnapshots"].append(well)
    host.domains[1]._truth["snapshotNum"] = 2
    host.answers.broken["vm-2/snap", "getXMLDesc"] = wrong
    vm = hypervisor.snapshot(["vm-2"]).vm("vm-2")
    assert vm.detail is not None
    assert vm.detail.snapshot_list == (VmSnapshot("snap"), VmSnapshot("well", state="shutoff"))
    assert "snapshot snap" in str(vm.problem)


def test_a_snapshot_of_an_impossible_moment_is_shown_with_its_reason(
    host: OddHost, hypervisor: LibvirtHypervisor
) -> None:
    host.answers.broken["vm-2/snap", "getXMLDesc"] = made_at(1 << 60)
    (snapshot,) = hypervisor.snapshots("host-a", host.domains[1].UUIDString())
    assert (snapshot.name, str(snapshot.problem)) == (
        "snap",
        "its answer makes no sense (“1152921504606846976” is no moment)",
    )


def test_hosts_that_offer_no_cpu_model_are_left_out_of_a_baseline_with_their_reason() -> None:
    offer = (
        "<domainCapabilities><cpu><mode name='host-model' supported='yes'><model>EPYC</model>"
        "</mode></cpu></domainCapabilities>"
    )
    hosts = {f"odd:///{name}": OddHost() for name in ("well", "broken", "bare")}
    for each in hosts.values():
        each.truth["baselineHypervisorCPU"] = lambda *_: "<cpu><model>EPYC</model></cpu>"
        each.truth["getDomainCapabilities"] = lambda *_: offer
        each.domains = []
    hosts["odd:///bare"].truth["getDomainCapabilities"] = lambda *_: "<domainCapabilities/>"
    hosts["odd:///broken"].answers.broken["host", "getDomainCapabilities"] = failure(
        libvirt.VIR_ERR_SYSTEM_ERROR
    )
    addresses = [HostAddress(uri.rpartition("/")[2], uri, uri) for uri in hosts]
    hypervisor = LibvirtHypervisor(addresses, clock=TickingClock(), deadline=20.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connections, "open_connection", lambda uri, **__: hosts[uri])
        try:
            found = hypervisor.cpu_baseline([each.name for each in addresses])
        finally:
            hypervisor.close()
    assert (found.hosts, found.model) == (("well",), "EPYC")
    assert {name: str(why) for name, why in found.left_out} == {
        "broken": "error 38",
        "bare": "it offers no CPU model to VMs",
    }


def test_a_pool_whose_description_lacks_its_name_has_that_of_its_handle() -> None:
    host = OddHost()
    host.answers.broken["pool1", "XMLDesc"] = "<pool type='dir'/>"
    assert [pool.name for pool in look(host).hosts[0].pools] == ["pool0", "pool1"]


@pytest.mark.parametrize("wrong", [None, b"x", "<", failure(libvirt.VIR_ERR_INTERNAL_ERROR)])
def test_looking_at_one_vm_tells_what_is_wrong_with_it(
    host: OddHost, hypervisor: LibvirtHypervisor, wrong: Any
) -> None:
    host.answers.broken["vm-2", "XMLDesc"] = wrong
    with pytest.raises(HypervisorError, match="The VM could not be read from"):
        hypervisor.find("host-a", host.domains[1].UUIDString())


def test_one_snapshot_or_disk_that_cannot_be_read_is_shown_with_its_reason(
    host: OddHost, hypervisor: LibvirtHypervisor
) -> None:
    host.answers.broken["vm-2/snap", "getXMLDesc"] = "<"
    host.answers.broken["vm-2", "blockInfo"] = failure(libvirt.VIR_ERR_INTERNAL_ERROR)
    uuid = host.domains[1].UUIDString()
    (snapshot,) = hypervisor.snapshots("host-a", uuid)
    assert (snapshot.name, bool(snapshot.problem)) == ("snap", True)
    (disk,) = hypervisor.disks("host-a", uuid)
    assert (disk.target, disk.problem) == ("vda", f"error {libvirt.VIR_ERR_INTERNAL_ERROR}")


def test_a_connection_that_broke_is_no_odd_object(
    host: OddHost, hypervisor: LibvirtHypervisor
) -> None:
    assert hypervisor.snapshot().hosts[0].up
    host.truth["isAlive"] = lambda: False
    host.answers.broken["host", "getAllDomainStats"] = failure(libvirt.VIR_ERR_RPC)
    assert not hypervisor.snapshot().hosts[0].up


def test_a_state_that_nobody_knows_is_running_where_the_handle_has_a_number() -> None:
    host = OddHost()
    host.answers.broken["vm-2", "stats"] = {"state.state": 99}
    host.answers.broken["vm-2", "state"] = [99, 0]
    vm = look(host).vm("vm-2")
    assert vm.state is VmState.RUNNING
    assert "no state 99" in str(vm.problem)


@pytest.mark.parametrize(
    ("state", "number", "seen"),
    [
        (libvirt.VIR_DOMAIN_CRASHED, 2, (VmState.PAUSED, "crashed")),
        (libvirt.VIR_DOMAIN_NOSTATE, 2, (VmState.RUNNING, "")),
        (libvirt.VIR_DOMAIN_NOSTATE, -1, (VmState.SHUT_OFF, "")),
    ],
)
def test_a_vm_with_a_qemu_is_never_taken_for_off(
    state: int, number: int, seen: tuple[VmState, str]
) -> None:
    host = OddHost()
    host.answers.broken["vm-2", "stats"] = {"state.state": state, "state.reason": 1}
    host.answers.broken["vm-2", "ID"] = number
    vm = look(host).vm("vm-2")
    assert (vm.state, vm.paused_by) == seen


def test_pools_that_do_not_answer_make_no_host_silent_and_are_asked_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As a pool that libvirt reads anew: nothing is answered about it until that is done."""
    host, end, asked = OddHost(), threading.Event(), list[float]()

    def slow() -> list[Any]:
        asked.append(time.monotonic())
        assert end.wait(60)
        return list(host.pools)

    monkeypatch.setattr(connections, "open_connection", lambda *_, **__: host)
    host.truth["listAllStoragePools"] = slow
    hypervisor = LibvirtHypervisor(
        [ADDRESS], clock=TickingClock(), deadline=0.5, measure_dirty_rate=False
    )
    try:
        for _ in range(3):
            (box,) = hypervisor.snapshot().hosts
            assert box.up
            assert ("pool", "") in [(each.kind, each.name) for each in box.unread]
            assert "no answer for" in told(hypervisor.snapshot())
        assert len(asked) == 1, "a question that is on its way is not put again"
        end.set()
        deadline = time.monotonic() + 30
        while not hypervisor.snapshot().hosts[0].pools and time.monotonic() < deadline:
            time.sleep(0.01)
        (box,) = hypervisor.snapshot().hosts
        assert ([pool.name for pool in box.pools], box.unread) == (["pool0", "pool1"], ())
    finally:
        end.set()
        hypervisor.close()


DIRECT = parse(
    "<domain><devices><interface type='direct'><source dev='eth0'/></interface>"
    "<interface type='direct'><source dev='gone0'/></interface></devices></domain>"
)
_USB = "<hostdev mode='subsystem' type='usb'><source{}><vendor id='0x{}'/><product id='0x1'/></source></hostdev>"
_SPARE = " startupPolicy='optional'"
USB = parse(
    f"<domain><devices>{_USB.format('', 'a')}{_USB.format('', 'b')}"
    f"{_USB.format(_SPARE, 'c')}</devices></domain>"
)


def test_a_target_lacks_the_usb_devices_that_it_does_not_list_and_that_are_needed() -> None:
    host = OddHost()
    listed = (
        "<device><capability type='usb_device'><bus>1</bus><device>2</device><product id='0x1'/>"
        "<vendor id='0xa'/></capability></device>"
    )
    host.devices = [Thing(host.answers, "usb_1", name="usb_1", XMLDesc=listed)]
    lacks = target_equipment.look(host, WHOLE.vm("vm-1"), USB, "host-b").lacks
    assert lacks == (Lack("usb-device", "USB b:1"),)


@settings(max_examples=examples(150))
@given(
    where=st.sampled_from([
        ("eth1", "XMLDesc"), ("host", "listAllDevices"), ("host", "secretLookupByUUIDString"),
        ("host", "getDomainCapabilities"),
    ]),
    wrong=wrongs(),
)  # fmt: skip
def test_what_a_target_cannot_tell_is_not_held_to_be_missing_there(
    where: tuple[str, str], wrong: Any
) -> None:
    host = OddHost()
    host.answers.broken[where] = wrong
    lacks = target_equipment.look(host, WHOLE.vm("vm-1"), DIRECT, "host-b").lacks
    devices = [each.name for each in lacks if each.kind == "network-device"]
    told = where[1] in {"secretLookupByUUIDString", "getDomainCapabilities"}
    assert devices == ["gone0"] if told else set(devices) <= {"eth0", "gone0"}
