"""The watch: what it tells of a silent host, when it proposes, and when it may act by itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bot.domain.cluster import Host, Snapshot
from bot.domain.errors import HypervisorError
from bot.domain.message import Words
from bot.domain.operation import State
from bot.domain.power import Binding, Hold, Proof, ProofKind
from bot.domain.readiness import CommandResult
from bot.flow.context import snapshot
from bot.flow.monitoring.watch import propose_for_bot
from bot.plugin_api import Alert, Looked, Measured, Proposal, WatchView
from bot.testing.power import Fault
from plugins.failover import planner, watch, witnesses
from plugins.failover.evidence import Heard, Statement, Witness
from plugins.failover.intents import Failover
from plugins.failover.settings import FailoverSettings, Mode
from plugins.failover.verdict import Verdict
from tests.bot.flow.small_bot import text
from tests.plugins.failover.test_failover import A, Room, room_in

TABLE: dict[str, Any] = {"start_cooldown": 0}


class Looks:
    """The watch of a room, look by look."""

    def __init__(self, room: Room, **table: Any) -> None:
        self.room = room
        self.settings = FailoverSettings.model_validate({**TABLE, **table})
        self.gather = watch.Gatherer(self.settings.sight)
        self.memory: Mapping[str, Any] = {}
        self.verdict: Verdict | None = None

    def look(self, after: float = 15.0) -> Looked:
        self.room.bot.clock.turn(after)
        seen = snapshot(self.room.bot.services)
        found = self.gather(seen, self.room.bot.hypervisor)
        self.verdict = next(
            (planner.verdict_of(self.settings, each).verdict for each in found.silent), None
        )
        view = WatchView(
            seen, (), self.room.bot.store, Measured(), self.memory, self.room.bot.clock.now(), found
        )
        looked = watch.look(self.settings, view)
        self.memory = looked.memory
        return looked

    def after(self, times: int) -> Looked:
        return [self.look() for _ in range(times)][-1]


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    made = room_in(tmp_path)
    yield made
    made.bot.store.close()


def test_while_all_hosts_answer_nothing_is_told_and_controllers_are_bound(room: Room) -> None:
    assert Looks(room).look().noticed == ()
    assert {each.device for each in room.bot.store.bonds()} == {"bmc-a", "bmc-b"}


def test_a_dead_host_is_proposed_after_three_silent_looks(room: Room) -> None:
    looks = Looks(room)
    looks.look()
    room.dies()
    assert looks.look().noticed == ()
    assert looks.verdict is Verdict.WAITING
    (noticed,) = looks.after(3).noticed
    assert isinstance(noticed, Proposal)
    assert isinstance(noticed.why, Words), "translated where it is shown"
    assert (noticed.action, noticed.automatic) == ("host failover", False)
    assert noticed.intent == Failover("host-a")
    (again,) = looks.look().noticed
    assert isinstance(again, Proposal)
    assert again.key == noticed.key  # the core proposes a key once


def test_in_mode_alert_it_only_tells_and_in_mode_off_nothing(room: Room) -> None:
    tells, keeps_still = Looks(room, mode="alert"), Looks(room, mode="off")
    for each in (tells, keeps_still):
        each.look()
    room.dies()
    (noticed,) = tells.after(4).noticed
    assert isinstance(noticed, Alert)
    assert [each.command for each in noticed.remedies] == ["host failover host-a"]
    assert keeps_still.after(4).noticed == ()


def test_l26_looking_orders_nothing(room: Room) -> None:
    looks = Looks(room, mode="auto")
    looks.look()
    room.dies()
    looks.after(6)
    assert room.power.orders == []


def test_a_dark_host_is_told_with_its_reason_and_the_alert_ends(room: Room) -> None:
    looks = Looks(room)
    looks.look()
    room.power.fault(A, Fault.DEAD)
    room.dies()
    (noticed,) = looks.after(4).noticed
    assert isinstance(noticed, Alert)
    assert "nor its power controller" in text(noticed.card)
    room.bot.hypervisor.up("host-a")
    (ended,) = looks.look().noticed
    assert isinstance(ended, Alert)
    assert (ended.key, ended.over) == (noticed.key, True)


def test_l9_us_is_told_and_nothing_is_proposed_until_the_cooldown_is_over(room: Room) -> None:
    looks = Looks(room, storm_cooldown=120)
    looks.look()
    room.dies()
    room.dies("host-b")
    noticed = looks.after(4).noticed
    assert {type(each) for each in noticed} == {Alert}
    room.bot.hypervisor.up("host-b")
    assert {type(each) for each in looks.look().noticed} == {Alert}
    assert looks.verdict is Verdict.US
    (late,) = looks.after(8).noticed
    assert isinstance(late, Proposal)


def test_l10_a_host_in_maintenance_is_silent_as_expected(room: Room) -> None:
    looks = Looks(room)
    room.bot.store.set_maintenance("host-a", on=True)
    looks.look()
    room.dies()
    assert looks.after(6).noticed == ()
    assert looks.verdict is Verdict.EXPECTED


def test_a_held_host_is_not_proposed_again(room: Room) -> None:
    looks = Looks(room)
    looks.look()
    room.dies()
    room.bot.store.put_hold(Hold("host-a", room.bot.clock.now(), "", "op-1"))
    assert looks.after(5).noticed == ()


def test_a_held_host_that_answers_waits_for_people_and_a_second_copy_is_told(room: Room) -> None:
    looks = Looks(room)
    room.bot.store.put_hold(Hold("host-a", room.bot.clock.now(), "", "op-1"))
    (waits,) = looks.look().noticed
    assert isinstance(waits, Alert)
    assert [each.command for each in waits.remedies] == ["host readmit host-a"]
    seen = room.bot.hypervisor.snapshot().vm("db-1")
    room.bot.hypervisor.put(replace(seen, host="host-c"))
    told = {each.key: each for each in looks.look().noticed if isinstance(each, Alert)}
    assert told[f"two-copies:{seen.uuid}"].over is False
    assert "db-1 runs twice" in text(told[f"two-copies:{seen.uuid}"].card).replace("*", "")
    assert told["held:host-a"].over
    room.bot.hypervisor.force_off("host-a", seen.uuid)
    room.bot.store.lift_hold("host-a")
    (over,) = looks.look().noticed
    assert isinstance(over, Alert)
    assert (over.key, over.over) == (f"two-copies:{seen.uuid}", True)


def test_l9_while_its_anchors_do_not_answer_it_is_the_bots_own_network(room: Room) -> None:
    """Also where a majority of the hosts answers: they may be on the bot's side of the break."""
    looks = Looks(room, anchors=["10.0.0.1:53", "[fd00::1]:443"], storm_cooldown=0)
    room.bot.hypervisor.mute_places = {("10.0.0.1", 53)}
    looks.look()
    room.dies()
    (told,) = looks.after(5).noticed
    assert looks.verdict is Verdict.US
    assert isinstance(told, Alert)
    assert "Drover reaches 1 of 2 configured anchors" in text(told.card)
    room.bot.hypervisor.mute_places = set()
    found = looks.after(2).noticed
    assert [type(each) for each in found if not getattr(each, "over", False)] == [Proposal]


