"""Start at boot belongs to Drover: taken over, given back, and done when a host has started anew."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from bot.domain.cluster import VmState
from bot.domain.operation import State
from bot.domain.power import Hold
from bot.domain.readiness import CommandResult
from bot.plugin_api import Alert, Proposal
from plugins.failover.boot import TAG
from plugins.failover.intents import Resume
from plugins.failover.steps import OwnAutostart, StartAgain
from tests.bot.flow.small_bot import text
from tests.plugins.failover.test_failover import Room, room_in
from tests.plugins.failover.test_watch import Looks

CLUSTER = """
host-a  16cpu 64G reserve 2G | web-1 4G [failover=last] | db-1 8G [failover=first] | old-1 1G off
host-b  16cpu 64G reserve 2G | app-1 2G
host-c  16cpu 64G reserve 2G
"""


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    made = room_in(tmp_path, CLUSTER)
    for name in ("web-1", "db-1"):
        vm = made.bot.hypervisor.snapshot().vm(name)
        made.bot.hypervisor.set_autostart("host-a", vm.uuid, on=True)
    yield made
    made.bot.store.close()


def does(room: Room, line: str, number: int = 1) -> State:
    room.asks(line)
    room.bot.clicks("op.approve", room.bot.value(number), "UBRUNO")
    room.bot.works()
    return room.bot.operation(number).state


def marks(room: Room) -> dict[str, tuple[bool, str]]:
    """Of each VM: whether libvirt starts it, and Drover's tag."""
    vms = room.bot.hypervisor.snapshot().vms
    return {vm.name: (vm.autostart, vm.tags.get(TAG, "")) for vm in vms}


def test_l21_start_at_boot_is_taken_over_and_given_back(room: Room) -> None:
    assert does(room, "failover protect") is State.DONE, room.why()
    plan = room.bot.operation().plan
    assert {each.name for each in plan.steps if isinstance(each, OwnAutostart)} == {"web-1", "db-1"}
    assert marks(room)["db-1"] == marks(room)["web-1"] == (False, "on")
    assert marks(room)["app-1"] == (False, "")
    assert does(room, "failover protect db-1 --off", 2) is State.DONE, room.why(2)
    assert marks(room)["db-1"] == (True, "")
    assert marks(room)["web-1"] == (False, "on")
    assert "No VM that failover protects" in room.asks("failover protect app-1")


def test_a_failover_warns_of_what_libvirt_starts_and_not_of_what_drover_does(room: Room) -> None:
    does(room, "failover protect db-1")
    room.dies()
    room.bot.clock.turn(60)
    room.asks()
    (warned,) = [w for w in room.bot.operation(2).plan.warnings if w.code == "autostart"]
    assert "web-1" in str(warned.text)
    assert "db-1" not in str(warned.text)


def restarts(room: Room, host: str = "host-a") -> None:
    """It was silent for a while, and nothing runs there now."""
    room.bot.hypervisor.up(host)
    for vm in room.bot.hypervisor.snapshot().on(host):
        if vm.state.active:
            room.bot.hypervisor.force_off(host, vm.uuid)


@pytest.mark.parametrize("mode", ["propose", "auto", "alert", "off"])
def test_a_host_that_has_started_anew_gets_its_vms_back(room: Room, mode: str) -> None:
    does(room, "failover protect")
    looks = Looks(room, mode=mode)
    looks.look()
    room.bot.hypervisor.down("host-a", "no route to host")
    looks.look()
    restarts(room)
    noticed = [each for each in looks.look().noticed if not (isinstance(each, Alert) and each.over)]
    if mode == "off":
        assert noticed == []
    elif mode == "alert":
        (told,) = noticed
        assert isinstance(told, Alert)
        assert [each.command for each in told.remedies] == ["host resume host-a"]
        assert "has started anew" in text(told.card)
    else:
        (proposed,) = noticed
        assert isinstance(proposed, Proposal)
        assert (proposed.action, proposed.intent) == ("host resume", Resume("host-a"))
        assert proposed.automatic is (mode == "auto")
    assert does(room, "host resume host-a", 2) is State.DONE, room.why(2)
    steps = room.bot.operation(2).plan.steps
    assert [(s.name, s.wave) for s in steps if isinstance(s, StartAgain)] == [
        ("db-1", 1),
        ("web-1", 3),
    ]
    assert room.runs("db-1") == room.runs("web-1") == ["host-a"]
    assert room.runs("old-1") == []
    over = looks.look().noticed
    assert {(each.key, each.over) for each in over if isinstance(each, Alert)} == (
        {("reborn:host-a", True)} if mode == "alert" else set()
    )


def test_a_new_boot_id_tells_it_even_when_some_of_its_vms_run_again(room: Room) -> None:
    does(room, "failover protect")
    boot = "one"

    def shell(argv: Sequence[str]) -> CommandResult:
        return CommandResult(0, boot if argv[0] == "cat" else "")

    for host in ("host-a", "host-b", "host-c"):
        room.bot.hypervisor.give_shell(host, shell)
    looks = Looks(room)
    assert looks.look().noticed == ()
    assert looks.memory["boots"]["host-a"] == "one"
    room.bot.hypervisor.down("host-a", "no route to host")
    looks.look()
    boot = "two"
    room.bot.hypervisor.up("host-a")
    vm = room.bot.hypervisor.snapshot().vm("db-1")
    room.bot.hypervisor.force_off("host-a", vm.uuid)  # web-1 was started by somebody already
    (proposed,) = [each for each in looks.look().noticed if isinstance(each, Proposal)]
    assert (proposed.intent, proposed.key) == (
        Resume("host-a", boot="two"),
        "resume:host-a:two",
    )


def test_a_short_silence_without_a_restart_starts_nothing(room: Room) -> None:
    does(room, "failover protect")
    looks = Looks(room)
    looks.look()
    room.bot.hypervisor.down("host-a", "no route to host")
    looks.look()
    room.bot.hypervisor.up("host-a")
    assert [each for each in looks.look().noticed if isinstance(each, Proposal)] == []


def test_l21_a_held_host_gets_nothing_back_and_what_runs_elsewhere_is_not_started(
    room: Room,
) -> None:
    does(room, "failover protect")
    restarts(room)
    room.bot.store.put_hold(Hold("host-a", room.bot.clock.now(), "", "op-9"))
    assert "on hold" in room.asks("host resume host-a")
    room.bot.store.lift_hold("host-a")
    db, web = (room.bot.hypervisor.snapshot().vm(name) for name in ("db-1", "web-1"))
    room.asks("host resume host-a")
    room.bot.hypervisor.down("host-c", "no route to host")
    room.bot.clicks("op.approve", room.bot.value(2), "UBRUNO")
    room.bot.works()
    assert room.bot.operation(2).state is State.DONE, room.why(2)
    assert db.state is web.state is VmState.SHUT_OFF


def test_a_start_between_two_sweeps_is_found_within_a_minute(room: Room) -> None:
    does(room, "failover protect")
    boot = "one"

    def shell(argv: Sequence[str]) -> CommandResult:
        return CommandResult(0, boot if argv[0] == "cat" else "")

    room.bot.hypervisor.give_shell("host-a", shell)
    looks = Looks(room)
    looks.look()
    boot = "two"
    for name in ("db-1", "web-1"):
        room.bot.hypervisor.force_off("host-a", room.bot.hypervisor.snapshot().vm(name).uuid)
    assert [each for each in looks.look().noticed if isinstance(each, Proposal)] == []
    (proposed,) = [e for e in looks.look(after=60).noticed if isinstance(e, Proposal)]
    assert proposed.intent == Resume("host-a", boot="two")
