"""Random lives of operations on the real store: votes, late clicks, duplicates, crashes, full disks, expiries.

After every step: no event is lost or stored twice, nobody approved their own wish, nothing is done
twice.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from sqlalchemy import event as sqlalchemy_event

from bot.adapters.sql.store import SqlStore
from bot.domain.errors import ConflictError, IllegalEventError, StoreError
from bot.domain.operation import (
    Approved,
    Ask,
    Asked,
    Began,
    Cancelled,
    Denied,
    Event,
    Expired,
    Finished,
    Noted,
    Operation,
    State,
    StepBegan,
    StepEnded,
    VotedFor,
    WentStale,
    Withdrawn,
)
from bot.ports import Request
from bot.testing.clock import TickingClock
from tests.examples import examples
from tests.operations import CODEC, move, planned, proposal, request

PEOPLE = ("UENG", "UAPP1", "UAPP2", "UAPP3")
AGAIN = ("", "the same view", "a fresh view")
PLANS = (planned(move("web-1"), move("web-2")), planned(move("db-1")))


@dataclass(frozen=True)
class Click:
    """How somebody approves. Most look first and click the right button; what is rare alone must not stay untried.

    ``again``: the click is delivered twice, and acted on with which view the second time.
    """

    by: str
    fresh: bool
    right: bool
    again: str


clicks = st.builds(
    Click,
    by=st.sampled_from(PEOPLE),
    fresh=st.sampled_from((True, True, False)),
    right=st.sampled_from((True, True, True, False)),
    again=st.sampled_from(AGAIN),
)


class Lives(RuleBasedStateMachine):
    """What people and crashes do; beside it, what must be true whatever they did."""

    # Operations as somebody once saw them: many are out of date when they act on them
    views = Bundle("views")

    @initialize()
    def open(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.clock = TickingClock()
        self.told: dict[str, list[Event]] = {}  # what the store said it stored
        self.origins: dict[str, str] = {}
        self.accepted: list[str] = []
        self.handled: set[str] = set()
        self.effects: Counter[tuple[str, int]] = Counter()
        self.store = self._opened()

    def _opened(self) -> SqlStore:
        return SqlStore(
            f"sqlite:///{Path(self.folder.name)}/drover.sqlite", CODEC, clock=self.clock
        )

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()

    def _append(self, seen: Operation, *events: Event) -> Operation:
        """Act on what was seen. The store must take it exactly if nothing happened since."""
        newest = len(self.told[seen.id])
        try:
            after = self.store.append(seen, *events)
        except (ConflictError, IllegalEventError):
            return self.store.operation(seen.id)
        assert seen.version == newest, "an act on an outdated view was taken"
        self.told[seen.id] += events
        return after

    # people

    @rule(
        target=views,
        key=st.sampled_from("abcd"),
        votes=st.integers(0, 2),
        plan=st.sampled_from(PLANS),
    )
    def propose(self, key: str, votes: int, plan: Any) -> Operation:
        event = proposal(key, votes=votes, plan=plan)
        operation = self.store.propose(event)
        if key in self.origins:
            assert operation.id == self.origins[key], "one delivery became two operations"
        else:
            assert operation.id not in self.told
            self.origins[key] = operation.id
            self.told[operation.id] = [event]
        return operation

    @precondition(lambda self: self._in(State.PROPOSED))
    @rule(target=views, data=st.data(), acts=st.integers(1, 8))
    def approved_and_begun(self, data: st.DataObject, acts: int) -> Operation:
        """A straight life as far as the middle of its work, or else its second half would stay untried."""
        operation = self.store.operation(data.draw(st.sampled_from(self._in(State.PROPOSED))))
        voters = [
            by
            for by in PEOPLE
            if by not in {operation.origin.by, *(vote.by for vote in operation.votes)}
        ]
        for by in voters[: operation.votes_missing]:
            operation = self._append(
                operation, VotedFor(self.clock.now(), by, operation.plan.digest)
            )
        operation = self._append(operation, Approved(self.clock.now(), "drover"))
        return self._performed(operation, acts, stale=False)

    @rule(target=views, seen=views, how=clicks)
    def approve(self, seen: Operation, how: Click) -> Operation:
        """A click on Approve, as the core acts on it."""
        seen = self.store.operation(seen.id) if how.fresh else seen
        after = self._click(seen, how.by, right=how.right)
        if not how.again:
            return after
        return self._click(seen if how.again == "the same view" else after, how.by, right=how.right)

    def _click(self, seen: Operation, by: str, *, right: bool) -> Operation:
        """The vote, and the approval with it if it was the last."""
        vote = VotedFor(self.clock.now(), by, seen.plan.digest if right else "0" * 16)
        last = [Approved(self.clock.now(), by)] if seen.votes_missing <= 1 else []
        return self._append(seen, vote, *last)

    @precondition(lambda self: self._in(State.PROPOSED))
    @rule(data=st.data(), crowd=st.lists(clicks, min_size=2, max_size=4))
    def approve_together(self, data: st.DataObject, crowd: list[Click]) -> None:
        """Several people before one message that still waits; some clicks arrive twice."""
        shown = self.store.operation(data.draw(st.sampled_from(self._in(State.PROPOSED))))
        for how in crowd:
            self.approve(shown, how)

    @precondition(lambda self: self._in(State.RUNNING))
    @rule(data=st.data(), again=st.booleans())
    def act_out_of_turn(self, data: st.DataObject, again: bool) -> None:  # noqa: FBT001
        """A performer that lost count: it says that all is done, or that a step has ended once more."""
        running = self.store.operation(data.draw(st.sampled_from(self._in(State.RUNNING))))
        ended = [each.index for each in running.ended]
        if again and ended:
            self._append(running, StepEnded(self.clock.now(), "drover", ended[0]))
        else:
            self._append(running, Finished(self.clock.now(), "drover"))

    def _in(self, *states: State) -> list[str]:
        return [each for each in sorted(self.told) if self.store.operation(each).state in states]

    @rule(target=views, seen=views, by=st.sampled_from(PEOPLE))
    def approve_without_votes(self, seen: Operation, by: str) -> Operation:
        return self._append(seen, Approved(self.clock.now(), by))

    @rule(
        target=views,
        seen=views,
        by=st.sampled_from(PEOPLE),
        how=st.sampled_from((Denied, Withdrawn, Expired)),
    )
    def end_early(self, seen: Operation, by: str, how: Callable[..., Event]) -> Operation:
        return self._append(
            seen, how(self.clock.now(), by, "no") if how is Denied else how(self.clock.now(), by)
        )

    @rule(target=views, seen=views)
    def ask_to_cancel(self, seen: Operation) -> Operation:
        return self._append(seen, Asked(self.clock.now(), "UENG", Ask.CANCEL))

    @rule(target=views, seen=views)
    def note(self, seen: Operation) -> Operation:
        return self._append(seen, Noted(self.clock.now(), "drover", "hm"))

    @rule(target=views, seen=views)
    def look(self, seen: Operation) -> Operation:
        return self.store.operation(seen.id)

    @rule(seconds=st.integers(-3600, 3600))
    def clock_jumps(self, seconds: int) -> None:
        self.clock.turn(seconds)

    # the performer: one at a time, as the work queue sees to, dying anywhere

    @precondition(lambda self: self._in(State.APPROVED, State.RUNNING))
    @rule(
        target=views,
        data=st.data(),
        dies_after=st.integers(0, 9),
        unstored=st.booleans(),
        stale=st.sampled_from((False, False, False, True)),
    )
    def perform(
        self,
        data: st.DataObject,
        dies_after: int,
        unstored: bool,  # noqa: FBT001
        stale: bool,  # noqa: FBT001
    ) -> Operation:
        """See an operation through; the process dies after so many acts, and another perform goes on later.

        ``unstored``: it dies when the next act has had its effect, but is not yet stored.
        """
        operation = self.store.operation(
            data.draw(st.sampled_from(self._in(State.APPROVED, State.RUNNING)))
        )
        operation = self._performed(operation, dies_after, stale=stale)
        if unstored:
            self._next_act(operation, stale=stale)
        return operation

    def _performed(self, operation: Operation, acts: int, *, stale: bool) -> Operation:
        for _ in range(acts):
            act = self._next_act(operation, stale=stale)
            if act is None:
                break
            operation = self._append(operation, act)
        return operation

    def _next_act(self, operation: Operation, *, stale: bool) -> Event | None:
        now = self.clock.now()
        if operation.state is State.APPROVED:
            return WentStale(now, "drover", ()) if stale else Began(now, "drover")
        if operation.state is not State.RUNNING:
            return None
        begun = self._begun(operation.id)
        if begun:
            return self._settled_or_run(operation.id, min(begun))
        if Ask.CANCEL in operation.asked:
            return Cancelled(now, "UENG", "between steps")
        return (
            StepBegan(now, "drover", operation.todo[0])
            if operation.todo
            else Finished(now, "drover")
        )

    def _begun(self, operation_id: str) -> set[int]:
        """Steps begun and not ended, by what was told, not by what the operation makes of it."""
        told = self.told[operation_id]
        ended = {each.index for each in told if isinstance(each, StepEnded)}
        return {each.index for each in told if isinstance(each, StepBegan)} - ended

    def _settled_or_run(self, operation_id: str, index: int) -> Event:
        step = (operation_id, index)
        if self.effects[step]:  # settle: the hosts show it
            return StepEnded(self.clock.now(), "drover", index, found_done=True)
        self.effects[step] += 1  # run
        return Noted(self.clock.now(), "drover", f"ran {index}")

    # requests

    @rule(key=st.sampled_from("uvwxyz"))
    def deliver(self, key: str) -> None:
        assert self.store.accept(request(key)) is (key not in self.accepted)
        if key not in self.accepted:
            self.accepted.append(key)

    @precondition(lambda self: self.accepted)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(self.accepted))
        self.store.mark_handled(key)
        self.handled.add(key)

    # crashes

    @rule()
    def restart(self) -> None:
        self.store.close()
        self.store = self._opened()

    @rule(seen=views, at=st.integers(0, 8), by=st.sampled_from(PEOPLE))
    def die_in_the_middle_of_storing(self, seen: Operation, at: int, by: str) -> None:
        """The database fails at a statement; if it fails at all, nothing of the act may remain."""
        vote = VotedFor(self.clock.now(), by, seen.plan.digest)
        with failing_at(self.store, at) as failed:
            try:
                self.store.append(seen, vote, Approved(self.clock.now(), by))
            except (ConflictError, IllegalEventError, StoreError):
                return
        assert not failed, "the failure was swallowed"
        assert seen.version == len(self.told[seen.id])
        self.told[seen.id] += (vote, Approved(vote.at, by))

    # what must hold

    @invariant()
    def no_event_is_lost_doubled_or_made_up(self) -> None:
        for operation_id, events in getattr(self, "told", {}).items():
            assert self.store.events(operation_id) == tuple(events)
            assert self.store.operation(operation_id).version == len(events)

    @invariant()
    def nobody_approved_their_own_and_votes_were_enough(self) -> None:
        for operation_id in getattr(self, "told", {}):
            operation = self.store.operation(operation_id)
            voters = [vote.by for vote in operation.votes]
            assert operation.origin.by not in voters
            assert len(voters) == len(set(voters))
            if any(isinstance(each, Approved) for each in self.told[operation_id]):
                assert len(voters) >= operation.ruling.votes

    @invariant()
    def nothing_is_done_twice_or_without_approval(self) -> None:
        for (operation_id, _), times in getattr(self, "effects", {}).items():
            assert times == 1
            assert any(isinstance(each, Approved) for each in self.told[operation_id])

    @invariant()
    def what_is_done_was_done_whole(self) -> None:
        for operation_id in getattr(self, "told", {}):
            operation = self.store.operation(operation_id)
            ended = [each.index for each in operation.ended]
            assert len(ended) == len(set(ended))
            if operation.state is State.DONE:
                assert ended == list(range(len(operation.plan.steps)))
                assert all(self.effects[operation_id, index] == 1 for index in ended)

    @invariant()
    def the_chain_holds(self) -> None:
        if hasattr(self, "store"):
            assert self.store.broken_link() == ""

    @invariant()
    def requests_wait_in_order_until_answered(self) -> None:
        if hasattr(self, "store"):
            waiting: tuple[Request, ...] = self.store.pending_requests()
            assert [each.key for each in waiting] == [
                key for key in self.accepted if key not in self.handled
            ]


class failing_at:  # noqa: N801 - reads as a statement
    """The database fails at the ``at``-th statement from now, and at its commit when there are fewer."""

    def __init__(self, store: SqlStore, at: int) -> None:
        self._engine, self._left = store._engine, at
        self._failed: list[str] = []

    def __enter__(self) -> list[str]:
        sqlalchemy_event.listen(self._engine, "before_cursor_execute", self._count)
        sqlalchemy_event.listen(self._engine, "commit", self._at_commit)
        return self._failed

    def __exit__(self, *exception: object) -> None:
        sqlalchemy_event.remove(self._engine, "before_cursor_execute", self._count)
        sqlalchemy_event.remove(self._engine, "commit", self._at_commit)

    def _count(self, connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        self._left -= 1
        if self._left == 0:
            self._fail(statement)

    def _at_commit(self, connection: Any) -> None:
        if self._left > 0:
            self._fail("COMMIT")

    def _fail(self, statement: str) -> None:
        self._failed.append(statement)
        raise sa.exc.OperationalError(statement, {}, Exception("disk I/O error"))


TestLives = Lives.TestCase
TestLives.settings = settings(
    max_examples=examples(30),
    stateful_step_count=40,
)


@pytest.mark.parametrize("at", range(1, 12))
def test_a_failure_at_any_statement_leaves_all_or_nothing(tmp_path: Path, at: int) -> None:
    store = SqlStore(f"sqlite:///{tmp_path}/drover.sqlite", CODEC, clock=TickingClock())
    operation = store.propose(proposal())
    vote = VotedFor(proposal().at, "UAPP1", operation.plan.digest)
    try:
        with failing_at(store, at) as failed, pytest.raises(StoreError, match="disk I/O error"):
            store.append(operation, vote, Approved(vote.at, "UAPP1"))
        assert len(failed) == 1
        assert store.operation("op-1") == operation
        assert store.broken_link() == ""
        assert store.append(operation, vote, Approved(vote.at, "UAPP1")).state is State.APPROVED
    finally:
        store.close()
