"""What libvirt does not carry over to the target: state, CPU scheduling, autostart. Impure."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from bot.domain.cluster import Scheduler, Sighting, VmState
from bot.domain.errors import VM_GONE, DroverError, HostUnreachableError, HypervisorError
from bot.domain.message import Message, Number, join, words
from bot.domain.operation import Fact
from bot.domain.state_names import reason_text
from bot.domain.steps import MigrateVm
from bot.ports import Hypervisor, Progress
from plugins.migrate import outcome
from plugins.migrate.case import AUTOSTART, SCHEDULER, as_code, scheduler_text
from plugins.migrate.settings import MigrateSettings

Sleep = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class CpuUse:
    """Cores used on the target, and the limit."""

    used: float
    limit: float

    def over(self, tolerance: float) -> bool:
        """Check that more than the share ``tolerance`` above the limit was used."""
        return self.used > self.limit * (1 + tolerance)


def measure_cpu(
    settings: MigrateSettings, sleep: Sleep, step: MigrateVm, hypervisor: Hypervisor
) -> CpuUse | None:
    """Measure the CPU that a limited VM uses.

    None without a limit or a running VM, or when the target does not list it.
    """
    if not step.carried.scheduler.has_cap or step.carried.paused:
        return None
    vms = hypervisor.snapshot().vms
    vcpus = next((vm.vcpus for vm in vms if (vm.uuid, vm.host) == (step.uuid, step.target)), 0)
    if not vcpus:
        return None
    before, began = hypervisor.cpu_seconds(step.target, step.uuid), time.monotonic()
    sleep(settings.cpu_check_seconds)
    used = hypervisor.cpu_seconds(step.target, step.uuid) - before
    span = max(settings.cpu_check_seconds, time.monotonic() - began)
    return CpuUse(used / span, outcome.cap_cores(step.carried.scheduler, vcpus))


@contextmanager
def unless_removed() -> Iterator[None]:
    """Leave out what is about a definition on the source that libvirt removes meanwhile.

    It does so a moment after the VM's arrival.
    """
    try:
        yield
    except HypervisorError as error:
        if error.code != VM_GONE:
            raise


def note_resumed(progress: Progress, step: MigrateVm, host: str) -> None:
    """Put into the audit trail that a VM which the migration left paused runs again."""
    progress.note(
        words("The migration left {vm} paused; resumed on {host}.", vm=step.name, host=host)
    )


class Arrival:
    """Carries over what libvirt does not.

    Every part is tried, then the problems are reported together.
    """

    def __init__(
        self,
        settings: MigrateSettings,
        step: MigrateVm,
        hypervisor: Hypervisor,
        progress: Progress,
        sleep: Sleep,
    ) -> None:
        self._settings, self._step, self._hypervisor = settings, step, hypervisor
        self._progress, self._sleep = progress, sleep
        self._problems: list[Message] = []

    def complete(self, source: Sighting, target: Sighting) -> Mapping[str, Fact]:
        """Set everything on the target and return the measured CPU.

        Raises:
            DroverError: not everything could be carried over; the text names each problem.
        """
        self._try(words("state"), lambda: self._restore_state(target))
        self._try(SCHEDULER, self._restore_scheduler)
        if source.state is not None:
            self._try(AUTOSTART, self._disarm_source)
        if self._step.carried.persistent:
            self._try(AUTOSTART, self._restore_autostart)
        found: dict[str, Fact] = {}
        self._try(SCHEDULER, lambda: found.update(self._check_cpu()))
        if self._problems:
            raise DroverError(
                words(
                    "{vm} runs on {target}, but not everything was carried over: {problems}.",
                    vm=self._step.name,
                    target=self._step.target,
                    problems=join(self._problems, "; "),
                ),
                words(
                    "Set it by hand on {target}. The VM itself needs nothing.",
                    target=self._step.target,
                ),
                code="not-carried-over",
            )
        return found

    def _try(self, what: Message, act: Callable[[], None]) -> None:
        """Do one part. An unreachable host is waited for; a refusal becomes a problem."""
        unreachable = 0.0
        while True:
            try:
                act()
            except HostUnreachableError as error:
                # The VM has arrived: waiting a while costs nothing, and no host may stop the step
                # for ever.
                if unreachable >= self._settings.unreachable_seconds:
                    self._add_problem(what, error.text)
                    return
                pause = max(1.0, self._settings.poll_seconds)
                self._sleep(pause)
                unreachable += pause
            except HypervisorError as error:
                self._add_problem(what, error.text)
                return
            else:
                return

    def _add_problem(self, what: Message, problem: Message) -> None:
        self._problems.append(words("{what}: {problem}", what=what, problem=problem))

    def _restore_state(self, there: Sighting) -> None:
        """Pause or resume the VM as it was before the move.

        It is active on the target alone, so resuming is safe.
        """
        step, host = self._step, self._step.target
        if step.carried.paused and there.state is not VmState.PAUSED:
            self._hypervisor.pause(host, step.uuid)
        elif not outcome.runs_as_wanted(step, there):
            self._hypervisor.resume(host, step.uuid)
            note_resumed(self._progress, step, host)
        elif there.state is VmState.PAUSED and not step.carried.paused:
            self._progress.note(
                words(
                    "{vm} is paused on {host} ({reason}) and was left paused.",
                    vm=step.name,
                    host=host,
                    reason=reason_text(there.paused_by),
                )
            )

    def _restore_scheduler(self) -> None:
        """Set CPU shares and limit, even when they read right.

        After a migration libvirt can report a limit that does not hold (seen).
        """
        wanted = self._set_scheduler()
        present = self._hypervisor.scheduler(self._step.target, self._step.uuid)
        if not outcome.in_force(wanted, present):
            self._add_problem(
                SCHEDULER,
                words(
                    "set to {wanted}, but the host shows {present}",
                    wanted=scheduler_text(wanted),
                    present=scheduler_text(present),
                ),
            )

    def _set_scheduler(self) -> Scheduler:
        host, uuid = self._step.target, self._step.uuid
        present = self._hypervisor.scheduler(host, uuid)
        wanted = outcome.to_apply(self._step.carried.scheduler, present)
        if wanted != Scheduler():
            self._hypervisor.set_scheduler(host, uuid, wanted)
        return wanted

    def _disarm_source(self) -> None:
        """Keep a definition left on the source from starting a second copy at boot."""
        step = self._step
        with unless_removed():
            if self._hypervisor.autostart(step.source, step.uuid):
                self._hypervisor.set_autostart(step.source, step.uuid, on=False)
            self._progress.note(
                words(
                    "{source} still has a definition of {vm}, powered off; its autostart is now "
                    "off. Remove it there: {command}.",
                    source=step.source,
                    vm=step.name,
                    command=as_code("virsh undefine {}", step.uuid),
                )
            )

    def _restore_autostart(self) -> None:
        """Set autostart on the target as it was on the source."""
        step = self._step
        if self._hypervisor.autostart(step.target, step.uuid) != step.carried.autostart:
            self._hypervisor.set_autostart(step.target, step.uuid, on=step.carried.autostart)

    def _check_cpu(self) -> dict[str, Fact]:
        """Check the limit by measured CPU; exceeded, it is set once more and measured again."""
        use = self._measure()
        if use is not None and use.over(self._settings.cpu_tolerance):
            self._progress.note(
                words(
                    "{vm} used {used} cores with a limit of {limit} on {target}. Setting the limit "
                    "once more.",
                    **self._use(use),
                )
            )
            self._set_scheduler()
            use = self._measure() or use
            self._judge(use)
        if use is None:
            return {}
        return {
            "cores_used": Number(round(use.used, 2), 2),
            "cores_allowed": Number(round(use.limit, 2), 2),
        }

    def _judge(self, use: CpuUse) -> None:
        """Report a limit that was set twice and still does not hold."""
        if use.over(self._settings.cpu_tolerance):
            self._progress.note(
                words(
                    "{vm} used {used} cores with a limit of {limit} on {target}, though it was set "
                    "twice. Check its cgroup.",
                    **self._use(use),
                )
            )
        if use.over(self._settings.cpu_broken):
            self._add_problem(
                SCHEDULER,
                words(
                    "the limit does not hold: {used} cores used, {limit} allowed",
                    used=Number(use.used, 2),
                    limit=Number(use.limit, 2),
                ),
            )

    def _use(self, use: CpuUse) -> dict[str, str | Number]:
        return {
            "vm": self._step.name,
            "used": Number(use.used, 2),
            "limit": Number(use.limit, 2),
            "target": self._step.target,
        }

    def _measure(self) -> CpuUse | None:
        return measure_cpu(self._settings, self._sleep, self._step, self._hypervisor)
