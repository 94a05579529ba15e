"""G22: a host loses its power in the middle of a VM's post-copy; what the other host has of it is ended and starts anew.

Only after the proof, and only as long as each look shows that nothing can complete it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bot.domain.cluster import (
    POSTCOPY_FAILED,
    POSTCOPY_INCOMING,
    POSTCOPY_SOURCE,
    Sighting,
    VmState,
)
from bot.domain.definition import state_to_keep
from bot.domain.errors import HypervisorError
from bot.domain.operation import State
from bot.domain.power import ProofKind
from bot.domain.steps import MigrateVm, MigrationPolicy
from bot.flow.monitoring.definitions import KeptDefinitions
from bot.testing.power import Fault
from plugins.failover.steps import ClearCorpse, RestartVm
from tests.plugins.failover.test_failover import A, Room, room_in

TARGET = "host-b"


def half_moved(room: Room, reason: str = POSTCOPY_INCOMING, seen: str = POSTCOPY_SOURCE) -> None:
    """db-1 is on its way from host-a to host-b; ``seen``: why it was paused when host-a last answered."""
    vm = room.bot.hypervisor.snapshot().vm("db-1")
    state = VmState.PAUSED if seen else VmState.RUNNING
    room.bot.hypervisor.put(replace(vm, state=state, paused_by=seen))
    room.bot.hypervisor.put(replace(vm, host=TARGET, paused_by=reason, autostart=False))


def kept(room: Room) -> None:
    """The definitions as a bot that runs meanwhile keeps them."""
    KeptDefinitions(room.bot.hypervisor, room.bot.store, room.bot.clock).keep(
        room.bot.hypervisor.snapshot()
    )


def power_fails(room: Room) -> None:
    """host-a is off, and proposes nothing yet."""
    room.dies(power=True)
    room.bot.clock.turn(60)


def forced_off(room: Room) -> list[tuple[str, ...]]:
    return [call for call in room.bot.hypervisor.calls if call[0] == "force_off"]


def started(room: Room, name: str = "db-1") -> list[str]:
    uuid = room.bot.hypervisor.snapshot().vm(name).uuid
    return [call[1] for call in room.bot.hypervisor.calls if call[0] == "start" and call[2] == uuid]


def watched(
    room: Room,
    by: ProofKind = ProofKind.DEVICE,
    *,
    lost: str = "host-a",
    halves: Collection[str] = (POSTCOPY_INCOMING, POSTCOPY_FAILED),
) -> None:
    """Fail at once when what may live is ended, or a start makes a second copy.

    ``halves``: what db-1 may read as when it is ended, once ``lost`` is proven off.
    """
    guests, end, start = room.bot.hypervisor._guests, *_acts(room)

    def only_what_is_dead(host: str, uuid: str) -> None:
        (hold,) = room.bot.store.holds()
        assert hold.proof is not None
        assert hold.proof.kind is by
        assert lost not in room.power.on
        assert guests[host, uuid].vm.paused_by in halves
        assert room.runs("db-1") == [host]
        end(host, uuid)

    def only_once(host: str, uuid: str) -> None:
        name = next(each.vm.name for (_, known), each in guests.items() if known == uuid)
        assert room.runs(name) == []
        start(host, uuid)

    room.bot.hypervisor.force_off = only_what_is_dead  # type: ignore[method-assign]
    room.bot.hypervisor.start = only_once  # type: ignore[method-assign]


def _acts(room: Room) -> tuple[Callable[[str, str], None], Callable[[str, str], None]]:
    return room.bot.hypervisor.force_off, room.bot.hypervisor.start


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    made = room_in(tmp_path)
    yield made
    made.bot.store.close()


@pytest.mark.parametrize(
    ("seen", "again", "then"),
    [
        ("", False, POSTCOPY_INCOMING),
        ("", True, POSTCOPY_FAILED),
        (POSTCOPY_SOURCE, True, POSTCOPY_INCOMING),
        (POSTCOPY_SOURCE, False, POSTCOPY_FAILED),
    ],
)
def test_what_waits_for_memory_of_a_dead_host_is_ended_and_starts_anew(
    room: Room, seen: str, then: str, *, again: bool
) -> None:
    """Whatever was seen last (``seen``: why host-a had it paused) and kept in it (``again``).

    ``then``: whether libvirt has noticed by the vote that its memory does not come.
    """
    half_moved(room, seen=seen)
    if again:
        kept(room)
    power_fails(room)
    kept(room)
    room.asks()
    told = [str(each.text) for each in room.bot.operation().plan.warnings]
    assert any("db-1 was being migrated to host-b" in each for each in told)
    steps = room.bot.operation().plan.steps
    kinds = [type(each).__name__ for each in steps if not isinstance(each, RestartVm)]
    assert kinds == ["HoldHost", "FenceHost", "ConfirmOff", "ClearCorpse"]
    (half,) = [each for each in steps if isinstance(each, ClearCorpse)]
    assert (half.name, half.host, half.lost) == ("db-1", TARGET, "host-a")
    assert TARGET in room.bot.operation().plan.blast.hosts
    assert forced_off(room) == []
    watched(room)
    room.bot.hypervisor._turn(TARGET, half.uuid, VmState.RUNNING, then)
    assert room.works() is State.DONE, room.why()
    assert [call[1] for call in forced_off(room)] == [TARGET]
    assert len(started(room)) == 1
    assert room.runs("db-1") == started(room)
    assert room.runs("web-1") != ["host-a"]


def test_a_bot_that_has_just_started_knows_it_by_the_kept_definition(room: Room) -> None:
    """It has not seen host-a, so it knows no VM there."""
    half_moved(room)
    kept(room)
    power_fails(room)
    room.bot.hypervisor._last_seen["host-a"] = ()
    kept(room)
    room.asks()
    watched(room)
    assert room.works() is State.DONE, room.why()
    assert [call[1] for call in forced_off(room)] == [TARGET]
    assert len(room.runs("db-1")) == 1


def test_a_real_move_of_the_fake_leaves_what_real_hosts_leave(room: Room) -> None:
    """The source's power fails in the middle of it; a definition stays at home with the source."""
    room.bot.hypervisor._network = 1 << 28
    vm = room.bot.hypervisor.snapshot().vm("db-1")
    step = MigrateVm(vm.uuid, vm.name, "host-a", TARGET, vm.memory, policy=MigrationPolicy.POSTCOPY)

    def and_the_power_fails(move: MigrateVm, job: Any) -> None:
        if job.phase == "post-copy":
            kept(room)
            room.dies(power=True)
        else:
            room.bot.hypervisor.start_postcopy(move.source, move.uuid)

    room.bot.hypervisor.during = and_the_power_fails
    with pytest.raises(HypervisorError):
        room.bot.hypervisor.migrate(step)
    room.bot.hypervisor.during = None
    (there,) = [each for each in room.bot.hypervisor.sightings(vm.uuid) if each.host == TARGET]
    assert there == Sighting(
        TARGET, reachable=True, state=VmState.RUNNING, paused_by=POSTCOPY_INCOMING
    )
    room.bot.clock.turn(60)
    kept(room)
    room.asks()
    watched(room)
    assert room.works() is State.DONE, room.why()
    assert [call[1] for call in forced_off(room)] == [TARGET]


