"""The solver's N+1 packing is that of the bot's own forecast of a host's loss: one rule, written for each side."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bot.domain import capacity
from plugins.balance.solver import shelter

HOSTS, GROUPS, VMS = range(5), range(3), range(8)
sizes = st.integers(0, 8).map(float)


@st.composite
def units(draw: st.DrawFn) -> list[shelter.Unit]:
    allowed = st.none() | st.frozensets(st.sampled_from(HOSTS), min_size=1)
    groups = st.lists(st.sampled_from(GROUPS), max_size=2).map(tuple)
    count = draw(st.integers(0, len(VMS)))
    return [
        shelter.Unit((vm,), draw(sizes), draw(sizes), draw(groups), draw(allowed))
        for vm in range(count)
    ]


@given(
    units(),
    st.dictionaries(st.sampled_from(HOSTS), st.tuples(sizes, sizes)),
    st.lists(st.tuples(st.sampled_from(GROUPS), st.sampled_from(HOSTS)), max_size=6),
    st.dictionaries(st.sampled_from(HOSTS), st.integers(0, 1)),
    st.dictionaries(st.sampled_from(GROUPS), st.integers(0, 8)),
)
def test_the_solver_and_the_forecast_put_every_vm_on_the_same_host(
    wanted: list[shelter.Unit],
    free: dict[int, tuple[float, float]],
    held: list[tuple[int, int]],
    domains: dict[int, int],
    members: dict[int, int],
) -> None:
    mine = shelter.Shelter(free, held, domains, members)
    theirs = capacity.Shelter(
        {str(host): capacity.Room(*room) for host, room in free.items()},
        capacity.Spread(
            [(str(group), str(host)) for group, host in held],
            {str(host): str(domain) for host, domain in domains.items()},
        ),
        {str(group): count for group, count in members.items()},
    )
    for unit in shelter.largest_first(wanted):
        same = capacity.Unit(
            tuple(map(str, unit.vms)),
            unit.memory,
            unit.vcpus,
            tuple(map(str, unit.groups)),
            None if unit.hosts is None else frozenset(map(str, unit.hosts)),
        )
        host = mine.put(unit)
        assert ("" if host is None else str(host)) == theirs.put(same)
    left = {str(host): (memory, vcpus) for host, (memory, vcpus) in mine.free.items()}
    assert left == {name: (room.memory, room.vcpus) for name, room in theirs.rooms.items()}


def test_the_tightest_host_that_holds_it_takes_a_unit() -> None:
    shelters = shelter.Shelter({0: (8.0, 8.0), 1: (4.0, 8.0)}, (), {}, {})
    assert shelters.put(shelter.Unit((0,), 3.0, 1.0)) == 1
    assert shelters.put(shelter.Unit((1,), 3.0, 1.0)) == 0
    assert shelters.put(shelter.Unit((2,), 6.0, 1.0)) is None
    assert shelters.free == {0: (5.0, 7.0), 1: (1.0, 7.0)}
