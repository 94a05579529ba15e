"""Failover: a dead host is proven off, and its VMs start elsewhere, each once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from bot.domain.plan import Risk
from bot.domain.steps import AttestOff, HoldHost
from bot.hookspecs import hookimpl
from bot.plugin_api import Action, History, Query, Settings, SettingsSection, StepHandler, Watch
from plugins.failover import (
    binding,
    boot,
    boot_steps,
    clearing,
    copies,
    evidence,
    guard,
    handler,
    intents,
    kept,
    planner,
    power_steps,
    power_test,
    quiet,
    readmission,
    recovery,
    rest,
    vm_test,
    watch,
    whatif,
    witnesses,
)
from plugins.failover.anew import planned_anew
from plugins.failover.settings import FailoverSettings, Mode
from plugins.failover.steps import (
    AwaitReady,
    BindDevice,
    ClearCorpse,
    ConfirmOff,
    ExpectSilence,
    FenceHost,
    KillVm,
    OwnAutostart,
    PauseCopy,
    PowerOff,
    PowerOn,
    ReadmitVm,
    RestartVm,
    StartAgain,
    StartKept,
    StopCopy,
)


@hookimpl
def register_settings() -> Sequence[SettingsSection]:
    """``[plugins.failover]``."""
    return (SettingsSection("failover", FailoverSettings),)


@hookimpl
def register_commands(settings: Settings) -> Sequence[Query | Action]:
    """``host failover`` and its kin, ``failover status, drill, bind, guard``, ``vm definition``."""
    mine = settings.of(FailoverSettings)
    return (
        Action(
            intents.FAILOVER,
            intents.FAILOVER_SUMMARY,
            intents.failover_grammar(),
            intents.Failover,
            plan=partial(planner.plan, mine),
            still_good=partial(planner.still_good, mine),
            emits=(HoldHost, FenceHost, ConfirmOff, ClearCorpse, RestartVm, AwaitReady),
            risk=Risk.HIGH,
            next_good=partial(rest.next_good, mine),
            judged=(RestartVm,),
            recall=_recall,
            survey=partial(witnesses.survey, mine.sight),
            values=(evidence.Evidence, evidence.Statement, evidence.OwnView, evidence.Expected),
            example="host failover host-b",
            also=("fence", "ha"),
        ),
        Action(
            intents.ATTEST,
            intents.ATTEST_SUMMARY,
            intents.attest_grammar(),
            intents.Failover,
            plan=partial(planner.plan, mine),
            still_good=partial(planner.still_good, mine),
            emits=(HoldHost, AttestOff, ClearCorpse, RestartVm, AwaitReady),
            risk=Risk.HIGH,
            next_good=partial(rest.next_good, mine),
            judged=(RestartVm,),
            recall=_recall,
            survey=partial(witnesses.survey, mine.sight),
            example="host attest-off host-b --seen 'its power cable is out'",
            also=("attest",),
        ),
        Action(
            intents.READMIT,
            intents.READMIT_SUMMARY,
            intents.readmit_grammar(),
            intents.Readmit,
            plan=readmission.plan,
            still_good=readmission.still_good,
            emits=(ReadmitVm, HoldHost),
            risk=Risk.HIGH,
            survey=partial(witnesses.of_readmit, mine.sight),
            example="host readmit host-b",
            also=("rejoin",),
        ),
        Action(
            intents.BIND,
            intents.BIND_SUMMARY,
            intents.bind_grammar(),
            intents.Bind,
            plan=binding.plan,
            still_good=planned_anew(binding.plan),
            emits=(BindDevice,),
            risk=Risk.HIGH,
            survey=witnesses.of_bind,
            example="failover bind host-b ipmi-b",
        ),
        Action(
            intents.PROTECT,
            intents.PROTECT_SUMMARY,
            intents.protect_grammar(),
            intents.Protect,
            plan=partial(boot.protect, mine),
            still_good=planned_anew(partial(boot.protect, mine)),
            emits=(OwnAutostart,),
            example="failover protect",
        ),
        Action(
            intents.RESUME,
            intents.RESUME_SUMMARY,
            intents.resume_grammar(),
            intents.Resume,
            plan=partial(boot.resume, mine),
            still_good=planned_anew(partial(boot.resume, mine)),
            emits=(StartAgain,),
            example="host resume host-a",
        ),
        Action(
            intents.COPIES,
            intents.COPIES_SUMMARY,
            intents.copies_grammar(),
            intents.StopCopies,
            plan=copies.plan,
            still_good=planned_anew(copies.plan),
            emits=(StopCopy, PauseCopy),
            risk=Risk.HIGH,
            example="failover stop-copies host-a",
        ),
        Action(
            intents.QUIET,
            intents.QUIET_SUMMARY,
            intents.quiet_grammar(),
            intents.Quiet,
            plan=quiet.plan,
            still_good=planned_anew(quiet.plan),
            emits=(ExpectSilence,),
            example="host quiet host-a --for 30m",
            also=("silence", "snooze", "mute", "silenciar"),
        ),
        Action(
            intents.TEST,
            intents.TEST_SUMMARY,
            intents.power_test_grammar(),
            intents.PowerTest,
            plan=partial(power_test.plan, mine),
            still_good=planned_anew(partial(power_test.plan, mine)),
            emits=(PowerOff, PowerOn),
            risk=Risk.HIGH,
            survey=witnesses.of_test,
            example="failover test host-a",
        ),
        Action(
            intents.TEST_VM,
            intents.TEST_VM_SUMMARY,
            intents.vm_test_grammar(),
            intents.VmTest,
            plan=partial(vm_test.plan, mine),
            still_good=planned_anew(partial(vm_test.plan, mine)),
            emits=(KillVm, StartKept, AwaitReady, ReadmitVm),
            risk=Risk.HIGH,
            recall=vm_test.recall,
            example="failover test-vm web-1",
        ),
        Query(
            intents.DRILL,
            intents.DRILL_SUMMARY,
            intents.drill_grammar(),
            partial(whatif.drill, mine),
            gather=partial(witnesses.of_drill, mine.sight),
            example="failover drill host-b",
        ),
        Query(
            intents.STATUS,
            intents.STATUS_SUMMARY,
            intents.status_grammar(),
            partial(whatif.status, mine),
            gather=witnesses.of_status,
            example="failover status",
        ),
        Query(
            intents.REPORT,
            intents.REPORT_SUMMARY,
            intents.report_grammar(),
            recovery.report,
            needs_snapshot=False,
            example="failover report",
        ),
        Query(
            intents.GUARD,
            intents.GUARD_SUMMARY,
            intents.guard_grammar(),
            guard.show,
            needs_snapshot=False,
            example="failover guard",
        ),
        Query(
            "vm definition",
            kept.SUMMARY,
            kept.grammar(),
            kept.answer,
            needs_snapshot=False,
            example="vm definition web-1",
            also=("xml", "dumpxml", "config"),
        ),
    )


@hookimpl
def register_step_handlers(settings: Settings) -> Sequence[StepHandler]:
    """One handler for each kind of step."""
    mine = settings.of(FailoverSettings)
    return (
        StepHandler(FenceHost, handler.is_off, partial(handler.fence, mine)),
        StepHandler(ConfirmOff, handler.is_proven, handler.confirm),
        StepHandler(ClearCorpse, clearing.is_cleared, clearing.clear),
        StepHandler(RestartVm, handler.is_started, partial(handler.restart, mine)),
        StepHandler(AwaitReady, handler.is_ready, handler.await_ready),
        StepHandler(ReadmitVm, handler.is_readmitted, handler.readmit),
        StepHandler(BindDevice, handler.is_bound, handler.bind),
        StepHandler(OwnAutostart, boot_steps.is_owned, boot_steps.own),
        StepHandler(StartAgain, boot_steps.is_up, boot_steps.start),
        StepHandler(StopCopy, copies.is_stopped, copies.stop),
        StepHandler(PauseCopy, copies.is_paused, copies.pause),
        StepHandler(KillVm, vm_test.is_killed, vm_test.kill),
        StepHandler(StartKept, vm_test.is_started, vm_test.start),
        StepHandler(ExpectSilence, power_steps.is_expected, power_steps.expect),
        StepHandler(PowerOff, power_steps.is_off, power_steps.switch_off),
        StepHandler(PowerOn, power_steps.is_on, power_steps.switch_on),
    )


@hookimpl
def register_jobs(settings: Settings) -> Sequence[Watch]:
    """Looks after silent hosts."""
    mine = settings.of(FailoverSettings)
    auto = mine.mode is Mode.AUTO
    return (
        Watch(
            watch.NAME,
            watch.EVERY,
            partial(watch.look, mine),
            gather=watch.Gatherer(mine.sight),
            automatic=(intents.FAILOVER,) if auto else (),
            where_allowed=(intents.RESUME, intents.COPIES) if auto else (),
        ),
    )


def _recall(intent: intents.Failover, history: History) -> intents.Failover:
    """The wish with what is kept of the host's VMs; their XML stays in the store."""
    kept = tuple(replace(each, xml="") for each in history.definitions(host=intent.host))
    until = quiet.until(history.operations(limit=quiet.RECENT), intent.host)
    return replace(intent, kept=kept, quiet=until)
