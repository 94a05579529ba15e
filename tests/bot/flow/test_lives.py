"""Random lives through the whole bot in memory: typed, clicked, delivered twice or late, crashed, expired, frozen.

After every step: no event lost or stored twice, nobody's own vote, no guest twice, nothing done
without approval or twice, and every message shows the state that is stored. Whenever a step begins:
the votes that the rules of that moment ask for were given, nothing is frozen, the approval has not
ended, and what the bot proposed by itself has a vote or an automatic rule.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime, time
from itertools import takewhile
from pathlib import Path

from hypothesis import event, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from bot.adapters.sql.store import SqlStore
from bot.domain import policy as policies
from bot.domain.operation import (
    BOT,
    Approved,
    Began,
    Event,
    Expired,
    Operation,
    StepBegan,
    StepEnded,
    VotedFor,
    replay,
)
from bot.domain.policy import Policy, Rule, Ruling, Window
from bot.flow.commands import dispatcher
from bot.flow.context import roles_of
from bot.flow.monitoring import watch
from bot.flow.operations import operation_cards, overdue, perform
from bot.plugin_api import Proposal
from bot.ports import Request
from bot.testing import Ending
from plugins.migrate.grammar import Migrate
from tests.bot.flow.small_bot import POLICY, Bot, small_bot
from tests.examples import examples

PEOPLE = ("UANA", "UEVA", "UBRUNO", "UCARLA", "UGIL")
LINES = (
    "migrate web-1 to host-b",
    "migrate web-1",
    "migrate db-1 to host-c",
    "migrate app-1 --policy postcopy",
    "balance --min-gain 0.0001",
    "host drain host-a",
    "host undrain host-a",
    "host rolling host-b",
)
PLUGINS = ("migrate", "balance")
TABLES = {"balance": {"rolling": {"pause_hours": 0.005}, "cooldown_minutes": 0}}
BUTTONS = (
    "op.approve",
    "op.approve",
    "op.approve",
    "op.withdraw",
    "op.cancel",
    "op.again",
    "op.details",
)
STRICT = replace(POLICY, rules=(Rule("strict", votes=2, expires=600),))
FREE = replace(
    POLICY, rules=(Rule("auto", automatic=True, votes=0), Rule("free", votes=0, expires=600))
)
STOPPED = replace(POLICY, rules=(Rule("stop", freeze=True, why="Hands off."),))
OTHERS = replace(POLICY, rules=(Rule("engineers", approvers=("engineer",), expires=600),))
NIGHT = Rule("nine", window=Window(start=time(9, 20), end=time(9, 40)), freeze=True, why="Not now.")
NIGHTLY = replace(POLICY, rules=(NIGHT, *POLICY.rules))
POLICIES = (POLICY, POLICY, STRICT, FREE, STOPPED, OTHERS, NIGHTLY)
LASTS = POLICY.approval_lasts
CRASHES = ("append", "copies", "keep_copy", "mark_handled", "keep_word", "mark_said")


class Died(BaseException):
    """The process is gone, in the middle of what it did."""


class Watched(SqlStore):
    """The store, which asks of each beginning that is stored whether the rules of that moment let it."""

    bot: Bot
    wrong: list[str]

    def append(self, operation: Operation, *events: Event, since: int | None = None) -> Operation:
        after = super().append(operation, *events, since=since)
        for each in events:
            if isinstance(each, Began | StepBegan):
                self.wrong += [
                    f"{fault}: {each} of {operation}" for fault in self._faults(operation, each)
                ]
        return after

    def _faults(self, operation: Operation, begun: Event) -> Iterator[str]:
        services, origin = self.bot.services, operation.origin
        roles = frozenset(services.roles) if origin.by == BOT else roles_of(services, origin.by)
        asked = policies.ruling(
            services.policy,
            operation.action,
            operation.plan,
            roles,
            begun.at,
            automatic=origin.automatic,
        )
        if not isinstance(asked, Ruling):
            yield f"begun although {asked.text}"
            return
        good = [
            vote for vote in operation.votes if roles_of(services, vote.by) & set(asked.approvers)
        ]
        if len(good) < asked.votes:
            yield f"begun with {len(good)} of {asked.votes} votes"
        if origin.by == BOT and not good and not asked.automatic:
            yield "begun without anybody's vote"
        if {vote.by for vote in good} & {origin.by, *origin.causes}:
            yield "begun with the vote of who asked for it or caused it"
        if (
            isinstance(begun, Began)
            and (begun.at - approved_at(self.events(operation.id))).total_seconds() > LASTS
        ):
            yield "begun long after its approval"


def places(operation: Operation) -> int:
    """In how many channels an operation is shown: one that nobody is asked about also where alerts go."""
    return 2 if operation.origin.automatic and operation.ruling.automatic else 1


def approved_at(events: Iterable[Event]) -> datetime:
    return next(each.at for each in events if isinstance(each, Approved))


class Lives(RuleBasedStateMachine):
    """What people, Slack and crashes do to one bot."""

    @initialize()
    def start(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.bot: Bot = small_bot(Path(self.folder.name), plugins=PLUGINS, tables=TABLES)
        store = self.bot.store
        store.__class__ = Watched
        assert isinstance(store, Watched)
        store.bot, store.wrong = self.bot, []
        self.store = store
        # So long it waits for people who do not come
        self.patience, perform.DAY = perform.DAY, 300.0
        self.sent: list[Request] = []
        self.seen: dict[str, tuple[Event, ...]] = {}
        self.count = 0

    def teardown(self) -> None:
        if hasattr(self, "bot"):
            perform.DAY = self.patience
            self._all_is_said_in_the_end()
            self.bot.store.close()
            self.folder.cleanup()

    def _deliver(self, request: Request) -> None:
        """As the listeners do: stored first, a duplicate dropped, then handled."""
        self.sent.append(request)
        if self.bot.store.accept(request):
            dispatcher.handle(self.bot.services, request)

    def _key(self) -> str:
        self.count += 1
        return f"key-{self.count}"

    # people

    @rule(by=st.sampled_from(PEOPLE), line=st.sampled_from(LINES))
    def types(self, by: str, line: str) -> None:
        self._deliver(Request(self._key(), "command", by, self.bot.clock.now(), "COPS", line))

    @rule(by=st.sampled_from(("UANA", "UEVA", "UBRUNO")), line=st.sampled_from(LINES))
    def wishes_and_both_approve(self, by: str, line: str) -> None:
        """The usual way, so that lives get far enough for something to be done twice."""
        self.types(by, line)
        newest = self.bot.store.operations(limit=1)
        for approver in ("UBRUNO", "UCARLA") if newest else ():
            now, key = self.bot.clock.now(), self._key()
            value = operation_cards.value_of(newest[0])
            request = Request(
                key,
                "click",
                approver,
                now,
                "CAPPROVALS",
                action="op.approve",
                value=value,
                trigger=key,
            )
            self._deliver(request)

    @precondition(lambda self: self.seen)
    @rule(
        by=st.sampled_from(PEOPLE),
        button=st.sampled_from(BUTTONS),
        data=st.data(),
        right=st.integers(0, 9),
    )
    def clicks(self, by: str, button: str, data: st.DataObject, right: int) -> None:
        """On any message ever seen; one time in ten with the digest of another plan."""
        operation = self.bot.store.operation(data.draw(st.sampled_from(sorted(self.seen))))
        value = operation_cards.value_of(operation) if right else f"{operation.id}:{'0' * 16}"
        key = self._key()
        self._deliver(
            Request(
                key,
                "click",
                by,
                self.bot.clock.now(),
                "CAPPROVALS",
                action=button,
                value=value,
                trigger=key,
            )
        )

    @precondition(lambda self: self.seen)
    @rule(by=st.sampled_from(PEOPLE), data=st.data())
    def denies(self, by: str, data: st.DataObject) -> None:
        value = operation_cards.value_of(
            self.bot.store.operation(data.draw(st.sampled_from(sorted(self.seen))))
        )
        answers = (("why", "no"),)
        now = self.bot.clock.now()
        self._deliver(
            Request(self._key(), "form", by, now, action="op.deny", value=value, answers=answers)
        )

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def delivered_again(self, data: st.DataObject) -> None:
        self._deliver(data.draw(st.sampled_from(self.sent)))

    # the rules, and what the bot proposes by itself

    @rule(policy=st.sampled_from(POLICIES))
    def rules_change(self, policy: Policy) -> None:
        self.bot.services = replace(self.bot.services, policy=policy)

    @rule(vm=st.sampled_from(("web-1", "app-1")), to=st.sampled_from(("host-b", "host-c")), automatic=st.booleans(),
          causes=st.sampled_from(((), ("UBRUNO",))))  # fmt: skip
    def bot_proposes(self, vm: str, to: str, automatic: bool, causes: tuple[str, ...]) -> None:  # noqa: FBT001
        wanted = Proposal("migrate", Migrate(vm, to), automatic=automatic, causes=causes)
        watch.propose_for_bot(self.bot.services, wanted, "some")

    @rule(silent=st.sampled_from((0, 601)))
    def is_restarted(self, silent: int) -> None:
        self.bot.store.mark_alive()
        self.bot.clock.turn(silent)
        self._restarts()

    @precondition(lambda self: self.seen)
    @rule(by=st.sampled_from(("UANA", "UBRUNO", "UGIL")), data=st.data())
    def lets_go_on(self, by: str, data: st.DataObject) -> None:
        operation = data.draw(st.sampled_from(sorted(self.seen)))
        value, key = (
            f"{operation}:{data.draw(st.sampled_from(('held', '1', '2', '3')))}",
            self._key(),
        )
        now = self.bot.clock.now()
        self._deliver(
            Request(
                key,
                "click",
                by,
                now,
                "CAPPROVALS",
                action=operation_cards.GO_ON,
                value=value,
                trigger=key,
            )
        )

    # time, the hosts, the chat

    @rule(seconds=st.sampled_from((1, 60, 599, 601, 3601, -600)))
    def time_passes(self, seconds: int) -> None:
        self.bot.clock.turn(seconds)

    @rule()
    def ticks(self) -> None:
        overdue.expire(self.bot.services)
        overdue.remind(self.bot.services)
        self._catches_up()

    def _catches_up(self) -> None:
        self.bot.services.messages.catch_up()
        self.bot.chat.flush()

    @rule(method=st.sampled_from(("post", "later", "tell", "whisper")), after=st.booleans())
    def chat_fails(self, method: str, after: bool) -> None:  # noqa: FBT001
        self.bot.chat.fail(method, after=after)

    @rule(
        ending=st.sampled_from((Ending.MOVED, Ending.FAILED, Ending.ANSWER_LOST, Ending.UNSTORED))
    )
    def works(self, ending: Ending) -> None:
        self.bot.hypervisor.end_next(ending)
        self.bot.works()
        self.bot.hypervisor.end_next(Ending.MOVED)

    # crashes

    @rule(at=st.integers(1, 6), method=st.sampled_from(CRASHES), after=st.booleans())
    def dies_while_working(self, at: int, method: str, after: bool) -> None:  # noqa: FBT001
        """At the at-th call of one method of the store, before or after its effect; then it is started again."""
        with dying(self.bot, method, at, after=after):
            while self.bot.work.ids:
                perform.perform(self.bot.services, self.bot.work.ids[0])
                self.bot.work.ids.pop(0)
        self._restarts()

    @precondition(lambda self: self.seen)
    @rule(
        at=st.integers(1, 3),
        method=st.sampled_from(CRASHES),
        by=st.sampled_from(PEOPLE),
        after=st.booleans(),
    )
    def dies_at_a_click(self, at: int, method: str, by: str, after: bool) -> None:  # noqa: FBT001
        newest = max(self.seen, key=lambda each: int(each.removeprefix("op-")))
        value, key = operation_cards.value_of(self.bot.store.operation(newest)), self._key()
        request = Request(
            key,
            "click",
            by,
            self.bot.clock.now(),
            "CAPPROVALS",
            action="op.approve",
            value=value,
            trigger=key,
        )
        with dying(self.bot, method, at, after=after):
            self._deliver(request)
        self._restarts()

    def _restarts(self) -> None:
        """What the process remembered is gone: what it had not said, and what it had not shown."""
        self.bot.chat.owed.clear()
        self.bot.forgets()
        for request in self.bot.store.take_over():
            dispatcher.handle(self.bot.services, request)
        dispatcher.pick_up(self.bot.services)

    # what must hold

    @invariant()
    def events_are_only_added(self) -> None:
        if not hasattr(self, "bot"):
            return
        for operation in self.bot.store.operations(limit=1000):
            event(str(operation.state))
            events = self.bot.store.events(operation.id)
            before = self.seen.get(operation.id, ())
            assert events[: len(before)] == before
            assert replay(operation.id, events) == operation
            self.seen[operation.id] = events
        assert self.bot.store.broken_link() == ""

    @invariant()
    def one_request_is_one_operation(self) -> None:
        keys = [operation.origin.key for operation in self._operations()]
        assert len(keys) == len(set(keys))

    @invariant()
    def only_others_votes_count_and_they_suffice(self) -> None:
        for operation in self._operations():
            voters = [vote.by for vote in operation.votes]
            assert operation.origin.by not in voters
            assert set(voters) <= {"UBRUNO", "UCARLA", "UANA", "UEVA"} - set(
                operation.origin.causes
            )
            assert len(voters) == len(set(voters))
            kinds = [type(each) for each in self.seen[operation.id]]
            before = tuple(
                takewhile(lambda each: not isinstance(each, Approved), self.seen[operation.id])
            )
            if Approved in kinds:
                assert replay(operation.id, before).votes_missing == 0
            assert all(
                each.at < operation.expires_at for each in before if isinstance(each, VotedFor)
            )
            assert not (Expired in kinds and Approved in kinds)

    @invariant()
    def nothing_begins_against_the_rules_of_that_moment(self) -> None:
        if hasattr(self, "store"):
            assert self.store.wrong == []

    @invariant()
    def nothing_is_done_twice_or_unasked(self) -> None:
        if not hasattr(self, "bot"):
            return
        moved = Counter(call[2] for call in self.bot.hypervisor.calls if call[0] == "migrate")
        allowed: Counter[str] = Counter()
        for operation in self._operations():
            if any(isinstance(each, Approved) for each in self.seen[operation.id]):
                allowed.update(uuid for step in operation.plan.steps for uuid in step.vms)
            ends = [each.index for each in self.seen[operation.id] if isinstance(each, StepEnded)]
            assert len(ends) == len(set(ends))
        assert all(moved[uuid] <= allowed[uuid] for uuid in moved), (moved, allowed)

    @invariant()
    def every_guest_runs_once(self) -> None:
        if hasattr(self, "bot"):
            for name in ("web-1", "db-1", "app-1"):
                assert len(self.bot.where(name)) == 1

    @invariant()
    def messages_come_to_show_what_is_stored(self) -> None:
        """Each operation has at most one message, and it can be brought in line."""
        if not hasattr(self, "bot"):
            return
        waiting = self.bot.unsaid()
        for operation in self._operations():
            copies = self.bot.store.copies(operation.id)
            assert len(copies) <= places(operation)
            shown = {self.bot.chat.messages[ref].title for ref in copies}
            behind = operation.id in waiting or any(ref in self.bot.chat.owed for ref in copies)
            assert behind or shown <= {operation_cards.headline_of(operation)}

    def _all_is_said_in_the_end(self) -> None:
        """When the chat is well again: one message each, with its last word, and its end said once in its thread."""
        self.bot.chat._failures.clear()
        self._restarts()
        self._catches_up()
        assert not self.bot.unsaid()
        messages, threads = self.bot.chat.messages, self.bot.chat.threads
        for operation in self._operations():
            ref, *others = self.bot.store.copies(operation.id)
            assert len(others) == places(operation) - 1
            assert messages[ref].title == operation_cards.headline_of(operation)
            if operation.state.over:
                end = operation_cards.ended_note(operation).text
                replies = [messages[each].text for each, parent in threads.items() if parent == ref]
                assert replies.count(end) == 1, (replies, end)
                told = [
                    each.card.text
                    for each in self.bot.chat.whispers
                    if each.user == operation.origin.by
                ]
                assert end in told or operation.origin.by == BOT
        assert sum(ref not in threads for ref in messages) == sum(map(places, self._operations()))

    def _operations(self) -> tuple[Operation, ...]:
        return self.bot.store.operations(limit=1000) if hasattr(self, "bot") else ()


class dying:  # noqa: N801 - reads as a statement
    """The process dies at the ``at``-th call of a method of the store, before or after its effect."""

    def __init__(self, bot: Bot, method: str, at: int, *, after: bool) -> None:
        self._store, self._method, self._left, self._after = bot.store, method, at, after
        self._real = getattr(bot.store, method)

    def __enter__(self) -> None:
        setattr(self._store, self._method, self._call)

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> bool:
        delattr(self._store, self._method)
        return kind is Died

    def _call(self, *args: object, **named: object) -> object:
        self._left -= 1
        if self._left:
            return self._real(*args, **named)
        if self._after:
            self._real(*args, **named)
        raise Died


TestLives = Lives.TestCase
TestLives.settings = settings(
    max_examples=examples(20),
    stateful_step_count=30,
)
