"""The only impure file: sets a guest's CPU priority and ceiling and measures that it holds; runs commands on hosts."""

from __future__ import annotations

import time
from collections.abc import Mapping

from bot.domain.errors import DroverError, HypervisorError, StepCancelledError, StepLostError
from bot.domain.operation import Ask
from bot.domain.readiness import CommandResult
from bot.plugin_api import Settled
from bot.ports import Hypervisor, Progress
from plugins.balance import cards, remote_command
from plugins.balance.remote_command import Seen, Stage, Verdict, verdict
from plugins.balance.settings import BalanceSettings, RollingSettings
from plugins.balance.shares import cap_cores, same_ceiling
from plugins.balance.steps import ReachShells, RunOnHost, SetScheduler

POLL = 5.0  # seconds between two looks at a command
Facts = Mapping[str, str | int | float | bool]


def settle(step: SetScheduler, hypervisor: Hypervisor) -> Settled:
    """Whether the host reports what is wanted."""
    present = hypervisor.scheduler(step.host, step.uuid)
    shares = step.wanted.cpu_shares in (None, present.cpu_shares)
    return Settled.DONE if shares and same_ceiling(step.wanted, present) else Settled.NOT_YET


def run(
    settings: BalanceSettings, step: SetScheduler, hypervisor: Hypervisor, progress: Progress
) -> Facts:
    """Set it, live and in the definition; a ceiling is then measured, for a report of it is no proof.

    Raises:
        DroverError: the guest uses clearly more than its ceiling although the host reports it.
    """
    hypervisor.set_scheduler(step.host, step.uuid, step.wanted)
    if not step.wanted.capped:
        return {}
    progress.say(cards.measuring(step.name))
    used, cap = measured(settings, step, hypervisor, progress), cap_cores(step.wanted, step.vcpus)
    if used > cap * (1 + settings.cpu_broken):
        raise DroverError(*cards.does_not_hold(step.name, used, cap))
    return {"cores_used": round(used, 3), "ceiling_cores": round(cap, 3)}


def measured(
    settings: BalanceSettings, step: SetScheduler, hypervisor: Hypervisor, progress: Progress
) -> float:
    """Cores that the guest uses over ``cpu_check_seconds``."""
    before, began = hypervisor.cpu_seconds(step.host, step.uuid), time.monotonic()
    progress.sleep(settings.cpu_check_seconds)
    used = hypervisor.cpu_seconds(step.host, step.uuid) - before
    return used / max(settings.cpu_check_seconds, time.monotonic() - began)


# --- commands on hosts
# ------------------------------------------------------------------------------------------------


def shells_reached(step: ReachShells, hypervisor: Hypervisor) -> Settled:
    """Whether every shell answers now."""
    return Settled.NOT_YET if any(_no_shell(host, hypervisor) for host in step.on) else Settled.DONE


# A handler's shape
def reach_shells(step: ReachShells, hypervisor: Hypervisor, progress: Progress) -> Facts:  # noqa: ARG001
    """Tell which shells cannot be reached, and why.

    Raises:
        DroverError: some cannot.
    """
    found = [(host, why) for host in step.on if (why := _no_shell(host, hypervisor))]
    if found:
        raise DroverError(*cards.no_shells(found))
    return {"shells": len(step.on)}


def _no_shell(host: str, hypervisor: Hypervisor) -> str:
    """Why a host's shell cannot be used; '' when it can."""
    try:
        return "" if hypervisor.run(host, ("true",)) is not None else cards.NO_SSH
    except HypervisorError as error:
        return str(error.text)


def command_settled(settings: RollingSettings, step: RunOnHost, hypervisor: Hypervisor) -> Settled:
    """Whether the command has done what it should, and libvirt answers on the host again.

    It only looks.
    """
    try:
        seen = _look(settings, step, hypervisor)
        if verdict(seen, reboots=step.reboots) is not Verdict.GOOD:
            return Settled.NOT_YET
        hypervisor.host_facts(step.host)
    except HypervisorError:
        return Settled.NOT_YET  # it may be on its way down or up: ``run`` waits for it
    return Settled.DONE


def run_command(
    settings: RollingSettings, step: RunOnHost, hypervisor: Hypervisor, progress: Progress
) -> Facts:
    """Begin the command unless its mark is there, and follow it until it has ended and the host answers.

    Raises:
        DroverError: guests run there, it failed, or took too long.
        StepLostError: it was cut off, and nobody knows how far it came.
    """
    waited = away = 0.0
    while True:
        try:
            seen = _look(settings, step, hypervisor)
            if seen.stage is Stage.ABSENT:
                _empty(step, hypervisor)
                _good(
                    step,
                    hypervisor.run(
                        step.host, remote_command.begin(_mark(settings, step), step.command)
                    ),
                )
                seen = _look(settings, step, hypervisor)
            if _over(settings, step, seen):
                hypervisor.host_facts(step.host)
                return cards.command_facts(seen.code, seen.last_line, rebooted=seen.rebooted)
            away = 0.0
            progress.say(cards.command_runs(step.host, waited, seen.last_line))
        except HypervisorError as error:
            away += POLL
            if away > 60 * settings.return_minutes:
                raise DroverError(
                    *cards.not_back(step.host, settings.return_minutes, error.text)
                ) from error
            progress.say(cards.host_away_for(step.host, away))
        if Ask.CANCEL in progress.asked():
            raise StepCancelledError(cards.command_goes_on(step.host, _mark(settings, step)))
        if waited > 60 * settings.command_minutes:
            raise DroverError(
                *cards.command_too_long(step.host, settings.command_minutes, _mark(settings, step))
            )
        progress.sleep(POLL)
        waited += POLL


def _empty(step: RunOnHost, hypervisor: Hypervisor) -> None:
    """Look once more, at the last moment: a command may end whatever runs on its host.

    Raises:
        HypervisorError: libvirt does not answer there, so nobody knows; DroverError: a guest runs
            there.
    """
    seen = hypervisor.snapshot()
    host = seen.host(step.host)
    if not host.up:
        raise HypervisorError(cards.silent(host).text)
    if there := [vm.name for vm in seen.on(step.host) if vm.state.active]:
        found = cards.not_empty(step.host, there)
        raise DroverError(found.text, found.remedy)


def _over(settings: RollingSettings, step: RunOnHost, seen: Seen) -> bool:
    """Whether it has ended well; a bad end is raised."""
    found = verdict(seen, reboots=step.reboots)
    if found is Verdict.FAILED:
        raise DroverError(
            *cards.command_failed(step.host, seen.code, seen.output, _mark(settings, step))
        )
    if found is Verdict.UNKNOWN:
        raise StepLostError(
            *cards.command_cut_off(step.host, _mark(settings, step), rebooted=seen.rebooted)
        )
    return found is Verdict.GOOD


def _look(settings: RollingSettings, step: RunOnHost, hypervisor: Hypervisor) -> Seen:
    result = _good(step, hypervisor.run(step.host, remote_command.look(_mark(settings, step))))
    try:
        return remote_command.read(result.out)
    except ValueError as error:
        raise HypervisorError(cards.strange_answer(step.host, result.out[:200])) from error


def _good(step: RunOnHost, result: CommandResult | None) -> CommandResult:
    if result is None:
        raise DroverError(*cards.no_shells([(step.host, cards.NO_SSH)]))
    if result.code:
        raise DroverError(*cards.mark_refused(step.host, result.err.strip()))
    return result


def _mark(settings: RollingSettings, step: RunOnHost) -> str:
    return f"{settings.marks}/drover-{step.key}"
