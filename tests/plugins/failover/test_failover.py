"""A failover on a bot in memory: evidence, votes, hold, fence, proof, starts, and what stops each of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from bot.adapters.powers import ProvenPowers
from bot.domain.cluster import VmState
from bot.domain.operation import Failed, State
from bot.domain.power import Device, Power, ProofKind
from bot.flow.monitoring.definitions import KeptDefinitions
from bot.testing.power import FakePower, Fault
from plugins.failover.steps import ClearCorpse, ConfirmOff, FenceHost, RestartVm
from tests.bot.flow.small_bot import Bot, small_bot, text

A = Device("host-a", "bmc-a")
B = Device("host-b", "bmc-b")
PLUGINS = ("failover", "vm_lifecycle", "migrate", "host_check")
CLUSTER = """
host-a  16cpu 64G reserve 2G load 4 | web-1 4G 2cpu [failover=last] | db-1 8G 2cpu [failover=first] | old-1 1G off
host-b  16cpu 64G reserve 2G load 1 | app-1 2G load 0.2
host-c  16cpu 64G reserve 2G load 1
"""


@dataclass
class Room:
    """A bot and the power of its hosts."""

    bot: Bot
    power: FakePower

    def dies(self, host: str = "host-a", *, power: bool = False) -> None:
        """The host's cpu stops; its power supply lives on unless ``power`` is said to be gone too."""
        self.bot.hypervisor.down(host, "no route to host")
        if not power:
            return
        self.power.on.discard(host)
        self.bot.hypervisor.die(host)

    def runs(self, name: str) -> list[str]:
        """Where it truly runs, whoever answers."""
        guests = self.bot.hypervisor._guests.values()
        return [each.vm.host for each in guests if each.vm.name == name and each.vm.state.active]

    def asks(self, line: str = "host failover host-a") -> str:
        return text(self.bot.types(line))

    def approved(self, number: int = 1) -> None:
        for who in ("UBRUNO", "UCARLA"):
            self.bot.clicks("op.approve", self.bot.value(number), who)

    def works(self, number: int = 1) -> State:
        self.approved(number)
        self.bot.works()
        return self.bot.operation(number).state

    def why(self, number: int = 1) -> str:
        (*_, ended) = self.bot.store.events(f"op-{number}")
        assert isinstance(ended, Failed), ended
        return str(ended.why)


def room_in(tmp_path: Path, cluster: str = CLUSTER, **table: Any) -> Room:
    tables = {"failover": {"start_cooldown": 0, **table}}
    bot = small_bot(
        tmp_path, cluster, ("failover", "vm_lifecycle", "migrate", "host_check"), tables
    )
    for host in bot.hypervisor.snapshot().hosts:
        bot.hypervisor.change(host.name, uuid=f"uuid-of-{host.name}", hostname=host.name)
    control = FakePower(
        bot.clock,
        [A, B],
        {"host-a": "uuid-of-host-a", "host-b": "uuid-of-host-b"},
        lambda host, on: None if on else bot.hypervisor.die(host),
    )
    bot.hypervisor.powers = ProvenPowers(control, bot.store, bot.clock)
    KeptDefinitions(bot.hypervisor, bot.store, bot.clock).keep(bot.hypervisor.snapshot())
    return Room(bot, control)


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    made = room_in(tmp_path)
    yield made
    made.bot.store.close()


def test_a_dead_hosts_vms_run_again_elsewhere_after_two_votes(room: Room) -> None:
    room.dies()
    room.bot.clock.turn(60)
    room.asks()
    plan = room.bot.operation().plan
    assert [type(step).__name__ for step in plan.steps] == [
        "HoldHost",
        "FenceHost",
        "ConfirmOff",
        "RestartVm",
        "RestartVm",
    ]
    starts = [step for step in plan.steps if isinstance(step, RestartVm)]
    assert [(each.name, each.wave) for each in starts] == [("db-1", 1), ("web-1", 2)]
    assert room.power.orders == []  # L26: nothing is ordered without votes
    assert room.works() is State.DONE, room.why()
    assert room.power.orders == [("host-a", "bmc-a", False)]  # L12: off, once, and it stays off
    where = {name: room.runs(name) for name in ("db-1", "web-1", "old-1")}
    assert where["old-1"] == []  # L16
    assert all(
        len(hosts) == 1 and hosts != ["host-a"] for name, hosts in where.items() if name != "old-1"
    )
    (hold,) = room.bot.store.holds()
    assert hold.operation == "op-1"
    assert hold.proof is not None
    assert hold.proof.kind is ProofKind.DEVICE
    assert len(hold.proof.readings) == 3
    trail = room.asks("audit op-1")  # L24
    assert all(word in trail for word in ("bmc-a", "read off", "not heard by"))


