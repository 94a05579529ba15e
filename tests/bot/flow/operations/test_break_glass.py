"""Fewer votes while Slack does not answer: who, for what, until when, and that everybody is told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bot.domain.operation import State
from bot.domain.policy import Policy, Rule
from bot.flow.operations import current_rules
from bot.flow.operations.break_glass import BreakGlass, break_glass, sentence
from tests.bot.flow.small_bot import POLICY, Bot, small_bot, text
from tests.bot.flow.terminals import at_terminal

WHY = "host-a smokes and nobody is in Slack"
TWO = Policy(POLICY.grants, POLICY.everyone, (Rule("all", votes=2, expires=7200),))


@dataclass
class Away:
    """Slack, as far as breaking glass asks."""

    silent: float = 1000.0
    answering: bool = False
    glass: BreakGlass = field(init=False)

    def __post_init__(self) -> None:
        self.glass = BreakGlass(
            frozenset({"UANA", "UBRUNO"}),
            ("migrate",),
            0,
            300.0,
            3600.0,
            lambda: self.silent,
            lambda: self.answering,
        )


@pytest.fixture
def away() -> Away:
    return Away()


@pytest.fixture
def bot(tmp_path: Path) -> Iterator[Bot]:
    made = small_bot(tmp_path, policy=TWO)
    made.types("migrate web-1 to host-b")
    yield made
    made.store.close()


def breaks(bot: Bot, away: Away, by: str = "UANA", why: str = WHY, typed: str = "") -> Any:
    typed = typed or sentence(bot.operation())
    return break_glass(bot.services, away.glass, "op-1", by, reason=why, typed=typed)


def test_one_person_acts_alone_and_channel_and_every_approver_are_told_once(
    bot: Bot, away: Away
) -> None:
    assert breaks(bot, away).state is State.APPROVED
    bot.works()
    assert bot.operation().state is State.DONE
    assert bot.where("web-1") == ["host-b"]
    assert WHY in text(bot.shown())
    for person in ("UBRUNO", "UCARLA"):
        told = [each for each in bot.chat.whispers if each.user == person]
        assert sum(WHY in text(each.card) for each in told) == 1
    events = [type(each).__name__ for each in bot.store.events("op-1")]
    assert events[:4] == ["Proposed", "GlassBroken", "RulingChanged", "Approved"]
    assert WHY in text(bot.types("audit op-1"))


@pytest.mark.parametrize(
    ("silent", "answering", "by", "why", "typed"),
    [
        (1000.0, True, "UANA", WHY, ""),
        (299.0, False, "UANA", WHY, ""),
        (0.0, False, "UANA", WHY, ""),
        (1000.0, False, "UCARLA", WHY, ""),
        (1000.0, False, "script:nightly", WHY, ""),
        (1000.0, False, "UANA", "  fire  ", ""),
        (1000.0, False, "UANA", WHY, "yes"),
        (1000.0, False, "UANA", WHY, "break glass for op-1 00000000"),
    ],
)
def test_it_is_refused(
    bot: Bot, away: Away, *, silent: float, by: str, why: str, typed: str, answering: bool
) -> None:
    away.silent, away.answering = silent, answering
    card = breaks(bot, away, by, why, typed)
    assert card.not_done
    assert bot.operation().state is State.PROPOSED
    assert bot.operation().glass is None


def test_other_commands_and_what_is_decided_are_refused(bot: Bot, away: Away) -> None:
    away.glass = BreakGlass(**{**_fields(away.glass), "commands": ("host *",)})
    assert breaks(bot, away).refused
    away.glass = BreakGlass(**{**_fields(away.glass), "commands": ("*",)})
    bot.clicks("op.withdraw", bot.value(), "UANA")
    assert breaks(bot, away).not_done
    found: Any = break_glass(bot.services, None, "op-1", "UANA", reason=WHY, typed="")
    assert found.refused


def _fields(glass: BreakGlass) -> dict[str, Any]:
    return {name: getattr(glass, name) for name in BreakGlass.__dataclass_fields__}


def test_it_ends_by_itself(bot: Bot, away: Away) -> None:
    breaks(bot, away)
    bot.clock.sleep(timedelta(hours=1, seconds=1).total_seconds())
    operation = bot.operation()
    today = current_rules.ruling_of(bot.services, operation, operation.plan)
    assert today.votes == 2  # type: ignore[union-attr]
    bot.works()
    assert bot.operation().state is State.STALE
    assert bot.where("web-1") == ["host-a"]


def test_with_a_vote_left_another_person_gives_it(bot: Bot, away: Away) -> None:
    away.glass = BreakGlass(**{**_fields(away.glass), "votes": 1})
    assert breaks(bot, away).state is State.PROPOSED
    assert bot.clicks("op.approve", bot.value(), "UANA") is not None
    bot.clicks("op.approve", bot.value(), "UCARLA")
    assert bot.operation().state is State.APPROVED


def test_a_freeze_holds_whatever_glass_is_broken(tmp_path: Path, away: Away) -> None:
    frozen = Policy(POLICY.grants, POLICY.everyone, (Rule("stop", freeze=True, why="No."),))
    bot = small_bot(tmp_path, policy=TWO)
    bot.types("migrate web-1 to host-b")
    bot.services = replace(bot.services, policy=frozen)
    assert breaks(bot, away).not_done
    assert bot.operation().state is State.PROPOSED
    bot.store.close()


def test_over_the_socket_the_sentence_is_asked_for_first(tmp_path: Path, away: Away) -> None:
    with at_terminal(tmp_path, policy=TWO, glass=away.glass) as here:
        here.do("ana", "migrate web-1 to host-b")
        first = here.call("ana", "break-glass", operation="op-1", reason=WHY)
        assert first["outcome"] == "refused"
        assert "plan" in json.dumps(here.shown)
        found = here.call(
            "ana", "break-glass", operation="op-1", reason=WHY, confirm=first["sentence"]
        )
        assert (found["outcome"], found["operation"]["state"]) == ("done", "approved")
        assert here.bot.work.ids == ["op-1"]
        with pytest.raises(Exception, match="Only a person"):
            here.call("nightly", "break-glass", operation="op-1", reason=WHY)