def test_a_drill_tells_what_would_be_ended(room: Room) -> None:
    """host-a lives: in post-copy its VM can live no longer than it."""
    half_moved(room)
    kept(room)
    told = room.asks("failover drill host-a")
    assert "2 of its 2 running VMs would start elsewhere" in told
    assert "db-1 was being migrated to host-b" in told
    assert forced_off(room) == []


def test_what_waits_for_memory_on_a_host_that_does_not_answer_either_is_not_touched(
    tmp_path: Path,
) -> None:
    room = room_in(
        tmp_path,
        """
        host-a  16cpu 64G | web-1 4G | db-1 8G
        host-b  16cpu 64G | app-1 2G
        host-c  16cpu 64G
        host-d  16cpu 64G
        host-e  16cpu 64G
        """,
    )
    half_moved(room)
    kept(room)
    room.dies(TARGET)
    power_fails(room)
    room.asks()
    told = [str(each.text) for each in room.bot.operation().plan.warnings]
    assert any("db-1 already runs on host-b" in each for each in told)
    steps = room.bot.operation().plan.steps
    assert [each.name for each in steps if isinstance(each, RestartVm)] == ["web-1"]
    assert [each for each in steps if isinstance(each, ClearCorpse)] == []
    room.bot.store.close()


def arrives(room: Room, uuid: str) -> None:
    """All of its memory was there, and libvirt says so at last."""
    if TARGET in room.runs("db-1"):
        room.bot.hypervisor._turn(TARGET, uuid, VmState.RUNNING, "")