def test_witnesses_that_were_not_asked_are_one_line(room: Room) -> None:
    room.dies(power=True)
    room.bot.clock.turn(60)
    room.asks()
    shown = text(room.bot.shown())
    assert "not asked: SSH, other hosts, its disks, its VMs" in shown, shown
    assert "SSH: not asked" not in shown


def test_one_vote_is_not_enough_by_a_rule_for_high_risk(room: Room) -> None:
    room.dies()
    room.bot.clock.turn(60)
    room.asks()
    room.bot.clicks("op.approve", room.bot.value(), "UBRUNO")
    room.bot.works()
    assert room.power.orders == []


@pytest.mark.parametrize("seconds", [0, 20, 44])
def test_a_short_silence_is_not_death(room: Room, seconds: float) -> None:
    room.dies()
    room.bot.clock.turn(seconds)
    assert "does not answer for" in room.asks()
    assert room.bot.store.operations() == ()


def test_a_host_that_answers_again_before_the_votes_is_left_alone(room: Room) -> None:
    room.dies()
    room.bot.clock.turn(60)
    room.asks()
    room.bot.hypervisor.up("host-a")
    assert room.works() is State.STALE
    assert room.power.orders == []
    assert room.bot.store.holds() == ()


def test_l9_half_of_all_hosts_silent_is_drovers_own_trouble(room: Room) -> None:
    room.dies()
    room.dies("host-b")
    room.bot.clock.turn(60)
    assert "more likely Drover" in room.asks()
    assert room.bot.store.operations() == ()


def test_l10_a_host_in_maintenance_is_never_switched_off(room: Room) -> None:
    room.bot.store.set_maintenance("host-a", on=True)
    room.dies()
    room.bot.clock.turn(60)
    assert "is in maintenance" in room.asks()


def test_l7_a_controller_that_is_not_shown_to_be_the_hosts_is_never_used(tmp_path: Path) -> None:
    room = room_in(tmp_path)
    room.bot.hypervisor.change("host-a", uuid="uuid-of-another-board")
    room.dies()
    room.bot.clock.turn(60)
    assert "never shown to belong" in room.asks()
    assert room.power.orders == []
    room.bot.store.close()


def test_without_a_controller_nothing_proves_it_off(room: Room) -> None:
    room.dies("host-c")
    room.bot.clock.turn(60)
    assert "no power controller" in room.asks("host failover host-c")


def test_l2_a_controller_that_does_not_answer_proves_nothing(room: Room) -> None:
    room.asks("hosts")
    room.power.fault(A, Fault.DEAD)
    room.dies(power=True)
    room.bot.clock.turn(60)
    assert "nor its power controller" in room.asks() or "never shown" in room.asks()
    assert room.bot.store.operations() == ()


def test_l3_an_order_that_is_taken_and_not_carried_out_proves_nothing(room: Room) -> None:
    room.dies()
    room.bot.clock.turn(60)
    room.asks()
    room.power.fault(A, Fault.IDLE)
    assert room.works() is State.FAILED
    assert "does not read off" in room.why()
    assert room.runs("db-1") == ["host-a"]
    assert [each.host for each in room.bot.store.holds()] == ["host-a"]  # L29


def test_l3_an_order_that_is_refused_for_a_host_that_is_off_stops_nothing(room: Room) -> None:
    room.dies()
    room.bot.clock.turn(60)
    room.asks()
    room.power.fault(A, Fault.REFUSES)
    room.power.on.discard("host-a")
    room.bot.hypervisor.die("host-a")
    assert room.works() is State.DONE, room.why()
    assert room.power.orders == []


def test_l4_power_that_comes_back_between_the_starts_stops_the_rest(room: Room) -> None:
    room.dies()
    room.bot.clock.turn(60)
    room.asks()
    started = room.bot.hypervisor.start

    def and_the_button_is_pressed(host: str, uuid: str) -> None:
        started(host, uuid)
        room.power.on.add("host-a")

    room.bot.hypervisor.start = and_the_button_is_pressed  # type: ignore[method-assign]
    assert room.works() is State.FAILED
    assert "not proven off any more" in room.why()
    assert len(room.runs("db-1")) == 1
    assert room.bot.hypervisor.snapshot().vm("web-1").host == "host-a"
    assert room.bot.store.holds()[0].proof is None


