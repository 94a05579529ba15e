"""Moves a VM, follows the move, and trusts nothing but the VM's state on both hosts. Impure.

Time is counted by what was slept and by the job's own clock, whichever is more: it is right after a
restart of the bot, and it never runs ahead of the migration.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from bot.domain.cluster import Job, Sighting
from bot.domain.errors import (
    DroverError,
    HostUnreachableError,
    HypervisorError,
    StepCancelledError,
    StepLostError,
)
from bot.domain.message import (
    Argument,
    Duration,
    Message,
    Names,
    Percent,
    Rate,
    Size,
    join,
    words,
)
from bot.domain.operation import Ask, Fact, Facts
from bot.domain.steps import MigrateVm, MigrationPolicy
from bot.plugin_api import Settled
from bot.ports import ClusterReader, Hypervisor, Migrations, Progress
from bot.ports.guests import Volume
from plugins.migrate import losses, outcome
from plugins.migrate.arrival import Arrival, Sleep, measure_cpu, note_resumed, unless_removed
from plugins.migrate.case import as_code
from plugins.migrate.escalation import Convergence, Measure, next_measure
from plugins.migrate.forecast import patience
from plugins.migrate.outcome import Place
from plugins.migrate.settings import MigrateSettings

LOST = frozenset(
    {
        Place.TWICE,
        Place.ELSEWHERE,
        Place.NOWHERE,
        Place.CROSSING,
        Place.POSTCOPY_FAILED,
        Place.DEAD,
        Place.UNKNOWN,
    }
)
"""Outcomes that people must look at."""
DOUBTFUL = frozenset({Place.TWICE, Place.ELSEWHERE, Place.NOWHERE, Place.DEAD})
LOOK_AGAIN = 5.0  # seconds between looks at a migration without progress
# Seconds: hosts are not asked at one instant, and a VM may change sides in between
SECOND_LOOK = 1.0
FACTS = (
    words("took"),
    words("sent"),
    words("passes"),
    words("throttle"),
    words("pause"),
    words("cores used"),
    words("cores allowed"),
    words("old disks"),
)
"""The names of the facts of a step, which are labels, for translation."""


# --- settle


def settle(
    settings: MigrateSettings, sleep: Sleep, step: MigrateVm, hypervisor: Hypervisor
) -> Settled:
    """Look at the hosts, and change nothing.

    DONE: the VM is on the target alone and has all it must carry. NOT_YET: ``run`` has work to do.
    A VM whose CPU is limited is measured for ``cpu_check_seconds``, because a limit can read right
    and not hold. NOT_YET too while a migration is under way (``run`` attaches to it) and when the
    VM is shut off, runs twice, is on neither host, or was torn apart by post-copy (``run`` says
    so), after a second look.

    Raises:
        HostUnreachableError: source or target does not answer, so that nobody can know yet; ask
            again later.
    """
    place, seen = _look(step, hypervisor)
    if place in DOUBTFUL:
        sleep(SECOND_LOOK)
        place, seen = _look(step, hypervisor)
    if place is Place.UNKNOWN:
        raise HostUnreachableError(*losses.unknown_text(step, seen))
    if place is not Place.TARGET:
        return Settled.NOT_YET
    done = _all_in_place(step, hypervisor, seen) and not _limit_broken(
        settings, sleep, step, hypervisor
    )
    return Settled.DONE if done else Settled.NOT_YET


def _look(step: MigrateVm, hypervisor: ClusterReader) -> tuple[Place, tuple[Sighting, ...]]:
    """Where the VM is, and what each host said."""
    try:
        seen = hypervisor.sightings(step.uuid)
    except HostUnreachableError:
        seen = (Sighting(step.source, reachable=False), Sighting(step.target, reachable=False))
    return outcome.place(step, seen), seen


def _at(seen: tuple[Sighting, ...], host: str) -> Sighting:
    return next(each for each in seen if each.host == host)


def _all_in_place(step: MigrateVm, hypervisor: Hypervisor, seen: tuple[Sighting, ...]) -> bool:
    """Check that the target has all that was carried, and the source starts no copy at boot."""
    if not outcome.runs_as_wanted(step, _at(seen, step.target)):
        return False
    if not outcome.in_force(step.carried.scheduler, hypervisor.scheduler(step.target, step.uuid)):
        return False
    if (
        step.carried.persistent
        and hypervisor.autostart(step.target, step.uuid) != step.carried.autostart
    ):
        return False
    if _at(seen, step.source).state is not None:
        with unless_removed():
            return not hypervisor.autostart(step.source, step.uuid)
    return True


def _limit_broken(
    settings: MigrateSettings, sleep: Sleep, step: MigrateVm, hypervisor: Hypervisor
) -> bool:
    use = measure_cpu(settings, sleep, step, hypervisor)
    return use is not None and use.over(settings.cpu_broken)


# --- run


def run(
    settings: MigrateSettings, step: MigrateVm, hypervisor: Hypervisor, progress: Progress
) -> Facts:
    """Move the VM, or follow a move that is under way.

    Return only when the VM is on the target with all it carries.

    Returns:
        ``took``, and where known ``sent``, ``passes``, ``throttle``, ``pause``, ``cores_used`` and
        ``cores_allowed`` as measured after the arrival, and ``old_disks`` that a copy left.

    Raises:
        StepCancelledError: a person asked, and the VM is on the source as before.
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
    convergence: Convergence = field(default_factory=Convergence)
    waited: float = 0.0
    # What the job last showed of its progress, and since when it has shown just that
    shown: object = ()
    shown_at: float = 0.0
    look_at: float = 0.0  # when both hosts are looked at next, because nothing moves
    gave_up: Message = ""
    noted: set[Message] = field(default_factory=set)

    def facts(self) -> Facts:
        place, seen = self._where()
        if place in (Place.SOURCE, Place.CROSSING):
            self._begin(place, seen)
            self._watch()
            place, seen = self._outcome()
        if place is not Place.TARGET:
            self._not_there(place, seen)
        if Ask.CANCEL in self.progress.asks():
            self._note(
                words(
                    "Cancel came too late: {vm} was already on {target}.",
                    vm=self.step.name,
                    target=self.step.target,
                )
            )
        if self.call and self.call.error:
            self._note(
                words(
                    "libvirt answered with an error, but {vm} runs on {target}: {error}",
                    vm=self.step.name,
                    target=self.step.target,
                    error=_text(self.call.error),
                )
            )
        behind = self._old_disks()
        arrival = Arrival(self.settings, self.step, self.hypervisor, self.progress, self.sleep)
        source, target = _at(seen, self.step.source), _at(seen, self.step.target)
        return {**self._measures(), **arrival.complete(source, target), **behind}

    def _old_disks(self) -> dict[str, Fact]:
        left = self._left_by_copy(self.step.source)
        if not left:
            return {}
        return {
            "old_disks": words("{volumes} on {host}", volumes=_volumes(left), host=self.step.source)
        }

    def _measures(self) -> dict[str, Fact]:
        found: dict[str, Fact] = {"took": Duration(round(self.now(), 1))}
        job, complete = self._last_job()
        if job is None:
            return found
        found["sent"] = Size(job.processed)
        found["passes"] = job.iteration
        if job.throttle:
            found["throttle"] = Percent(job.throttle / 100)
        if complete and job.expected_downtime is not None:
            found["pause"] = Duration(job.expected_downtime)
        return found

    def _last_job(self) -> tuple[Job | None, bool]:
        """The statistics of the migration, and whether they are its last; else the last look."""
        try:
            last = self.hypervisor.last_job(self.step.target, self.step.uuid)
        except HypervisorError as error:
            self._note(
                words("Could not read the statistics of the migration: {error}", error=_text(error))
            )
            last = None
        return (last, True) if last is not None else (self.job, False)

    # --- looking

    def now(self) -> float:
        """Seconds since the migration began, as far as is known."""
        return max(self.waited, self.job.elapsed if self.job else 0.0)

    def sleep(self, seconds: float) -> None:
        self.progress.sleep(seconds)
        self.waited += seconds

    def _note(self, text: Message) -> None:
        """Put a line into the audit trail, once."""
        if text not in self.noted:
            self.noted.add(text)
            self.progress.note(text)

    def _where(self) -> tuple[Place, tuple[Sighting, ...]]:
        """Where the VM is; waits for unreachable hosts, looks twice at what cannot be.

        And at a definition that is still on the source: libvirt removes it after the VM's arrival,
        and a migration that is followed has no answer to wait for.
        """
        place, seen = self._wait_for_answers()
        left = place is Place.TARGET and _at(seen, self.step.source).state is not None
        if place in DOUBTFUL or left:
            self.sleep(SECOND_LOOK)
            place, seen = self._wait_for_answers()
        return place, seen

    def _wait_for_answers(self) -> tuple[Place, tuple[Sighting, ...]]:
        """Look until source and target answer; UNKNOWN when one is unreachable for too long."""
        unreachable = 0.0
        while True:
            place, seen = _look(self.step, self.hypervisor)
            if place is not Place.UNKNOWN or unreachable >= self.settings.unreachable_seconds:
                return place, seen
            self.progress.say(
                words(
                    "Waiting for a host to answer. {vm}: {sightings}.",
                    vm=self.step.name,
                    sightings=losses.sightings_text(seen),
                )
            )
            pause = max(1.0, self.settings.poll_seconds)
            self.sleep(pause)
            unreachable += pause

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
            return None  # the VM has just left the source: both hosts are looked at afterwards
        if job is not None:
            self.job = job
        return job

    # --- starting and following

    def _begin(self, place: Place, seen: tuple[Sighting, ...]) -> None:
        """Follow a migration under way (libvirtd continues when the bot dies), or start one."""
        job = self._job_or_none()
        if job is not None or place is Place.CROSSING:
            self._note(
                words(
                    "The migration of {vm} to {target} is already under way; following it.",
                    vm=self.step.name,
                    target=self.step.target,
                )
            )
            return
        if Ask.CANCEL in self.progress.asks():
            self._resume_left_paused(seen)  # the bot may have died after a failure, before it could
            raise StepCancelledError(
                words(
                    "Cancelled before it began. {vm} is still on {source}.",
                    vm=self.step.name,
                    source=self.step.source,
                )
            )
        self._refuse_to_overwrite()
        self.progress.say(words("Starting: {step}…", step=self.step.title))
        self.call = _Call(self.hypervisor, self.step)
        self.call.thread.start()

    def _refuse_to_overwrite(self) -> None:
        """Check once more that there is nothing where copies would be made."""
        if not self.step.copy_storage:
            return
        if there := self.hypervisor.copied_volumes(self.step, self.step.target):
            raise DroverError(
                words(
                    "{vm} was not moved: {target} already has {volumes}.",
                    vm=self.step.name,
                    target=self.step.target,
                    volumes=_volumes(there),
                ),
                words(
                    "Drover never copies over an existing file. It may be left from an earlier "
                    "attempt, or belong to another VM: check it first."
                ),
                code="would-overwrite",
            )

    def _left_by_copy(self, host: str) -> tuple[Volume, ...]:
        """What the copying of disks left on a host.

        Old disks on the source, parts of new ones on the target. It is named and never
        removed: a directory that both hosts see may show the disk itself.
        """
        if not self.step.copy_storage:
            return ()
        try:
            return self.hypervisor.copied_volumes(self.step, host)
        except HypervisorError as error:
            self._note(
                words(
                    "Could not check what the copy of {vm} left on {host}: {error}",
                    vm=self.step.name,
                    host=host,
                    error=error.text,
                )
            )
            return ()

    def _job_or_none(self) -> Job | None:
        try:
            return self._ask_job()
        except HostUnreachableError:
            return None

    def _watch(self) -> None:
        """Follow until libvirt has answered, or the source is unreachable for too long.

        Of a migration that something else started: until no job is left.
        """
        unreachable = 0.0
        while unreachable < self.settings.unreachable_seconds:
            try:
                job = self._ask_job()
                unreachable = 0.0
            except HostUnreachableError:
                job = None
                unreachable += self.settings.poll_seconds
            if self._over(job, unreachable):
                return
            self._tend(job)
            self._ask_when_still(job)
            self.sleep(self.settings.poll_seconds)

    def _ask_when_still(self, job: Job | None) -> None:
        """Tell people of a migration without progress, and at last leave it to them.

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
        if place is Place.DEAD:
            place, seen = self._where()
        if place is Place.DEAD:
            raise losses.loss_error(self.step, place, seen)
        switched = self.convergence.switched or (job is not None and job.phase == "post-copy")
        self.progress.say(
            losses.stillness_text(self.step, seen, Duration(still), switched=switched)
        )
        self._note(words("The migration made no progress for a long time."))
        if still > self.settings.still_limit_seconds and place in (Place.SOURCE, Place.CROSSING):
            raise losses.stall_error(self.step, seen, switched=switched)

    def _over(self, job: Job | None, unreachable: float) -> bool:
        if self.call is not None:
            return not self.call.thread.is_alive()
        return job is None and not unreachable

    def _tend(self, job: Job | None) -> None:
        """Show a job, do what people ask of it, help it to converge."""
        if job is None:
            self.progress.report(self._between(), (Ask.CANCEL,))
            return
        self.progress.report(job, _may_ask(self.step, job))
        if job.phase == "post-copy":
            self.convergence = replace(self.convergence, switched=True)
        if self.gave_up or Ask.CANCEL in self.progress.asks():
            self._cancel(job)
            return
        if Ask.POSTCOPY in self.progress.asks() and Ask.POSTCOPY in _may_ask(self.step, job):
            self._switch()
        elif job.phase == "copying":
            self._help(job)

    def _between(self) -> Job:
        """What to show while libvirt has not answered and no job is active."""
        if self.job is None:
            return Job("setup", elapsed=self.waited)
        return replace(self.job, phase="finishing", remaining=0)

    def _cancel(self, job: Job) -> None:
        """Cancel at each look until it ends: there may be nothing to cancel yet."""
        if job.phase == "post-copy":
            self._note(
                words(
                    "Cancel is no longer possible: {vm} already runs on {target} and is fetching "
                    "its memory.",
                    vm=self.step.name,
                    target=self.step.target,
                )
            )
            return
        self._request(words("Cancel"), partial(self.hypervisor.cancel_job, *self._whose()))

    def _whose(self) -> tuple[str, str]:
        """The job's host and VM."""
        return self.step.source, self.step.uuid

    def _request(self, what: Message, ask: Callable[[], None]) -> bool:
        """Ask the hypervisor for something, and return whether it did it.

        If not, the refusal is noted and the next look decides.
        """
        try:
            ask()
        except HypervisorError as error:
            self._note(words("{what} failed: {error}", what=what, error=_text(error)))
            return False
        return True

    # --- a migration that does not converge

    def _help(self, job: Job) -> None:
        """Take the next measure of the policy, when it is time for one."""
        now = self.now()
        self.convergence = self.convergence.after(job, now)
        waits = patience(self.settings, max(self.step.memory, job.total), self.step.bandwidth)
        measure = next_measure(self.settings, self.step, self.convergence, waits, now)
        if measure is Measure.POSTCOPY:
            self._switch()
        elif measure is Measure.RAISE_DOWNTIME:
            self._raise_downtime(now)
        elif measure is Measure.PAUSE:
            self._pause(now)
        elif measure is Measure.GIVE_UP:
            self.gave_up = _why_given_up(
                self.step, job, stalled=self.convergence.is_stalled(waits, now)
            )
            self._cancel(job)

    def _switch(self) -> None:
        if self.convergence.switched:
            return
        if self._request(
            words("Switch to post-copy"), partial(self.hypervisor.start_postcopy, *self._whose())
        ):
            self.convergence = replace(self.convergence, switched=True)
            self._note(
                words(
                    "Switched to post-copy: {vm} now runs on {target}.",
                    vm=self.step.name,
                    target=self.step.target,
                )
            )

    def _raise_downtime(self, now: float) -> None:
        allowed = self.settings.downtime_steps_ms[self.convergence.raised]
        self.convergence = replace(
            self.convergence, raised=self.convergence.raised + 1, acted_at=now
        )
        if self._request(
            words("Allow a longer pause"),
            partial(self.hypervisor.raise_downtime, *self._whose(), allowed),
        ):
            self._note(
                words(
                    "It does not converge: allowing a pause of {pause} at the end.",
                    pause=Duration(allowed / 1000),
                )
            )

    def _pause(self, now: float) -> None:
        self.convergence = replace(self.convergence, paused=True, acted_at=now)
        if self.step.carried.paused:
            return
        if self._request(words("Pause the VM"), partial(self.hypervisor.pause, *self._whose())):
            self._note(
                words(
                    "It does not converge: pausing {vm} until the rest is copied.",
                    vm=self.step.name,
                )
            )

    # --- the outcome

    def _outcome(self) -> tuple[Place, tuple[Sighting, ...]]:
        """Where the VM is once both hosts agree, whatever libvirt answered.

        A job that is still active is followed.
        """
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
                self.progress.say(
                    words(
                        "Copying is done; waiting for {source} and {target} to agree.",
                        source=self.step.source,
                        target=self.step.target,
                    )
                )
            self.sleep(self.settings.poll_seconds)

    def _not_there(self, place: Place, seen: tuple[Sighting, ...]) -> None:
        """Raise what is true instead."""
        step = self.step
        if place in LOST:
            raise losses.loss_error(step, place, seen)
        if place is Place.SOURCE_OFF:
            raise DroverError(
                words(
                    "{vm} powered off on {source} during the migration; it was not moved.",
                    vm=step.name,
                    source=step.source,
                ),
                words("Find the cause in its log. Start it when you want it to run."),
                code="vm-off",
            )
        if place is Place.TARGET_OFF:
            raise DroverError(
                words(
                    "{vm} was moved to {target} and powered off there.",
                    vm=step.name,
                    target=step.target,
                ),
                words("Find the cause in its log. Start it when you want it to run."),
                code="vm-off",
            )
        self._still_on_source(seen)

    def _still_on_source(self, seen: tuple[Sighting, ...]) -> None:
        """Raise why the VM is on the source as before."""
        self._resume_left_paused(seen)
        step, error = self.step, self.call.error if self.call else None
        also = self._left_by_failed_copy()
        if self.gave_up:
            raise DroverError(
                join((self.gave_up, also)), _given_up_advice(step.policy), code="given-up"
            )
        if Ask.CANCEL in self.progress.asks():
            raise StepCancelledError(join((_cancellation(step, self.job), also)))
        if error is not None and not isinstance(error, DroverError):
            raise error
        raise DroverError(
            join((_failure(step, error), also)), _failure_advice(step, error), code="not-moved"
        ) from error

    def _left_by_failed_copy(self) -> Message:
        left = self._left_by_copy(self.step.target)
        if not left:
            return ""
        return words(
            "Incomplete copies are left on {target}: {volumes}.",
            target=self.step.target,
            volumes=_volumes(left),
        )

    def _resume_left_paused(self, seen: tuple[Sighting, ...]) -> None:
        """Resume a VM that its failed migration left paused.

        Not if the target has it too: then people must look.
        """
        step = self.step
        if not outcome.left_paused(step, _at(seen, step.source)):
            return
        if _at(seen, step.target).state is not None:
            raise StepLostError(
                words(
                    "{vm} is paused on {source} and was not resumed, because {target} also has "
                    "this VM.",
                    vm=step.name,
                    source=step.source,
                    target=step.target,
                ),
                losses.half_moved_advice(step),
                code="left-paused",
            )
        try:
            self.hypervisor.resume(step.source, step.uuid)
        except HypervisorError as error:
            raise StepLostError(
                words(
                    "{vm} was not moved, and is left paused on {source}: {error}",
                    vm=step.name,
                    source=step.source,
                    error=error.text,
                ),
                words(
                    "Check that {target} does not have it ({where}), then resume it: {resume}.",
                    target=step.target,
                    where=as_code("/kvm where {}", step.name),
                    resume=as_code("/kvm vm resume {}", step.name),
                ),
                code="not-resumed",
            ) from error
        note_resumed(self.progress, step, step.source)


