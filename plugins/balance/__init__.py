"""Balancing: even load with few moves, and hosts emptied and filled again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial

from bot.domain.card import Card
from bot.domain.cluster import Snapshot
from bot.domain.past_moves import PastMove
from bot.domain.plan import Objection, Plan, Refused, Risk
from bot.domain.steps import MigrateVm, SetMaintenance, WaitForPerson
from bot.domain.vm_steps import PowerVm
from bot.hookspecs import hookimpl
from bot.plugin_api import (
    Action,
    Query,
    Rules,
    Settings,
    SettingsSection,
    StepHandler,
    TwoPages,
    View,
    Watch,
)
from plugins.balance import (
    cards,
    drain,
    handler,
    intents,
    per_vm,
    pick,
    planner,
    recheck,
    rolling,
    shares,
    summaries,
    watch,
)
from plugins.balance.settings import BalanceSettings, Mode
from plugins.balance.steps import ReachShells, RunOnHost, SetScheduler


@hookimpl
def register_settings() -> Sequence[SettingsSection]:
    """``[plugins.balance]``."""
    return (SettingsSection("balance", BalanceSettings),)


@hookimpl
def register_commands(settings: Settings) -> Sequence[Query | Action]:
    """``balance`` and its kin, ``host drain``, ``host undrain``, ``host rolling``, ``vm limit``."""
    mine = settings.of(BalanceSettings)
    return (
        Action(
            "balance",
            cards.BALANCE,
            intents.balance_grammar(),
            intents.Balance,
            plan=partial(_plan_balance, mine),
            still_good=partial(planner.still_good, mine),
            next_good=partial(recheck.still_pays, mine),
            evenness=partial(recheck.evenness, mine),
            pick=pick.pick_moves,
            emits=(MigrateVm,),
            recall=planner.with_recent_moves,
            values=(PastMove,),
            example="balance",
            also=("rebalance", "drs", "level", "balancear"),
        ),
        Query(
            intents.SIM_NAME,
            cards.SIM,
            intents.simulate_grammar(),
            partial(_simulate, mine),
            example="balance sim --without host-b",
            also=("simulate", "what if", "dry run"),
        ),
        Query(
            intents.WHY_NAME,
            cards.WHY,
            intents.why_grammar(),
            partial(_why, mine),
            example="balance why web-1",
        ),
        Action(
            drain.DRAIN,
            cards.DRAIN,
            intents.drain_grammar(),
            intents.Drain,
            plan=partial(drain.drain, mine),
            still_good=partial(drain.still_drains, mine),
            next_good=partial(drain.next_leaves, mine),
            chosen=drain.picks,
            emits=(SetMaintenance, MigrateVm),
            recall=planner.with_past,
            example="host drain host-b",
            also=("evacuate", "cordon", "empty host", "drenar", "esvaziar"),
            summarize=summaries.after_drain,
            may_emit=(PowerVm,),
            values=(intents.Ways, PastMove),
            pages=TwoPages(
                ("host",), partial(per_vm.of_drain, mine), per_vm.CHOOSE, per_vm.leaves_open
            ),
        ),
        Action(
            drain.UNDRAIN,
            cards.UNDRAIN,
            intents.undrain_grammar(),
            intents.Undrain,
            plan=partial(drain.undrain, mine),
            still_good=partial(drain.still_returns, mine),
            next_good=partial(drain.next_returns, mine),
            emits=(SetMaintenance, MigrateVm),
            recall=drain.with_vms_away,
            values=(PastMove,),
            example="host undrain host-b",
            also=("uncordon",),
            summarize=summaries.after_undrain,
            may_emit=(PowerVm,),
        ),
        Action(
            drain.ROLLING,
            cards.ROLLING,
            intents.rolling_grammar(),
            intents.Rolling,
            plan=partial(rolling.rolling, mine),
            still_good=partial(rolling.still_rolls, mine),
            next_good=partial(rolling.next_rolls, mine),
            chosen=rolling.picks,
            emits=(SetMaintenance, MigrateVm, ReachShells, RunOnHost, WaitForPerson),
            risk=Risk.HIGH,
            recall=planner.with_past,
            example="host rolling host-a",
            also=("patch", "upgrade", "rolling update"),
            summarize=summaries.after_rolling,
            may_emit=(PowerVm,),
            values=(intents.Ways, PastMove),
            pages=TwoPages(
                ("hosts", "every"),
                partial(per_vm.of_rolling, mine),
                per_vm.CHOOSE,
                per_vm.leaves_open,
            ),
        ),
        Action(
            shares.SHARES_NAME,
            cards.SHARES,
            intents.shares_grammar(),
            intents.Shares,
            plan=_shares,
            still_good=_still_as_planned,
            emits=(SetScheduler,),
            recall=shares.with_previous,
            example="balance shares host-a",
            also=("priority",),
        ),
        Action(
            shares.LIMIT_NAME,
            cards.LIMIT,
            intents.limit_grammar(),
            intents.Cap,
            plan=_limit,
            still_good=_still_as_planned,
            emits=(SetScheduler,),
            focus=_one,
            example="vm limit web-1 --cpu 150%",
            also=("cap", "throttle"),
        ),
    )


@hookimpl
def register_step_handlers(settings: Settings) -> Sequence[StepHandler]:
    """``SetScheduler``, ``ReachShells``, ``RunOnHost``."""
    mine = settings.of(BalanceSettings)
    rolls = mine.rolling
    return (
        StepHandler(SetScheduler, handler.settle, partial(handler.run, mine)),
        StepHandler(ReachShells, handler.settle_shells, handler.reach_shells),
        StepHandler(
            RunOnHost, partial(handler.settle_command, rolls), partial(handler.run_command, rolls)
        ),
    )


@hookimpl
def register_jobs(settings: Settings) -> Sequence[Watch]:
    """Watch for an imbalance, unless that is switched off."""
    mine = settings.of(BalanceSettings)
    if mine.watch.mode is Mode.OFF:
        return ()
    by_itself = ("balance",) if mine.watch.mode is Mode.AUTO else ()
    return (
        Watch(
            "balance",
            timedelta(seconds=watch.EVERY),
            partial(watch.look, mine),
            automatic=by_itself,
        ),
    )


def _plan_balance(
    settings: BalanceSettings, intent: intents.Balance, snapshot: Snapshot, rules: Rules
) -> Plan | Refused:
    plan = pick.plan_pick if intent.wanted else planner.plan
    found = plan(settings, intent, snapshot, rules)
    if isinstance(found, Refused):
        return found
    return planner.learn(found, intent.past)


def _shares(intent: intents.Shares, snapshot: Snapshot, _rules: Rules) -> Plan | Refused:
    return shares.plan(intent, snapshot)


def _limit(intent: intents.Cap, snapshot: Snapshot, _rules: Rules) -> Plan | Refused:
    return shares.limit(intent, snapshot)


def _still_as_planned(
    _intent: object, planned: Plan, snapshot: Snapshot, _rules: Rules
) -> tuple[Objection, ...]:
    return shares.still_good(planned, snapshot)


def _one(intent: intents.Cap) -> tuple[str, ...]:
    return (intent.vm,)


def _simulate(settings: BalanceSettings, intent: intents.Simulate, view: View) -> Card:
    wish = planner.with_recent_moves(intent.wish, view.history)
    return planner.simulation(settings, replace(intent, wish=wish), view.snapshot, view.rules)


def _why(settings: BalanceSettings, about: intents.About, view: View) -> Card:
    return planner.why(settings, about, view.snapshot, view.rules, planner.moves_of(view.history))