@pytest.mark.parametrize("anchor", ["gateway", "10.0.0.1:", ":53", "10.0.0.1:http"])
def test_an_anchor_without_a_port_is_refused(anchor: str) -> None:
    with pytest.raises(ValueError, match="anchors"):
        FailoverSettings.model_validate({"anchors": [anchor]})


@pytest.fixture
def boot(room: Room) -> dict[str, str]:
    """The boot id that the shell of host-a tells while the host answers; it tells nothing else."""
    told = {"host-a": "boot-1"}

    def shell(argv: Sequence[str]) -> CommandResult:
        if not room.bot.hypervisor.snapshot().host("host-a").up:
            raise HypervisorError("timed out")
        return CommandResult(0, told["host-a"] if argv[0] == "cat" else "")

    room.bot.hypervisor.give_shell("host-a", shell)
    return told


def held_by_proof(room: Room) -> None:
    """Its controller proved host-a off."""
    now = room.bot.clock.now()
    room.bot.store.put_hold(Hold("host-a", now, "", "op-1"))
    proof = Proof("host-a", ProofKind.DEVICE, now, 1, ("bmc-a",))
    room.bot.hypervisor.power.prove(proof)


@pytest.mark.parametrize("restarted", [False, True])
def test_l7_a_controller_that_proved_a_host_off_which_never_was_is_trusted_no_more(
    room: Room, boot: dict[str, str], *, restarted: bool
) -> None:
    """The host answers with the boot id from before; so also after a restart of the bot."""
    looks = Looks(room)
    looks.look()
    assert boot["host-a"] == "boot-1"
    room.dies()
    looks.look()
    held_by_proof(room)
    if restarted:
        looks = Looks(room)
    room.bot.hypervisor.up("host-a")
    for _ in range(2):  # as long as the host is on hold
        told = {each.key: each for each in looks.look().noticed if isinstance(each, Alert)}
        said = text(told["refuted:host-a"].card)
        assert "bmc-a read host-a off while it ran on" in said
        assert "failover bind host-a bmc-a" in said
    bonds = {each.device: each.by for each in room.bot.store.bonds()}
    assert bonds["bmc-a"] is Binding.REFUTED
    room.bot.store.lift_hold("host-a")
    gone = [each for each in looks.look().noticed if isinstance(each, Alert)]
    assert ("refuted:host-a", True) in [(each.key, each.over) for each in gone]
    room.dies()
    looks.after(5)
    refusal = room.asks()
    assert "nothing that it reads is trusted" in refusal
    assert room.power.orders == []
    room.bot.hypervisor.up("host-a")
    assert "not trusted: it read off before" in room.asks("failover status").replace("*", "")


