"""The only impure file: moves a guest, follows the move, and trusts nothing but its state on both hosts.

Time is counted by what was slept and by the job's own clock, whichever is more: it is right after a
restart of the bot, and it never runs ahead of the migration.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

from bot.domain.cluster import Job, Scheduler, Sighting, VmState
from bot.domain.errors import (
    DroverError,
    HostUnreachableError,
    HypervisorError,
    StepCancelledError,
    StepLostError,
)
from bot.domain.message import Duration, Number, Percent, Size
from bot.domain.operation import Ask, Fact, Facts
from bot.domain.steps import MigrateVm, Policy
from bot.plugin_api import Settled
from bot.ports import Hypervisor, Progress
from bot.ports.guests import Volume
from plugins.migrate import cards, outcome
from plugins.migrate.escalation import Pace, Rung, next_rung
from plugins.migrate.forecast import patience
from plugins.migrate.outcome import Place
from plugins.migrate.settings import MigrateSettings

Sleep = Callable[[float], None]

LOST = {
    Place.TWICE: (cards.TWICE, cards.TWICE_ADVICE),
    Place.ELSEWHERE: (cards.ELSEWHERE, cards.ELSEWHERE_ADVICE),
    Place.NOWHERE: (cards.NOWHERE, cards.NOWHERE_ADVICE),
    Place.CROSSING: (cards.STUCK, cards.STUCK_ADVICE),
    Place.POSTCOPY_FAILED: (cards.POSTCOPY_FAILED, cards.POSTCOPY_FAILED_ADVICE),
    Place.DEAD: (cards.DEAD, cards.DEAD_ADVICE),
    Place.UNKNOWN: (cards.SILENT, cards.SILENT_ADVICE),
}
DOUBTFUL = frozenset({Place.TWICE, Place.ELSEWHERE, Place.NOWHERE, Place.DEAD})
LOOK_AGAIN = 5.0  # seconds between looks at a migration that stands still
# Seconds: hosts are not asked at one instant, and a guest may change sides in between
SECOND_LOOK = 1.0


# --- settle
# -------------------------------------------------------------------------------------------------------


def settle(
    settings: MigrateSettings, sleep: Sleep, step: MigrateVm, hypervisor: Hypervisor
) -> Settled:
    """Only looks. DONE: the guest is on the target alone and has all it must carry; NOT_YET: ``run`` has work to do.

    A guest whose CPU is capped is measured for ``cpu_check_seconds``, because a cap can read right
    and not hold. NOT_YET too while a migration is under way (``run`` attaches to it) and when the
    guest is shut off (``run`` says so). LOST: running twice, on neither host, or torn apart by
    post-copy, after a second look.

    Raises:
        HostUnreachableError: source or target does not answer, so that nobody can know yet; ask
            again later.
    """
    place, seen = _look(step, hypervisor)
    if place in DOUBTFUL:
        sleep(SECOND_LOOK)
        place, seen = _look(step, hypervisor)
    if place is Place.UNKNOWN:
        raise HostUnreachableError(
            cards.lost(step, cards.SILENT, seen), cards.advice(step, cards.SILENT_ADVICE)
        )
    if place in DOUBTFUL or place is Place.POSTCOPY_FAILED:
        return Settled.LOST
    if place is not Place.TARGET:
        return Settled.NOT_YET
    done = _all_in_place(step, hypervisor, seen) and not _cap_broken(
        settings, sleep, step, hypervisor
    )
    return Settled.DONE if done else Settled.NOT_YET


def _look(step: MigrateVm, hypervisor: Hypervisor) -> tuple[Place, tuple[Sighting, ...]]:
    """Where the guest is, and what each host said."""
    try:
        seen = hypervisor.sightings(step.uuid)
    except HostUnreachableError:
        seen = (Sighting(step.source, reachable=False), Sighting(step.target, reachable=False))
    return outcome.place(step, seen), seen


def _at(seen: tuple[Sighting, ...], host: str) -> Sighting:
    return next(each for each in seen if each.host == host)


def _all_in_place(step: MigrateVm, hypervisor: Hypervisor, seen: tuple[Sighting, ...]) -> bool:
    """Everything carried reads right on the target, and no definition left on the source would start at boot."""
    if not outcome.runs_as_wanted(step, _at(seen, step.target)):
        return False
    if not outcome.in_force(step.carried.scheduler, hypervisor.scheduler(step.target, step.uuid)):
        return False
    if (
        step.carried.persistent
        and hypervisor.autostart(step.target, step.uuid) != step.carried.autostart
    ):
        return False
    left = _at(seen, step.source).state is not None
    return not (left and hypervisor.autostart(step.source, step.uuid))


@dataclass(frozen=True, slots=True)
class _CpuCheck:
    """Cores used on the target, and the ceiling."""

    used: float
    cap: float

    def over(self, tolerance: float) -> bool:
        """Whether more than the share ``tolerance`` above the ceiling was used."""
        return self.used > self.cap * (1 + tolerance)


def _measured(
    settings: MigrateSettings, sleep: Sleep, step: MigrateVm, hypervisor: Hypervisor
) -> _CpuCheck | None:
    """The CPU a capped guest uses; None without a cap or a running guest, or when the target does not list it."""
    if not step.carried.scheduler.capped or step.carried.paused:
        return None
    vms = hypervisor.snapshot().vms
    vcpus = next((vm.vcpus for vm in vms if (vm.uuid, vm.host) == (step.uuid, step.target)), 0)
    if not vcpus:
        return None
    before, began = hypervisor.cpu_seconds(step.target, step.uuid), time.monotonic()
    sleep(settings.cpu_check_seconds)
    used = hypervisor.cpu_seconds(step.target, step.uuid) - before
    span = max(settings.cpu_check_seconds, time.monotonic() - began)
    return _CpuCheck(used / span, outcome.cap_cores(step.carried.scheduler, vcpus))


def _cap_broken(
    settings: MigrateSettings, sleep: Sleep, step: MigrateVm, hypervisor: Hypervisor
) -> bool:
    check = _measured(settings, sleep, step, hypervisor)
    return check is not None and check.over(settings.cpu_broken)


# --- run
# ----------------------------------------------------------------------------------------------------------


def run(
    settings: MigrateSettings, step: MigrateVm, hypervisor: Hypervisor, progress: Progress
) -> Facts:
    """Move the guest, or go on with a move that is under way; return only when it is on the target with all it carries.

    Returns:
        ``took``, and where known ``sent``, ``passes``, ``throttle``, ``pause``, ``cores_used`` and
        ``cores_allowed`` as measured after the arrival.

    Raises:
        StepCancelledError: a person asked, and the guest is on the source as before.
        StepLostError: people must look; the text says what each host said.
        DroverError: it did not move, or not everything came along; the text says which.
    """
    return _Run(settings, step, hypervisor, progress).facts()


@dataclass(slots=True)
class _Run:
    """One run of a step: what it has seen and done so far."""

    settings: MigrateSettings
    step: MigrateVm
    hypervisor: Hypervisor
    progress: Progress
    call: _Call | None = None  # libvirt's answer to come; None: attached to somebody else's call
    job: Job | None = None  # the last one seen
    pace: Pace = field(default_factory=Pace)
    waited: float = 0.0
    # What the job last showed of its progress, and since when it has shown just that
    shown: object = ()
    shown_at: float = 0.0
    look_at: float = 0.0  # when both hosts are looked at next, because nothing moves
    gave_up: str = ""
    told: set[str] = field(default_factory=set)

    def facts(self) -> Facts:
        place, seen = self._where()
        if place in (Place.SOURCE, Place.CROSSING):
            self._begin(place, seen)
            self._watch()
            place, seen = self._outcome()
        if place is not Place.TARGET:
            self._not_there(place, seen)
        if Ask.CANCEL in self.progress.asked():
            self._note(cards.cancel_too_late(self.step))
        if self.call and self.call.error:
            self._note(cards.answer_despite(self.step, self.call.error))
        left = self._left_by_copy(self.step.source)
        behind = (
            {cards.LEFT_ON.format(source=self.step.source): cards.volumes_text(left)}
            if left
            else {}
        )
        return {**self._measures(), **_Arrival(self).facts(seen), **behind}

    def _measures(self) -> dict[str, Fact]:
        found: dict[str, Fact] = {cards.TOOK: Duration(round(self.now(), 1))}
        job, complete = self._last_job()
        if job is None:
            return found
        found[cards.SENT] = Size(job.processed)
        found[cards.PASSES] = job.iteration
        if job.throttle:
            found[cards.THROTTLE] = Percent(job.throttle / 100)
        if complete and job.expected_downtime is not None:
            found[cards.PAUSE] = Duration(job.expected_downtime)
        return found

    def _last_job(self) -> tuple[Job | None, bool]:
        """The migration's own account of itself, and whether it is its last one; else the last look at it."""
        try:
            last = self.hypervisor.last_job(self.step.target, self.step.uuid)
        except HypervisorError as error:
            self._note(cards.request_failed(cards.STATISTICS, error))
            last = None
        return (last, True) if last is not None else (self.job, False)

    # --- looking

    def now(self) -> float:
        """Seconds since the migration began, as far as is known."""
        return max(self.waited, self.job.elapsed if self.job else 0.0)

    def sleep(self, seconds: float) -> None:
        self.progress.sleep(seconds)
        self.waited += seconds

    def _note(self, text: str) -> None:
        """Into the audit trail, once."""
        if text not in self.told:
            self.told.add(text)
            self.progress.note(text)

    def _where(self) -> tuple[Place, tuple[Sighting, ...]]:
        """Where the guest is; waits for silent hosts, looks twice at what cannot be."""
        place, seen = self._answered()
        if place in DOUBTFUL:
            self.sleep(SECOND_LOOK)
            place, seen = self._answered()
        return place, seen

    def _answered(self) -> tuple[Place, tuple[Sighting, ...]]:
        """A look that source and target answered; UNKNOWN only when one stays silent for too long."""
        silent = 0.0
        while True:
            place, seen = _look(self.step, self.hypervisor)
            if place is not Place.UNKNOWN or silent >= self.settings.unreachable_seconds:
                return place, seen
            self.progress.say(cards.waiting_for(self.step, seen))
            pause = max(1.0, self.settings.poll_seconds)
            self.sleep(pause)
            silent += pause

    def _ask_job(self) -> Job | None:
        """The migration's progress; None when there is none.

        Raises:
            HostUnreachableError: the source does not answer.
        """
        try:
            job = self.hypervisor.job(self.step.source, self.step.uuid)
        except HostUnreachableError:
            raise
        except HypervisorError:
            return None  # the guest has just left the source: both hosts are looked at afterwards
        if job is not None:
            self.job = job
        return job

    # --- starting and following

    def _begin(self, place: Place, seen: tuple[Sighting, ...]) -> None:
        """Attach to a migration under way (libvirtd goes on by itself when the bot dies), or start one."""
        job = self._job_or_none()
        if job is not None or place is Place.CROSSING:
            self._note(cards.attached(self.step))
            return
        if Ask.CANCEL in self.progress.asked():
            self._go_on(seen)  # the bot may have died after a failure, before it could
            raise StepCancelledError(cards.cancelled_before(self.step))
        self._nothing_overwritten()
        self.progress.say(cards.starting(self.step))
        self.call = _Call(self.hypervisor, self.step)
        self.call.thread.start()

    def _nothing_overwritten(self) -> None:
        """Copies are made where there is nothing: what was planned is looked at once more."""
        if self.step.copy_storage and (
            there := self.hypervisor.copied_volumes(self.step, self.step.target)
        ):
            raise DroverError(cards.would_overwrite(self.step, there), cards.WOULD_OVERWRITE_ADVICE)

    def _left_by_copy(self, host: str) -> tuple[Volume, ...]:
        """What the copying of disks left on a host: old ones on the source, parts of new ones on the target.

        It is told by name and never removed: a directory that both hosts see may show the disk
            itself.
        """
        if not self.step.copy_storage:
            return ()
        try:
            return self.hypervisor.copied_volumes(self.step, host)
        except HypervisorError as error:
            self._note(cards.copies_unknown(self.step, host, error))
            return ()

    def _job_or_none(self) -> Job | None:
        try:
            return self._ask_job()
        except HostUnreachableError:
            return None

    def _watch(self) -> None:
        """Follow until libvirt has answered (attached: until no job is left) or the source is silent too long."""
        silent = 0.0
        while silent < self.settings.unreachable_seconds:
            try:
                job = self._ask_job()
                silent = 0.0
            except HostUnreachableError:
                job = None
                silent += self.settings.poll_seconds
            if self._over(job, silent):
                return
            self._tend(job)
            self._ask_when_still(job)
            self.sleep(self.settings.poll_seconds)

    def _ask_when_still(self, job: Job | None) -> None:
        """A migration without progress is told to people, and at last left to them; it never runs on in silence.

        Raises:
            StepLostError: nothing moved for too long; the text says what each host shows, the
                advice what is safe.
        """
        shown = job and (job.phase, job.processed, job.remaining, job.iteration)
        if shown != self.shown:
            self.shown, self.shown_at, self.look_at = (
                shown,
                self.waited,
                self.waited + self.settings.still_seconds,
            )
        still = self.waited - self.shown_at
        if self.waited <= self.look_at:
            return
        self.look_at = self.waited + LOOK_AGAIN
        place, seen = _look(self.step, self.hypervisor)
        self.progress.say(cards.stands_still(self.step, still, seen))
        self._note(cards.STOOD_STILL)
        if still > self.settings.still_limit_seconds and place in (Place.SOURCE, Place.CROSSING):
            switched = self.pace.switched or (job is not None and job.phase == "post-copy")
            advice = cards.STILL_POSTCOPY_ADVICE if switched else cards.STILL_ADVICE
            raise StepLostError(
                cards.lost(self.step, cards.STILL, seen),
                cards.advice(self.step, advice),
                (cards.look_at(self.step),),
            )

    def _over(self, job: Job | None, silent: float) -> bool:
        if self.call is not None:
            return not self.call.thread.is_alive()
        return job is None and not silent

    def _tend(self, job: Job | None) -> None:
        """Show a job, do what people ask of it, help it to converge."""
        if job is None:
            self.progress.report(self._between(), (Ask.CANCEL,))
            return
        self.progress.report(job, _may_ask(self.step, job))
        if job.phase == "post-copy":
            self.pace = replace(self.pace, switched=True)
        if self.gave_up or Ask.CANCEL in self.progress.asked():
            self._cancel(job)
            return
        if Ask.POSTCOPY in self.progress.asked() and Ask.POSTCOPY in _may_ask(self.step, job):
            self._switch()
        elif job.phase == "copying":
            self._help(job)

    def _between(self) -> Job:
        """What to show while libvirt has not answered and no job is active: before the first and after the last."""
        if self.job is None:
            return Job("setup", elapsed=self.waited)
        return replace(self.job, phase="finishing", remaining=0)

    def _cancel(self, job: Job) -> None:
        """Again at each look until it ends: a cancel may come before there is anything to cancel."""
        if job.phase == "post-copy":
            self._note(cards.cancel_refused(self.step))
            return
        self._request(cards.CANCEL, partial(self.hypervisor.cancel_job, *self._whose()))

    def _whose(self) -> tuple[str, str]:
        """The job's host and guest."""
        return self.step.source, self.step.uuid

    def _request(self, what: str, ask: Callable[[], None]) -> bool:
        """Whether the hypervisor took a request; if not, the refusal is noted and the next look decides."""
        try:
            ask()
        except HypervisorError as error:
            self._note(cards.request_failed(what, error))
            return False
        return True

    # --- the ladder

    def _help(self, job: Job) -> None:
        """The next means of the policy, when it is time for one."""
        now = self.now()
        self.pace = self.pace.after(job, now)
        waits = patience(self.settings, max(self.step.memory, job.total), self.step.bandwidth)
        rung = next_rung(self.settings, self.step, self.pace, waits, now)
        if rung is Rung.POSTCOPY:
            self._switch()
        elif rung is Rung.RAISE_DOWNTIME:
            self._raise_downtime(now)
        elif rung is Rung.PAUSE:
            self._pause(now)
        elif rung is Rung.GIVE_UP:
            self.gave_up = cards.given_up(self.step, job, stalled=self.pace.stalled(waits, now))
            self._cancel(job)

    def _switch(self) -> None:
        if self.pace.switched:
            return
        if self._request(cards.POSTCOPY, partial(self.hypervisor.start_postcopy, *self._whose())):
            self.pace = replace(self.pace, switched=True)
            self._note(cards.switched(self.step))

    def _raise_downtime(self, now: float) -> None:
        allowed = self.settings.downtime_steps_ms[self.pace.raised]
        self.pace = replace(self.pace, raised=self.pace.raised + 1, acted_at=now)
        if self._request(
            cards.DOWNTIME, partial(self.hypervisor.raise_downtime, *self._whose(), allowed)
        ):
            self._note(cards.downtime_raised(allowed))

    def _pause(self, now: float) -> None:
        self.pace = replace(self.pace, paused=True, acted_at=now)
        if self.step.carried.paused:
            return
        if self._request(cards.PAUSE, partial(self.hypervisor.pause, *self._whose())):
            self._note(cards.paused_to_finish(self.step))

    # --- the outcome

    def _outcome(self) -> tuple[Place, tuple[Sighting, ...]]:
        """Where the guest is once both hosts agree, whatever libvirt answered; a job still active is followed on."""
        since = self.waited
        while True:
            place, seen = self._where()
            job = self._job_or_none() if place in (Place.SOURCE, Place.CROSSING) else None
            if job is not None:
                self._tend(job)
                self._ask_when_still(job)
                since = self.waited
            elif place is not Place.CROSSING or self.waited - since > self.settings.settle_seconds:
                return place, seen
            else:
                self.progress.say(cards.both_have_it(self.step))
            self.sleep(self.settings.poll_seconds)

    def _not_there(self, place: Place, seen: tuple[Sighting, ...]) -> None:
        """Raise what is true instead."""
        step = self.step
        if place in LOST:
            what, advice = LOST[place]
            raise StepLostError(
                cards.lost(step, what, seen),
                cards.advice(step, advice),
                (cards.start_anew(step),) if place is Place.DEAD else (),
            )
        if place in (Place.SOURCE_OFF, Place.TARGET_OFF):
            host = step.source if place is Place.SOURCE_OFF else step.target
            raise DroverError(cards.off_on(step, host), cards.OFF_ADVICE)
        self._still_on_source(seen)

    def _still_on_source(self, seen: tuple[Sighting, ...]) -> None:
        self._go_on(seen)
        step, error = self.step, self.call.error if self.call else None
        left = self._left_by_copy(step.target)
        also = f" {cards.made_for_copy(step, left)}" if left else ""
        if self.gave_up:
            raise DroverError(f"{self.gave_up}{also}", cards.given_up_advice(step.policy))
        if Ask.CANCEL in self.progress.asked():
            raise StepCancelledError(f"{cards.cancelled(step, self.job)}{also}")
        if error is not None and not isinstance(error, DroverError):
            raise error
        raise DroverError(
            f"{cards.failed(step, error)}{also}", cards.failed_advice(step, error)
        ) from error

    def _go_on(self, seen: tuple[Sighting, ...]) -> None:
        """A guest that its failed migration left paused goes on, unless the target knows it: then people must look."""
        step = self.step
        if not outcome.left_paused(step, _at(seen, step.source)):
            return
        if _at(seen, step.target).state is not None:
            raise StepLostError(
                cards.still_paused(step, step.source),
                cards.advice(step, cards.STUCK_ADVICE),
            )
        try:
            self.hypervisor.resume(step.source, step.uuid)
        except HypervisorError as error:
            raise StepLostError(
                cards.not_resumed(step, error), cards.not_resumed_advice(step)
            ) from error
        self._note(cards.resumed(step, step.source))


