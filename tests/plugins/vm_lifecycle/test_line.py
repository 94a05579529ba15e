"""Wishes on the whole line, in memory: what is shown before, asked again, announced and offered with a button."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest

from bot.adapters.sql.series import SqlSeries
from bot.domain.card import Button, Buttons, Card
from bot.domain.cluster import GIB, StoredSize, VmState
from bot.domain.message import words
from bot.domain.operation import BOT, State
from bot.domain.plan import Risk
from bot.flow.monitoring import watch
from bot.flow.monitoring.monitor import Monitor
from bot.testing import uuid_of
from bot.testing.sampler import FakeSampler
from tests.bot.flow.small_bot import Bot, small_bot, text

CLUSTER = """
host-a  16cpu 64G | web-1 4G [env=dev] | web-2 4G [env=dev] | db-1 8G [env=prod] autostart | job-1 1G off [env=dev]
host-b  16cpu 64G | web-3 4G [env=dev]
"""


@dataclass
class Watched:
    """A bot with the plugin's own watches."""

    bot: Bot
    monitor: Monitor

    def tick(self, **later: float) -> None:
        """Every watch looks, some time later."""
        self.bot.clock.turn(timedelta(**later).total_seconds())
        self.monitor.due.clear()
        watch.tick(self.bot.services, self.monitor, self.bot.hypervisor.snapshot)

    def alerts(self) -> list[Card]:
        chat = self.bot.chat
        return [
            card
            for ref, card in chat.messages.items()
            if ref.channel == "COPS" and ref not in chat.threads
        ]


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    bot = small_bot(tmp_path, CLUSTER, ("vm_lifecycle",))
    series = SqlSeries(f"sqlite:///{tmp_path}/drover.sqlite")
    monitor = Monitor(
        FakeSampler(bot.hypervisor, bot.clock), series, series, bot.clock, replica="one"
    )
    bot.services = replace(bot.services, monitor=monitor)
    yield Watched(bot, monitor)
    series.close()
    bot.store.close()


@pytest.fixture
def bot(watched: Watched) -> Bot:
    return watched.bot


def done(bot: Bot, line: str, number: int) -> None:
    """Ana types, the approvers agree, and it is carried out to this operation's end."""
    bot.types(line)
    agreed(bot, number)


def agreed(bot: Bot, number: int) -> None:
    for voter in ("UBRUNO", "UCARLA")[: bot.operation(number).ruling.votes]:
        bot.clicks("op.approve", bot.value(number), voter)
    bot.works()
    assert bot.operation(number).state is State.DONE, bot.operation(number).outcome


def choices(card: Card) -> list[Button]:
    rows = (each for each in card.elements if isinstance(each, Buttons))
    return [each for row in rows for each in row.buttons if each.action == "run"]


def state(bot: Bot, name: str) -> VmState:
    return bot.hypervisor.snapshot().vm(name).state


def test_a_vm_that_ignores_a_shutdown_leaves_a_button_to_force_it_off(bot: Bot) -> None:
    bot.hypervisor.deaf.add(uuid_of("web-1"))
    bot.types("vm shutdown web-1")
    bot.clicks("op.approve", bot.value(), "UBRUNO")
    bot.works()
    assert bot.operation().state is State.FAILED
    (choice,) = choices(bot.shown())
    assert str(choice.text) == "Force off web-1…"
    assert [each.value for each in choices(bot.chat.whispers[-1].card)] == [choice.value], (
        "the requester is asked as well"
    )

    assert "may not use" in text(bot.clicks("run", choice.value, "UNOBODY"))
    bot.clicks("run", choice.value, "UEVA")
    wish = bot.operation(2)
    assert (wish.action, wish.origin.by, wish.state) == ("vm force-off", "UEVA", State.PROPOSED)
    assert wish.plan.risk is Risk.HIGH
    assert "ignored the shutdown request" in str(wish.origin.reason)
    agreed(bot, 2)
    assert state(bot, "web-1") is VmState.SHUT_OFF
    assert "is already powered off" in text(bot.clicks("run", choice.value, "UEVA"))


def test_of_many_vms_the_one_that_ignores_a_shutdown_is_asked_about(bot: Bot) -> None:
    bot.hypervisor.deaf.add(uuid_of("web-2"))
    bot.types("vm shutdown --tag env=dev")
    bot.clicks("op.approve", bot.value(), "UBRUNO")
    bot.works()
    assert [str(each.text) for each in choices(bot.shown())] == ["Force off web-2…"]


