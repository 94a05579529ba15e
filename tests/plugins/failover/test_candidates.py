"""Which VMs of a dead host start elsewhere, in which wave and where, as laws over drawn clusters."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.cluster import Disk, Nic, Pool, Snapshot, Ties, VmDetail, VmState
from bot.domain.definition import Definition, sha_of
from bot.domain.placement import APART
from bot.testing import draw_cluster
from plugins.failover.candidates import Candidate, StaysOff, choose, old_copies
from plugins.failover.places import place
from plugins.failover.settings import FailoverSettings, Priority

GIB = 1 << 30
SETTINGS = FailoverSettings()
RANK = {"first": 0, "normal": 1, "last": 2}
NAMES = [f"vm-{number}" for number in range(6)]


def kept_of(seen: Snapshot) -> tuple[Definition, ...]:
    """Each VM's definition as it would be kept."""
    return tuple(
        Definition(
            vm.uuid, vm.name, vm.host, vm.name, sha_of(vm.name), seen.taken_at, seen.taken_at,
            vm.state, vm.vcpus, vm.memory, vm.detail or VmDetail(), vm.tags,
        )
        for vm in seen.vms
    )  # fmt: skip


@st.composite
def clusters(draw: st.DrawFn) -> Snapshot:
    """host-a with up to six VMs of all states and tags, and two smaller hosts with a few."""
    vms = []
    for name in NAMES[: draw(st.integers(0, 6))]:
        state = draw(st.sampled_from(["", "", "", " off", " paused"]))
        tags = [f"failover={draw(st.sampled_from(['first', 'normal', 'last', 'off', 'soon']))}"]
        if after := draw(st.lists(st.sampled_from([*NAMES, "nobody"]), max_size=2, unique=True)):
            tags.append(f"failover.after={'+'.join(after)}")
        if draw(st.booleans()):
            tags.append(f"{APART}={draw(st.sampled_from(['x', 'y']))}")
        if draw(st.integers(0, 4)) == 0:
            tags.append(f"pin={draw(st.sampled_from(['host-a', 'host-b']))}")
        vms.append(f"{name} {draw(st.sampled_from([1, 4, 9]))}G{state} [{' '.join(tags)}]")
    there = [f"old-{number} {draw(st.sampled_from([1, 5]))}G" for number in (1, 2)]
    text = " | ".join(["host-a  64cpu 64G", *vms])
    text += f"\nhost-b  8cpu 16G reserve 1G | {there[0]} [{APART}=x]\nhost-c  8cpu 12G | {there[1]}"
    return draw_cluster(text)


def chosen(seen: Snapshot) -> tuple[tuple[Candidate, ...], tuple[StaysOff, ...]]:
    return choose(SETTINGS, seen, "host-a", kept_of(seen))


@given(clusters())
def test_l16_each_vm_that_was_active_is_started_or_told_and_only_what_ran_is_started(
    seen: Snapshot,
) -> None:
    found, off = chosen(seen)
    active = {vm.uuid for vm in seen.on("host-a") if vm.state.active}
    assert {each.vm.uuid for each in found} | {each.uuid for each in off} == active
    assert len(found) + len(off) == len(active)
    assert all(str(each.why.text) for each in off)
    for each in found:
        assert each.vm.state is VmState.RUNNING
        assert each.priority is not Priority.OFF
        assert each.kept.uuid == each.vm.uuid


@given(clusters())
def test_l16_without_a_kept_definition_or_with_a_copy_that_runs_nothing_is_started(
    seen: Snapshot,
) -> None:
    assert choose(SETTINGS, seen, "host-a", ())[0] == ()
    twice = replace(
        seen, vms=(*seen.vms, *(replace(vm, host="host-b") for vm in seen.on("host-a")))
    )
    assert choose(SETTINGS, twice, "host-a", kept_of(seen))[0] == ()


@given(clusters())
def test_l18_waves_go_by_priority_and_dependency_and_a_circle_ends(seen: Snapshot) -> None:
    found, _ = chosen(seen)
    by_uuid = {each.vm.uuid: each for each in found}
    assert {each.wave for each in found} == set(range(1, len({each.wave for each in found}) + 1))
    for each in found:
        assert all(by_uuid[uuid].wave < each.wave for uuid in each.after)
    for one in found:
        for other in found:
            if not one.after and not other.after:
                first = RANK[one.priority] <= RANK[other.priority]
                assert (one.wave <= other.wave) is first