def _may_ask(step: MigrateVm, job: Job) -> tuple[Ask, ...]:
    """Cancel until the guest runs over there; post-copy where the policy has it and memory is being copied."""
    if job.phase == "post-copy":
        return ()
    ready = step.policy is Policy.POSTCOPY and job.phase == "copying"
    return (Ask.CANCEL, Ask.POSTCOPY) if ready else (Ask.CANCEL,)


class _Call:
    """libvirt's blocking call in a thread of its own; ``error`` is what it answered, None when it was content."""

    def __init__(self, hypervisor: Hypervisor, step: MigrateVm) -> None:
        self.error: Exception | None = None
        self._migrate = partial(hypervisor.migrate, step)
        # A daemon: the bot must be able to stop while it blocks; the hosts go on, and the next
        # start attaches.
        self.thread = threading.Thread(target=self._work, name=f"migrate-{step.name}", daemon=True)

    def _work(self) -> None:
        try:
            self._migrate()
        except Exception as error:  # noqa: BLE001 - kept and raised by the run, in its own thread
            self.error = error


# --- after the arrival
# --------------------------------------------------------------------------------------------


class _Arrival:
    """Carries over what libvirt does not: state, CPU scheduling, start at boot.

    Every part is tried, then judged.
    """

    def __init__(self, run: _Run) -> None:
        self._run, self._step, self._hypervisor = run, run.step, run.hypervisor
        self._problems: list[str] = []

    def facts(self, seen: tuple[Sighting, ...]) -> Facts:
        self._part(cards.STATE, lambda: self._state(_at(seen, self._step.target)))
        self._part(cards.SCHEDULER, self._scheduler)
        self._part(
            cards.AUTOSTART,
            lambda: self._autostart(left=_at(seen, self._step.source).state is not None),
        )
        found: dict[str, Fact] = {}
        self._part(cards.SCHEDULER, lambda: found.update(self._cpu()))
        if self._problems:
            raise DroverError(
                cards.arrived_but(self._step, self._problems), cards.arrived_but_advice(self._step)
            )
        return found

    def _part(self, what: str, act: Callable[[], None]) -> None:
        """One part; a silent host is waited for, a refusal is a problem to tell at the end."""
        settings, silent = self._run.settings, 0.0
        while True:
            try:
                act()
            except HostUnreachableError as error:
                if silent >= settings.unreachable_seconds:
                    self._problems.append(cards.problem(what, error.text))
                    return
                pause = max(1.0, settings.poll_seconds)
                self._run.sleep(pause)
                silent += pause
            except HypervisorError as error:
                self._problems.append(cards.problem(what, error.text))
                return
            else:
                return

    def _state(self, there: Sighting) -> None:
        """Paused stays paused and running runs; the guest is active on the target alone, so resuming is safe."""
        step, host = self._step, self._step.target
        if step.carried.paused and there.state is not VmState.PAUSED:
            self._hypervisor.pause(host, step.uuid)
        elif not outcome.runs_as_wanted(step, there):
            self._hypervisor.resume(host, step.uuid)
            self._run.progress.note(cards.resumed(step, host))
        elif there.state is VmState.PAUSED and not step.carried.paused:
            self._run.progress.note(cards.arrived_paused(step, there.paused_by))

    def _scheduler(self) -> None:
        """Set even when it reads right: after a migration libvirt can report a cap that does not hold (seen)."""
        wanted = self._apply()
        present = self._hypervisor.scheduler(self._step.target, self._step.uuid)
        if not outcome.in_force(wanted, present):
            said = cards.reads_otherwise(
                cards.scheduler_text(wanted), cards.scheduler_text(present)
            )
            self._problems.append(cards.problem(cards.SCHEDULER, said))

    def _apply(self) -> Scheduler:
        host, uuid = self._step.target, self._step.uuid
        wanted = outcome.to_apply(
            self._step.carried.scheduler, self._hypervisor.scheduler(host, uuid)
        )
        if wanted != Scheduler():
            self._hypervisor.set_scheduler(host, uuid, wanted)
        return wanted

    def _autostart(self, *, left: bool) -> None:
        """On the target as it was; a definition left on the source must not start a second copy at boot."""
        step = self._step
        if left and self._hypervisor.autostart(step.source, step.uuid):
            self._hypervisor.set_autostart(step.source, step.uuid, on=False)
        if left:
            self._run.progress.note(cards.leftover_note(step))
        if not step.carried.persistent:
            return
        if self._hypervisor.autostart(step.target, step.uuid) != step.carried.autostart:
            self._hypervisor.set_autostart(step.target, step.uuid, on=step.carried.autostart)

    def _cpu(self) -> dict[str, Fact]:
        """The cap by measured CPU: over it, it is applied once more and measured again."""
        settings, note = self._run.settings, self._run.progress.note
        check = self._measure()
        if check is not None and check.over(settings.cpu_tolerance):
            note(cards.over_cap(self._step, check.used, check.cap, again=False))
            self._apply()
            check = self._measure() or check
            if check.over(settings.cpu_tolerance):
                note(cards.over_cap(self._step, check.used, check.cap, again=True))
            if check.over(settings.cpu_broken):
                self._problems.append(
                    cards.problem(cards.SCHEDULER, cards.cap_broken(check.used, check.cap))
                )
        if check is None:
            return {}
        return {
            cards.CORES_USED: Number(round(check.used, 2), 2),
            cards.CORES_ALLOWED: Number(round(check.cap, 2), 2),
        }

    def _measure(self) -> _CpuCheck | None:
        return _measured(self._run.settings, self._run.sleep, self._step, self._hypervisor)
