"""Holds: stored before anything is ordered, nothing is placed on a held host, and nothing waits for a dead one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest

from bot.adapters.powers import ProvenPowers
from bot.domain import placement
from bot.domain.cluster import Snapshot
from bot.domain.errors import HostUnreachableError, StepSkippedError
from bot.domain.operation import Failed, State, StepSkipped
from bot.domain.plan import Blast, Plan, Risk
from bot.domain.power import Binding, Bound, Device, Hold, Proof, ProofKind
from bot.domain.steps import HoldHost, Step
from bot.flow.context import snapshot
from bot.hookspecs import hookimpl
from bot.plugin_api import Action, Settings, Settled, StepHandler
from bot.testing.power import FakePower
from tests.bot.flow.small_bot import Bot, small_bot, text


@dataclass(frozen=True, slots=True)
class Wish:
    host: str


@dataclass(frozen=True, slots=True)
class Touch(Step):
    """A step on a host; the first of them is skipped."""

    host: str
    number: int

    @property
    def title(self) -> str:
        return f"Touch {self.host} {self.number}"

    @property
    def hosts(self) -> tuple[str, ...]:
        return (self.host,)

    @property
    def vms(self) -> tuple[str, ...]:
        return (f"u-{self.number}",)


class Plugin:
    """`hold HOST`: a hold, then two touches; `touch HOST`: the touches alone."""

    def __init__(self) -> None:
        self.holds: list[int] = []
        self.bot: Bot | None = None

    @hookimpl
    def register_commands(self, settings: Settings) -> list[Action]:
        return [self._action("hold", hold=True), self._action("touch", hold=False)]

    def _action(self, name: str, *, hold: bool) -> Action:
        def plan(intent: Wish, snapshot: Snapshot, rules: Any) -> Plan:
            first = (HoldHost(intent.host, on=True, why="it is silent"),) if hold else ()
            steps = (*first, Touch(intent.host, 1), Touch(intent.host, 2))
            return Plan(f"Touch {intent.host}", steps, Risk.MEDIUM, Blast(hosts=(intent.host,)))

        argument = click.Argument(["host"])
        grammar = click.Command(name, params=[argument], callback=Wish, add_help_option=False)
        return Action(name, name, grammar, Wish, plan, lambda *_: (), emits=(HoldHost, Touch))

    @hookimpl
    def register_step_handlers(self, settings: Settings) -> list[StepHandler]:
        return [StepHandler(Touch, lambda step, _: self._settle(step), self._run)]

    def _settle(self, step: Touch) -> Settled:
        return Settled.DONE if step.number == 2 and self.holds else Settled.NOT_YET

    def _run(self, step: Touch, hypervisor: Any, progress: Any) -> Mapping[str, Any]:
        assert self.bot is not None
        self.holds.append(len(self.bot.store.holds()))
        if step.number == 1 and self.bot.hypervisor.snapshot().host(step.host).up:
            raise StepSkippedError("the first cannot be done", "do it by hand")
        if not self.bot.hypervisor.snapshot().host(step.host).up:
            raise HostUnreachableError(f"{step.host} cannot be reached.", "")
        return {}


@pytest.fixture
def bot(tmp_path: Path) -> Iterator[Bot]:
    plugin = Plugin()
    made = small_bot(tmp_path, plugins=("migrate",), extra=(plugin,))
    control = FakePower(made.clock, [Device("host-a", "bmc-a")], {"host-a": "uuid-a"})
    made.hypervisor.powers = ProvenPowers(control, made.store, made.clock)
    plugin.bot = made
    yield made
    made.store.close()


def approved(bot: Bot, line: str, number: int = 1) -> None:
    bot.types(line)
    bot.clicks("op.approve", bot.value(number), "UBRUNO")
    bot.works()


def test_l13_a_hold_is_stored_before_the_next_step_begins_and_outlives_the_operation(
    bot: Bot,
) -> None:
    approved(bot, "hold host-a")
    assert bot.operation().state is State.DONE, bot.operation()
    (hold,) = bot.store.holds()
    assert (hold.host, hold.operation, hold.proof) == ("host-a", "op-1", None)
    assert snapshot(bot.services).host("host-a").held


def test_a_step_that_is_skipped_stops_no_other(bot: Bot) -> None:
    approved(bot, "hold host-a")
    (skipped,) = bot.operation().skipped
    assert isinstance(skipped, StepSkipped)
    assert (skipped.index, skipped.why.text, skipped.why.remedy) == (
        1,
        "the first cannot be done",
        "do it by hand",
    )
    assert {each.index for each in bot.operation().ended} == {0, 2}


def test_l20_nothing_is_placed_on_a_held_host(bot: Bot) -> None:
    bot.store.put_hold(Hold("host-b", bot.clock.now(), "", "op-9"))
    seen = snapshot(bot.services)
    against = placement.objections(seen, seen.vm("web-1"), "host-b", placement.CORE_RULES)
    assert [each.code for each in against] == ["held"]
    said = text(bot.types("migrate web-1 to host-b"))
    assert "host-b failed and was not admitted again" in said


def test_a_step_on_a_host_that_is_proven_off_ends_at_once(bot: Bot) -> None:
    bot.hypervisor.die("host-a")
    now = bot.clock.now()
    bot.store.put_bond(Bound("host-a", "bmc-a", Binding.UUID, now, "uuid-a"))
    bot.store.put_hold(Hold("host-a", now, "", "op-9"))
    bot.hypervisor.power.prove(Proof("host-a", ProofKind.DEVICE, now, 1, ("bmc-a",)))
    approved(bot, "touch host-a")
    operation = bot.operation()
    assert operation.state is State.FAILED
    (*_, ended) = bot.store.events("op-1")
    assert isinstance(ended, Failed)
    assert str(ended.why) == "host-a is off, and op-9 starts its VMs elsewhere."
    assert (bot.clock.now() - now).total_seconds() < bot.services.patience