def test_a_bulk_verb_shows_whom_it_touches_before_anything_is_done(bot: Bot) -> None:
    bot.types("vm force-off --tag env=dev")
    shown = text(bot.shown())
    assert all(f"Force off {name} on" in shown for name in ("web-1", "web-2", "web-3"))
    assert "job-1 is already powered off" in shown, "whom it passes over is told too"
    assert "db-1" not in shown
    assert not bot.hypervisor.calls
    assert bot.operation().ruling.votes == 2
    agreed(bot, 1)
    assert state(bot, "db-1") is VmState.RUNNING
    assert {state(bot, name) for name in ("web-1", "web-2", "web-3")} == {VmState.SHUT_OFF}


@pytest.mark.parametrize("verb", ["shutdown", "force-off"])
def test_a_bulk_verb_says_what_each_vm_has_only_while_it_runs(bot: Bot, verb: str) -> None:
    for name, device in (("web-1", "vdb"), ("web-2", "vdc")):
        vm = bot.hypervisor.snapshot().vm(name)
        bot.hypervisor.put(replace(vm, stored=StoredSize(1, GIB, without=(device,))))
    bot.types(f"vm {verb} --tag env=dev")
    told = [str(each.text) for each in bot.operation().plan.warnings if each.code == "only-live"]
    assert [each.partition(" only")[0] for each in told] == ["web-1 has vdb", "web-2 has vdc"]
    # What is asked for once more, before it begins, is the same plan
    agreed(bot, 1)


def test_a_deletion_is_asked_twice_and_can_be_taken_back_in_between(watched: Watched) -> None:
    bot = watched.bot
    assert "`--keep-disks` or `--remove-disks`" in text(bot.types("vm delete db-1"))
    assert "Only a powered-off VM" in text(bot.types("vm delete db-1 --remove-disks"))
    done(bot, "vm shutdown db-1", 1)
    done(bot, "vm delete db-1 --remove-disks", 2)
    seen = bot.hypervisor.snapshot().vm("db-1")
    assert (seen.autostart, "drover.deleted" in seen.tags) == (False, True)
    assert "vm undelete db-1" in text(bot.types("vm start db-1"))
    watched.tick()
    assert bot.operation(2).id == bot.store.operations(limit=1)[0].id, (
        "its grace is not over: nothing is asked"
    )

    done(bot, "vm undelete db-1", 3)
    seen = bot.hypervisor.snapshot().vm("db-1")
    assert (seen.autostart, dict(seen.tags)) == (True, {"env": "prod"})

    done(bot, "vm delete db-1 --keep-disks", 4)
    watched.tick(days=800)
    watched.tick()
    again = bot.operation(5)
    assert (again.action, again.origin.by, again.state) == ("vm purge", BOT, State.PROPOSED)
    assert again.origin.causes == ("UANA",), "who asked for the deletion does not vote on its end"
    assert len(bot.store.operations(limit=100)) == 5, "it is asked once"
    assert bot.hypervisor.snapshot().vm("db-1"), "and nothing is gone before somebody agreed"
    agreed(bot, 5)
    assert not any(vm.name == "db-1" for vm in bot.hypervisor.snapshot().vms)


def test_a_vm_with_a_ttl_is_announced_kept_longer_by_a_button_and_then_shut_down(
    watched: Watched,
) -> None:
    bot = watched.bot
    done(bot, "vm tag web-1 owner=ana", 1)
    done(bot, "vm ttl web-1 3d", 2)
    watched.tick()
    assert not watched.alerts()
    watched.tick(days=2, hours=12)
    (notice,) = watched.alerts()
    assert "owner: ana" in text(notice)
    (longer,) = choices(notice)
    bot.clicks("run", longer.value, "UANA")
    agreed(bot, 3)
    watched.tick(days=1)
    (notice,) = watched.alerts()
    assert "is cancelled" in text(notice)
    assert bot.operation(3).id == bot.store.operations(limit=1)[0].id, "it was given more time"
    watched.tick(days=7)
    ended = bot.operation(4)
    assert (ended.action, ended.origin.by, ended.origin.reason) == (
        "vm shutdown",
        BOT,
        words("Its TTL ended."),
    )
    assert ended.origin.causes == ("UANA",), "who gave it this end does not vote on it"
    agreed(bot, 4)
    assert state(bot, "web-1") is VmState.SHUT_OFF