def fails(room: Room, uuid: str) -> None:
    """Libvirt notices that its source is gone."""
    if TARGET in room.runs("db-1"):
        room.bot.hypervisor._turn(TARGET, uuid, VmState.PAUSED, POSTCOPY_FAILED)


def ends(room: Room, uuid: str) -> None:
    """Its QEMU ends by itself."""
    if (TARGET, uuid) in room.bot.hypervisor._guests:
        room.bot.hypervisor._stop(TARGET, uuid)


def has_another_source(room: Room, uuid: str) -> None:
    """It had been moved by hand before, and its memory comes from there."""
    seen = room.bot.hypervisor._guests["host-a", uuid].vm
    room.bot.hypervisor.put(
        replace(seen, host="host-c", state=VmState.PAUSED, paused_by=POSTCOPY_SOURCE)
    )


def has_another_source_that_falls_silent(room: Room, uuid: str) -> None:
    """As before; nobody can ask that host."""
    has_another_source(room, uuid)
    room.bot.hypervisor.down("host-c", "no route to host")


def gets_power(room: Room, uuid: str) -> None:
    """Somebody presses the button of the dead host."""
    room.power.on.add("host-a")


def is_hidden(room: Room, uuid: str) -> None:
    """Its target falls silent."""
    room.bot.hypervisor.down(TARGET, "no route to host")


ENDED_AND_STARTED = {fails: True, ends: False}
"""After which the VM starts anew, and whether Drover has to end it."""


def meanwhile(room: Room, event: Callable[[Room, str], None], at: int = 1) -> None:
    """Let it happen right before the look of this number at where db-1 is, from the proof on."""
    look, looks = room.bot.hypervisor.sightings, 0
    mine = room.bot.hypervisor.snapshot().vm("db-1").uuid

    def and_it_happens(uuid: str) -> tuple[Sighting, ...]:
        nonlocal looks
        (hold,) = room.bot.store.holds() or (None,)
        if uuid == mine and hold is not None and hold.proof is not None:
            looks += 1
            if looks == at:
                event(room, uuid)
        return look(uuid)

    room.bot.hypervisor.sightings = and_it_happens  # type: ignore[method-assign]


@pytest.mark.parametrize("at", range(1, 5))
@pytest.mark.parametrize(
    "event",
    [
        arrives,
        fails,
        ends,
        has_another_source,
        has_another_source_that_falls_silent,
        gets_power,
        is_hidden,
    ],
)
def test_whatever_happens_between_two_looks_nothing_that_may_live_is_ended(
    room: Room, event: Callable[[Room, str], None], at: int
) -> None:
    """The event comes right before the look of this number at where the VM is, from the proof on."""
    half_moved(room)
    kept(room)
    power_fails(room)
    room.asks()
    watched(room)
    meanwhile(room, event, at)
    room.works()
    runs = room.runs("db-1")
    assert len([host for host in runs if host != "host-c"]) <= 1
    assert len(started(room)) <= 1
    if event in ENDED_AND_STARTED:
        assert room.bot.operation().state is State.DONE, room.why()
        assert len(runs) == len(started(room)) == 1
    elif forced_off(room) == []:
        # It came before the last look: what may live is left alone, and starts nowhere else
        assert TARGET in runs
        assert started(room) == []


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (arrives, "is not what is left of a broken migration any more"),
        (has_another_source, "its memory may come from host-c"),
        (has_another_source_that_falls_silent, "its memory may come from host-c"),
        (gets_power, "host-a is not proven off any more"),
    ],
)
def test_what_may_live_is_left_alone_and_people_are_told_why(
    room: Room, event: Callable[[Room, str], None], said: str
) -> None:
    half_moved(room)
    power_fails(room)
    room.asks()
    watched(room)
    meanwhile(room, event)
    ended = room.works()
    assert said in room.asks("audit op-1") + (room.why() if ended is State.FAILED else "")
    assert forced_off(room) == []
    assert TARGET in room.runs("db-1")
    if event is not gets_power:  # the other VM starts all the same
        assert len(room.runs("web-1")) == 1