def _text(error: Exception) -> Message:
    """What an error says, with its advice."""
    if isinstance(error, DroverError):
        return join((error.text, error.advice))
    return str(error)


def _volumes(volumes: Sequence[Volume]) -> Names:
    """``pool/name (64 MiB)``."""
    listed = (
        words(
            "{pool}/{volume} ({size})",
            pool=each.pool,
            volume=each.name,
            size=Size(each.capacity),
        )
        for each in volumes
    )
    return Names(tuple(listed))


def _why_given_up(step: MigrateVm, job: Job, *, stalled: bool) -> Message:
    """What the migration came to; ``stalled``: it made no progress, else it took too long."""
    given: dict[str, Argument] = {
        "vm": step.name,
        "source": step.source,
        "time": Duration(job.elapsed),
        "left": Size(job.remaining),
    }
    if stalled:
        what = words(
            "Gave up moving {vm} after {time}: no progress for too long, {left} left. It stays on "
            "{source}.",
            **given,
        )
    else:
        what = words(
            "Gave up moving {vm} after {time}: it took too long, {left} left. It stays on "
            "{source}.",
            **given,
        )
    if not (job.dirty_rate and job.rate):
        return what
    rates = words(
        "The VM writes {dirty}, the network carries {rate}.",
        dirty=Rate(job.dirty_rate),
        rate=Rate(job.rate),
    )
    return join((what, rates))


