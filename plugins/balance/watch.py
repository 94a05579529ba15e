"""When the bot reports an imbalance by itself, and when it does not; pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from bot.domain import placement
from bot.domain.cluster import Snapshot, Vm
from bot.domain.message import Duration, Message, Words, nwords, words
from bot.domain.metrics import AlertSeverity
from bot.domain.operation import BOT, MOST_OPEN, Operation, State
from bot.domain.plan import Plan
from bot.domain.policy import Window
from bot.domain.steps import MigrateVm
from bot.plugin_api import Alert, History, Looked, Memory, Noticed, Proposal, Remedy, WatchView
from plugins.balance import cards
from plugins.balance.from_snapshot import BalanceCase, best_plan, case_of
from plugins.balance.intents import Balance
from plugins.balance.planner import limits_of, moves_of, plan_of, title_of
from plugins.balance.settings import BalanceSettings, Mode, WatchSettings
from plugins.balance.solver.score import score_of

EVERY = 60.0  # seconds between looks
GAP = 3 * EVERY  # a longer silence is a start-up: what was seen before it says nothing of now
KEY = "balance"
AUTO = "auto"  # the tag that, set to off, leaves a VM out of what the bot does by itself
UNDONE = (State.FAILED, State.CANCELLED)  # after one of these people look first
OPEN = (State.PROPOSED, State.APPROVED, State.RUNNING)
WORKING = (State.APPROVED, State.RUNNING)
RECENT = 50  # operations among which the newest moves are looked for


@dataclass(frozen=True, slots=True)
class WatchMemory:
    """What is kept between looks. Moments in seconds since 1970, 0: never.

    ``looked``: the last look; ``uneven``: since when every look was out of the band; ``told``: the
    last alert or proposal; ``alerted``: an alert stands; ``load``: cores in use by VM, averaged
    (EWMA).
    """

    looked: float = 0.0
    uneven: float = 0.0
    told: float = 0.0
    alerted: bool = False
    load: Mapping[str, float] | None = None

    @classmethod
    def read(cls, kept: Memory) -> WatchMemory:
        """What the last look returned; {} at first."""
        return cls(**kept)

    def as_json(self) -> Memory:
        """As JSON-able data."""
        return {
            "looked": self.looked,
            "uneven": self.uneven,
            "told": self.told,
            "alerted": self.alerted,
            "load": dict(self.load or {}),
        }


def look(settings: BalanceSettings, view: WatchView) -> Looked:
    """Alert or propose when an imbalance lasted long enough and a plan would help enough.

    Samples taken while VMs migrate (by the bot) are not used, nor those of the first looks after
    a start: the hold time begins anew.
    """
    now = view.now.timestamp()
    memory = _wake(WatchMemory.read(view.memory), now)
    if _is_disturbed(view.history, view.now, settings.watch):
        return Looked((), replace(memory, looked=now, uneven=0.0, load=None).as_json())
    load = _smooth(memory, view.snapshot, settings.watch, now)
    memory = replace(memory, looked=now, load=load)
    case = _case(settings, view, memory)
    score = score_of(case.problem, case.problem.host)
    if score.balance <= settings.band:
        ended: tuple[Noticed, ...] = (
            (Alert(KEY, cards.even_card(score), over=True),) if memory.alerted else ()
        )
        return Looked(ended, replace(memory, uneven=0.0, alerted=False).as_json())
    memory = replace(memory, uneven=memory.uneven or now)
    if not _due(settings.watch, memory, view.now) or _open(view.history, view.now):
        return Looked((), memory.as_json())
    noticed = _notice(settings, view, case, memory)
    if noticed is None:
        return Looked((), memory.as_json())
    return Looked(
        (noticed,),
        replace(memory, told=now, alerted=isinstance(noticed, Alert) or memory.alerted).as_json(),
    )


def _case(
    settings: BalanceSettings,
    view: WatchView,
    memory: WatchMemory,
    movable: Callable[[Vm], bool] | None = None,
) -> BalanceCase:
    """The cluster as it has been on average."""
    seen = placement.with_loads(view.snapshot, memory.load or {})
    return case_of(seen, settings, view.rules, recent=moves_of(view.history), movable=movable)


def _wake(memory: WatchMemory, now: float) -> WatchMemory:
    """After a start or a long silence: the hold time and the average begin anew."""
    return memory if now - memory.looked <= GAP else replace(memory, uneven=0.0, load=None)


def _is_disturbed(history: History, now: datetime, settings: WatchSettings) -> bool:
    """Return whether VMs move, or moved so lately that the averages still show it."""
    calm_since = now - timedelta(minutes=settings.smooth_minutes)
    newest = history.operations(limit=RECENT)
    return any(
        _moves(each)
        and ((each.state in WORKING and not each.early(now)) or _last_step(each) > calm_since)
        for each in newest
    )


def _moves(operation: Operation) -> bool:
    return any(isinstance(step, MigrateVm) for step in operation.plan.steps)


def _last_step(operation: Operation) -> datetime:
    return max(
        (ended.at for ended in operation.ended),
        default=operation.proposed_at - timedelta(days=36500),
    )


def _open(history: History, now: datetime) -> bool:
    """Return whether a balance is before people or under way already; not one for a later time."""
    found = history.operations(states=OPEN, limit=MOST_OPEN)
    return any(each.action == "balance" and not each.early(now) for each in found)


def _smooth(
    memory: WatchMemory, seen: Snapshot, settings: WatchSettings, now: float
) -> Mapping[str, float]:
    """Each VM's load, averaged with weight 1 − e^(−t/T) for the newest value."""
    before = memory.load or {}
    weight = 1.0 - math.exp(-max(0.0, now - memory.looked) / (60.0 * settings.smooth_minutes))
    measured = {vm.uuid: vm.cpu for vm in seen.vms if vm.cpu is not None and math.isfinite(vm.cpu)}
    return {
        uuid: round(before.get(uuid, cpu) * (1 - weight) + cpu * weight, 4)
        for uuid, cpu in measured.items()
    }