@given(clusters())
def test_l17_no_place_breaks_memory_vcpus_a_pin_or_a_group_apart(seen: Snapshot) -> None:
    found, _ = chosen(seen)
    placed, nowhere = place(SETTINGS, seen, "host-a", found)
    assert len(placed) + len(nowhere) == len(found)
    for host in seen.hosts:
        mine = [each.candidate.vm for each in placed if each.target == host.name]
        if host.name == "host-a":
            assert mine == []
            continue
        runs = [vm for vm in seen.on(host.name) if vm.state.active]
        assert sum(vm.memory for vm in (*runs, *mine)) <= host.memory - host.reserve
        assert sum(vm.vcpus for vm in (*runs, *mine)) <= SETTINGS.vcpus_per_core * host.cpus
        groups = [vm.tags[APART] for vm in (*runs, *mine) if vm.tags.get(APART)]
        assert len(groups) == len(set(groups))
        assert all(vm.tags.get("pin", host.name) == host.name for vm in mine)


@given(st.floats(0, 3 * 86400))
def test_l23_a_definition_that_is_older_than_it_should_be_is_warned_of(age: float) -> None:
    seen = draw_cluster("host-a 4cpu 8G | web-1 1G\nhost-b 4cpu 8G")
    found, _ = chosen(seen)
    told = old_copies(found, seen.taken_at + timedelta(seconds=age), SETTINGS)
    assert [each.code for each in told] == (["old-definition"] if age > SETTINGS.stale else [])


def test_no_vm_starts_where_another_one_has_its_name() -> None:
    seen = draw_cluster("host-a 8cpu 16G | web 1G\nhost-b 8cpu 16G | other 1G\nhost-c 8cpu 8G")
    other = replace(seen.vm("other"), name="web", state=VmState.SHUT_OFF)
    twice = replace(seen, vms=(seen.vm("web"), other))
    found, _ = choose(SETTINGS, twice, "host-a", kept_of(twice))
    placed, off = place(SETTINGS, twice, "host-a", found)
    assert ([each.target for each in placed], off) == (["host-c"], ())
    alone = replace(twice, hosts=tuple(each for each in twice.hosts if each.name != "host-c"))
    placed, (why,) = place(SETTINGS, alone, "host-a", found)
    assert (placed, why.why.code) == ((), "lacks")
    assert "host-b lacks: name web" in str(why.why.text)


def test_each_vm_starts_where_its_own_networks_are() -> None:
    seen = draw_cluster("host-a 8cpu 16G | web 1G | db 1G\nhost-b 8cpu 16G\nhost-c 8cpu 8G")
    networks = {"host-b": frozenset({"front"}), "host-c": frozenset({"back"})}
    hosts = tuple(
        replace(each, networks=networks.get(each.name, each.networks)) for each in seen.hosts
    )
    wants = {"web": "front", "db": "back"}
    vms = tuple(
        replace(vm, detail=VmDetail(nics=(Nic("network", wants[vm.name], ""),))) for vm in seen.vms
    )
    seen = replace(seen, hosts=hosts, vms=vms)
    placed, off = place(SETTINGS, seen, "host-a", chosen(seen)[0])
    assert {each.candidate.vm.name: each.target for each in placed} == {
        "web": "host-b", "db": "host-c",
    }  # fmt: skip
    assert off == ()


SHARE = Pool("vms", "netfs", "/vms", active=True, autostart=True, shared=True, source="/export/a")
OTHER = replace(SHARE, source="/export/b")


@pytest.mark.parametrize(
    ("there", "target"),
    [
        ((SHARE,), "host-b"),
        ((), "host-c"),
        ((replace(SHARE, active=False),), "host-c"),
        ((OTHER,), "host-c"),
        ((replace(SHARE, kind="dir", shared=False),), "host-c"),
    ],
)
@pytest.mark.parametrize(
    "disk", [Disk("vda", "file", "/vms/web.qcow2"), Disk("vda", "volume", "vms/web.qcow2")]
)
def test_a_vm_starts_only_where_its_shared_pool_is_the_same_storage(
    disk: Disk, there: tuple[Pool, ...], target: str
) -> None:
    seen = draw_cluster("host-a 8cpu 16G | web 1G\nhost-b 8cpu 16G\nhost-c 8cpu 8G")
    (web,) = seen.vms
    pools = {"host-a": (SHARE,), "host-b": there, "host-c": (SHARE,)}
    hosts = tuple(replace(each, pools=pools[each.name]) for each in seen.hosts)
    seen = replace(seen, hosts=hosts, vms=(replace(web, detail=VmDetail(disks=(disk,), nics=())),))
    found, off = choose(SETTINGS, seen, "host-a", kept_of(seen))
    assert off == ()
    placed, _ = place(SETTINGS, seen, "host-a", found)
    assert [each.target for each in placed] == [target]
    alone = replace(seen, hosts=hosts[:2])
    placed, nowhere = place(SETTINGS, alone, "host-a", found)
    if target == "host-c":
        assert "host-b lacks: pool vms" in str(nowhere[0].why.text)


