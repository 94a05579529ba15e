"""The state table: what is legal, what is not, and that nothing else ever changes."""

from __future__ import annotations

import copy
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.errors import IllegalEventError
from bot.domain.operation import (
    EVENTS,
    TRANSITIONS,
    Approved,
    Ask,
    Asked,
    Began,
    Cancelled,
    Continued,
    Denied,
    Event,
    Expired,
    Failed,
    Finished,
    GainMeasured,
    Held,
    Noted,
    Operation,
    Proposed,
    Released,
    Replaced,
    Replanned,
    RulingChanged,
    State,
    StepBegan,
    StepEnded,
    StepSkipped,
    VotedFor,
    WentStale,
    Withdrawn,
    advance,
    diagram,
    open_operation,
    replay,
)
from bot.domain.plan import Objection, Spread
from bot.domain.policy import Ruling
from bot.domain.steps import WaitForPerson
from tests.operations import later, move, planned, proposal

TWO_MOVES = planned(move("web-1"), move("web-2"))
DIGEST = TWO_MOVES.digest
NOW = later(5)
WHY = Objection("gone", "it has gone")
EVEN = Spread(0.1, 0.5, 0.4)


def one_of_each(by: str = "UAPP", digest: str = DIGEST) -> tuple[Event, ...]:
    return (
        proposal(plan=TWO_MOVES), VotedFor(NOW, by, digest), Approved(NOW, by), Denied(NOW, by, "no"),
        Withdrawn(NOW, by), Expired(NOW, by), Began(NOW, by), WentStale(NOW, by, (Objection("memory", "full"),)),
        StepBegan(NOW, by, 0), StepEnded(NOW, by, 0), Noted(NOW, by, "hm"), Asked(NOW, by, Ask.CANCEL),
        Finished(NOW, by), Failed(NOW, by, "broke", "look"), Cancelled(NOW, by, "half way"), Replaced(NOW, by, "op-2"),
        StepSkipped(NOW, by, 0, WHY), Replanned(NOW, by, (move("web-3"),), "because"), Continued(NOW, by, 0),
        GainMeasured(NOW, by, EVEN, NOW), RulingChanged(NOW, by, Ruling(2, ("approver",), 3600, "strict")),
        Held(NOW, by, "silent"), Released(NOW, by),
    )  # fmt: skip


def led_to(*events: Event, votes: int = 1) -> Operation:
    operation = open_operation("op-1", proposal(votes=votes, plan=TWO_MOVES))
    for event in events:
        operation = advance(operation, event)
    return operation


VOTE, OKAY, GO = VotedFor(NOW, "UAPP", DIGEST), Approved(NOW, "UAPP"), Began(NOW, "drover")
STEPS = tuple(
    each
    for index in (0, 1)
    for each in (StepBegan(NOW, "drover", index), StepEnded(NOW, "drover", index))
)
IN_STATE = {
    State.PROPOSED: led_to(),
    State.APPROVED: led_to(VOTE, OKAY),
    State.RUNNING: led_to(VOTE, OKAY, GO),
    State.DONE: led_to(VOTE, OKAY, GO, *STEPS, Finished(NOW, "drover")),
    State.FAILED: led_to(VOTE, OKAY, GO, Failed(NOW, "drover", "broke")),
    State.CANCELLED: led_to(VOTE, OKAY, GO, Cancelled(NOW, "UENG")),
    State.DENIED: led_to(Denied(NOW, "UAPP", "no")),
    State.WITHDRAWN: led_to(Withdrawn(NOW, "UENG")),
    State.EXPIRED: led_to(Expired(NOW, "drover")),
    State.STALE: led_to(VOTE, OKAY, WentStale(NOW, "drover", ())),
}


def test_every_state_can_be_reached() -> None:
    assert {state: operation.state for state, operation in IN_STATE.items()} == {
        state: state for state in State
    }


