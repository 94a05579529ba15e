"""A part of a balance as a proposal of its own: legal by itself, votes anew, and the old one ends with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.cluster import Snapshot
from bot.domain.errors import UsageError
from bot.domain.operation import Approved, Replaced, State
from bot.domain.plan import Plan, Refused
from bot.domain.steps import MigrateVm
from bot.flow.monitoring import watch
from bot.flow.operations import propose
from bot.plugin_api import Picked, Proposal
from bot.testing import draw_cluster, uuid_of
from plugins.balance import pick, planner
from plugins.balance.intents import Balance, balance_grammar
from plugins.balance.settings import BalanceSettings
from tests.bot.flow.small_bot import Bot, small_bot, text
from tests.plugins.balance.test_planner_laws import picky, snapshots, wrong

SETTINGS = BalanceSettings()
GUESTS = " | ".join(f"v{number} 4G load 1 dirty 1M" for number in range(1, 7))
UNEVEN = f"""
host-a 8cpu 32G | {GUESTS}
host-b 8cpu 32G
host-c 8cpu 32G
"""
SWAP = """
host-a 8cpu 10G | big 8G load 0.2
host-b 8cpu 10G | tiny 4G load 4 | mini 4G load 3
host-c 8cpu 10G | some 8G load 0.1
"""


def moves(found: Plan | Refused) -> dict[str, str]:
    assert isinstance(found, Plan), found
    return {step.name: step.target for step in found.steps if isinstance(step, MigrateVm)}


def test_the_picked_moves_are_planned_and_no_others() -> None:
    whole = planner.plan(SETTINGS, Balance(), draw_cluster(UNEVEN), ())
    assert isinstance(whole, Plan)
    assert len(whole.steps) == 4
    wish = pick.pick_moves(Balance(), whole, (0, 2))
    some = pick.plan_pick(SETTINGS, wish, draw_cluster(UNEVEN), ())
    names = [step.name for step in whole.steps if isinstance(step, MigrateVm)]
    assert moves(some) == {name: moves(whole)[name] for name in (names[0], names[2])}
    assert isinstance(some, Plan)
    assert some.digest != whole.digest
    assert all(isinstance(step, MigrateVm) and "gain" in str(step.reason) for step in some.steps)
    assert planner.still_good(SETTINGS, wish, some, draw_cluster(UNEVEN), ()) == ()


def test_a_move_that_needs_one_that_was_not_picked_is_left_out_and_says_so() -> None:
    seen = draw_cluster(SWAP)
    wish = Balance(
        wanted=((uuid_of("tiny"), "host-a"), (uuid_of("mini"), "host-c")),
        unwanted=((uuid_of("big"), "host-b"), (uuid_of("some"), "host-b")),
    )
    found = pick.plan_pick(SETTINGS, wish, seen, ())
    assert isinstance(found, Refused)
    assert [each.code for each in found.objections] == ["not-picked", "not-picked"]
    assert "First big would have to leave host-a, which was not picked." in str(
        found.objections[0].text
    )


def test_a_vm_that_went_away_is_told() -> None:
    wish = Balance(wanted=((uuid_of("v1"), "host-b"), (uuid_of("v9"), "host-b")))
    found = pick.plan_pick(SETTINGS, wish, draw_cluster(UNEVEN), ())
    assert moves(found) == {"v1": "host-b"}
    assert isinstance(found, Plan)
    assert "gone" in [each.code for each in found.warnings]


@given(snapshots(), st.integers(0, 5), st.data())
def test_no_part_of_a_plan_breaks_a_rule_or_makes_it_worse(
    seen: Snapshot, seed: int, data: st.DataObject
) -> None:
    rule = picky(seed)
    whole = planner.plan(SETTINGS, Balance(), seen, (rule,))
    if isinstance(whole, Refused):
        return
    chosen = data.draw(st.sets(st.integers(0, len(whole.steps) - 1), min_size=1))
    wish = pick.pick_moves(Balance(), whole, tuple(sorted(chosen)))
    some = pick.plan_pick(SETTINGS, wish, seen, (rule,))
    assert wrong(seen, some, rule) == []
    if isinstance(some, Plan):
        assert {
            (step.uuid, step.target) for step in some.steps if isinstance(step, MigrateVm)
        } <= set(wish.wanted)
        assert planner.still_good(SETTINGS, wish, some, seen, (rule,)) == ()


# --- the whole line
# ---------------------------------------------------------------------------------------------------


@pytest.fixture
def bot(tmp_path: Path) -> Iterator[Bot]:
    made = small_bot(tmp_path, UNEVEN, ("migrate", "balance"))
    yield made
    made.store.close()


def names(bot: Bot, number: int) -> list[str]:
    return [step.name for step in bot.operation(number).plan.steps if isinstance(step, MigrateVm)]


def test_moves_picked_in_the_dialog_become_a_new_proposal_that_replaces_the_old_one(
    bot: Bot,
) -> None:
    bot.types("balance")
    assert "op.pick" in bot.buttons()
    bot.clicks("op.pick", bot.value(), "UBRUNO", key="press")
    form = bot.chat.forms["press"]
    assert [len(field.options) for field in form.fields] == [4]  # type: ignore[union-attr]
    said = bot.answers("op.pick", form.hidden, "UBRUNO", **{"steps-0": "0,2"})
    assert "op-2" in text(said)
    old, new = bot.operation(1), bot.operation(2)
    assert (old.state, new.state, new.replaces, new.origin.by) == (
        State.WITHDRAWN,
        State.PROPOSED,
        "op-1",
        "UBRUNO",
    )
    assert isinstance(bot.store.events("op-1")[-1], Replaced)
    assert "op-2 stands in its place" in text(bot.shown(1))
    assert set(names(bot, 2)) == {names(bot, 1)[0], names(bot, 1)[2]}
    assert new.votes == ()
    assert "your vote does not count" in text(bot.clicks("op.approve", bot.value(2), "UBRUNO"))
    assert "withdrawn" in text(bot.clicks("op.approve", bot.value(1), "UCARLA")).lower()
    bot.clicks("op.approve", bot.value(2), "UCARLA")
    bot.works()
    assert bot.operation(2).state is State.DONE
    assert [bot.where(name) for name in names(bot, 1)[1::2]] == [["host-a"], ["host-a"]]
    assert "replaced by op-2" in text(bot.types("audit op-1"))


def test_moves_picked_by_number(bot: Bot) -> None:
    bot.types("balance")
    bot.types("balance --pick op-1:2-3")
    assert set(names(bot, 2)) == set(names(bot, 1)[1:3])
    assert bot.operation(2).origin.command == "/kvm balance --pick op-1:2-3"
    bot.types("balance --pick 1")
    assert names(bot, 3) == names(bot, 2)[:1]
    assert [bot.operation(number).state for number in (1, 2, 3)] == [State.WITHDRAWN] * 2 + [
        State.PROPOSED
    ]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("balance --pick 9", "has the steps 1 to 4"),
        ("balance --pick 1-4", "All of it was picked"),
        ("balance --pick some", "names no moves"),
        ("balance --pick 1 --max-moves 2", "Use `--pick` without other options"),
        ("balance --pick op-7:1", "is no open proposal"),
    ],
)
def test_what_cannot_be_picked_is_told_and_the_proposal_stays(
    bot: Bot, line: str, said: str
) -> None:
    bot.types("balance")
    assert said in text(bot.types(line))
    assert [each.state for each in bot.store.operations()] == [State.PROPOSED]


def test_an_outdated_dialog_or_a_person_without_the_right_picks_nothing(bot: Bot) -> None:
    bot.types("balance")
    assert "You may not use" in text(bot.clicks("op.pick", bot.value(), "UNOBODY"))
    value = bot.value()
    bot.clicks("op.approve", value, "UBRUNO")
    assert bot.operation().state is State.APPROVED
    assert bot.answers("op.pick", value, "UANA", **{"steps-0": "0"}) is not None
    assert len(bot.store.operations()) == 1


def test_an_approval_that_comes_first_stands_and_the_new_proposal_is_taken_back(
    bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    bot.types("balance")
    drafted = propose.draft

    def slow(*args: Any, **named: Any) -> object:
        found = drafted(*args, **named)
        bot.clicks("op.approve", bot.value(1), "UBRUNO")
        return found

    monkeypatch.setattr(propose, "draft", slow)
    said = bot.answers("op.pick", bot.value(), "UANA", **{"steps-0": "0"})
    assert "op-1" in text(said)
    assert any(isinstance(event, Approved) for event in bot.store.events("op-1"))
    assert bot.operation(2).state is State.WITHDRAWN


def test_a_plan_of_another_kind_is_approved_as_a_whole(bot: Bot) -> None:
    bot.types("host drain host-a")
    assert "op.pick" not in bot.buttons()
    assert "approved as a whole" in text(bot.clicks("op.pick", bot.value(), "UANA"))


def test_skipped_vms_stay(bot: Bot) -> None:
    bot.types("balance --skip v1 --skip v2")
    assert not {"v1", "v2"} & set(names(bot, 1))
    assert "There is no VM “v8”" in text(bot.types("balance --skip v8"))


def test_numbers_are_read_as_people_write_them() -> None:
    def read(said: str) -> object:
        return balance_grammar().main(["--pick", said], prog_name="balance", standalone_mode=False)

    assert read("1, 3-5") == Picked((1, 3, 4, 5))
    assert read("op-12:2") == Picked((2,), "op-12")
    with pytest.raises(UsageError, match="names no moves"):
        read("1,,2")


def test_who_caused_a_proposal_of_the_bot_does_not_vote_on_a_part_of_it(bot: Bot) -> None:
    wanted = Proposal("balance", Balance(), causes=("UBRUNO",))
    watch.propose_for_bot(bot.services, wanted, "balance")
    bot.types("balance --pick 1", by="UEVA")
    assert bot.operation(2).origin.by == "UEVA"
    assert "because of what you did" in text(bot.clicks("op.approve", bot.value(2), "UBRUNO"))
    assert bot.operation(2).votes == ()
