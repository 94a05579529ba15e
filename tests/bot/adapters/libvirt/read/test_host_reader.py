"""Readings of libvirt's own test driver: the cache, events, loads and a host that is gone."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import libvirt
import pytest

from bot.adapters.libvirt import HostAddress, LibvirtHypervisor
from bot.adapters.libvirt.read.stats import Meter
from bot.domain.cluster import MIB, Health, Vm, VmState
from bot.domain.errors import HypervisorError
from bot.domain.storage import Declared
from bot.testing import TickingClock
from tests.waiting import PATIENCE, until

NUMBERS = count(1)


@pytest.fixture
def hypervisor() -> Iterator[LibvirtHypervisor]:
    """One host that libvirt plays in this process, and one that is not there."""
    hosts = [
        HostAddress(
            "host-t", "test:///default", "test:///default", reserve=MIB, tags={"rack": "1"}
        ),
        HostAddress(
            "host-x",
            "qemu+unix:///system?socket=/nonexistent/sock",
            "qemu+tls://host-x.example/system",
        ),
    ]
    made = LibvirtHypervisor(hosts, clock=TickingClock(), deadline=PATIENCE)
    yield made
    made.close()


@pytest.fixture
def domain() -> Iterator[libvirt.virDomain]:
    """A guest of the test driver, made and changed behind the adapter's back."""
    connection = libvirt.open("test:///default")
    made = connection.defineXML(definition(f"guest-{next(NUMBERS)}"))
    made.create()
    yield made
    if made.isActive():
        made.destroy()
    made.undefine()
    connection.close()


def definition(name: str, env: str = "dev") -> str:
    return (
        f"<domain type='test'><name>{name}</name><memory unit='MiB'>64</memory><vcpu>2</vcpu>"
        "<os><type arch='i686'>hvm</type></os><metadata><drover:tags xmlns:drover='https://drover.dev/tags/1'>"
        f"<drover:tag key='env' value='{env}'/></drover:tags></metadata></domain>"
    )


def vm_of(hypervisor: LibvirtHypervisor, domain: libvirt.virDomain) -> Vm:
    return hypervisor.snapshot().vm(domain.UUIDString())


def test_a_guest_of_the_test_driver_is_read(
    hypervisor: LibvirtHypervisor, domain: libvirt.virDomain
) -> None:
    vm = vm_of(hypervisor, domain)
    assert (vm.name, vm.host, vm.state, vm.vcpus, vm.memory) == (
        domain.name(),
        "host-t",
        VmState.RUNNING,
        2,
        64 * MIB,
    )
    assert (dict(vm.tags), vm.persistent, vm.autostart) == ({"env": "dev"}, True, False)
    host = hypervisor.snapshot().host("host-t")
    assert host.up
    assert host.cpus > 0
    assert (host.reserve, dict(host.tags)) == (MIB, {"rack": "1"})
    assert host.networks == {"default"}
    assert [pool.name for pool in host.pools] == ["default-pool"]


def test_what_the_configuration_says_of_storage_holds_in_every_reading() -> None:
    declared = (
        Declared("default-pool"),
        Declared(path="/srv/vms"),
        Declared(path="/b", hosts=frozenset({"host-b"})),
    )
    made = LibvirtHypervisor(
        [HostAddress("host-t", "test:///default", "", storage=declared)],
        clock=TickingClock(),
        deadline=PATIENCE,
    )
    try:
        host = made.snapshot().host("host-t")
        assert [(pool.shared, pool.declared) for pool in host.pools] == [(True, True)]
        assert host.shared_paths == ("/srv/vms",)
        assert all(pool.declared for pool in made.host_facts("host-t").pools)
    finally:
        made.close()


def test_a_pool_and_a_network_that_are_not_stored_are_known(hypervisor: LibvirtHypervisor) -> None:
    connection = libvirt.open("test:///default")
    number = next(NUMBERS)
    network = connection.networkCreateXML(f"<network><name>short-{number}</name></network>")
    pool = connection.storagePoolCreateXML(
        f"<pool type='dir'><name>short-{number}</name><target><path>/short</path></target></pool>"
    )
    try:
        facts = hypervisor.host_facts("host-t")
        assert {each.name for each in facts.networks if not each.persistent} == {network.name()}
        assert {each.name for each in facts.pools if not each.persistent} == {pool.name()}
    finally:
        network.destroy()
        pool.destroy()
        connection.close()


