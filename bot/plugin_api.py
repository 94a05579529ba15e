"""What a plugin hands to the core: frozen declarations of data and pure functions."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Generic, Protocol

import click
from pydantic import BaseModel
from typing_extensions import TypeVar

from bot.domain import errors, placement
from bot.domain.card import Card, Element, Form, FormField
from bot.domain.cluster import Snapshot
from bot.domain.definition import Definition
from bot.domain.message import Message
from bot.domain.metrics import AlertSeverity, Change, Incident, Losses, Sweep, metric_name
from bot.domain.operation import Attempted, Event, Facts, Operation, State, Summary
from bot.domain.plan import Objection, Plan, Reason, Refused, Risk, Spread
from bot.domain.policy import Policy, Window
from bot.domain.steps import Step
from bot.ports import Hypervisor, Progress
from bot.ports.series import Past

Remedy = errors.Remedy
PlacementRule = placement.Rule
Rules = tuple[PlacementRule, ...]

# Any: a plugin of which nothing is known; the catalog keeps commands and handlers of all plugins
Intent = TypeVar("Intent", default=Any)
"""A command's intent: the frozen dataclass that its grammar returns."""
Kind = TypeVar("Kind", bound=Step, default=Any)
"""A kind of step."""
Model = TypeVar("Model", bound=BaseModel)
"""A plugin's model of its settings."""
Memory = Mapping[str, Any]  # Any: JSON, which only the watch or report that wrote it reads


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks: user id, roles and locale; ``now`` in UTC."""

    id: str
    roles: frozenset[str]
    locale: str
    now: datetime


class History(Protocol):
    """The part of the store that a query may read."""

    def operation(self, operation_id: str) -> Operation: ...
    def operations(
        self, *, states: Collection[State] = (), by: str = "", limit: int = 50
    ) -> tuple[Operation, ...]: ...
    def count_operations(self, *, states: Collection[State] = (), by: str = "") -> int: ...
    def touching(self, vm_uuid: str, limit: int = 20) -> tuple[Operation, ...]: ...
    def events(self, operation_id: str) -> tuple[Event, ...]: ...
    def attempts(
        self, *, by: str = "", since: datetime | None = None, limit: int = 100
    ) -> tuple[Attempted, ...]: ...
    def broken_link(self, *, whole: bool = True) -> Message: ...
    def definitions(self, *, host: str = "", uuid: str = "") -> tuple[Definition, ...]: ...


@dataclass(frozen=True, slots=True)
class Listed:
    """One command as `help` lists it; ``allowed``: this asker may use it.

    ``example`` and ``also``: as for a Query.
    """

    name: str
    summary: Message
    usage: str
    allowed: bool
    changes: bool
    example: str = ""
    also: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Measured:
    """What the bot measures.

    The newest sweep, the history, the incidents that stand or stood lately.

    ``losses``: what of the history waits or was given up. ``changes``: what watches told the
    digests of, oldest first.
    ``kept``: what each report's last one remembered, by name.
    """

    sweep: Sweep | None = None
    past: Past | None = None
    incidents: tuple[Incident, ...] = ()
    losses: Losses = field(default_factory=Losses)
    changes: tuple[Change, ...] = ()
    kept: Mapping[str, Memory] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class View:
    """What a query may look at.

    A snapshot, the history, the placement rules, who asks and what they may do.
    """

    snapshot: Snapshot
    history: History
    rules: Rules
    asker: Asker
    slash: str = "/kvm"
    commands: tuple[Listed, ...] = ()
    policy: Policy = field(default_factory=Policy)
    windows: Mapping[str, Window] = field(default_factory=dict)  # for maintenance, by name
    found: Any = None  # what the query's ``gather`` brought; only that query reads it
    measured: Measured = field(default_factory=Measured)
    whole: bool = False  # all of a list is wanted, for a file


class MetricName(click.Choice[str]):
    """A choice of metrics, each by all that people write for it: ``mem``, ``memory``, ``RAM``."""

    def __init__(self, choices: Sequence[str]) -> None:
        super().__init__(choices, case_sensitive=False)

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        """The choice that is meant."""
        return super().convert(metric_name(str(value)), param, ctx)


def nothing(_intent: object) -> tuple[str, ...]:
    """Read no VM in depth; the default of ``focus``."""
    return ()


def no_picks(_intent: object, _snapshot: Snapshot) -> tuple[str, ...]:
    """Pick no VMs; the default of ``chosen``."""
    return ()


def private(_intent: object) -> bool:
    """Show the answer only to who asks; the default of ``public``."""
    return False


Counted = Callable[[int, int], None]
"""Is told how many looks, of how many, are done."""


@dataclass(frozen=True, slots=True)
class Query(Generic[Intent]):
    """A command that only reads.

    ``grammar`` is a click command whose callback returns the intent, a frozen dataclass of the
    plugin's. ``answer(intent, View) -> Card``, pure. ``focus(intent)``: guests to read in depth.
    ``gather(intent, snapshot, hypervisor)``, from the plugin's handler, looks at what no snapshot
    holds; ``answer`` finds it in ``View.found``. ``count(intent, snapshot, hypervisor, counted)``
    does the same and says how far it is, where that may take long. ``form()``: asked in a dialog
    when the command is typed without arguments; its fields are named as the grammar's parameters.
    ``public(intent)``: the answer is posted in the channel, for all. ``live``: so many seconds long
    the answer, then always posted, is brought up to date. ``example``: a line that can be typed,
    behind the slash command; help shows it. ``also``: what people type who mean this command
    (``list``); it is then suggested.
    """

    name: str
    summary: Message
    grammar: click.Command
    answer: Callable[[Intent, View], Card]
    focus: Callable[[Intent], tuple[str, ...]] = nothing
    needs_snapshot: bool = True
    gather: Callable[[Intent, Snapshot, Hypervisor], Any] | None = None
    count: Callable[[Intent, Snapshot, Hypervisor, Counted], Any] | None = None
    form: Callable[[], Form] | None = None
    public: Callable[[Intent], bool] = private
    live: float = 0.0
    example: str = ""
    also: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Underway:
    """How far a plan is: indexes of its steps.

    ``left`` have not begun, in order; ``turn``: whose turn it is now.
    """

    plan: Plan
    done: frozenset[int]
    left: tuple[int, ...]
    turn: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Rechecked:
    """What a look just before a step's turn means.

    ``skip``: steps whose turn it is and that are not to be done, with what was found against them.
    ``enough``: none of those left is worth doing any more, and why. ``rest``: stands in for
    everything that is left, because of ``why``.
    """

    skip: Mapping[int, Objection] = field(default_factory=dict)
    enough: Objection | None = None
    rest: tuple[Step, ...] | None = None
    why: Message = ""


NextGood = Callable[[Intent, Underway, Snapshot, Rules], Rechecked]
"""What ``Action.next_good`` is."""


@dataclass(frozen=True, slots=True)
class SecondPage:
    """The second page of a dialog.

    ``intro`` stands above it. ``fields`` take the place of those of the same name. Those of
    ``instead_of`` are left out, and what was answered to them counts no more. ``near``: UUIDs of
    the VMs of which it would tell more after a look in depth.
    """

    intro: tuple[Element, ...] = ()
    fields: tuple[FormField, ...] = ()
    instead_of: frozenset[str] = frozenset()
    near: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class TwoPages(Generic[Intent]):
    """A dialog that asks for some parameters first, and for the others when it knows these.

    ``first``: names of the parameters of the first page. ``second(intent, snapshot, rules)``: what
    the hosts tell for the second, of the intent that the first page gives; None: nothing beside
    the fields of the grammar. It must be quick: a person waits. It is asked once more where the
    look in depth that it wishes (``near``) comes in time. ``button`` opens the second page
    below the answer to what was typed at once, where ``leaves_open(plan)`` holds of that.
    """

    first: tuple[str, ...]
    second: Callable[[Intent, Snapshot, Rules], SecondPage | None]
    button: Message
    leaves_open: Callable[[Plan | Refused], bool]


@dataclass(frozen=True, slots=True)
class Action(Generic[Intent]):
    """A command that changes something, after approval.

    ``plan(intent, snapshot, rules) -> Plan | Refused``; ``still_good(intent, plan, snapshot,
    rules)`` answers the objections that stand against carrying the plan out now (empty: go).
    ``emits``: the step types its plans use;
    ``intent``: the frozen dataclass that ``grammar`` returns; ``form``: as for a Query. ``risk`` is
    the usual one, for help and policy listings. ``recall(intent, history) -> intent``: the intent
    filled with what of the past the plan needs, asked just before planning and stored with the
    operation. ``survey(intent, snapshot, hypervisor) -> intent``, from the plugin's handler: the
    same with what no snapshot holds of the hosts; looked for again on the fresh snapshot of the
    last moment. It only looks, and what it cannot see it leaves open.

    ``next_good(intent, underway, snapshot, rules) -> Rechecked`` is asked before each step begins,
    on a snapshot in which the moves under way have arrived; None: what ``still_good`` said at the
    start holds to the end. ``judged``: the kinds of steps before which it is asked, whether their
    hosts answer or not; (): all, but for those on hosts that do not answer. ``pick(intent, plan,
    indexes) -> intent``: the wish for these steps of the plan alone; people may then pick a part.
    ``evenness(snapshot) -> Spread``: of an action that promises an evener load; foretold at the
    start, measured after the end. ``values``: further dataclasses that its intent and its steps are
    made of. ``example`` and ``also``: as for a Query. ``may_emit``: further step types, which a
    plugin that may not be loaded handles. ``summarize(operation, snapshot) -> Summary | None``:
    what is true of the hosts at the end, whatever the end; asked on a fresh snapshot and stored
    with the end. ``pages``: its dialog asks in two pages. ``chosen(intent, snapshot) -> UUIDs``:
    VMs that it picks from the cluster; when it is planned and when it begins they are read in depth
    too, but only on their own hosts.
    """

    name: str
    summary: Message
    grammar: click.Command
    intent: type[Intent]
    plan: Callable[[Intent, Snapshot, Rules], Plan | Refused]
    still_good: Callable[[Intent, Plan, Snapshot, Rules], tuple[Objection, ...]]
    emits: tuple[type[Step], ...]
    risk: Risk = Risk.MEDIUM
    focus: Callable[[Intent], tuple[str, ...]] = nothing
    form: Callable[[], Form] | None = None
    recall: Callable[[Intent, History], Intent] | None = None
    survey: Callable[[Intent, Snapshot, Hypervisor], Intent] | None = None
    next_good: NextGood[Intent] | None = None
    judged: tuple[type[Step], ...] = ()
    evenness: Callable[[Snapshot], Spread] | None = None
    pick: Callable[[Intent, Plan, tuple[int, ...]], Intent] | None = None
    values: tuple[type, ...] = ()
    example: str = ""
    also: tuple[str, ...] = ()
    summarize: Callable[[Operation, Snapshot], Summary | None] | None = None
    may_emit: tuple[type[Step], ...] = ()
    pages: TwoPages[Intent] | None = None
    chosen: Callable[[Intent, Snapshot], Collection[str]] = no_picks


@dataclass(frozen=True, slots=True)
class Press:
    """What a grammar returns when its command does what a button of an operation does.

    ``operation`` '': the newest that the person asked for. ``digest``: the plan hash that a vote is
    for, or at least its first 8 characters; '' where none was typed. ``answers``: those of the
    button's dialog, as (field, value).
    """

    button: str
    operation: str = ""
    digest: str = ""
    answers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """A command that does what a button of an operation does; who may, the button itself knows.

    ``grammar`` returns a ``Press`` of ``button``. ``example`` and ``also``: as for a Query.
    """

    name: str
    summary: Message
    grammar: click.Command
    button: str
    example: str = ""
    also: tuple[str, ...] = ()


Command = Query | Action | Decision
"""Whatever can be typed."""


Outlook = Callable[[Plan, Snapshot, tuple[Snapshot, ...]], Reason | None]
"""Says what a plan would make true of the cluster: ``(plan, before, stages) -> Reason | None``.

