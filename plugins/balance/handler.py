"""The only impure file: sets CPU weights and limits, and runs commands on hosts."""

from __future__ import annotations

import time
from collections.abc import Sequence

from bot.domain.errors import DroverError, HypervisorError, StepCancelledError, StepLostError
from bot.domain.message import Code, Duration, Message, Number, Words, join, words
from bot.domain.operation import Ask, Facts
from bot.domain.readiness import CommandResult
from bot.plugin_api import Settled
from bot.ports import ClusterReader, CpuLimits, Hypervisor, Progress, Shell
from plugins.balance import cards, remote_command
from plugins.balance.remote_command import CommandStage, CommandVerdict, MarkState, verdict
from plugins.balance.settings import BalanceSettings, RollingSettings
from plugins.balance.shares import same_ceiling
from plugins.balance.steps import ReachShells, RunOnHost, SetScheduler, cap_cores

NO_SSH = words("no SSH is configured for it")
POLL = 5.0  # seconds between two looks at a command
LAST_LINE = 200  # characters of what a command said last
TAIL = 300  # characters of the output of a command that failed


def settle(step: SetScheduler, hypervisor: CpuLimits) -> Settled:
    """Return whether the host reports what is wanted."""
    present = hypervisor.scheduler(step.host, step.uuid)
    shares = step.wanted.cpu_shares in (None, present.cpu_shares)
    return Settled.DONE if shares and same_ceiling(step.wanted, present) else Settled.NOT_YET


def run(
    settings: BalanceSettings, step: SetScheduler, hypervisor: CpuLimits, progress: Progress
) -> Facts:
    """Set it, live and in the definition; then measure a limit, since a report is no proof.

    Raises:
        DroverError: the VM uses clearly more than its limit although the host reports it.
    """
    hypervisor.set_scheduler(step.host, step.uuid, step.wanted)
    if not step.wanted.has_cap:
        return {}
    progress.say(words("Measuring the CPU use of {vm}", vm=step.name))
    used, cap = (
        measure_cores(settings, step, hypervisor, progress),
        cap_cores(step.wanted, step.vcpus),
    )
    if used > cap * (1 + settings.cpu_broken):
        raise DroverError(
            words(
                "{vm} uses {used} cores, although its host reports its limit of {limit} as set.",
                vm=step.name,
                used=Number(used, 2),
                limit=Number(cap, 2),
            ),
            words(
                "Check the cgroup of its machine slice on {host}; a restart of the VM sets it "
                "again.",
                host=step.host,
            ),
            code="cpu-limit-ignored",
        )
    return {"cores_used": Number(used, 2), "cores_allowed": Number(cap, 2)}


def measure_cores(
    settings: BalanceSettings, step: SetScheduler, hypervisor: CpuLimits, progress: Progress
) -> float:
    """Cores that the VM uses over ``cpu_check_seconds``."""
    before, began = hypervisor.cpu_seconds(step.host, step.uuid), time.monotonic()
    progress.sleep(settings.cpu_check_seconds)
    used = hypervisor.cpu_seconds(step.host, step.uuid) - before
    return used / max(settings.cpu_check_seconds, time.monotonic() - began)


# --- commands on hosts
# ------------------------------------------------------------------------------------------------


def settle_shells(step: ReachShells, hypervisor: Shell) -> Settled:
    """Return whether every shell answers now."""
    return Settled.NOT_YET if any(_no_shell(host, hypervisor) for host in step.on) else Settled.DONE


def reach_shells(step: ReachShells, hypervisor: Shell, _progress: Progress) -> Facts:
    """Tell which shells cannot be reached, and why.

    Raises:
        DroverError: some cannot.
    """
    found = [(host, why) for host in step.on if (why := _no_shell(host, hypervisor))]
    if found:
        raise _no_shells(found)
    return {"shells": len(step.on)}


def _no_shell(host: str, hypervisor: Shell) -> Message:
    """Why a host's shell cannot be used; '' when it can."""
    try:
        return "" if hypervisor.run(host, ("true",)) is not None else NO_SSH
    except HypervisorError as error:
        return error.text


def _no_shells(found: Sequence[tuple[str, Message]]) -> DroverError:
    reasons = (words("{host}: {why}", host=host, why=why) for host, why in found)
    return DroverError(
        words("No command can be run on these hosts. {reasons}", reasons=join(reasons, "; ")),
        words("Configure `ssh` for them, or leave out `--run`."),
        code="no-shell",
    )


def settle_command(settings: RollingSettings, step: RunOnHost, hypervisor: Hypervisor) -> Settled:
    """Return whether the command has done what it should, and libvirt answers on the host again.

    It only looks.
    """
    try:
        seen = _look(settings, step, hypervisor)
        if verdict(seen, reboots=step.reboots) is not CommandVerdict.GOOD:
            return Settled.NOT_YET
        hypervisor.host_facts(step.host)
    except HypervisorError:
        return Settled.NOT_YET  # it may be on its way down or up: ``run`` waits for it
    return Settled.DONE