EVERY_PAIR = [(state, event) for state in State for event in one_of_each()]
UNNAMED = [
    (state, event) for state, event in EVERY_PAIR if type(event) not in TRANSITIONS.get(state, {})
]


@pytest.mark.parametrize(
    ("state", "event"), UNNAMED, ids=[f"{s}-{type(e).__name__}" for s, e in UNNAMED]
)
def test_what_the_table_does_not_name_raises_and_changes_nothing(
    state: State, event: Event
) -> None:
    operation = IN_STATE[state]
    before = copy.deepcopy(operation)
    with pytest.raises(
        IllegalEventError, match=f"op-1 is {state}: it takes no {type(event).__name__} now"
    ):
        advance(operation, event)
    assert operation == before


PAUSE = WaitForPerson("host-a", "Look after host-a", 60)
PAUSING = planned(PAUSE, move("web-1"), PAUSE, move("web-2"))
PAUSED = replace(led_to(VOTE, OKAY, GO), plan=PAUSING, under_way=frozenset({0}))
GROWN = led_to(
    VOTE, OKAY, GO, RulingChanged(NOW, "drover", Ruling(2, ("approver",), 3600, "strict"))
)
READY = {
    Approved: led_to(VOTE),
    Continued: PAUSED,
    Released: led_to(VOTE, OKAY, GO, Held(NOW, "drover", "silent")),
}
NAMED = [
    (
        GROWN
        if before.state is State.RUNNING and isinstance(event, VotedFor)
        else READY.get(type(event), before),
        event,
    )
    for state, event in EVERY_PAIR
    if type(event) in TRANSITIONS.get(state, {}) and not isinstance(event, Finished)
    for before in [IN_STATE[state]]
]


@pytest.mark.parametrize(
    ("operation", "event"), NAMED, ids=[f"{o.state}-{type(e).__name__}" for o, e in NAMED]
)
def test_what_the_table_names_leads_where_it_says_and_leaves_the_old_value(
    operation: Operation, event: Event
) -> None:
    before = copy.deepcopy(operation)
    after = advance(operation, event)
    assert operation == before
    assert after.state is TRANSITIONS[operation.state][type(event)][0]
    assert (after.version, after.changed_at) == (operation.version + 1, NOW)


def test_what_is_over_stays_so_and_takes_only_notes_and_what_is_measured_of_it() -> None:
    rows = {state: TRANSITIONS.get(state, {}) for state in State if state.over}
    assert {event for row in rows.values() for event in row} == {GainMeasured, Noted}
    assert all(target is state for state, row in rows.items() for target, _ in row.values())
    assert [state for state, row in rows.items() if GainMeasured in row] == [State.DONE]


def test_a_note_on_what_is_over_does_not_move_its_end() -> None:
    ended = IN_STATE[State.DONE]
    noted = advance(ended, Noted(ended.changed_at + timedelta(days=1), "drover", "hm"))
    assert (noted.changed_at, noted.notes) == (ended.changed_at, (*ended.notes, "hm"))


# votes


def test_the_requester_never_counts() -> None:
    with pytest.raises(IllegalEventError, match="requester never counts"):
        led_to(VotedFor(NOW, "UENG", DIGEST))


def test_nobody_counts_twice() -> None:
    with pytest.raises(IllegalEventError, match="UAPP has voted already"):
        led_to(VOTE, VOTE, votes=2)


def test_a_vote_for_another_plan_does_not_count() -> None:
    with pytest.raises(IllegalEventError, match="another plan"):
        led_to(VotedFor(NOW, "UAPP", planned(move("web-9")).digest))


def test_too_few_votes_approve_nothing() -> None:
    with pytest.raises(IllegalEventError, match="1 more vote is needed"):
        led_to(VOTE, OKAY, votes=2)
    enough = led_to(VOTE, VotedFor(later(6), "UAPP2", DIGEST), OKAY, votes=2)
    assert (enough.state, [vote.by for vote in enough.votes]) == (State.APPROVED, ["UAPP", "UAPP2"])


