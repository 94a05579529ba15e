"""What other hosts say of a silent one: only those count that heard it while it answered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from bot.domain.errors import HypervisorError
from bot.domain.readiness import CommandResult
from bot.ports.guests import Address
from bot.testing.guests import Extra
from plugins.failover import planner, witnesses
from plugins.failover.evidence import Heard, Witness
from plugins.failover.intents import Failover
from plugins.failover.settings import FailoverSettings
from plugins.failover.sight import Sight
from plugins.failover.verdict import Verdict
from tests.plugins.failover.test_failover import Room, room_in


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    made = room_in(tmp_path)
    yield made
    made.bot.store.close()


class Peers:
    """Shells of the other hosts, which answer what a test says."""

    def __init__(self, room: Room, out: str = "alive ping\nalive port 22\nasked yes\n") -> None:
        self.out = out
        self.asked: list[str] = []
        room.bot.hypervisor.run = self.run  # type: ignore[method-assign]

    def run(
        self, host: str, argv: Sequence[str], *, deadline: float = 20.0
    ) -> CommandResult | None:
        assert deadline > 0
        if "ping" not in argv[-1]:
            return None
        self.asked.append(host)
        return CommandResult(0, self.out)


def said(room: Room, sight: Sight) -> Heard:
    seen = room.bot.hypervisor.snapshot()
    found = witnesses.gather(sight, seen.host("host-a"), seen, room.bot.hypervisor)
    return found.word_of(Witness.PEERS)


@pytest.mark.parametrize(
    ("out", "heard"),
    [
        ("asked yes\n", Heard.SILENT),
        ("alive ping\nasked yes\n", Heard.LIFE),
        ("alive refused 22\nasked yes\n", Heard.LIFE),
        ("alive port 22\nasked yes\n", Heard.WELL),
        ("", Heard.UNASKED),
        ("asked \n", Heard.UNASKED),
    ],
)
def test_what_peers_say_of_a_host_that_they_heard_before(
    room: Room, out: str, heard: Heard
) -> None:
    sight, peers = Sight(), Peers(room)
    witnesses.listen(sight, room.bot.hypervisor.snapshot(), room.bot.hypervisor)
    room.dies()
    peers.out = out
    assert said(room, sight) is heard
    assert "host-a" not in peers.asked[-2:]


def test_the_silence_of_peers_that_never_heard_a_host_says_nothing(room: Room) -> None:
    sight, peers = Sight(), Peers(room, "asked yes\n")
    witnesses.listen(sight, room.bot.hypervisor.snapshot(), room.bot.hypervisor)
    room.dies()
    assert said(room, sight) is Heard.UNASKED
    peers.out = "alive ping\nasked yes\n"
    assert said(room, sight) is Heard.LIFE


def test_l11_what_nobody_is_asked_about_takes_two_kinds_of_witnesses_at_the_last_moment_too(
    room: Room,
) -> None:
    sight = Sight()
    Peers(room)
    witnesses.listen(sight, room.bot.hypervisor.snapshot(), room.bot.hypervisor)
    seen = room.bot.hypervisor.snapshot()
    settings = FailoverSettings.model_validate({"start_cooldown": 0})
    intent = Failover("host-a", by_itself=True)
    room.asks("failover status")
    room.dies()
    room.bot.clock.turn(60)
    seen = room.bot.hypervisor.snapshot()
    for out, codes in (("asked yes\n", []), ("", ["not-by-itself-one-kind"])):
        Peers(room, out)
        now = witnesses.survey(sight, intent, seen, room.bot.hypervisor)
        found = planner.objections(settings, now, seen.host("host-a"))
        assert [each.code for each in found] == codes


def test_l9_a_host_that_refuses_the_bots_connection_lives(room: Room) -> None:
    """Its libvirtd was killed, and no shell is configured: a machine without power refuses nothing."""
    room.bot.hypervisor.answers_knocks["host-a"] = True
    room.dies()
    room.bot.clock.turn(60)
    assert "shows a sign of life" in room.asks()
    assert room.bot.store.operations() == ()


@pytest.mark.parametrize(("answers", "heard"), [(True, Heard.LIFE), (False, Heard.SILENT)])
def test_a_shell_that_fails_says_nothing_of_a_machine_that_answers(
    room: Room, *, answers: bool, heard: Heard
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise HypervisorError("The login was refused.")

    room.bot.hypervisor.run = refuse  # type: ignore[method-assign]
    room.bot.hypervisor.answers_knocks["host-a"] = answers
    seen = room.bot.hypervisor.snapshot()
    found = witnesses.ask(seen.host("host-a"), seen, room.bot.hypervisor)
    (shell,) = [each for each in found if each.witness is Witness.SHELL]
    assert (shell.said, shell.detail) == (heard, "The login was refused.")


class Network:
    """Shells of the other hosts, from which VMs answer at the addresses that a test says."""

    def __init__(self, room: Room, *answer: str) -> None:
        self.answer = set(answer)
        room.bot.hypervisor.run = self.run  # type: ignore[method-assign]

    def run(
        self, host: str, argv: Sequence[str], *, deadline: float = 20.0
    ) -> CommandResult | None:
        assert deadline > 0
        if "echo alive" not in argv[-1] or "for place in" not in argv[-1]:
            return None
        heard = [each for each in self.answer if each in argv[-1]]
        return CommandResult(0, "".join(f"alive {each}\n" for each in heard) + "asked yes\n")


def vms_said(room: Room, sight: Sight) -> Heard:
    seen = room.bot.hypervisor.snapshot()
    found = witnesses.gather(sight, seen.host("host-a"), seen, room.bot.hypervisor)
    return found.word_of(Witness.VMS)


def test_vms_that_answer_keep_an_isolated_host_from_being_switched_off(room: Room) -> None:
    hypervisor = room.bot.hypervisor
    db, web = (hypervisor.snapshot().vm(name) for name in ("db-1", "web-1"))
    hypervisor.extras[db.uuid] = Extra(addresses=(Address("10.0.0.5", "lease"),))
    hypervisor.extras[web.uuid] = Extra(addresses=(Address("10.0.0.6", "arp"),))
    sight, network = Sight(), Network(room, "10.0.0.5")
    witnesses.listen(sight, hypervisor.snapshot(), hypervisor)
    assert sight.places == {db.uuid: "10.0.0.5"}  # the other one never answered
    room.dies()
    room.bot.clock.turn(60)
    assert vms_said(room, sight) is Heard.WELL
    seen = hypervisor.snapshot()
    found = witnesses.gather(sight, seen.host("host-a"), seen, hypervisor)
    settings = FailoverSettings.model_validate({"start_cooldown": 0})
    assert planner.verdict_of(settings, found).verdict is Verdict.ISOLATED
    network.answer.clear()
    assert vms_said(room, sight) is Heard.SILENT


def test_a_vm_that_runs_elsewhere_now_says_nothing_of_its_old_host(room: Room) -> None:
    hypervisor = room.bot.hypervisor
    vm = hypervisor.snapshot().vm("db-1")
    hypervisor.extras[vm.uuid] = Extra(addresses=(Address("10.0.0.5", "lease"),))
    sight = Sight()
    Network(room, "10.0.0.5")
    witnesses.listen(sight, hypervisor.snapshot(), hypervisor)
    room.dies()
    hypervisor.put(replace(vm, host="host-c"))
    assert vms_said(room, sight) is Heard.UNASKED


def test_vms_whose_addresses_nobody_knows_say_nothing(room: Room) -> None:
    sight = Sight()
    Network(room)
    witnesses.listen(sight, room.bot.hypervisor.snapshot(), room.bot.hypervisor)
    room.dies()
    assert vms_said(room, sight) is Heard.UNASKED