def test_after_a_new_start_the_controller_was_right(room: Room, boot: dict[str, str]) -> None:
    looks = Looks(room)
    looks.look()
    room.dies()
    looks.look()
    held_by_proof(room)
    boot["host-a"] = "boot-2"
    room.bot.hypervisor.up("host-a")
    told = [each.key for each in looks.look().noticed if isinstance(each, Alert)]
    assert told == ["held:host-a"]
    assert [each.device for each in room.bot.hypervisor.power.bonds("host-a")] == ["bmc-a"]


def test_a_host_that_started_anew_without_its_libvirt_is_not_said_to_run_its_vms(
    room: Room,
) -> None:
    told = "boot-1"
    shell = lambda argv: CommandResult(0, told if argv[0] == "cat" else "")  # noqa: E731
    room.bot.hypervisor.give_shell("host-a", shell)
    looks = Looks(room)
    looks.look()
    room.dies()
    (deaf,) = looks.after(2).noticed
    assert isinstance(deaf, Alert)
    assert "Its VMs run on" in text(deaf.card)
    told = "boot-2"
    (reborn,) = looks.look().noticed
    assert isinstance(reborn, Alert)
    assert looks.verdict is Verdict.REBORN
    said = text(reborn.card)
    assert "has started anew, and its libvirt does not answer: its VMs are off" in said
    assert "host resume host-a" in said
    assert "host failover host-a --despite-life" in said
    assert room.power.orders == []


def test_a_refuted_controller_that_people_show_anew_is_trusted_again(
    room: Room, boot: dict[str, str]
) -> None:
    looks = Looks(room)
    looks.look()
    assert boot
    room.dies()
    looks.look()
    held_by_proof(room)
    room.bot.hypervisor.up("host-a")
    looks.look()
    room.asks("failover bind host-a bmc-a")
    assert room.works() is State.DONE, room.why()
    told = [each for each in looks.look().noticed if isinstance(each, Alert)]
    assert ("refuted:host-a", True) in [(each.key, each.over) for each in told]
    assert [each.by for each in room.bot.hypervisor.power.bonds("host-a")] == [Binding.PEOPLE]


def test_what_its_controller_read_last_before_a_host_died_is_shown_after_a_restart_too(
    room: Room,
) -> None:
    Looks(room).look()
    read_at = room.bot.clock.now()
    room.dies()
    room.power.on.discard("host-a")
    looks = Looks(room)  # a new process
    looks.after(5)
    found = looks.gather(snapshot(room.bot.services), room.bot.hypervisor)
    (evidence,) = found.silent
    (before,) = evidence.before
    assert (before.device, before.power.value) == ("bmc-a", "on")
    assert before.at <= read_at
    room.asks()
    (said,) = [
        str(each.text) for each in room.bot.operation().plan.reasons if each.code == "power-before"
    ]
    assert said.startswith("bmc-a read on at")
    assert said.endswith("while host-a still answered.")