def test_what_needs_no_vote_is_approved_without() -> None:
    assert led_to(Approved(NOW, "drover"), votes=0).state is State.APPROVED


# steps


def test_steps_are_ticked_off_in_any_order_once_each() -> None:
    running = IN_STATE[State.RUNNING]
    assert running.todo == (0, 1)
    second = advance(
        advance(running, StepBegan(NOW, "drover", 1)), StepEnded(NOW, "drover", 1, {"seconds": 3})
    )
    assert (second.todo, second.under_way) == ((0,), frozenset())
    for again in (
        StepBegan(NOW, "drover", 1),
        StepEnded(NOW, "drover", 1),
        StepBegan(NOW, "drover", 2),
    ):
        with pytest.raises(IllegalEventError, match="already done"):
            advance(second, again)


def test_a_step_may_begin_again_after_a_crash() -> None:
    begun = advance(IN_STATE[State.RUNNING], StepBegan(NOW, "drover", 0))
    assert advance(begun, StepBegan(NOW, "drover", 0)).under_way == {0}


def test_steps_under_way_side_by_side_are_known_one_by_one() -> None:
    both = advance(
        advance(IN_STATE[State.RUNNING], StepBegan(NOW, "drover", 0)), StepBegan(NOW, "drover", 1)
    )
    assert both.under_way == {0, 1}
    assert advance(both, StepEnded(NOW, "drover", 0)).under_way == {1}
    assert advance(both, Failed(NOW, "drover", "broke", "look", 1)).under_way == {0, 1}


def test_nothing_is_finished_before_its_last_step() -> None:
    with pytest.raises(IllegalEventError, match="2 steps are not done yet"):
        advance(IN_STATE[State.RUNNING], Finished(NOW, "drover"))


def test_a_skipped_step_is_left_to_nobody_and_the_rest_can_end() -> None:
    skipped = advance(IN_STATE[State.RUNNING], StepSkipped(NOW, "drover", 0, WHY))
    assert (skipped.todo, [each.why for each in skipped.skipped]) == ((1,), [WHY])
    for again in (
        StepBegan(NOW, "drover", 0),
        StepEnded(NOW, "drover", 0),
        StepSkipped(NOW, "drover", 0, WHY),
    ):
        with pytest.raises(IllegalEventError, match="already done"):
            advance(skipped, again)
    ended = advance(advance(skipped, StepBegan(NOW, "drover", 1)), StepEnded(NOW, "drover", 1))
    assert advance(ended, Finished(NOW, "drover")).state is State.DONE


def test_a_step_under_way_can_turn_out_to_be_skipped() -> None:
    begun = advance(IN_STATE[State.RUNNING], StepBegan(NOW, "drover", 1))
    after = advance(begun, StepSkipped(NOW, "drover", 1, WHY))
    assert (after.under_way, after.todo) == (frozenset(), (0,))


def test_only_a_whole_tail_is_planned_anew_and_what_is_done_keeps_its_number() -> None:
    running = IN_STATE[State.RUNNING]
    new = (move("web-3"), move("web-4"), move("web-5"))
    first = advance(advance(running, StepBegan(NOW, "drover", 0)), StepEnded(NOW, "drover", 0))
    after = advance(first, Replanned(NOW, "drover", new, "because"))
    assert after.plan.steps == (TWO_MOVES.steps[0], *new)
    assert after.todo == (1, 2, 3)
    second = advance(advance(running, StepBegan(NOW, "drover", 1)), StepEnded(NOW, "drover", 1))
    with pytest.raises(IllegalEventError, match="cannot be planned anew"):
        advance(second, Replanned(NOW, "drover", new, "because"))


def test_only_a_step_that_waits_is_continued() -> None:
    assert (PAUSED.waiting, PAUSED.near) == (0, ())
    after = advance(PAUSED, Continued(NOW, "UAPP", 0))
    assert (set(after.continued), after.waiting, after.near) == ({0}, None, (0, 1))
    for index in (1, 2):
        with pytest.raises(IllegalEventError, match="is not waiting"):
            advance(PAUSED, Continued(NOW, "UAPP", index))
    with pytest.raises(IllegalEventError, match="is not waiting"):
        advance(after, Continued(NOW, "UAPP", 0))