def test_l1_a_liar_that_reads_off_while_the_host_answers_starts_nothing(room: Room) -> None:
    room.dies()
    room.bot.clock.turn(60)
    room.asks()
    room.power.fault(A, Fault.LIAR)
    read = room.power.read

    def and_it_answers(device: Device) -> Any:
        if room.bot.store.holds():
            room.bot.hypervisor.up("host-a")
        return read(device)

    room.power.read = and_it_answers  # type: ignore[method-assign]
    assert room.works() is State.FAILED
    assert "shows life" in room.why()
    assert room.runs("db-1") == ["host-a"]


def test_l14_a_vm_that_was_moved_meanwhile_is_left_alone(room: Room) -> None:
    room.dies()
    room.bot.clock.turn(60)
    room.asks()
    seen = room.bot.hypervisor.snapshot().vm("db-1")
    room.bot.hypervisor.put(replace(seen, host="host-c", state=VmState.RUNNING))
    assert room.works() is State.DONE, room.why()
    assert room.runs("db-1") == ["host-c"]
    starts = [call for call in room.bot.hypervisor.calls if call[0] == "start"]
    assert seen.uuid not in {call[2] for call in starts}


def test_a_vm_that_its_target_refuses_is_skipped_and_the_others_start(room: Room) -> None:
    room.dies()
    room.bot.clock.turn(60)
    room.asks()
    room.bot.hypervisor.refuse("start", "no such bridge")
    assert room.works() is State.DONE, room.why()
    (skipped,) = room.bot.operation().skipped
    assert "did not start" in str(skipped.why.text)
    assert sum(bool(room.runs(name)) for name in ("db-1", "web-1")) == 1


