"""Which machine type all hosts know, and which VMs cannot run on every host."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.cluster import Host, Snapshot, VmDetail
from bot.domain.machine_types import bound_vms, newest, newest_common
from bot.testing import draw_cluster

OLD = frozenset({"pc", "q35", "pc-q35-7.2", "pc-q35-7.1", "pc-i440fx-7.2", "pc-q35-2.12"})
NEW = frozenset(
    {"pc", "q35", "pc-q35-10.0", "pc-q35-9.2", "pc-q35-7.2", "pc-i440fx-10.0", "pc-i440fx-7.2"}
)


def hosts(*known: frozenset[str]) -> tuple[Host, ...]:
    (plain,) = draw_cluster("host-a 8cpu 32G").hosts
    return tuple(replace(plain, name=f"host-{n}", machines=each) for n, each in enumerate(known))


@pytest.mark.parametrize(
    ("wanted", "known", "right"),
    [
        ("q35", (OLD, NEW), "pc-q35-7.2"),
        ("pc", (OLD, NEW), "pc-i440fx-7.2"),
        ("q35", (NEW, NEW), "pc-q35-10.0"),  # and not 9.2, which is greater as a text
        ("pc-q35-7.1", (OLD, NEW), "pc-q35-7.1"),  # somebody chose it
        ("q35", (frozenset(), OLD), "pc-q35-7.2"),  # a host that told nothing
        ("q35", (frozenset(),), "q35"),
        ("q35", (), "q35"),
        ("q35", (frozenset({"q35", "pc-q35-2.12"}), NEW), "q35"),  # nothing in common
        ("virt", (frozenset({"virt", "virt-7.2"}), frozenset({"virt-7.2", "virt-10.0"})), "virt-7.2"),
        ("q35", (frozenset({"pc-q35-rhel9.2.0", "pc-q35-rhel8.6.0"}), frozenset({"pc-q35-rhel9.2.0"})),
         "pc-q35-rhel9.2.0"),
        ("q35", (frozenset({"pc-q35-8.2", "pc-q35-noble", "pc-q35-8.2-v2"}),), "pc-q35-8.2"),
        ("microvm", (OLD, NEW), "microvm"),
    ],
)  # fmt: skip
def test_the_newest_version_that_all_hosts_know(
    wanted: str, known: tuple[frozenset[str], ...], right: str
) -> None:
    assert newest_common(wanted, hosts(*known)) == right


TYPES = st.frozensets(
    st.builds(
        lambda major, minor: f"pc-q35-{major}.{minor}", st.integers(2, 12), st.integers(0, 12)
    ),
    min_size=1,
)


@given(st.lists(TYPES, min_size=1, max_size=4))
def test_what_is_chosen_is_known_to_all_and_nothing_newer_is(known: list[frozenset[str]]) -> None:
    common = frozenset.intersection(*known)
    chosen = newest_common("q35", hosts(*known))
    assert (chosen in common) == bool(common)
    if common:
        numbers = [tuple(map(int, each.removeprefix("pc-q35-").split("."))) for each in common]
        assert tuple(map(int, chosen.removeprefix("pc-q35-").split("."))) == max(numbers)
    assert newest_common("q35", hosts(*reversed(known))) == chosen
    assert newest("q35", common) == ("" if not common else chosen)


def mixed() -> Snapshot:
    """Host-a has old QEMU, the others new; db-1 is of a machine type that only these have."""
    seen = draw_cluster("host-a 8cpu 32G | web-1 1G\nhost-b 8cpu 32G | db-1 1G\nhost-c 8cpu 32G")
    vms = tuple(
        replace(vm, detail=VmDetail(machine="pc-q35-10.0" if vm.name == "db-1" else "pc-q35-7.2"))
        for vm in seen.vms
    )
    old, *new = seen.hosts
    upgraded = (replace(each, machines=NEW) for each in new)
    return replace(seen, vms=vms, hosts=(replace(old, machines=OLD), *upgraded))


def test_a_vm_whose_machine_type_some_host_lacks_is_named_with_those_hosts() -> None:
    (bound,) = bound_vms(mixed())
    assert (bound.vm.name, bound.machine, bound.lacking) == ("db-1", "pc-q35-10.0", ("host-a",))


def test_what_was_not_read_and_hosts_of_another_architecture_bind_nobody() -> None:
    seen = mixed()
    silent = replace(seen.hosts[0], machines=frozenset())
    assert list(bound_vms(replace(seen, hosts=(silent, *seen.hosts[1:])))) == []
    arm = replace(seen.hosts[0], arch="aarch64")
    assert list(bound_vms(replace(seen, hosts=(arm, *seen.hosts[1:])))) == []
    unread = tuple(replace(vm, detail=None) for vm in seen.vms)
    assert list(bound_vms(replace(seen, vms=unread))) == []