def _due(settings: WatchSettings, memory: WatchMemory, now: datetime) -> bool:
    """Held for long enough, not told lately, and not in the quiet hours."""
    held = now.timestamp() - memory.uneven >= 60 * settings.hold_minutes
    rested = now.timestamp() - memory.told >= 60 * settings.cooldown_minutes
    return held and rested and not quiet(settings, now)


def quiet(settings: WatchSettings, now: datetime) -> bool:
    """Return whether the bot is to keep still at this hour."""
    if settings.quiet_from is None:
        return False
    return Window((), settings.quiet_from, settings.quiet_to, settings.quiet_zone).holds(now)


def _notice(
    settings: BalanceSettings, view: WatchView, case: BalanceCase, memory: WatchMemory
) -> Noticed | None:
    """The worthwhile plan: carried out, proposed or alerted of, as allowed; None for no gain."""
    why = _why(memory, view.now)
    # The request's own reason is what a person types: plain text
    wish = Balance(max_moves=settings.watch.max_moves, reason=str(why))
    held: Message = ""
    if settings.watch.mode is Mode.AUTO:
        own, held = _automatic(settings, view, wish, memory)
        if own is not None:
            return own
    plan = _plan(settings, case, wish)
    if plan is None:
        return None
    if settings.watch.mode is Mode.PROPOSE:
        return Proposal("balance", wish, plan, why=why, key=_key(memory, view.now))
    return _alert(wish, plan, memory, view.now, held)


def _why(memory: WatchMemory, now: datetime) -> Words:
    time = Duration(60 * _minutes(memory, now))
    return words("imbalance above the threshold for {time}", time=time)


def _plan(settings: BalanceSettings, case: BalanceCase, wish: Balance) -> Plan | None:
    found, result = best_plan(case, limits_of(settings, wish, case))
    gain = result.before.total - result.after.total
    if not result.moves or gain < settings.watch.min_gain:
        return None
    return plan_of(settings, found, result, title_of(len(result.moves)), why=wish.reason)


def _automatic(
    settings: BalanceSettings, view: WatchView, wish: Balance, memory: WatchMemory
) -> tuple[Proposal | None, Message]:
    """What may be moved without asking; or why nothing may."""
    limits = settings.watch
    since = view.now - timedelta(hours=limits.window_hours)
    mine = [each for each in view.history.operations(by=BOT, limit=RECENT) if each.ruling.automatic]
    if any(each.state in UNDONE and each.changed_at > since for each in mine):
        return None, words(
            "Nothing is moved automatically: the last automatic balance failed or was cancelled. "
            "Plan a balance to review it."
        )
    left = limits.window_moves - _count_moves(mine, since)
    if left <= 0:
        return None, nwords(
            "Nothing is moved automatically: the limit of {n} migration in {time} is reached.",
            "Nothing is moved automatically: the limit of {n} migrations in {time} is reached.",
            n=limits.window_moves,
            time=Duration(limits.window_hours * 3600),
        )
    wish = replace(wish, max_moves=min(wish.max_moves, left))
    plan = _plan(settings, _case(settings, view, memory, movable=_may_be_moved), wish)
    if plan is None:
        return None, words(
            "Nothing is moved automatically: the moves allowed without approval would not help "
            "enough."
        )
    why, key = _why(memory, view.now), _key(memory, view.now)
    return Proposal("balance", wish, plan, why=why, key=key, automatic=True), ""


def _count_moves(operations: Iterable[Operation], since: datetime) -> int:
    """Moves that were made since then."""
    return sum(
        each.at > since and isinstance(operation.plan.steps[each.index], MigrateVm)
        for operation in operations
        for each in operation.ended
    )


def _may_be_moved(vm: Vm) -> bool:
    """Return whether its tag leaves it to the bot."""
    return vm.tags.get(AUTO, "").lower() != "off"


def _key(memory: WatchMemory, now: datetime) -> str:
    return f"{KEY}:{memory.uneven:.0f}:{now.timestamp():.0f}"


def _minutes(memory: WatchMemory, now: datetime) -> float:
    return (now.timestamp() - memory.uneven) / 60


def _alert(wish: Balance, plan: Plan, memory: WatchMemory, now: datetime, held: Message) -> Alert:
    command = f"balance --max-moves {wish.max_moves}"
    remedies = (
        Remedy(cards.BALANCE_BUTTON, command),
        Remedy(cards.SIM_BUTTON, f"balance sim --max-moves {wish.max_moves}"),
    )
    card = cards.uneven_card(plan, _minutes(memory, now), held)
    return Alert(KEY, card, remedies=remedies, severity=AlertSeverity.INFO)