``stages``: the cluster as the plan leaves it between its parts, the last one at its end.
"""


@dataclass(frozen=True, slots=True)
class Instead:
    """What a grammar returns when an option makes its command another one.

    Such as ``--dry-run`` a query.
    """

    command: str
    intent: object


@dataclass(frozen=True, slots=True)
class Picked:
    """What a grammar returns when only some steps of an open proposal are wanted: numbers from 1.

    ``operation`` '': the newest open proposal of this action.
    """

    numbers: tuple[int, ...]
    operation: str = ""


class Settled(StrEnum):
    """What looking at the hosts shows of a step."""

    DONE = "done"
    NOT_YET = "not yet"


@dataclass(frozen=True, slots=True)
class StepHandler(Generic[Kind]):
    """Does one kind of step.

    ``settle(step, hypervisor) -> Settled`` only looks. ``run(step, hypervisor, progress) -> facts``
    does it, is safe to repeat after a crash (where it was torn apart it must only tell),
    returns plain facts for the audit,
    and raises ``DroverError``: ``StepCancelledError`` when it ended because a person asked,
    ``StepLostError`` when people must look, ``StepAsksError`` when they have a choice, which is
    then offered with buttons.
    """

    step: type[Kind]
    settle: Callable[[Kind, Hypervisor], Settled]
    run: Callable[[Kind, Hypervisor, Progress], Facts]


@dataclass(frozen=True, slots=True)
class Alert:
    """Something people should know: one message per ``key``, edited while it lasts.

    ``over`` says that it ended.

    The core adds Acknowledge, Silence and the ``remedies`` as buttons, and keeps what flaps in the
    same message. ``severity`` says who is told by other ways than the chat.
    """

    key: str
    card: Card
    over: bool = False
    remedies: tuple[Remedy, ...] = ()
    severity: AlertSeverity = AlertSeverity.WARNING


@dataclass(frozen=True, slots=True)
class Proposal:
    """An operation that the bot proposes by itself: ``action`` by name.

    ``why`` stands as its reason.

    With ``plan`` that very plan is laid out, otherwise the action plans anew. ``key``: the same key
    is proposed once.
    ``automatic``: it is within the limits up to which the watch may act by itself; a rule of the
    policy must let it.
    ``causes``: user ids of people because of whose act, such as a tag, it is proposed: they never
    vote on it. ``line``: what people would have typed; the action's name when '' is given.
    """

    action: str
    intent: object
    plan: Plan | None = None
    why: Message = ""
    key: str = ""
    automatic: bool = False
    causes: tuple[str, ...] = ()
    line: str = ""


Noticed = Alert | Proposal


@dataclass(frozen=True, slots=True)
class WatchView:
    """What a watch looks at. ``memory``: what its own last look returned, JSON-able, {} at first.

    It outlives restarts.

    ``snapshot`` is at most a minute old; ``measured.sweep`` is new; ``found`` is what the watch's
    ``gather`` brought.
    """

    snapshot: Snapshot
    rules: Rules
    history: History
    measured: Measured
    memory: Memory
    now: datetime
    found: Any = None


@dataclass(frozen=True, slots=True)
class Looked:
    """What a watch noticed, and changes for the next digest.

    And what it wants to remember until the next look.
    """

    noticed: tuple[Noticed, ...] = ()
    memory: Memory = field(default_factory=dict)
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True)
class Watch:
    """Looks now and then, right after a sweep; may alert, or propose an operation as the bot.

    ``look`` is pure.

    ``gather(snapshot, hypervisor)``, from the plugin's handler, looks at what no sweep holds. It
    runs on a thread of its own and delays nobody; ``look`` follows as soon as it has ended.
    ``automatic``: names of the actions that it may propose as automatic, of which each needs a rule
    that lets it; ``where_allowed``: those that it may as well, and that need none: without one
    people vote.
    """

    name: str
    every: timedelta
    look: Callable[[WatchView], Looked]
    gather: Callable[[Snapshot, Hypervisor], object] | None = None
    automatic: tuple[str, ...] = ()
    where_allowed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReportView:
    """What a report is made of. ``memory``: as for a watch, kept from the last report of this name.

    ``since``: the slot of the last one, None for the first. ``late``: seconds behind the slot, 0
    when on time.
    """

    snapshot: Snapshot
    rules: Rules
    history: History
    measured: Measured
    memory: Memory
    now: datetime
    since: datetime | None = None
    late: float = 0.0
    slash: str = "/kvm"


@dataclass(frozen=True, slots=True)
class Composed:
    """A report's card, and what it wants to remember until the next.

    None: nothing is worth saying.
    """

    card: Card | None
    memory: Memory = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Report:
    """A digest at the times of a cron line (five fields, in the configured time zone).

    ``compose`` is pure.
    """

    name: str
    cron: str
    compose: Callable[[ReportView], Composed]


@dataclass(frozen=True, slots=True)
class SettingsSection:
    """A plugin's own part of the configuration.

    The table ``[plugins.<name>]``, checked by ``model``.
    """

    name: str
    model: type[BaseModel]


@dataclass(frozen=True, slots=True)
class Settings:
    """What a hook is handed: the plugins' checked sections by name."""

    sections: Mapping[str, BaseModel] = field(default_factory=dict)

    def of(self, model: type[Model]) -> Model:
        """Return the section that a plugin registered with this model.

        One of defaults when there is none.
        """
        found = next((each for each in self.sections.values() if isinstance(each, model)), None)
        return model() if found is None else found
