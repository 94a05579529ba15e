"""The plugin guide's code does what the page says, in a bot."""

from __future__ import annotations

import json
import re
import types
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bot import catalog
from bot.domain.metrics import Sweep, VmSample
from bot.domain.operation import State
from bot.domain.steps import SetMaintenance
from bot.flow.commands.queries import Core
from bot.plugin_api import Action, Looked, Measured, Query, WatchView
from bot.testing import drawn
from tests.bot.flow.small_bot import Bot, small_bot, text
from tests.operations import START

GUIDE = Path(__file__).parents[2] / "plugins" / "README.md"
CLUSTER = """
    host-a 16cpu 64G [rack=r1] | web-1 4G load 0.01 [rack=r1] | db-1 8G 2cpu load 1.9
    host-b 16cpu 64G [rack=r2]
    host-c 16cpu 64G
    host-d 16cpu 64G [rack=r1]
"""


def guide_plugin() -> Any:
    module = types.ModuleType("guide")
    code = "\n".join(
        re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    )
    # Our own page
    exec(compile(code, str(GUIDE), "exec", dont_inherit=True), module.__dict__)  # noqa: S102
    return module


@pytest.fixture
def bot(tmp_path: Path) -> Iterator[Bot]:
    made = small_bot(tmp_path, CLUSTER, extra=(guide_plugin(),))
    yield made
    made.store.close()


def test_the_guides_plugin_loads_beside_the_core() -> None:
    loaded = catalog.load((), extra=(Core(), guide_plugin()))
    assert isinstance(loaded.commands["quiet"], Query)
    assert isinstance(loaded.commands["rest"], Action)
    assert any(rule.__name__ == "same_rack" for rule in loaded.rules)


def test_its_query_answers_and_takes_its_option(bot: Bot) -> None:
    said = text(bot.types("quiet"))
    assert "Quiet VMs: 1" in said
    assert "web-1" in said
    assert "db-1" not in said
    assert "Quiet VMs: 2" in text(bot.types("quiet --below 5"))
    assert "Quiet VMs: 0" in text(bot.types("quiet --below 0"))


def test_its_action_is_proposed_approved_and_done_and_then_there_is_nothing_to_do(bot: Bot) -> None:
    bot.types("rest host-b")
    assert bot.operation().plan.title == "Put host-b into maintenance"
    assert bot.operation().plan.steps == (SetMaintenance("host-b", on=True),)
    assert bot.store.maintenance() == frozenset()
    bot.clicks("op.approve", bot.value(), "UBRUNO")
    bot.works()
    assert bot.operation().state is State.DONE
    assert bot.store.maintenance() == {"host-b"}
    assert "host-b is in maintenance already." in text(bot.types("rest host-b"))
    assert len(bot.store.operations()) == 1


def test_its_action_does_nothing_when_the_cluster_changed_meanwhile(bot: Bot) -> None:
    bot.types("rest host-b")
    bot.types("rest host-b")
    for number in (1, 2):
        bot.clicks("op.approve", bot.value(number), "UBRUNO")
        bot.works()
    assert [bot.operation(number).state for number in (1, 2)] == [State.DONE, State.STALE]
    assert "It is in maintenance by now." in text(bot.shown(2))


def test_a_host_that_does_not_exist_is_answered_with_the_nearest(bot: Bot) -> None:
    assert "host-b" in text(bot.types("rest hostb"))
    assert not bot.store.operations()


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("host-b", "web-1 belongs in rack r1; host-b is in rack r2."),
        ("host-c", "web-1 belongs in rack r1; host-c has no tag rack."),
    ],
)
def test_its_rule_keeps_a_vm_from_another_rack(bot: Bot, host: str, reason: str) -> None:
    assert reason in text(bot.types(f"migrate web-1 to {host}"))
    assert not bot.store.operations()


def test_its_rule_lets_a_vm_into_its_own_rack_and_says_nothing_of_the_others(bot: Bot) -> None:
    bot.types("migrate web-1 to host-d")
    bot.types("migrate db-1 to host-c")
    assert [each.plan.title for each in bot.store.operations()[::-1]] == [
        "Move web-1 from host-a to host-d",
        "Move db-1 from host-a to host-c",
    ]


def look(guide: Any, cpu: float, memory: Any) -> Looked:
    sample = VmSample("u-db-1", "db-1", "host-a", "running", 2, cpu, 0.0, 1000)
    measured = Measured(Sweep(START, (), (sample,)))
    nothing: Any = None
    found: Looked = guide.busy_vms.look(
        WatchView(drawn(CLUSTER), (), nothing, measured, memory, START)
    )
    return found


def test_its_watch_tells_of_a_busy_vm_once_it_is_and_once_it_is_over() -> None:
    guide = guide_plugin()
    assert guide.busy_vms.every == timedelta(minutes=1)
    first = look(guide, 1.99, {})
    (alert,) = first.noticed
    assert (alert.key, alert.card.text, alert.over) == ("u-db-1", "db-1 is at its limit", False)
    assert [remedy.command for remedy in alert.remedies] == ["chart db-1"]
    remembered = json.loads(json.dumps(first.memory))
    (over,) = look(guide, 0.1, remembered).noticed
    assert (over.key, over.over) == ("u-db-1", True)
    assert look(guide, 0.1, look(guide, 0.1, remembered).memory).noticed == ()


def test_its_remedy_is_a_command_that_exists() -> None:
    loaded = catalog.load(("monitor",), extra=(Core(), guide_plugin()))
    assert "chart" in loaded.commands