def test_right_after_the_bots_start_nothing_is_told(room: Room) -> None:
    room.dies()
    assert Looks(room, start_cooldown=300).after(6).noticed == ()


def test_l11_by_itself_it_acts_only_with_two_kinds_of_witnesses(room: Room) -> None:
    looks = Looks(room, mode="auto")
    looks.look()
    room.dies()
    assert looks.after(3).noticed == ()  # the other hosts may be late with their word
    assert looks.verdict is Verdict.DEAD
    (noticed,) = looks.after(2).noticed
    assert isinstance(noticed, Proposal)
    assert not noticed.automatic  # without shells there is one kind: people are asked
    assert looks.settings.mode is Mode.AUTO


def two_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other hosts begin to say that they hear nothing."""
    asked = witnesses.ask

    def and_peers(
        host: Host, seen: Snapshot, hypervisor: Any, places: Any = ()
    ) -> tuple[Statement, ...]:
        told = asked(host, seen, hypervisor, places)
        said = [each for each in told if each.witness is not Witness.PEERS]
        return (*said, Statement(Witness.PEERS, Heard.SILENT, seen.taken_at, "0/2", 0, 2))

    monkeypatch.setattr(witnesses, "ask", and_peers)
    monkeypatch.setattr(witnesses, "trustworthy", lambda _sight, _host, said: tuple(said))


def test_l11_a_second_kind_that_is_late_by_less_than_half_a_minute_still_counts(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = Looks(room, mode="auto")
    looks.look()
    room.dies()
    assert looks.after(3).noticed == ()
    assert looks.verdict is Verdict.DEAD
    two_kinds(monkeypatch)
    (noticed,) = looks.look().noticed
    assert isinstance(noticed, Proposal)
    assert noticed.automatic
    assert noticed.intent == Failover("host-a", by_itself=True)


def test_l11_what_was_put_before_people_stays_theirs_to_decide(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = Looks(room, mode="auto")
    looks.look()
    room.dies()
    (noticed,) = looks.after(6).noticed
    assert isinstance(noticed, Proposal)
    propose_for_bot(room.bot.services, noticed, watch.NAME)
    two_kinds(monkeypatch)
    assert looks.after(4).noticed == ()
    (only,) = room.bot.store.operations()
    assert (only.state, only.origin.automatic) == (State.PROPOSED, False)
    assert room.power.orders == []


def test_the_digest_is_told_which_vms_could_not_start_elsewhere(room: Room) -> None:
    looks = Looks(room)

    def told(minutes: float = 5) -> list[str]:
        """Once around all hosts: one is looked at each time."""
        first = looks.look(after=60 * minutes).changes
        more = [looks.look().changes for _ in range(2)]
        return [str(each.text) for changes in (first, *more) for each in changes]

    assert told() == []
    seen = room.bot.hypervisor.snapshot().vm("app-1")
    room.bot.hypervisor.put(replace(seen, tags={"failover": "off"}))
    assert told(0) == []  # not at every look
    count, why = told()
    assert count == "2 of 3 running VMs could start elsewhere."
    assert "app-1 could not start elsewhere" in why
    assert told() == []
    room.bot.hypervisor.put(seen)
    assert told() == [
        "3 of 3 running VMs could start elsewhere.",
        "app-1 could start elsewhere again.",
    ]


def test_a_controller_that_does_not_answer_is_told_after_three_minutes_and_its_end_too(
    room: Room,
) -> None:
    looks = Looks(room)
    looks.look()
    room.power.fault(A, Fault.DEAD)
    assert looks.look(after=60).noticed == ()
    assert looks.look(after=120).noticed == ()
    (told,) = looks.look(after=60).noticed
    assert isinstance(told, Alert)
    assert (told.key, told.over) == ("power:host-a:bmc-a", False)
    assert "no answer in 20 s" in text(told.card)
    room.power.fault(A, None)
    (ended,) = looks.look(after=60).noticed
    assert isinstance(ended, Alert)
    assert (ended.key, ended.over) == ("power:host-a:bmc-a", True)