def test_a_vm_starts_only_where_its_pinned_cpus_and_numa_nodes_are() -> None:
    """libvirt starts it nowhere else: “cannot set CPU affinity”, “NUMA node 1 is unavailable”."""
    seen = draw_cluster("host-a 8cpu 16G | web 1G\nhost-b 8cpu 16G\nhost-c 8cpu 8G")
    (web,) = seen.vms
    ids = {"host-a": 32, "host-b": 8, "host-c": 32}
    hosts = tuple(
        replace(each, cpu_ids=frozenset(range(ids[each.name])), numa_nodes=frozenset({0}))
        for each in seen.hosts
    )
    pinned = VmDetail(ties=Ties(pins=(frozenset({12}),)))
    seen = replace(seen, hosts=hosts, vms=(replace(web, detail=pinned),))
    found, _ = choose(SETTINGS, seen, "host-a", kept_of(seen))
    placed, _ = place(SETTINGS, seen, "host-a", found)
    assert [each.target for each in placed] == ["host-c"], "though host-b has more room"
    bound = replace(pinned, ties=Ties(numa_nodes=frozenset({1})))
    seen = replace(seen, vms=(replace(web, detail=bound),))
    found, _ = choose(SETTINGS, seen, "host-a", kept_of(seen))
    _, off = place(SETTINGS, seen, "host-a", found)
    assert "host-b lacks: NUMA node 1" in str(off[0].why.text)


CEPH = Pool("ceph", "rbd", "", active=True, autostart=True, shared=True, source="vms")
FILE = Disk("vda", "file", "/vms/web.qcow2")
RBD = Disk("vda", "network", "rbd://mon-1,mon-2/vms/web")


@pytest.mark.parametrize(
    ("mine", "theirs", "stays"),
    [
        (FILE, FILE, True),
        (FILE, replace(FILE, source="/vms//./web.qcow2"), True),
        (FILE, Disk("sda", "volume", "vms/web.qcow2"), True),
        (Disk("vda", "volume", "vms/web.qcow2"), FILE, True),
        (RBD, Disk("vda", "network", "rbd://mon-2,mon-1/vms/web"), True),
        (RBD, Disk("vda", "volume", "ceph/web"), True),
        (FILE, replace(FILE, source="/vms/other.qcow2"), False),
        (FILE, replace(FILE, shareable=True), False),
        (FILE, replace(FILE, readonly=True), False),
        (FILE, replace(FILE, device="cdrom"), False),
    ],
)
def test_a_vm_stays_off_while_another_one_runs_with_its_disk(
    mine: Disk, theirs: Disk, *, stays: bool
) -> None:
    """As after somebody defined it anew by hand, with another UUID."""
    seen = draw_cluster("host-a 8cpu 16G | web 1G\nhost-b 8cpu 16G | web-anew 1G")
    hosts = tuple(replace(each, pools=(SHARE, CEPH)) for each in seen.hosts)
    disks = {"web": mine, "web-anew": theirs}
    vms = tuple(replace(vm, detail=VmDetail(disks=(disks[vm.name],), nics=())) for vm in seen.vms)
    seen = replace(seen, hosts=hosts, vms=vms)
    found, off = choose(SETTINGS, seen, "host-a", kept_of(seen))
    assert [each.why.code for each in off] == (["disk-in-use"] if stays else [])
    assert [each.vm.name for each in found] == ([] if stays else ["web"])
    local = tuple(replace(each, pools=(replace(SHARE, shared=False),)) for each in hosts[1:])
    if stays and theirs.kind == "file":
        apart = replace(seen, hosts=(hosts[0], *local))
        assert choose(SETTINGS, apart, "host-a", kept_of(apart))[1] == ()