def test_a_gain_is_measured_once_and_the_end_stays_when_it_was() -> None:
    done = IN_STATE[State.DONE]
    measured = advance(done, GainMeasured(later(99), "drover", EVEN, later(98)))
    assert (measured.measured, measured.measured_at, measured.changed_at) == (
        EVEN,
        later(98),
        done.changed_at,
    )
    with pytest.raises(IllegalEventError, match="measured already"):
        advance(measured, GainMeasured(later(99), "drover", EVEN, later(98)))


def test_what_ended_it_is_told() -> None:
    denied = IN_STATE[State.DENIED]
    assert (denied.decided_by, denied.outcome) == ("UAPP", "no")
    failed = advance(IN_STATE[State.RUNNING], Failed(NOW, "drover", "broke", "look", 0))
    assert (failed.outcome, failed.advice) == ("broke", "look")
    cancelled = advance(IN_STATE[State.RUNNING], Cancelled(NOW, "UENG", "half way"))
    assert (cancelled.decided_by, cancelled.outcome, cancelled.under_way) == (
        "UENG",
        "half way",
        frozenset(),
    )
    stale = advance(
        IN_STATE[State.APPROVED], WentStale(NOW, "drover", (Objection("memory", "full"),))
    )
    assert stale.objections == (Objection("memory", "full"),)
    replaced = advance(IN_STATE[State.PROPOSED], Replaced(NOW, "UAPP", "op-2"))
    assert (replaced.state, replaced.decided_by, replaced.instead) == (
        State.WITHDRAWN,
        "UAPP",
        "op-2",
    )


def test_asks_are_collected_and_notes_kept() -> None:
    asked = advance(
        advance(IN_STATE[State.RUNNING], Asked(NOW, "U1", Ask.CANCEL)),
        Asked(NOW, "U2", Ask.POSTCOPY),
    )
    assert asked.asked == {Ask.CANCEL, Ask.POSTCOPY}
    assert advance(asked, Noted(NOW, "drover", "hm")).notes == ("hm",)


# histories


def test_a_history_starts_with_a_proposal() -> None:
    with pytest.raises(IllegalEventError, match="starts with a proposal"):
        replay("op-1", (VOTE,))


def test_an_impossible_history_is_refused() -> None:
    with pytest.raises(IllegalEventError):
        replay("op-1", (proposal(plan=TWO_MOVES), GO))


def test_an_operation_knows_its_number() -> None:
    assert replace(led_to(), id="op-17").number == 17


people = st.sampled_from(("UENG", "UAPP", "UAPP2", "drover"))
moments = st.datetimes(datetime(2026, 1, 1), datetime(2026, 2, 1)).map(  # noqa: DTZ001
    lambda each: each.replace(tzinfo=UTC)
)
anything = st.one_of(
    st.builds(VotedFor, moments, people, st.sampled_from((DIGEST, "0" * 16))),
    *(st.builds(each, moments, people) for each in (Approved, Withdrawn, Expired, Began, Finished)),
    st.builds(Denied, moments, people, st.just("no")),
    st.builds(StepBegan, moments, people, st.integers(0, 2)),
    st.builds(StepEnded, moments, people, st.integers(0, 2)),
    st.builds(Asked, moments, people, st.sampled_from(Ask)),
    st.builds(Noted, moments, people, st.just("hm")),
    st.builds(WentStale, moments, people, st.just(())),
    st.builds(Failed, moments, people, st.just("broke")),
    st.builds(Cancelled, moments, people, st.just("")),
    st.builds(Replaced, moments, people, st.just("op-2")),
    st.builds(StepSkipped, moments, people, st.integers(0, 2), st.just(WHY)),
    st.builds(Continued, moments, people, st.integers(0, 2)),
    st.builds(Replanned, moments, people, st.just((move("web-3"),)), st.just("because")),
    st.builds(GainMeasured, moments, people, st.just(EVEN), moments),
)


