"""Definitions are kept when the hosts' VMs change, and every five minutes; a host that fails is asked again."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from bot.domain.cluster import VmState
from bot.domain.definition import Definition, MaybeUnchanged, Unchanged, sha_of
from bot.flow.monitoring.definitions import EVERY, KeptDefinitions
from tests.bot.flow.small_bot import Bot, small_bot

LITTLE = timedelta(seconds=15).total_seconds()


@pytest.fixture
def bot(tmp_path: Path) -> Iterator[Bot]:
    made = small_bot(tmp_path)
    yield made
    made.store.close()


def test_definitions_are_read_when_something_changes_and_every_five_minutes(bot: Bot) -> None:
    kept = KeptDefinitions(bot.hypervisor, bot.store, bot.clock)
    assert set(kept.keep(bot.hypervisor.snapshot())) == {"host-a", "host-b", "host-c"}
    vm = bot.hypervisor.snapshot().vms[0]
    assert vm.uuid in {each.uuid for each in bot.store.definitions(host=vm.host)}
    bot.clock.turn(LITTLE)
    assert kept.keep(bot.hypervisor.snapshot()) == ()
    bot.hypervisor.set_tags(vm.host, vm.uuid, {"owner": "ana"})
    assert kept.keep(bot.hypervisor.snapshot()) == (vm.host,)
    assert len(bot.store.definitions(uuid=vm.uuid)) == 2
    bot.clock.turn(EVERY.total_seconds())
    assert len(kept.keep(bot.hypervisor.snapshot())) == 3


def test_a_host_that_fails_is_asked_again_and_what_it_had_stays(bot: Bot) -> None:
    kept = KeptDefinitions(bot.hypervisor, bot.store, bot.clock)
    kept.keep(bot.hypervisor.snapshot())
    before = bot.store.definitions()
    bot.hypervisor.down("host-a")
    bot.clock.turn(EVERY.total_seconds())
    assert set(kept.keep(bot.hypervisor.snapshot())) == {"host-b", "host-c"}
    assert {each.uuid: each.host for each in bot.store.definitions()} == {
        each.uuid: each.host for each in before
    }
    bot.hypervisor.up("host-a")
    bot.hypervisor.refuse("definitions", "it is busy")
    bot.clock.turn(EVERY.total_seconds())
    assert len(kept.keep(bot.hypervisor.snapshot())) == 2
    assert len(kept.keep(bot.hypervisor.snapshot())) == 1


def test_a_state_that_changes_is_kept(bot: Bot) -> None:
    kept = KeptDefinitions(bot.hypervisor, bot.store, bot.clock)
    kept.keep(bot.hypervisor.snapshot())
    vm = next(each for each in bot.hypervisor.snapshot().vms if each.state is VmState.RUNNING)
    bot.hypervisor.force_off(vm.host, vm.uuid)
    kept.keep(bot.hypervisor.snapshot())
    (version,) = bot.store.definitions(uuid=vm.uuid)
    assert version.state is VmState.SHUT_OFF


def test_what_did_not_change_is_not_read_whole_again(
    bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[MaybeUnchanged] = []
    ask = bot.hypervisor.definitions

    def definitions(host: str, known: Collection[str] = ()) -> tuple[MaybeUnchanged, ...]:
        found = ask(host, known)
        told.extend(found)
        return found

    monkeypatch.setattr(bot.hypervisor, "definitions", definitions)
    kept = KeptDefinitions(bot.hypervisor, bot.store, bot.clock)
    kept.keep(bot.hypervisor.snapshot())
    assert {type(each) for each in told} == {Definition}
    told.clear()
    bot.clock.turn(EVERY.total_seconds())
    now = bot.clock.now()
    kept.keep(bot.hypervisor.snapshot())
    assert {type(each) for each in told} == {Unchanged}
    assert all(each.seen_at >= now for each in bot.store.definitions())


def test_what_another_replica_keeps_otherwise_is_read_whole_at_the_next_turn(bot: Bot) -> None:
    kept = KeptDefinitions(bot.hypervisor, bot.store, bot.clock)
    kept.keep(bot.hypervisor.snapshot())
    mine = bot.store.definitions(host="host-a")[0]
    bot.store.keep_definitions([replace(mine, xml="<other/>", sha=sha_of("<other/>"))], [])
    bot.clock.turn(EVERY.total_seconds())
    assert "host-a" in kept.keep(bot.hypervisor.snapshot())
    bot.clock.turn(LITTLE)
    assert kept.keep(bot.hypervisor.snapshot()) == ("host-a",)
    assert bot.store.definitions(uuid=mine.uuid)[0].xml == mine.xml
    bot.clock.turn(LITTLE)
    assert kept.keep(bot.hypervisor.snapshot()) == ()