def _given_up_advice(policy: MigrationPolicy) -> Message:
    if policy is MigrationPolicy.SAFE:
        return words(
            "Try again at a quieter time, without a bandwidth limit, or with `--policy fast` "
            "(which may pause it)."
        )
    return words(
        "Try again at a quieter time, or raise the bandwidth limit or the times in "
        "`[plugins.migrate]`."
    )


def _cancellation(step: MigrateVm, job: Job | None) -> Message:
    """How far it had come."""
    if job is None or not job.total:
        return words(
            "The migration was cancelled; {vm} is still on {source}.",
            vm=step.name,
            source=step.source,
        )
    return words(
        "The migration was cancelled at {share}; {vm} is still on {source}.",
        share=Percent(job.fraction),
        vm=step.name,
        source=step.source,
    )


def _failure(step: MigrateVm, error: DroverError | None) -> Message:
    """Libvirt refused, or the job ended by itself."""
    if error is None:
        return words(
            "{vm} was not moved and is still on {source}: the migration ended without an error, or "
            "was stopped outside Drover.",
            vm=step.name,
            source=step.source,
        )
    return words(
        "{vm} was not moved and is still on {source}: {error}",
        vm=step.name,
        source=step.source,
        error=error.text,
    )


def _failure_advice(step: MigrateVm, error: DroverError | None) -> Message:
    # An error that lost the connection does not know what both hosts have said since
    if error and error.advice and not isinstance(error, HostUnreachableError):
        return error.advice
    return words(
        "See the libvirt logs of {source} and {target}. Check that {source} reaches {target}.",
        source=step.source,
        target=step.target,
    )


def _may_ask(step: MigrateVm, job: Job) -> tuple[Ask, ...]:
    """Cancel until the VM runs on the target; post-copy by its policy, while memory is copied."""
    if job.phase == "post-copy":
        return ()
    ready = step.policy is MigrationPolicy.POSTCOPY and job.phase == "copying"
    return (Ask.CANCEL, Ask.POSTCOPY) if ready else (Ask.CANCEL,)


class _Call:
    """libvirt's blocking call in a thread of its own; ``error`` is what it raised, or None."""

    def __init__(self, hypervisor: Migrations, step: MigrateVm) -> None:
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