def test_what_does_not_end_is_started_nowhere(room: Room) -> None:
    half_moved(room)
    power_fails(room)
    room.asks()
    room.bot.hypervisor.force_off = lambda *_: None  # type: ignore[method-assign]
    assert room.works() is State.FAILED
    assert "was forced off, and still runs" in room.why()
    assert started(room) == []


def test_a_controller_that_is_at_a_loss_while_it_is_looked_at_ends_nothing(room: Room) -> None:
    half_moved(room)
    power_fails(room)
    room.asks()
    meanwhile(room, lambda room, _: room.power.fault(A, Fault.DEAD))
    assert room.works() is State.FAILED
    assert "not proven off any more" in room.why()
    assert forced_off(room) == []


@pytest.mark.parametrize(
    ("state", "why", "counts"),
    [
        (VmState.PAUSED, POSTCOPY_SOURCE, VmState.RUNNING),
        (VmState.RUNNING, POSTCOPY_INCOMING, VmState.CRASHED),
        (VmState.RUNNING, POSTCOPY_FAILED, VmState.CRASHED),
        (VmState.PAUSED, POSTCOPY_FAILED, VmState.CRASHED),
        (VmState.PAUSED, "user", VmState.PAUSED),
        (VmState.RUNNING, "", VmState.RUNNING),
    ],
)
def test_in_post_copy_a_vm_is_at_home_on_its_source(
    state: VmState, why: str, counts: VmState
) -> None:
    assert state_to_keep(state, why) is counts


def test_the_home_follows_when_all_memory_has_arrived(room: Room) -> None:
    keeper = KeptDefinitions(room.bot.hypervisor, room.bot.store, room.bot.clock)
    half_moved(room)
    keeper.keep(room.bot.hypervisor.snapshot())
    vm = room.bot.hypervisor.snapshot().vm("db-1")
    assert vm.host == TARGET
    assert room.bot.store.definitions(uuid=vm.uuid)[0].host == "host-a"
    del room.bot.hypervisor._guests["host-a", vm.uuid]
    room.bot.hypervisor._turn(TARGET, vm.uuid, VmState.RUNNING, "")
    for _ in range(2):  # what was kept of another host is read whole in the next turn
        keeper.keep(room.bot.hypervisor.snapshot())
    assert room.bot.store.definitions(uuid=vm.uuid)[0].host == TARGET


def test_two_peoples_word_is_proof_enough_and_one_persons_is_none(room: Room) -> None:
    half_moved(room)
    kept(room)
    room.asks("failover status")  # its controller was shown to be its own
    room.power.fault(A, Fault.DEAD)
    power_fails(room)
    room.asks('host attest-off host-a --seen "the rack has no power"')
    assert any(isinstance(each, ClearCorpse) for each in room.bot.operation().plan.steps)
    watched(room, by=ProofKind.ATTESTED)
    room.bot.works()
    assert forced_off(room) == []
    assert room.works() is State.DONE, room.why()
    assert [call[1] for call in forced_off(room)] == [TARGET]
    assert len(room.runs("db-1")) == 1


@pytest.mark.parametrize("event", [arrives, has_another_source, gets_power])
def test_what_shows_only_in_the_second_look_counts(
    room: Room, event: Callable[[Room, str], None]
) -> None:
    """Sightings are not taken at one instant. The first look at it is the step's settling."""
    half_moved(room)
    power_fails(room)
    room.asks()
    watched(room)
    meanwhile(room, event, at=3)
    room.works()
    assert forced_off(room) == []
    assert TARGET in room.runs("db-1")


def target_dies(room: Room, left: str) -> None:
    """db-1 runs on host-b, with memory from host-a; host-b loses its power. ``left``: why host-a has it paused."""
    half_moved(room)
    kept(room)
    room.dies(TARGET, power=True)
    uuid = room.bot.hypervisor.snapshot().vm("db-1").uuid
    room.bot.hypervisor._turn("host-a", uuid, VmState.PAUSED, left)
    room.bot.clock.turn(60)
    kept(room)