def run_command(
    settings: RollingSettings, step: RunOnHost, hypervisor: Hypervisor, progress: Progress
) -> Facts:
    """Start the command unless its mark is there, and follow it to its end.

    Raises:
        DroverError: VMs run there, it failed, or took too long.
        StepLostError: it was cut off, and nobody knows how far it came.
    """
    waited = away = 0.0
    while True:
        try:
            seen = _look(settings, step, hypervisor)
            if seen.stage is CommandStage.ABSENT:
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
                return _command_facts(seen)
            away = 0.0
            progress.say(_runs_text(step.host, waited, seen.last_line))
        except HypervisorError as error:
            away += POLL
            if away > 60 * settings.return_minutes:
                raise _not_back(settings, step, error) from error
            progress.say(
                words(
                    "Waiting for {host} to come back, for {time}",
                    host=step.host,
                    time=Duration(away),
                )
            )
        if Ask.CANCEL in progress.asks():
            raise StepCancelledError(
                words(
                    "The command is still running on {host}; its output is in {file} there.",
                    host=step.host,
                    file=_output(settings, step),
                )
            )
        if waited > 60 * settings.command_minutes:
            raise _too_long(settings, step)
        progress.sleep(POLL)
        waited += POLL


def _runs_text(host: str, seconds: float, last: str) -> Words:
    time = Duration(seconds)
    if not last:
        return words("The command has been running on {host} for {time}", host=host, time=time)
    return words(
        "The command has been running on {host} for {time}: {last}",
        host=host,
        time=time,
        last=last[:LAST_LINE],
    )


def _command_facts(seen: MarkState) -> Facts:
    """What stands beside the step, and in the audit trail."""
    facts: Facts = {
        "exit": words("exit code {code}", code=str(seen.code)),
        "rebooted": seen.rebooted,
        "last_line": seen.last_line[:LAST_LINE],
    }
    return {name: fact for name, fact in facts.items() if fact}


def _not_back(settings: RollingSettings, step: RunOnHost, error: HypervisorError) -> DroverError:
    return DroverError(
        words(
            "{host} did not come back within {time}: {why}",
            host=step.host,
            time=Duration(60 * settings.return_minutes),
            why=error.text,
        ),
        join((words("Check it."), cards.undrain_advice(step.host))),
        code="host-not-back",
    )


def _too_long(settings: RollingSettings, step: RunOnHost) -> DroverError:
    return DroverError(
        words(
            "The command on {host} did not finish within {time}.",
            host=step.host,
            time=Duration(60 * settings.command_minutes),
        ),
        join(
            (
                words(
                    "It may still be running; its output is in {file} there.",
                    file=_output(settings, step),
                ),
                cards.undrain_advice(step.host),
            )
        ),
        code="command-too-long",
    )


def _empty(step: RunOnHost, hypervisor: ClusterReader) -> None:
    """Look once more, at the last moment: a command may end whatever runs on its host.

    Raises:
        HypervisorError: libvirt does not answer there, so nobody knows; DroverError: a VM runs
            there.
    """
    seen = hypervisor.snapshot()
    host = seen.host(step.host)
    if not host.up:
        raise HypervisorError(cards.host_silent(host).text)
    if there := [vm.name for vm in seen.on(step.host) if vm.state.active]:
        found = cards.vms_still_run(step.host, there)
        raise DroverError(found.text, found.remedy, code=found.code)


def _over(settings: RollingSettings, step: RunOnHost, seen: MarkState) -> bool:
    """Return whether it has ended well; a bad end is raised."""
    found = verdict(seen, reboots=step.reboots)
    if found is CommandVerdict.FAILED:
        raise _failure(settings, step, seen)
    if found is CommandVerdict.UNKNOWN:
        raise _cut_off_error(settings, step, seen)
    return found is CommandVerdict.GOOD


def _failure(settings: RollingSettings, step: RunOnHost, seen: MarkState) -> DroverError:
    code, tail = str(seen.code), " ".join(seen.output.split())[-TAIL:]
    if tail:
        text = words(
            "The command ended with code {code} on {host}: {output}",
            code=code,
            host=step.host,
            output=tail,
        )
    else:
        text = words("The command ended with code {code} on {host}.", code=code, host=step.host)
    where = words("Its output is in {file} there.", file=_output(settings, step))
    advice = join((where, cards.undrain_advice(step.host)))
    return DroverError(text, advice, code="command-failed")


def _cut_off_error(settings: RollingSettings, step: RunOnHost, seen: MarkState) -> StepLostError:
    if seen.rebooted:
        text = words(
            "The command on {host} was cut off when the host rebooted. How far it came is not "
            "known.",
            host=step.host,
        )
    else:
        text = words(
            "The command on {host} was cut off: its process is gone. How far it came is not known.",
            host=step.host,
        )
    where = words(
        "Look at {file} there. A command that is meant to reboot its host needs `--reboots`.",
        file=_output(settings, step),
    )
    return StepLostError(text, join((where, cards.undrain_advice(step.host))))


def _look(settings: RollingSettings, step: RunOnHost, hypervisor: Shell) -> MarkState:
    result = _good(step, hypervisor.run(step.host, remote_command.look(_mark(settings, step))))
    try:
        return remote_command.read(result.out)
    except ValueError as error:
        text = words(
            "{host} gave an unexpected answer about the command: {answer}",
            host=step.host,
            answer=repr(result.out[:LAST_LINE]),
        )
        raise HypervisorError(text) from error


def _good(step: RunOnHost, result: CommandResult | None) -> CommandResult:
    if result is None:
        raise _no_shells([(step.host, NO_SSH)])
    if result.code:
        raise DroverError(
            words(
                "{host} did not accept the command: {why}.",
                host=step.host,
                why=result.err.strip() or words("no reason given"),
            ),
            words("Check `marks` in `[plugins.balance.rolling]`."),
            code="mark-refused",
        )
    return result


def _output(settings: RollingSettings, step: RunOnHost) -> Code:
    """Where the output of a command is on its host."""
    return Code(f"{_mark(settings, step)}/out")


def _mark(settings: RollingSettings, step: RunOnHost) -> str:
    return f"{settings.marks}/drover-{step.key}"