@given(st.integers(0, 2), st.lists(anything, max_size=25))
def test_no_sequence_of_events_breaks_the_rules(votes: int, events: list[Event]) -> None:
    first = proposal(votes=votes, plan=TWO_MOVES)
    operation = open_operation("op-1", first)
    taken: list[Event] = [first]
    for event in events:
        before = copy.deepcopy(operation)
        try:
            after = advance(operation, event)
        except IllegalEventError:
            assert operation == before
            continue
        assert operation == before
        assert not operation.state.over or isinstance(event, GainMeasured | Noted)
        operation = after
        taken.append(event)
    voters = [vote.by for vote in operation.votes]
    assert operation.origin.by not in voters
    assert len(set(voters)) == len(voters)
    if any(isinstance(event, Approved) for event in taken):
        assert len(voters) >= votes
    if any(isinstance(event, Began) for event in taken):
        assert any(isinstance(event, Approved) for event in taken)
    if operation.state is State.DONE:
        assert operation.todo == ()
    ended = [each.index for each in operation.ended]
    ended += [each.index for each in operation.skipped]
    assert len(set(ended)) == len(ended)
    assert operation.version == len(taken)
    assert replay("op-1", tuple(taken)) == operation


# the diagram


def test_the_diagram_shows_every_transition_once() -> None:
    drawn = diagram().splitlines()
    assert drawn[0] == "stateDiagram-v2"
    arrows = [line for line in drawn if " --> " in line and "[*]" not in line]
    wanted = sum(len(row) - (Noted in row) for row in TRANSITIONS.values())
    assert len(arrows) == len(set(arrows)) == wanted
    assert "    running --> done: Finished" in drawn
    assert sum(line.endswith("--> [*]") for line in drawn) == sum(state.over for state in State)


def test_every_event_has_its_place_in_the_table() -> None:
    used = {event for row in TRANSITIONS.values() for event in row}
    assert used | {Proposed} == set(EVENTS)


# votes for what has grown


def grown(votes: int = 2, counted: tuple[str, ...] = ("UAPP",)) -> Operation:
    ruling = Ruling(votes, ("approver",), 3600, "strict")
    return advance(led_to(VOTE, OKAY, GO), RulingChanged(NOW, "drover", ruling, counted))


def test_a_running_operation_takes_votes_only_while_some_are_missing() -> None:
    with pytest.raises(IllegalEventError, match="waits for no vote"):
        advance(led_to(VOTE, OKAY, GO), VotedFor(NOW, "UAPP2", DIGEST))
    after = advance(grown(), VotedFor(NOW, "UAPP2", DIGEST))
    assert (after.votes_missing, after.open_to_votes) == (0, False)


def test_a_vote_that_counts_no_more_may_be_given_again() -> None:
    after = advance(grown(counted=()), VotedFor(NOW, "UAPP", DIGEST))
    assert [vote.by for vote in after.votes] == ["UAPP"]
    assert after.votes_missing == 1


@pytest.mark.parametrize("by", ["UENG", "UCAUSE"])
def test_neither_the_requester_nor_who_caused_a_proposal_votes(by: str) -> None:
    event = proposal(plan=TWO_MOVES)
    caused = replace(event, origin=replace(event.origin, causes=("UCAUSE",)))
    with pytest.raises(IllegalEventError, match="never counts"):
        advance(open_operation("op-1", caused), VotedFor(NOW, by, DIGEST))


def test_a_history_whose_plan_has_another_digest_by_now_is_still_read() -> None:
    """A newer Drover may add a field to a step: the digest of the plan that is read is then another one."""
    events = (proposal(plan=TWO_MOVES), replace(VOTE, digest="0" * 16), OKAY)
    assert replay("op-1", events).state is State.APPROVED