def test_a_changed_definition_is_seen_by_its_event(
    hypervisor: LibvirtHypervisor, domain: libvirt.virDomain
) -> None:
    assert dict(vm_of(hypervisor, domain).tags) == {"env": "dev"}
    # Libvirt gives it the prefix and the namespace
    told = "<tags><tag key='env' value='prod'/></tags>"
    kind = libvirt.VIR_DOMAIN_METADATA_ELEMENT
    domain.setMetadata(
        kind, told, "drover", "https://drover.dev/tags/1", libvirt.VIR_DOMAIN_AFFECT_LIVE
    )
    until(lambda: dict(vm_of(hypervisor, domain).tags) == {"env": "prod"})


def fails(*_: object) -> None:
    raise libvirt.libvirtError("no statistics today")


def no_reading(*_: object) -> None:
    raise AssertionError("The VMs were read.")


def test_a_glance_at_a_host_that_told_no_change_asks_only_whether_it_answers(
    hypervisor: LibvirtHypervisor, domain: libvirt.virDomain, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = hypervisor.snapshot()
    until(lambda: hypervisor.glance().vms == hypervisor.glance().vms)
    monkeypatch.setattr("bot.adapters.libvirt.read.host_reader.sweep", no_reading)
    hypervisor._clock.sleep(1)
    glance = hypervisor.glance()
    here, there = glance.host("host-t"), glance.host("host-x")
    assert (here.up, there.up) == (True, False)
    assert here.seen_at == glance.taken_at > whole.taken_at
    assert glance.vm(domain.UUIDString()).state is VmState.RUNNING


def test_a_glance_reads_what_an_event_told(
    hypervisor: LibvirtHypervisor, domain: libvirt.virDomain
) -> None:
    hypervisor.snapshot()
    domain.suspend()
    until(lambda: hypervisor.glance().vm(domain.UUIDString()).state is VmState.PAUSED)
    domain.resume()
    until(lambda: hypervisor.glance().vm(domain.UUIDString()).state is VmState.RUNNING)


def test_a_glance_reads_all_of_a_host_that_was_never_read_or_tells_no_events(
    hypervisor: LibvirtHypervisor, domain: libvirt.virDomain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without events nobody would tell that this VM was paused."""
    monkeypatch.setattr(hypervisor._reader("host-t")._listening, "hears", lambda _: False)
    assert hypervisor.glance().vm(domain.UUIDString()).state is VmState.RUNNING
    monkeypatch.setattr(hypervisor._reader("host-t"), "_forget_vm", lambda _: None)
    domain.suspend()
    assert hypervisor.glance().vm(domain.UUIDString()).state is VmState.PAUSED


def test_a_reading_that_failed_is_made_anew_by_the_next_glance(
    hypervisor: LibvirtHypervisor, domain: libvirt.virDomain
) -> None:
    """A host that answers small questions, and this one not, does not come and go."""
    hypervisor.snapshot()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bot.adapters.libvirt.read.host_reader.sweep", fails)
        for _ in range(2):
            assert not hypervisor.snapshot().host("host-t").up
            assert not hypervisor.glance().host("host-t").up
    assert hypervisor.glance().host("host-t").up
    assert hypervisor.glance().vm(domain.UUIDString()).state is VmState.RUNNING


def test_a_pause_is_seen_with_who_did_it(
    hypervisor: LibvirtHypervisor, domain: libvirt.virDomain
) -> None:
    hypervisor.pause("host-t", domain.UUIDString())
    vm = vm_of(hypervisor, domain)
    assert (vm.state, vm.paused_by) == (VmState.PAUSED, "user")


def test_a_removed_guest_is_gone(hypervisor: LibvirtHypervisor) -> None:
    connection = libvirt.open("test:///default")
    made = connection.defineXML(definition("short-lived"))
    assert "short-lived" in [vm.name for vm in hypervisor.snapshot().vms]
    made.undefine()
    assert "short-lived" not in [vm.name for vm in hypervisor.snapshot().vms]
    connection.close()


def test_a_host_never_seen_is_in_the_snapshot(hypervisor: LibvirtHypervisor) -> None:
    host = hypervisor.snapshot().host("host-x")
    assert host.health is Health.UNREACHABLE
    assert host.problem, "what libvirt says of it"
    assert host.seen_at is None
    assert not host.migrate_address, (
        "migrate_uri is for the daemons; the memory goes where the host's own name leads"
    )


def test_what_the_driver_cannot_do_is_a_clear_error(
    hypervisor: LibvirtHypervisor, domain: libvirt.virDomain
) -> None:
    with pytest.raises(HypervisorError, match="The migration cannot switch to post-copy") as caught:
        hypervisor.start_postcopy("host-t", domain.UUIDString())
    assert caught.value.advice


def test_focus_on_a_driver_that_says_little(
    hypervisor: LibvirtHypervisor, domain: libvirt.virDomain
) -> None:
    snapshot = hypervisor.snapshot([domain.name()])
    vm = snapshot.vm(domain.name())
    assert vm.detail is not None
    assert (vm.detail.job, vm.dirty_rate, snapshot.cpu_fits) == ("", None, ())


def test_focus_finds_a_name_whose_accents_chat_encodes_otherwise(
    hypervisor: LibvirtHypervisor,
) -> None:
    connection = libvirt.open("test:///default")
    number = next(NUMBERS)
    made = connection.defineXML(definition(f"cafe\u0301-{number}"))
    try:
        near = hypervisor.snapshot([f"caf\u00e9-{number}"]).vm(f"caf\u00e9-{number}")
        assert near.uuid == made.UUIDString()
        assert near.stored is not None
    finally:
        made.undefine()
        connection.close()


def test_vms_that_are_picked_from_the_snapshot_are_read_in_depth_however_many(
    hypervisor: LibvirtHypervisor,
) -> None:
    connection = libvirt.open("test:///default")
    many = [connection.defineXML(definition(f"many-{next(NUMBERS)}", "many")) for _ in range(20)]
    other = connection.defineXML(definition(f"other-{next(NUMBERS)}"))
    try:
        seen = hypervisor.snapshot(
            chosen=lambda shallow: {vm.uuid for vm in shallow.vms if vm.tags.get("env") == "many"}
        )
        near = [seen.vm(each.UUIDString()) for each in many]
        assert [vm.stored and vm.stored.vcpus for vm in near] == [2] * 20
        assert [vm.detail and vm.detail.silent for vm in near] == [False] * 20
        assert seen.vm(other.UUIDString()).stored is None
        assert (seen.cpu_fits, seen.target_looks) == ((), ())
    finally:
        for each in (*many, other):
            each.undefine()
        connection.close()


def test_nothing_is_asked_before_the_first_question() -> None:
    nowhere = HostAddress("host-x", "qemu+unix:///system?socket=/nonexistent/sock", "")
    made = LibvirtHypervisor([nowhere], clock=TickingClock())
    made.close()
    assert made.snapshot().host("host-x").problem


def test_a_load_needs_two_readings() -> None:
    meter = Meter()
    assert meter.load(10.0, 5_000_000_000) is None
    assert meter.load(10.1, 5_050_000_000) is None, "too little time to measure"
    assert meter.load(12.0, 6_000_000_000) == pytest.approx(0.5)
    assert meter.load(12.1, 6_000_000_000) == pytest.approx(0.5), "the last load known"
    assert meter.load(13.0, 8_000_000_000) == pytest.approx(2.0)


def test_a_smaller_count_is_a_new_start() -> None:
    meter = Meter()
    meter.load(10.0, 5_000_000_000)
    assert meter.load(11.0, 100) is None
    assert meter.load(12.0, 1_000_000_100) == pytest.approx(1.0)
