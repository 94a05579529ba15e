"""All of a plan is shown, on its card or attached beneath it; what cannot be is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.adapters.slack import limits
from bot.adapters.slack.blocks import render
from bot.adapters.slack.fit_blocks import LEFT_OUT, fit
from bot.domain import whole
from bot.domain.operation import Operation, open_operation
from bot.domain.plan import Blast, Plan, Reason, Risk
from bot.domain.steps import MigrateVm, SetMaintenance, Step
from bot.domain.vm_steps import PowerVerb, PowerVm
from bot.flow.operations import operation_cards
from plugins.balance.steps import RunOnHost
from tests.operations import move, planned, proposal

SMALL = planned(move("web-1"), move("web-2"))
words = st.text(st.sampled_from("ab<&>`*_~ \n“\u202e@#!|"), max_size=30)
lengths = st.sampled_from((0, 1, 1, 5, 40, 120, 400))


@st.composite
def texts(draw: st.DrawFn) -> str:
    # A … in what is read means that it was cut
    return (draw(words).replace("…", "") or "x") * draw(lengths)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    count = draw(st.sampled_from((1, 2, 49, 50, 51, 150)))
    kinds: list[Step] = [
        move("web-1"),
        SetMaintenance("host-a", on=True),
        RunOnHost("host-a", draw(texts()), "key"),
    ]
    some = tuple(draw(st.sampled_from(kinds)) for _ in range(min(count, 3)))
    steps = (*some, *(move(f"vm-{n}") for n in range(count - 3)))
    reasons = tuple(Reason("r", draw(texts())) for _ in range(draw(st.sampled_from((0, 1, 8, 9)))))
    blast = Blast(hosts=tuple(f"host-{n}" for n in range(draw(st.sampled_from((1, 300))))))
    return Plan(draw(texts()), steps, Risk.HIGH, blast, reasons=reasons, warnings=reasons[:1])


def laid_out(plan: Plan, command: str = "/kvm x", reason: str = "") -> Operation:
    event = proposal(plan=plan)
    return open_operation(
        "op-1", replace(event, origin=replace(event.origin, command=command, reason=reason))
    )


def is_cut(operation: Operation) -> bool:
    """Whether Slack's message of an operation leaves something out."""
    text, blocks = render(operation_cards.operation_card(operation))
    sent = fit(text, blocks, "told")
    # A question may be short, and so may a step's title whose rest stands in the command.
    read = [block for block in sent.blocks if block["type"] not in ("actions", "plan")]
    return LEFT_OUT in repr(read) or "…" in repr(read) or not read


def test_a_small_plan_is_shown_on_its_card() -> None:
    assert whole.attachments(SMALL, "migrate web-1", "") == ()
    assert not is_cut(laid_out(SMALL))


@given(plans(), texts(), texts())
def test_a_plan_is_whole_on_its_card_or_attached_or_refused(
    plan: Plan, command: str, reason: str
) -> None:
    if whole.too_long(plan, command, reason):
        return
    parts = whole.attachments(plan, command, reason)
    if not parts:
        assert not is_cut(laid_out(plan, command, reason))
        told = "\n".join((command, *(str(each.text) for each in plan.reasons)))
        runs = [step for step in plan.steps if isinstance(step, RunOnHost)]
        assert all(step.command in told or step.command in str(step.title) for step in runs)
        assert all(len(str(step.title)) < limits.TASK for step in plan.steps)
        return
    together = "\n".join(map(str, parts))
    for text in (str(plan.title), command, reason, *(str(each.text) for each in plan.reasons)):
        assert text in together
    for number, step in enumerate(plan.steps, 1):
        assert f"{number}. {step.title}" in together
        if isinstance(step, RunOnHost):
            assert step.command in together
    for number, part in enumerate(parts, 1):
        text, blocks = render(operation_cards.whole_card(laid_out(plan), number, len(parts), part))
        sent = fit(text, blocks, "told")
        assert sent.blocks
        assert LEFT_OUT not in repr(sent.blocks)


@pytest.mark.parametrize("length", [6_001, 11_000, 12_500, 100_000])
def test_a_command_that_cannot_be_shown_whole_is_refused(length: int) -> None:
    plan = replace(SMALL, steps=(RunOnHost("host-a", "x" * length, "key"),))
    found = whole.too_long(plan, "host rolling", "")
    assert found is not None
    assert "RunOnHost command" in str(found.text)


def test_any_long_text_in_a_step_is_attached_or_refused() -> None:
    step = MigrateVm("uuid", "web-1", "host-a", "host-b", 1, reason="r" * 3000)
    assert "r" * 3000 in "\n".join(
        map(str, whole.attachments(replace(SMALL, steps=(step,)), "c", ""))
    )
    assert whole.too_long(replace(SMALL, steps=(replace(step, reason="r" * 7000),)), "c", "")


def test_before_a_vote_the_most_dangerous_is_named_first() -> None:
    steps = (
        SetMaintenance("host-a", on=True),
        move("web-1"),
        RunOnHost("host-a", "reboot now", "key"),
    )
    plan = replace(SMALL, title="Maintain " + "host-a, " * 60, steps=steps, risk=Risk.HIGH)
    asked = str(operation_cards.confirm_text(laid_out(plan)))
    assert asked.startswith("Risk high. ")
    assert "reboot now" in asked[:300], "Slack shows no more"


def test_before_a_vote_what_destroys_is_named_first_wherever_it_stands_in_the_plan() -> None:
    starts = [PowerVm(str(n), f"web-{n}", "host-a", PowerVerb.START) for n in range(5)]
    ends = [PowerVm(str(n), f"db-{n}", "host-a", PowerVerb.FORCE_OFF) for n in range(2)]
    plan = replace(SMALL, title="Change " + "much " * 60, steps=(*starts, *ends), risk=Risk.HIGH)
    asked = str(operation_cards.confirm_text(laid_out(plan)))
    assert asked.startswith(
        "Risk high. Force off db-0 on host-a and 1 other step like it. "
        "Start web-0 on host-a and 4 other steps like it. "
    )


def test_before_a_vote_of_many_kinds_of_work_the_rest_is_counted() -> None:
    """Never as being like what it is not like."""
    verbs = (PowerVerb.START, PowerVerb.PAUSE, PowerVerb.RESUME, PowerVerb.SHUTDOWN)
    steps = tuple(PowerVm(each, "web-1", "host-a", each) for each in verbs)
    asked = str(operation_cards.confirm_text(laid_out(replace(SMALL, steps=steps))))
    assert "like it" not in asked
    assert "Start web-1 on host-a. Pause web-1 on host-a. Resume web-1 on host-a. " in asked
    assert " 1 more step. " in asked


def test_before_a_vote_nothing_is_told_twice() -> None:
    step = RunOnHost("host-a", "reboot now", "key")
    plan = replace(SMALL, title=step.title, steps=(step,), risk=Risk.HIGH)
    asked = str(operation_cards.confirm_text(laid_out(plan)))
    assert asked.count(str(step.title)) == 1