def test_l5_after_a_kill_between_proof_and_start_the_proof_is_read_again(room: Room) -> None:
    room.dies()
    room.bot.clock.turn(60)
    room.asks()
    kept = room.bot.hypervisor.define_kept

    def die(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    room.bot.hypervisor.define_kept = die  # type: ignore[method-assign]
    room.approved()
    with pytest.raises(KeyboardInterrupt):
        room.bot.works()
    room.bot.hypervisor.define_kept = kept  # type: ignore[method-assign]
    room.power.on.add("host-a")  # somebody switches it on while the bot is away
    room.bot.forgets()
    room.bot.work.ids.append("op-1")
    room.bot.works()
    assert room.bot.operation().state is State.FAILED
    assert "not proven off any more" in room.why()
    assert room.bot.hypervisor.snapshot().vm("db-1").host == "host-a"


@pytest.mark.parametrize("unanswered", [1, 5])
def test_a_controller_that_is_at_a_loss_for_a_moment_after_the_proof_is_asked_again(
    room: Room, unanswered: int
) -> None:
    room.dies()
    room.bot.clock.turn(60)
    room.asks()
    read, left = room.power.read, unanswered

    def and_sometimes_nothing(device: Device) -> Any:
        nonlocal left
        holds = room.bot.store.holds()
        if holds and holds[0].proof is not None and left:
            left -= 1
            return replace(read(device), power=Power.UNKNOWN, problem="busy")
        return read(device)

    room.power.read = and_sometimes_nothing  # type: ignore[method-assign]
    assert room.works() is State.DONE, room.why()
    assert left == 0


def test_l5_the_proof_is_read_once_before_a_definition_and_once_before_each_start(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    did: dict[int, list[str]] = {}  # by thread: VMs of one wave start side by side

    def noted(what: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def do(*given: Any, **named: Any) -> Any:
            did.setdefault(threading.get_ident(), []).append(what)
            return call(*given, **named)

        return do

    room.dies()
    room.bot.clock.turn(60)
    room.asks()
    hypervisor = room.bot.hypervisor
    monkeypatch.setattr(hypervisor.powers, "standing", noted("read", hypervisor.powers.standing))
    monkeypatch.setattr(hypervisor, "define_kept", noted("define", hypervisor.define_kept))
    monkeypatch.setattr(hypervisor, "start", noted("start", hypervisor.start))
    assert room.works() is State.DONE
    whole = " ".join(" ".join(each) for each in did.values())
    assert whole.count("define read start read") == 2
    between = whole.split("define read start")[1]
    # After the first whether it runs; before the second whether it does already, and the proof
    assert between.split() == ["read"] * 3


def test_l20_and_l22_the_host_is_on_hold_until_it_is_admitted_by_votes(room: Room) -> None:
    room.dies()
    room.bot.clock.turn(60)
    room.asks()
    assert room.works() is State.DONE, room.why()
    assert "does not answer" in room.asks("host readmit host-a")
    room.power.on.add("host-a")
    room.bot.hypervisor.up("host-a")
    assert room.power.orders == [("host-a", "bmc-a", False)]  # nothing switches it on
    room.asks("host readmit host-a")
    assert room.works(2) is State.DONE, room.why(2)
    assert room.bot.store.holds() == ()
    here = {vm.name for vm in room.bot.hypervisor.snapshot().on("host-a")}
    assert here == {"old-1"}
    assert len(room.runs("db-1")) == 1


def test_l17_no_start_breaks_memory_or_anti_affinity_and_what_stays_off_is_told(
    tmp_path: Path,
) -> None:
    room = room_in(
        tmp_path,
        """
        host-a  16cpu 64G | big-1 40G | two-1 1G [apart=two] | web-1 2G
        host-b  16cpu 32G | two-2 1G [apart=two]
        host-c  16cpu 32G | two-3 1G [apart=two]
        """,
    )
    room.dies()
    room.bot.clock.turn(60)
    room.asks()
    plan = room.bot.operation().plan
    assert [step.name for step in plan.steps if isinstance(step, RestartVm)] == ["web-1"]
    told = " ".join(str(each.text) for each in plan.warnings)
    assert "big-1 stays off: big-1 needs 40 GiB" in told
    assert "two-1 stays off" in told
    room.bot.store.close()


def test_the_plan_names_devices_and_each_witness(room: Room) -> None:
    room.dies()
    room.bot.clock.turn(60)
    room.asks()
    plan = room.bot.operation().plan
    fence = next(step for step in plan.steps if isinstance(step, FenceHost))
    assert (fence.level, fence.devices) == (1, ("bmc-a",))
    confirm = next(step for step in plan.steps if isinstance(step, ConfirmOff))
    assert (confirm.reads, confirm.every) == (3, 3.0)
    told = [str(each.text) for each in plan.reasons]
    assert any(each.startswith("libvirt: no sign of life") for each in told)
    assert any("power by bmc-a: on, the same machine" in each for each in told)
    assert "Own view: 2 of 3 hosts answer." in told


def test_l23_the_digest_covers_the_definition_that_is_started(room: Room) -> None:
    room.dies()
    room.bot.clock.turn(60)
    room.asks()
    (start, *_) = [s for s in room.bot.operation().plan.steps if isinstance(s, RestartVm)]
    other = replace(start, sha="another")
    plan = room.bot.operation().plan
    steps = tuple(other if each == start else each for each in plan.steps)
    assert replace(plan, steps=steps).digest != plan.digest


@pytest.mark.parametrize(
    ("state", "paused_by"), [(VmState.RUNNING, ""), (VmState.PAUSED, "postcopy")]
)
def test_g22_what_is_left_of_a_postcopy_on_the_target_is_ended_and_the_vm_starts_anew(
    room: Room, state: VmState, paused_by: str
) -> None:
    """The source died in post-copy; it was last seen before the VM left it, or paused after that."""
    vm = room.bot.hypervisor.snapshot().vm("db-1")
    room.bot.hypervisor.put(replace(vm, state=state, paused_by=paused_by))
    room.bot.hypervisor.put(replace(vm, host="host-b", paused_by="postcopy failed"))
    room.dies()
    KeptDefinitions(room.bot.hypervisor, room.bot.store, room.bot.clock).keep(
        room.bot.hypervisor.snapshot()
    )
    room.bot.clock.turn(60)
    room.asks()
    steps = room.bot.operation().plan.steps
    (corpse,) = [step for step in steps if isinstance(step, ClearCorpse)]
    assert (corpse.name, corpse.host) == ("db-1", "host-b")
    assert room.works() is State.DONE, room.why()
    ended = [call[1] for call in room.bot.hypervisor.calls if call[0] == "force_off"]
    assert ended == ["host-b"]
    assert len(room.runs("db-1")) == 1
    assert room.runs("db-1") != ["host-a"]
