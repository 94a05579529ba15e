"""What the loss of a host would mean, and how many more guests fit: by example, and as laws."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from bot.domain.capacity import Room, Shelter, Spread, Unit, fits, losses
from bot.domain.cluster import GIB, MIB, HugePages, Snapshot, VmDetail
from bot.domain.placement import is_pinned_here
from bot.testing import draw_cluster
from tests.examples import examples


def stranded(seen: Snapshot, domain: str = "") -> dict[str, list[str]]:
    return {loss.host: [vm.name for vm in loss.stranded] for loss in losses(seen, 4, domain)}


def test_any_one_host_may_go_when_the_others_have_room() -> None:
    seen = draw_cluster("a 8cpu 16G | v1 6G | v2 4G\nb 8cpu 16G | v3 6G\nc 8cpu 16G")
    assert [(loss.host, [vm.name for vm in loss.stranded]) for loss in losses(seen, 4)] == [
        ("a", []), ("b", []), ("c", []),
    ]  # fmt: skip


def test_the_guests_that_would_not_start_are_named() -> None:
    seen = draw_cluster(
        "a 8cpu 16G reserve 2G | big 12G | small 2G\nb 8cpu 16G reserve 2G | other 8G | off 8G off"
    )
    by_host = {loss.host: [vm.name for vm in loss.stranded] for loss in losses(seen, 4)}
    assert by_host == {"a": ["big"], "b": ["other"]}


def test_hosts_that_are_down_or_rest_take_nobody_and_are_not_lost_twice() -> None:
    seen = draw_cluster(
        "a 8cpu 16G | v1 6G\nb 8cpu 16G maintenance\nc 8cpu 16G down\nd 8cpu 16G | v2 6G"
    )
    assert [loss.host for loss in losses(seen, 4)] == ["a", "d"]
    assert all(not loss.stranded for loss in losses(seen, 4))


def test_vcpus_count_as_well_as_memory() -> None:
    seen = draw_cluster("a 4cpu 64G | v1 1G 8cpu\nb 4cpu 64G | v2 1G 8cpu")
    assert all(loss.stranded for loss in losses(seen, 2))
    assert not any(loss.stranded for loss in losses(seen, 4))


def test_as_many_fit_as_leave_room_for_any_loss() -> None:
    seen = draw_cluster("a 64cpu 16G\nb 64cpu 16G\nc 64cpu 16G")
    found = fits(seen, 1, 4 * GIB, 4)
    assert (found.count, found.without_spare) == (8, 12)
    assert sum(count for _, count in found.by_host) == 8


def with_huge_pages(seen: Snapshot, pages: dict[str, tuple[int, int]], *names: str) -> Snapshot:
    """``pages``: how many of 2 MiB each host has, in all and free; ``names``: VMs that are made of them."""
    hosts = tuple(
        replace(
            host, huge_pages=(HugePages(2 * MIB, *pages[host.name]),) if host.name in pages else ()
        )
        for host in seen.hosts
    )
    vms = tuple(replace(vm, detail=VmDetail(hugepages=vm.name in names)) for vm in seen.vms)
    return replace(seen, hosts=hosts, vms=vms)


def test_memory_that_is_huge_pages_is_no_room_for_ordinary_vms() -> None:
    seen = draw_cluster("a 8cpu 16G | v1 6G\nb 8cpu 16G | v2 6G")
    assert stranded(seen) == {"a": [], "b": []}
    assert stranded(with_huge_pages(seen, {"b": (5 * 512, 5 * 512)})) == {"a": ["v1"], "b": []}
    assert fits(seen, 1, 4 * GIB, 4).without_spare == 4
    assert fits(with_huge_pages(seen, {"b": (7 * 512, 7 * 512)}), 1, 4 * GIB, 4).without_spare == 2


def test_vms_on_huge_pages_start_anew_only_where_enough_are_free() -> None:
    seen = draw_cluster("a 8cpu 16G | v1 4G | v2 6G\nb 8cpu 16G | v3 6G")
    full = {"a": (4 * 512, 0), "b": (4 * 512, 4 * 512)}
    assert stranded(with_huge_pages(seen, full, "v1")) == {"a": [], "b": []}
    assert stranded(with_huge_pages(seen, {**full, "b": (4 * 512, 4 * 512 - 1)}, "v1")) == {
        "a": ["v1"],
        "b": [],
    }


SIZES = st.lists(st.integers(0, 30), min_size=2, max_size=5)


@given(SIZES, st.integers(1, 8))
def test_what_fits_still_fits_when_it_is_there(used: list[int], size: int) -> None:
    """Put the guests in as told: the loss of any host is then taken, and one more is one too many."""
    lines = [f"h{n} 99cpu 32G" + (f" | v{n} {gib}G" if gib else "") for n, gib in enumerate(used)]
    seen = draw_cluster("\n".join(lines))
    before = losses(seen, 4)
    found = fits(seen, 1, size * GIB, 4)
    if any(loss.stranded for loss in before):
        assert found.count == 0
        return
    put = {
        name: " | ".join(f"n{name}-{k} {size}G" for k in range(count))
        for name, count in found.by_host
    }
    more = [
        line + (f" | {put[line.split()[0]]}" if line.split()[0] in put else "") for line in lines
    ]
    assert not any(loss.stranded for loss in losses(draw_cluster("\n".join(more)), 4))


def test_guests_that_belong_apart_are_apart_after_a_loss_too_as_far_as_there_are_hosts() -> None:
    lines = "a 8cpu 64G | v1 4G [apart=db]\nb 8cpu 64G | v2 4G [apart=db]"
    assert stranded(draw_cluster(lines)) == {"a": [], "b": []}
    assert stranded(draw_cluster(f"{lines}\nc 8cpu 64G")) == {"a": [], "b": [], "c": []}
    assert stranded(draw_cluster(f"{lines}\nc 8cpu 2G")) == {"a": ["v1"], "b": ["v2"], "c": []}


def test_a_group_that_is_together_starts_on_one_host_or_where_its_others_are() -> None:
    halves = "b 8cpu 6G\nc 8cpu 6G"
    assert stranded(
        draw_cluster(f"a 8cpu 64G | v1 4G [together=x] | v2 4G [together=x]\n{halves}")
    )["a"] == ["v1", "v2"]
    assert stranded(draw_cluster(f"a 8cpu 64G | v1 4G | v2 4G\n{halves}"))["a"] == []
    torn = draw_cluster(
        "a 8cpu 64G | v1 4G [together=x]\nb 8cpu 6G | v2 4G [together=x]\nc 8cpu 64G"
    )
    assert stranded(torn)["a"] == ["v1"]


def test_a_pin_names_who_may_take_the_guest_and_one_bound_to_its_host_falls_with_it() -> None:
    seen = draw_cluster(
        "a 8cpu 64G | v1 4G [pin=a+b] | v2 1G [pin=here] | v3 1G [pin=a]\nb 8cpu 2G\nc 8cpu 64G"
    )
    assert stranded(seen)["a"] == ["v1"]


def test_failure_domains_hold_an_even_share_of_each_group() -> None:
    lines = "a 8cpu 64G [zone=x] | v1 1G [apart=db]\nb 8cpu 64G [zone=x]\n"
    lines += "c 8cpu 64G [zone=y] | v2 1G [apart=db]\nd 8cpu 1G [zone=y]"
    seen = draw_cluster(lines)
    assert stranded(seen, "zone") == {"a": [], "b": [], "c": [], "d": []}
    tight = draw_cluster(lines.replace("v2 1G", "v2 2G"))
    assert stranded(tight)["c"] == []
    assert stranded(tight, "zone")["c"] == ["v2"]


TAGS = st.sampled_from(
    ["", "", "[apart=x]", "[apart=y]", "[together=z]", "[pin=h0]", "[pin=h1+h2]"]
)


@settings(max_examples=examples(60))
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 12), TAGS), max_size=12),
    st.permutations(range(4)),
)
def test_the_verdict_ignores_the_order_of_hosts_and_saves_no_more_than_there_is_room_for(
    guests: list[tuple[int, int, str]], order: list[int]
) -> None:
    lines = [f"h{host} 99cpu 32G" for host in range(4)]
    for number, (host, gib, tag) in enumerate(guests):
        lines[host] += f" | v{number} {gib}G {tag}"
    seen = draw_cluster("\n".join(lines))
    assert stranded(seen) == stranded(draw_cluster("\n".join(lines[host] for host in order)))
    names = {host.name for host in seen.hosts}
    for loss in losses(seen, 4):
        rest = names - {loss.host}
        left = sum(max(0, 32 * GIB - sum(vm.memory for vm in seen.on(host))) for host in rest)
        saved = [
            vm for vm in loss.guests if vm not in loss.stranded and not is_pinned_here(vm, names)
        ]
        assert sum(vm.memory for vm in saved) <= left


UNITS = st.builds(
    lambda number, memory, vcpus, apart, hosts, huge: Unit(
        (f"u{number}",), memory, vcpus, tuple(apart), hosts or None, huge
    ),
    st.integers(0, 9),
    st.integers(0, 9),
    st.integers(0, 4),
    st.lists(st.sampled_from("xy"), max_size=2),
    st.frozensets(st.sampled_from(["h0", "h1", "h2", "h3"]), max_size=2),
    st.integers(0, 2),
)


@settings(max_examples=examples(100))
@given(
    st.dictionaries(
        st.sampled_from(["h0", "h1", "h2", "h3", "h4"]),
        st.builds(Room, st.integers(0, 20), st.integers(0, 9), st.integers(0, 3)),
        min_size=1,
    ),
    st.lists(st.tuples(st.sampled_from("xy"), st.sampled_from(["h0", "h1", "h2"])), max_size=8),
    st.dictionaries(st.sampled_from(["h0", "h1", "h2", "h3"]), st.sampled_from(["east", "west"])),
    st.lists(UNITS, max_size=8),
)
def test_a_shelter_without_a_host_is_as_one_that_never_had_it(
    rooms: dict[str, Room], held: list[tuple[str, str]], domains: dict[str, str], units: list[Unit]
) -> None:
    held = [(group, host) for group, host in held if host in rooms]
    sizes = Counter(group for group, _ in held)
    whole = Shelter(rooms, Spread(held, domains), sizes)
    for lost in rooms:
        rest = {name: room for name, room in rooms.items() if name != lost}
        anew = Shelter(rest, Spread([each for each in held if each[1] != lost], domains), sizes)
        left = whole.without(lost)
        assert [left.put(unit) for unit in units] == [anew.put(unit) for unit in units]
        assert left.rooms == anew.rooms


@given(
    st.dictionaries(
        st.sampled_from(["h0", "h1", "h2", "h3", "h4"]),
        st.builds(Room, st.sampled_from([4, 8, 9]), st.integers(0, 9), st.integers(0, 3)),
    ),
    st.lists(st.tuples(st.sampled_from("xy"), st.sampled_from(["h0", "h1", "h2"])), max_size=3),
    st.lists(UNITS, max_size=8),
)
def test_the_widest_that_takes_a_unit_is_the_first_in_their_order_that_alone_would(
    rooms: dict[str, Room], held: list[tuple[str, str]], units: list[Unit]
) -> None:
    spread = Spread([(group, host) for group, host in held if host in rooms])
    widest, alone = Shelter(rooms, spread, None), Shelter(rooms, spread, None)
    for unit in units:
        order = sorted(alone.rooms.items(), key=lambda item: (-item[1].memory, item[0]))
        wanted = [name for name, _ in order if unit.hosts is None or name in unit.hosts]
        tries = (alone.put(replace(unit, hosts=frozenset({name}))) for name in wanted)
        assert widest.put_widest(unit) == next(filter(None, tries), "")
    assert widest.rooms == alone.rooms
    most = max((room.memory for room in widest.rooms.values()), default=None)
    assert widest.most_memory == most


def test_a_host_that_has_no_room_is_lost_without_a_difference() -> None:
    whole = Shelter({"h0": Room(8, 8)}, Spread([("x", "h0")], {"h0": "east", "h1": "west"}), None)
    left = whole.without("h1")
    assert left.rooms == whole.rooms
    assert left.put(Unit(("vm",), 1, 1, ("x",))) == "", "one of a group on each host"
    assert left.put(Unit(("vm",), 1, 1)) == "h0"
    assert whole.rooms == {"h0": Room(8, 8)}