@pytest.mark.parametrize(
    ("left", "then"),
    [
        (POSTCOPY_SOURCE, POSTCOPY_SOURCE),
        (POSTCOPY_SOURCE, POSTCOPY_FAILED),
        (POSTCOPY_FAILED, POSTCOPY_FAILED),
    ],
)
def test_what_a_dead_target_leaves_on_its_source_is_ended_and_starts_anew(
    room: Room, left: str, then: str
) -> None:
    """Its newest memory was on the dead host. ``then``: whether libvirt has noticed by the vote."""
    target_dies(room, left)
    room.asks("host failover host-b")
    plan = room.bot.operation().plan
    told = [str(each.text) for each in plan.warnings]
    assert not any("already runs" in each for each in told)
    assert any("db-1 was being migrated from host-a" in each for each in told) == (
        left == POSTCOPY_SOURCE
    )
    kinds = [type(each).__name__ for each in plan.steps if not isinstance(each, RestartVm)]
    assert kinds == ["HoldHost", "FenceHost", "ConfirmOff", "ClearCorpse"]
    (half,) = [each for each in plan.steps if isinstance(each, ClearCorpse)]
    assert (half.name, half.host, half.lost) == ("db-1", "host-a", TARGET)
    assert forced_off(room) == []
    watched(room, lost=TARGET, halves={POSTCOPY_SOURCE, POSTCOPY_FAILED})
    room.bot.hypervisor._turn("host-a", half.uuid, VmState.PAUSED, then)
    assert room.works() is State.DONE, room.why()
    assert [call[1] for call in forced_off(room)] == ["host-a"]
    assert len(room.runs("db-1")) == 1
    assert TARGET not in room.runs("db-1")


def runs_again(room: Room, uuid: str) -> None:
    """Somebody made the source's copy run."""
    room.bot.hypervisor._turn("host-a", uuid, VmState.RUNNING, "")


def goes_elsewhere(room: Room, uuid: str) -> None:
    """It runs on a third host: the paused copy sends it memory."""
    seen = room.bot.hypervisor._guests["host-a", uuid].vm
    room.bot.hypervisor.put(
        replace(seen, host="host-c", state=VmState.RUNNING, paused_by=POSTCOPY_INCOMING)
    )


def may_go_elsewhere(room: Room, uuid: str) -> None:
    """As before, to a host that nobody can ask."""
    goes_elsewhere(room, uuid)
    room.bot.hypervisor.down("host-c", "no route to host")
    room.bot.hypervisor._last_seen["host-c"] = ()


def target_gets_power(room: Room, uuid: str) -> None:
    """Somebody presses the button of the dead target."""
    room.power.on.add(TARGET)


@pytest.mark.parametrize("at", range(1, 5))
@pytest.mark.parametrize(
    ("event", "said"),
    [
        (runs_again, "is not what is left of a broken migration any more"),
        (goes_elsewhere, "host-c may have the rest of it"),
        (may_go_elsewhere, "host-c may have the rest of it"),
        (target_gets_power, "host-b is not proven off any more"),
    ],
)
def test_a_sources_rest_that_may_be_of_use_is_left_alone(
    room: Room, event: Callable[[Room, str], None], said: str, at: int
) -> None:
    """The event comes right before the look of this number, from the proof on."""
    target_dies(room, POSTCOPY_SOURCE)
    room.asks("host failover host-b")
    watched(room, lost=TARGET, halves={POSTCOPY_SOURCE, POSTCOPY_FAILED})
    meanwhile(room, event, at)
    ended = room.works()
    assert len(started(room)) <= 1
    if forced_off(room) == []:
        told = room.asks("audit op-1") + (room.why() if ended is State.FAILED else "")
        assert said in told
        assert "host-a" in room.runs("db-1")
        assert started(room) == []


def test_a_vm_that_has_just_arrived_starts_from_the_definition_kept_at_its_old_home(
    room: Room,
) -> None:
    """Its new host dies before its definition is kept there."""
    vm = room.bot.hypervisor.snapshot().vm("db-1")
    del room.bot.hypervisor._guests["host-a", vm.uuid]
    room.bot.hypervisor.put(replace(vm, host=TARGET))
    room.dies(TARGET, power=True)
    room.bot.clock.turn(60)
    assert "2 of its 2 running VMs would start elsewhere" in room.asks("failover drill host-b")
    room.asks("host failover host-b")
    assert room.works() is State.DONE, room.why()
    assert len(room.runs("db-1")) == 1
    assert TARGET not in room.runs("db-1")
