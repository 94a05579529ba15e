"""The move itself, on a cluster in memory: reported as it is, stopped, cut, killed and repeated at every point."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from bot.domain.cluster import GIB, MIB, Disk, Job, Pool, Scheduler, Vm, VmDetail, VmState
from bot.domain.errors import (
    DroverError,
    HostUnreachableError,
    HypervisorError,
    StepCancelledError,
    StepLostError,
)
from bot.domain.message import Duration, Message, Number, Size
from bot.domain.operation import Ask, Fact, Facts
from bot.domain.plan import Plan
from bot.domain.steps import MigrateVm, MigrationPolicy
from bot.plugin_api import Settled
from bot.ports.guests import Volume
from bot.testing import Ending, FakeHypervisor, TickingClock, draw_cluster, uuid_of
from plugins.migrate import handler, planner
from plugins.migrate.grammar import Migrate
from plugins.migrate.settings import MigrateSettings

UUID = uuid_of("web-1")
CAP = Scheduler(vcpu_period=100_000, vcpu_quota=30_000)
SETTINGS = MigrateSettings(
    seconds_per_gib=60,
    stall_seconds=5,
    rung_seconds=2,
    paused_seconds=20,
    settle_seconds=3,
    unreachable_seconds=20,
    still_seconds=10,
    still_limit_seconds=40,
)
TICKS_A_POLL = 2  # of 0.25 s in the fake's migration, for each 0.5 s that the handler sleeps


class Lab(FakeHypervisor):
    """A cluster whose migrations go on only while the handler sleeps, so that every run is the same."""

    def __init__(
        self,
        drawing: str,
        *,
        network: float = 100.0 * MIB,
        change: Callable[[Vm], Vm] = lambda vm: vm,
    ) -> None:
        seen = draw_cluster(drawing)
        vms = tuple(change(vm) if vm.name == "web-1" else vm for vm in seen.vms)
        self.initial = replace(seen, vms=vms)
        self.clock = TickingClock()
        super().__init__(self.initial, self.clock, network=network)
        self.turns = threading.Condition()
        self.granted = 0
        self.waiting = False
        self.during = self._wait_for_turn
        self.at_tick: Callable[[Job], None] = lambda _: None

    @property
    def moving(self) -> bool:
        """Whether a migration is still being carried out."""
        return any(each.name.startswith("migrate-") for each in threading.enumerate())

    def pass_time(self, ticks: int) -> None:
        """Let the migrations do so many ticks, and wait until they have or have ended."""
        with self.turns:
            self.granted += ticks
            self.turns.notify_all()
            for _ in range(5000):
                if not self.moving or (self.waiting and not self.granted):
                    break
                self.turns.wait(0.002)  # nobody reports an end
            else:
                pytest.fail("the migration's thread hangs")
            if not self.moving:
                self.granted = 0

    def finish(self) -> None:
        """Let the migrations come to their end."""
        while self.moving:
            self.pass_time(4)

    def _wait_for_turn(self, _move: MigrateVm, job: Job) -> None:
        with self.turns:
            self.waiting = True
            self.turns.notify_all()
            assert self.turns.wait_for(lambda: self.granted, timeout=60), "nobody lets time pass"
            self.granted -= 1
            self.waiting = False
        self.at_tick(job)

    # What tests ask.

    def active_on(self) -> list[str]:
        return [each.host for each in self.sightings(UUID) if each.state and each.state.active]

    def state_on(self, host: str) -> VmState | None:
        return next(each.state for each in self.sightings(UUID) if each.host == host)

    def count(self, method: str) -> int:
        return sum(call[0] == method for call in self.calls)


@dataclass
class RecordedProgress:
    """The port ``Progress``: remembers, and lets the cluster's time pass while the handler sleeps."""

    lab: Lab
    pressed: set[Ask] = field(default_factory=set)
    jobs: list[tuple[Job, frozenset[Ask]]] = field(default_factory=list)
    said: list[Message] = field(default_factory=list)
    notes: list[Message] = field(default_factory=list)
    at_report: Callable[[Job], None] = lambda _: None

    def report(self, job: Job, asks: Collection[Ask] = ()) -> None:
        self.jobs.append((job, frozenset(asks)))
        self.at_report(job)

    def say(self, text: Message) -> None:
        self.said.append(text)

    def note(self, text: Message) -> None:
        self.notes.append(text)

    def asks(self) -> frozenset[Ask]:
        return frozenset(self.pressed)

    def sleep(self, seconds: float) -> None:
        self.lab.clock.sleep(seconds)
        self.lab.pass_time(TICKS_A_POLL)


THREE = "host-a 8cpu 16G | web-1 1G 2cpu {words}\nhost-b 8cpu 16G\nhost-c 8cpu 16G"


def lab(words: str = "", **options: Any) -> Lab:
    return Lab(THREE.format(words=words), **options)


def step_for(cluster: Lab, **intent: Any) -> MigrateVm:
    plan = planner.plan(SETTINGS, Migrate("web-1", "host-b", **intent), cluster.initial, ())
    assert isinstance(plan, Plan), plan
    (step,) = plan.steps
    assert isinstance(step, MigrateVm)
    return step


def migrating(cluster: Lab, step: MigrateVm) -> None:
    """A migration that libvirtd carries out for nobody."""
    threading.Thread(
        target=cluster.migrate, args=(step,), name="migrate-elsewhere", daemon=True
    ).start()


def instead(cluster: Lab, method: str, act: Callable[..., Any]) -> None:
    """Have one of its methods do something else."""
    vars(cluster)[method] = act


def seconds(fact: Fact) -> float:
    assert isinstance(fact, Duration)
    return fact.seconds


def size(fact: Fact) -> float:
    assert isinstance(fact, Size)
    return fact.bytes


def number(fact: Fact) -> float:
    assert isinstance(fact, Number)
    return fact.value


def run(
    cluster: Lab, step: MigrateVm, progress: RecordedProgress | None = None, **changed: Any
) -> Facts:
    settings = SETTINGS.model_copy(update=changed)
    return handler.run(settings, step, cluster, progress or RecordedProgress(cluster))


def settle(cluster: Any, step: MigrateVm) -> Settled:
    inner = cluster if isinstance(cluster, Lab) else cluster.inner
    return handler.settle(SETTINGS, inner.clock.sleep, step, cluster)


def arrived(cluster: Lab, step: MigrateVm) -> None:
    """What must be true after every success."""
    assert cluster.active_on() == ["host-b"]
    assert cluster.state_on("host-a") is None
    assert settle(cluster, step) is Settled.DONE


# --- a plain move
# -------------------------------------------------------------------------------------------------


def test_a_vm_moves_and_its_progress_is_reported() -> None:
    cluster = lab("dirty 10M")
    step, progress = step_for(cluster), RecordedProgress(cluster)
    assert settle(cluster, step) is Settled.NOT_YET
    facts = run(cluster, step, progress)
    arrived(cluster, step)
    assert cluster.count("migrate") == 1
    assert size(facts["sent"]) >= 1024 * MIB * 0.9
    assert seconds(facts["took"]) >= 10
    copying = [job for job, _ in progress.jobs if job.phase == "copying"]
    assert copying[0].fraction < 0.2
    assert max(job.fraction for job in copying) > 0.7
    assert all(asks == {Ask.CANCEL} for _, asks in progress.jobs)


def test_autostart_is_carried_over() -> None:
    cluster = lab("autostart")
    step = step_for(cluster)
    run(cluster, step)
    arrived(cluster, step)
    assert cluster.autostart("host-b", UUID)


def test_a_transient_vm_has_no_autostart_to_carry() -> None:
    cluster = lab("transient")
    step = step_for(cluster)
    run(cluster, step)
    arrived(cluster, step)
    assert cluster.count("set_autostart") == 0


def test_a_vm_that_a_person_paused_arrives_paused() -> None:
    cluster = lab("paused")
    step = step_for(cluster)
    run(cluster, step)
    arrived(cluster, step)
    assert cluster.state_on("host-b") is VmState.PAUSED


def test_a_vm_that_a_person_paused_but_that_arrived_running_is_paused_again() -> None:
    cluster = lab("paused")
    step = step_for(cluster)
    cluster.at_tick = lambda _: cluster._turn("host-a", UUID, VmState.RUNNING, "")
    run(cluster, step)
    assert cluster.state_on("host-b") is VmState.PAUSED


def test_a_cap_is_set_again_though_it_reads_right_and_is_measured() -> None:
    cluster = lab("load 2", change=lambda vm: replace(vm, scheduler=CAP))
    step = step_for(cluster)
    facts = run(cluster, step)
    arrived(cluster, step)
    assert cluster.count("set_scheduler") == 1
    assert facts["cores_allowed"] == Number(0.6, 2)
    assert number(facts["cores_used"]) == pytest.approx(0.6, abs=0.05)


def test_a_cap_that_reads_right_but_does_not_hold_is_not_done() -> None:
    cluster = lab("load 2", change=lambda vm: replace(vm, scheduler=CAP))
    step = step_for(cluster)
    cluster.refuse("set_scheduler", "the cgroup is gone", times=1)
    with pytest.raises(DroverError, match="CPU scheduling: the cgroup is gone"):
        run(cluster, step)
    assert cluster.active_on() == ["host-b"]
    assert cluster.scheduler("host-b", UUID).vcpu_quota == 30_000


def test_a_crash_between_arrival_and_the_cap_is_found_by_measuring() -> None:
    cluster = lab("load 2", change=lambda vm: replace(vm, scheduler=CAP))
    step = step_for(cluster)
    migrating(cluster, step)
    cluster.finish()
    assert cluster.scheduler("host-b", UUID).vcpu_quota == 30_000
    assert settle(cluster, step) is Settled.NOT_YET
    run(cluster, step)
    arrived(cluster, step)


def test_a_cap_that_never_holds_is_said_after_a_second_try(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = lab("load 2", change=lambda vm: replace(vm, scheduler=CAP))
    step, progress = step_for(cluster), RecordedProgress(cluster)
    monkeypatch.setattr(
        cluster, "set_scheduler", lambda *_: cluster.calls.append(("set_scheduler",))
    )
    with pytest.raises(DroverError, match="the limit does not hold"):
        run(cluster, step, progress)
    assert cluster.count("set_scheduler") == 2
    assert len([note for note in progress.notes if "with a limit of 0.60" in str(note)]) == 2


# --- what people ask
# ----------------------------------------------------------------------------------------------


def test_cancel_before_anything_began() -> None:
    cluster = lab()
    with pytest.raises(StepCancelledError, match="Cancelled before it began"):
        run(cluster, step_for(cluster), RecordedProgress(cluster, {Ask.CANCEL}))
    assert cluster.count("migrate") == 0


def test_cancel_in_the_middle() -> None:
    cluster = lab()
    progress = RecordedProgress(cluster)
    progress.at_report = lambda job: (
        progress.pressed.add(Ask.CANCEL) if job.fraction > 0.4 else None
    )
    with pytest.raises(StepCancelledError, match=r"cancelled at \d\d%; web-1 is still on host-a"):
        run(cluster, step_for(cluster), progress)
    assert cluster.active_on() == ["host-a"]
    assert cluster.state_on("host-a") is VmState.RUNNING


def test_cancel_that_is_asked_as_soon_as_it_starts() -> None:
    cluster = lab()
    progress = RecordedProgress(cluster)
    progress.at_report = lambda _: progress.pressed.add(Ask.CANCEL)
    with pytest.raises(StepCancelledError):
        run(cluster, step_for(cluster), progress)
    assert cluster.active_on() == ["host-a"]


def test_cancel_is_repeated_until_it_takes() -> None:
    cluster = lab()
    progress = RecordedProgress(cluster)
    progress.at_report = lambda _: progress.pressed.add(Ask.CANCEL)
    cluster.refuse("cancel_job", "no job is active", times=3)
    with pytest.raises(StepCancelledError):
        run(cluster, step_for(cluster), progress)
    assert cluster.count("cancel_job") == 1  # the one that was not refused
    assert len([note for note in progress.notes if "no job is active" in str(note)]) == 1


def test_cancel_that_comes_too_late_is_reported_and_the_move_stands() -> None:
    cluster = lab()
    step, progress = step_for(cluster), RecordedProgress(cluster)
    cluster.refuse("cancel_job", "too late", times=1000)
    progress.at_report = lambda job: (
        progress.pressed.add(Ask.CANCEL) if job.fraction > 0.8 else None
    )
    run(cluster, step, progress)
    arrived(cluster, step)
    assert any("Cancel came too late" in str(note) for note in progress.notes)


def test_postcopy_is_offered_and_done_only_by_its_policy() -> None:
    cluster = lab("dirty 500M")
    step, progress = step_for(cluster, policy=MigrationPolicy.POSTCOPY), RecordedProgress(cluster)
    progress.at_report = lambda job: (
        progress.pressed.add(Ask.POSTCOPY) if job.fraction > 0.3 else None
    )
    run(cluster, step, progress)
    arrived(cluster, step)
    assert cluster.count("start_postcopy") == 1
    offered = {job.phase: asks for job, asks in progress.jobs}
    assert offered["copying"] == {Ask.CANCEL, Ask.POSTCOPY}
    assert offered["post-copy"] == frozenset()


def test_postcopy_asked_of_another_policy_is_not_done() -> None:
    cluster = lab()
    step = step_for(cluster)
    run(cluster, step, RecordedProgress(cluster, {Ask.POSTCOPY}))
    arrived(cluster, step)
    assert cluster.count("start_postcopy") == 0


def test_cancel_in_postcopy_is_refused_and_reported_once() -> None:
    cluster = lab("dirty 500M")
    step, progress = (
        step_for(cluster, policy=MigrationPolicy.POSTCOPY),
        RecordedProgress(cluster, {Ask.POSTCOPY}),
    )
    progress.at_report = lambda job: (
        progress.pressed.add(Ask.CANCEL) if job.phase == "post-copy" else None
    )
    run(cluster, step, progress)
    arrived(cluster, step)
    assert cluster.count("cancel_job") == 0
    assert (
        len([note for note in progress.notes if "Cancel is no longer possible" in str(note)]) == 1
    )


# --- migrations that do not converge
# ---------------------------------------------------------------------------------------------------

WILD = "dirty 90G"  # beyond what the fake's throttle can tame on a network of 100 MiB/s


def test_safe_gives_up_and_says_why() -> None:
    cluster = lab(WILD)
    with pytest.raises(
        DroverError, match=r"Gave up moving web-1 after .* stays on host-a"
    ) as error:
        run(cluster, step_for(cluster))
    assert not isinstance(error.value, StepCancelledError)
    assert "--policy fast" in str(error.value.advice)
    assert cluster.active_on() == ["host-a"]
    assert cluster.count("raise_downtime") == cluster.count("pause") == 0


def test_fast_allows_longer_pauses_and_then_pauses_and_the_vm_runs_in_the_end() -> None:
    cluster = lab(WILD)
    step, progress = step_for(cluster, policy=MigrationPolicy.FAST), RecordedProgress(cluster)
    cluster.at_tick = lambda _: _quiet_when_paused(cluster)
    run(cluster, step, progress)
    arrived(cluster, step)
    assert cluster.state_on("host-b") is VmState.RUNNING
    done = [note for note in progress.notes if "does not converge" in str(note)]
    assert ["pausing" in str(note) for note in done] == [False] * len(
        SETTINGS.downtime_steps_ms
    ) + [True]


def test_fast_gives_up_when_even_the_pause_does_not_help_and_the_vm_goes_on() -> None:
    cluster = lab(WILD)
    step = step_for(cluster, policy=MigrationPolicy.FAST)
    with pytest.raises(DroverError, match="Gave up"):
        run(cluster, step)
    assert cluster.count("pause") == 1
    assert cluster.active_on() == ["host-a"]
    assert cluster.state_on("host-a") is VmState.RUNNING


def test_postcopy_switches_by_itself() -> None:
    cluster = lab(WILD)
    step = step_for(cluster, policy=MigrationPolicy.POSTCOPY)
    run(cluster, step)
    arrived(cluster, step)
    assert cluster.count("start_postcopy") == 1


def test_a_bandwidth_limit_that_a_person_chose_is_waited_for() -> None:
    cluster = lab("dirty 100K")
    step = step_for(cluster, bandwidth=2)
    facts = run(cluster, step)
    arrived(cluster, step)
    assert seconds(facts["took"]) > 500


def _quiet_when_paused(cluster: Lab) -> None:
    """The fake decides at the start how fast a guest writes; a paused one writes nothing."""
    if cluster.state_on("host-a") is VmState.PAUSED:
        for transfer in cluster._transfers.values():
            transfer._writes = 0.0


# --- libvirt's answer is not the truth
# ----------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [Ending.UNSTORED, Ending.ANSWER_LOST])
def test_an_error_of_a_migration_that_moved_is_a_note(ending: Ending) -> None:
    cluster = lab("autostart")
    step, progress = step_for(cluster), RecordedProgress(cluster)
    cluster.end_next(ending)
    run(cluster, step, progress)
    arrived(cluster, step)
    assert any(
        "libvirt answered with an error, but web-1 runs on host-b" in str(note)
        for note in progress.notes
    )


def test_a_migration_that_failed_is_reported_in_the_hosts_words() -> None:
    cluster = lab()
    cluster.end_next(Ending.FAILED, at=0.5)
    with pytest.raises(DroverError, match=r"still on host-a: .*target's QEMU ended") as error:
        run(cluster, step_for(cluster))
    assert error.value.advice == "Look at its log."
    assert cluster.active_on() == ["host-a"]


def test_a_failure_that_leaves_the_vm_paused_is_followed_by_resuming_it() -> None:
    cluster = lab()
    progress = RecordedProgress(cluster)
    cluster.end_next(Ending.FAILED, at=0.5)
    cluster.at_tick = lambda job: (
        cluster._turn("host-a", UUID, VmState.PAUSED, "unknown") if job.fraction > 0.4 else None
    )
    with pytest.raises(DroverError, match="still on host-a"):
        run(cluster, step_for(cluster), progress)
    assert cluster.state_on("host-a") is VmState.RUNNING
    assert any("resumed on host-a" in str(note) for note in progress.notes)


def test_a_vm_that_cannot_be_resumed_is_for_people() -> None:
    cluster = lab()
    cluster.end_next(Ending.FAILED, at=0.5)
    cluster.refuse("resume", "its storage is gone")
    cluster.at_tick = lambda job: (
        cluster._turn("host-a", UUID, VmState.PAUSED, "unknown") if job.fraction > 0.4 else None
    )
    with pytest.raises(StepLostError, match="left paused on host-a: its storage is gone"):
        run(cluster, step_for(cluster))


def test_cancelled_after_a_crash_that_left_it_paused_it_goes_on() -> None:
    cluster = lab()
    step = step_for(cluster)
    cluster._turn("host-a", UUID, VmState.PAUSED, "migration")
    with pytest.raises(StepCancelledError):
        run(cluster, step, RecordedProgress(cluster, {Ask.CANCEL}))
    assert cluster.state_on("host-a") is VmState.RUNNING


def test_it_is_not_resumed_while_the_target_knows_it() -> None:
    cluster = lab()
    cluster.end_next(Ending.FAILED, at=0.5)
    leftover = replace(cluster.initial.vm("web-1"), host="host-b", state=VmState.SHUT_OFF)

    def fail_badly(move: MigrateVm) -> None:
        try:
            FakeHypervisor.migrate(cluster, move)
        finally:
            cluster._turn("host-a", UUID, VmState.PAUSED, "migration")
            cluster.put(leftover)

    instead(cluster, "migrate", fail_badly)
    with pytest.raises(StepLostError, match="was not resumed") as error:
        run(cluster, step_for(cluster))
    assert error.value.code == "left-paused"
    assert cluster.count("resume") == 0


def test_after_a_failed_postcopy_nobody_is_touched() -> None:
    cluster = lab("dirty 500M")
    step, progress = (
        step_for(cluster, policy=MigrationPolicy.POSTCOPY),
        RecordedProgress(cluster, {Ask.POSTCOPY}),
    )
    cluster.end_next(Ending.BOTH_PAUSED, at=0.5)
    with pytest.raises(StepLostError, match="failed: each host has a part") as error:
        run(cluster, step, progress)
    assert error.value.code == "post-copy-failed"
    assert "--postcopy-resume" in str(error.value.advice)
    assert "host-a: paused (post-copy failed); host-b: paused (post-copy failed)" in str(
        error.value.text
    )
    assert cluster.count("resume") == 0
    assert settle(cluster, step) is Settled.NOT_YET


@pytest.mark.parametrize("state", [VmState.RUNNING, VmState.PAUSED])
def test_what_is_left_of_a_failed_postcopy_is_no_arrival_and_a_new_start_is_offered(
    state: VmState,
) -> None:
    cluster = lab()
    step = step_for(cluster, policy=MigrationPolicy.POSTCOPY)
    source = cluster.initial.vm("web-1")
    cluster.put(replace(source, state=VmState.SHUT_OFF))  # the source lost its power and came back
    cluster.put(replace(source, host="host-b", state=state, paused_by="postcopy failed"))
    assert settle(cluster, step) is Settled.NOT_YET
    with pytest.raises(StepLostError, match="web-1 is dead") as error:
        run(cluster, step)
    assert error.value.code == "post-copy-lost"
    assert f"host-b: {state} (post-copy failed)" in str(error.value.text)
    (remedy,) = error.value.remedies
    assert remedy.command.startswith("vm reboot web-1 ")
    assert cluster.count("resume") == cluster.count("migrate") == 0


def test_a_vm_that_waits_for_the_memory_of_a_source_that_ended_is_dead_before_libvirt_says_so() -> (
    None
):
    cluster = lab()
    step = step_for(cluster, policy=MigrationPolicy.POSTCOPY)
    source = cluster.initial.vm("web-1")
    cluster.put(replace(source, state=VmState.SHUT_OFF))
    cluster.put(replace(source, host="host-b", paused_by="postcopy incoming"))
    assert settle(cluster, step) is Settled.NOT_YET
    with pytest.raises(StepLostError, match="web-1 is dead") as error:
        run(cluster, step)
    assert error.value.code == "post-copy-lost"
    assert [each.command for each in error.value.remedies] == ["vm force-off web-1"]


def test_a_vm_that_is_gone_from_both_is_not_searched_for() -> None:
    cluster = lab("transient")
    step = step_for(cluster)
    cluster.end_next(Ending.LOST, at=0.5)
    with pytest.raises(StepLostError, match="on no host that answers") as error:
        run(cluster, step)
    assert error.value.code == "on-no-host"
    assert settle(cluster, step) is Settled.NOT_YET


def test_a_vm_that_ends_on_the_way_is_said_to_be_off() -> None:
    cluster = lab()
    step = step_for(cluster)
    cluster.end_next(Ending.LOST, at=0.5)
    with pytest.raises(DroverError, match=r"powered off on host-a.*it was not moved") as error:
        run(cluster, step)
    assert not isinstance(error.value, StepLostError)


def test_running_twice_is_lost_and_nothing_is_done() -> None:
    cluster = lab()
    step = step_for(cluster)
    cluster.put(replace(cluster.initial.vm("web-1"), host="host-b"))
    assert settle(cluster, step) is Settled.NOT_YET
    with pytest.raises(StepLostError, match="more than one place") as error:
        run(cluster, step)
    assert error.value.code == "running-twice"
    assert "host-a: running; host-b: running; host-c: not there" in str(error.value.text)
    assert cluster.calls == []


def test_a_half_arrived_copy_without_a_migration_is_for_people() -> None:
    cluster = lab()
    waiting = replace(
        cluster.initial.vm("web-1"), host="host-b", state=VmState.PAUSED, paused_by="migration"
    )
    cluster.put(waiting)
    with pytest.raises(StepLostError, match="half moved") as error:
        run(cluster, step_for(cluster))
    assert error.value.code == "half-moved"
    assert cluster.calls == []


def test_moved_elsewhere_by_somebody_else() -> None:
    cluster = lab("transient")
    step = step_for(cluster)
    cluster.kill(UUID)
    cluster.put(replace(cluster.initial.vm("web-1"), host="host-c"))
    with pytest.raises(StepLostError, match="host-c: running") as error:
        run(cluster, step)
    assert error.value.code == "moved-elsewhere"


def test_a_definition_left_on_the_source_will_not_start_a_second_copy() -> None:
    cluster = lab("autostart")
    step, progress = step_for(cluster), RecordedProgress(cluster)
    run(cluster, step)
    cluster.put(replace(cluster.initial.vm("web-1"), state=VmState.SHUT_OFF))
    assert settle(cluster, step) is Settled.NOT_YET
    run(cluster, step, progress)
    assert settle(cluster, step) is Settled.DONE
    assert not cluster.autostart("host-a", UUID)
    assert any("virsh undefine" in str(note) for note in progress.notes)


@pytest.mark.parametrize("before", ["sightings", "autostart", "set_autostart"])
def test_a_definition_that_libvirt_removes_meanwhile_is_no_problem(before: str) -> None:
    """It is removed after the VM's arrival, before the second look or before it is changed."""
    cluster = lab("autostart")
    step, progress = step_for(cluster), RecordedProgress(cluster)
    run(cluster, step)
    cluster.put(replace(cluster.initial.vm("web-1"), state=VmState.SHUT_OFF))
    real = getattr(cluster, before)
    calls = 0

    def removed_before_the_call(*given: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == (2 if before == "sightings" else 1):
            cluster.undefine("host-a", UUID)
        return real(*given, **named)

    instead(cluster, before, removed_before_the_call)
    run(cluster, step, progress)
    assert not progress.notes
    assert settle(cluster, step) is Settled.DONE
    arrived(cluster, step)


def test_settle_passes_over_a_definition_that_libvirt_removes_meanwhile() -> None:
    cluster = lab("autostart")
    step = step_for(cluster)
    run(cluster, step)
    cluster.put(replace(cluster.initial.vm("web-1"), state=VmState.SHUT_OFF))
    real = cluster.autostart

    def removed_before_the_call(host: str, uuid: str) -> bool:
        if host == "host-a":
            cluster.undefine(host, uuid)
        return real(host, uuid)

    instead(cluster, "autostart", removed_before_the_call)
    assert settle(cluster, step) is Settled.DONE


def test_what_could_not_be_carried_over_is_reported_together() -> None:
    cluster = lab("autostart", change=lambda vm: replace(vm, scheduler=CAP))
    step = step_for(cluster)
    cluster.refuse("set_autostart", "read-only file system", times=5)
    cluster.refuse("set_scheduler", "no cgroup", times=5)
    with pytest.raises(DroverError, match="web-1 runs on host-b, but") as error:
        run(cluster, step)
    assert "CPU scheduling: no cgroup; autostart: read-only file system" in str(error.value.text)
    assert cluster.active_on() == ["host-b"]


# --- hosts that do not answer
# -------------------------------------------------------------------------------------


@pytest.mark.parametrize("silent", ["host-a", "host-b"])
def test_settle_knows_nothing_while_a_host_is_silent(silent: str) -> None:
    cluster = lab()
    cluster.down(silent)
    with pytest.raises(HostUnreachableError, match=f"{silent}: does not answer"):
        settle(cluster, step_for(cluster))


def test_a_third_host_may_be_silent() -> None:
    cluster = lab()
    step = step_for(cluster)
    cluster.down("host-c")
    run(cluster, step)
    arrived(cluster, step)


@pytest.mark.parametrize("silent", ["host-a", "host-b"])
def test_a_host_that_is_silent_for_a_while_is_waited_for(silent: str) -> None:
    cluster = lab("autostart")
    step, progress = step_for(cluster), RecordedProgress(cluster)

    def cut(job: Job) -> None:
        if 0.3 < job.fraction < 0.9:
            cluster.down(silent)
        else:
            cluster.up(silent)

    cluster.at_tick = cut
    facts = run(cluster, step, progress)
    cluster.up(silent)
    arrived(cluster, step)
    assert seconds(facts["took"]) > 0


@pytest.mark.parametrize("silent", ["host-a", "host-b"])
def test_a_host_that_stays_silent_is_for_people(silent: str) -> None:
    cluster = lab()
    step, progress = step_for(cluster), RecordedProgress(cluster)
    progress.at_report = lambda job: cluster.down(silent) if job.fraction > 0.5 else None
    with pytest.raises(StepLostError, match=rf"It is unknown.*{silent}: does not answer") as error:
        run(cluster, step, progress)
    assert "not dead" in str(error.value.advice)
    assert any("Waiting for a host" in str(text) for text in progress.said)
    cluster.finish()


def test_the_target_silent_after_the_arrival_is_waited_for() -> None:
    cluster = lab("autostart")
    step, progress = step_for(cluster), RecordedProgress(cluster)
    real, silent = cluster.set_autostart, iter(range(3))

    def flaky(host: str, uuid: str, *, on: bool) -> None:
        if next(silent, None) is not None:
            raise HostUnreachableError("host-b does not answer.")
        real(host, uuid, on=on)

    instead(cluster, "set_autostart", flaky)
    run(cluster, step, progress)
    arrived(cluster, step)


# --- kill -9
# ------------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """The bot's process ends here; libvirtd goes on."""


class Fragile:
    """A hypervisor whose caller dies at its n-th call, before or after the call took effect."""

    def __init__(self, inner: Lab, dies_at: int, *, before: bool) -> None:
        self.inner = inner
        self.left = dies_at
        self.before = before

    def __getattr__(self, name: str) -> Any:
        real = getattr(self.inner, name)
        if name == "migrate":
            return real  # libvirtd's work, which nobody kills

        def call(*arguments: Any, **named: Any) -> Any:
            self.left -= 1
            if self.left == 0 and self.before:
                raise Killed
            answer = real(*arguments, **named)
            if self.left == 0:
                raise Killed
            return answer

        return call


def one_life(cluster: Lab, step: MigrateVm, dies_at: int, *, before: bool) -> bool:
    """Settle and run as the core does, in a process that dies at a call; whether it lived to the end."""
    fragile = Fragile(cluster, dies_at, before=before)
    try:
        if settle(fragile, step) is not Settled.DONE:
            handler.run(SETTINGS, step, fragile, RecordedProgress(cluster))
            settle(fragile, step)
    except Killed:
        return False
    return True


WAYS: list[tuple[str, dict[str, Any], MigrationPolicy]] = [
    ("dirty 10M autostart load 2", {}, MigrationPolicy.SAFE),
    ("paused", {}, MigrationPolicy.SAFE),
    ("dirty 500M autostart", {}, MigrationPolicy.POSTCOPY),
]


@pytest.mark.parametrize(("words", "options", "policy"), WAYS)
@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
def test_killed_at_every_call_and_started_again_it_ends_well_and_moved_once(
    words: str,
    options: dict[str, Any],
    policy: MigrationPolicy,
    before: bool,  # noqa: FBT001
) -> None:
    dies_at, lived = 0, False
    while not lived:
        dies_at += 1
        cluster = lab(
            words, change=lambda vm: replace(vm, scheduler=CAP) if vm.cpu else vm, **options
        )
        step = step_for(cluster, policy=policy)
        lived = one_life(cluster, step, dies_at, before=before)
        if not lived:
            assert one_life(cluster, step, -1, before=True)
        arrived(cluster, step)
        assert cluster.count("migrate") == 1
        assert cluster.autostart("host-b", UUID) == step.carried.autostart
        assert (cluster.state_on("host-b") is VmState.PAUSED) == step.carried.paused
    assert dies_at > 15


def test_killed_after_a_cancel_was_asked_it_is_still_cancelled() -> None:
    cluster = lab()
    step = step_for(cluster)
    progress = RecordedProgress(cluster)

    def die(job: Job) -> None:
        if job.fraction > 0.3:
            raise Killed

    progress.at_report = die
    with pytest.raises(Killed):
        run(cluster, step, progress)
    again = RecordedProgress(cluster, {Ask.CANCEL})
    with pytest.raises(StepCancelledError):
        run(cluster, step, again)
    assert cluster.active_on() == ["host-a"]
    assert any("already under way" in str(note) for note in again.notes)


def test_a_move_that_somebody_else_began_is_followed_not_begun_twice() -> None:
    cluster = lab("autostart")
    step = step_for(cluster)
    migrating(cluster, step)
    cluster.pass_time(4)
    run(cluster, step)
    arrived(cluster, step)
    assert cluster.count("migrate") == 1
    assert cluster.autostart("host-b", UUID)


def test_one_that_is_noticed_only_when_libvirt_refuses_a_second_is_followed_too() -> None:
    cluster = lab("autostart")
    step = step_for(cluster)
    migrating(cluster, step)
    cluster.refuse("job", "no statistics yet")
    first = iter(
        [
            tuple(
                replace(each, state=None) if each.host == "host-b" else each
                for each in cluster.sightings(UUID)
            )
        ]
    )
    real = cluster.sightings
    instead(cluster, "sightings", lambda uuid: next(first, None) or real(uuid))
    run(cluster, step)
    arrived(cluster, step)
    assert cluster.count("migrate") == 2  # the second was refused


def test_hosts_are_not_asked_at_one_instant_so_odd_answers_are_looked_at_twice() -> None:
    cluster = lab("autostart")
    step = step_for(cluster)
    run(cluster, step)
    real = cluster.sightings
    for odd in (VmState.RUNNING, None):
        answers = [
            tuple(
                replace(each, state=odd) if each.host != "host-c" else each for each in real(UUID)
            )
        ]
        instead(cluster, "sightings", lambda uuid, left=answers: left.pop() if left else real(uuid))
        assert settle(cluster, step) is Settled.DONE
        answers.append(
            tuple(
                replace(each, state=odd) if each.host != "host-c" else each for each in real(UUID)
            )
        )
        run(cluster, step)
        assert not answers


def test_a_fault_of_the_bots_own_is_not_hidden() -> None:
    cluster = lab()

    def broken(_: MigrateVm) -> None:
        raise ZeroDivisionError

    instead(cluster, "migrate", broken)
    with pytest.raises(ZeroDivisionError):
        run(cluster, step_for(cluster))


def test_the_hypervisor_refusing_to_start_is_reported() -> None:
    cluster = lab()
    cluster.refuse(
        "migrate", "web-1 did not move: the port is in use.", "Free a port in 49152-49215."
    )
    with pytest.raises(DroverError, match="the port is in use") as error:
        run(cluster, step_for(cluster))
    assert error.value.advice == "Free a port in 49152-49215."
    assert isinstance(error.value.__cause__, HypervisorError)


# --- a migration that stands still
# -----------------------------------------------------------------------------------


def standing(
    phase: str, source: VmState, target: VmState
) -> tuple[Lab, MigrateVm, RecordedProgress]:
    """Somebody else's migration whose job never shows anything new."""
    cluster = lab()
    step, vm = step_for(cluster), cluster.initial.vm("web-1")
    reason = "postcopy" if phase == "post-copy" else "migration"
    by = {VmState.PAUSED: reason, VmState.RUNNING: ""}
    cluster.put(replace(vm, state=source, paused_by=by[source]))
    cluster.put(replace(vm, host="host-b", state=target, paused_by=by[target]))
    stuck = Job(phase, total=GIB, remaining=MIB, processed=GIB - MIB, iteration=3)
    instead(cluster, "job", lambda *_: stuck)
    return cluster, step, RecordedProgress(cluster)


@pytest.mark.parametrize(
    ("phase", "source", "target", "advice"),
    [
        ("copying", VmState.PAUSED, VmState.PAUSED, "virsh domjobabort web-1"),
        ("copying", VmState.RUNNING, VmState.PAUSED, "virsh domjobabort web-1"),
        ("finishing", VmState.PAUSED, VmState.PAUSED, "virsh domjobabort web-1"),
        ("post-copy", VmState.PAUSED, VmState.RUNNING, "do not cancel, destroy or resume it"),
    ],
)
def test_a_migration_that_stands_still_is_told_and_at_last_left_to_people(
    phase: str, source: VmState, target: VmState, advice: str
) -> None:
    cluster, step, progress = standing(phase, source, target)
    with pytest.raises(StepLostError, match="makes no progress") as error:
        run(cluster, step, progress)
    assert f"host-a: {source}" in str(error.value.text)
    assert f"host-b: {target}" in str(error.value.text)
    assert advice in str(error.value.advice)
    assert [each.command for each in error.value.remedies] == ["where web-1"]
    said = [each for each in progress.said if str(each).startswith("No progress for")]
    assert said
    assert "host-b: paused" in str(said[0]) or "host-b: running" in str(said[0])
    assert cluster.count("resume") == cluster.count("migrate") == 0
    assert cluster.clock.now().timestamp() - cluster.initial.taken_at.timestamp() < 120, (
        "it ends by its limit"
    )


def test_a_slow_migration_that_gains_anything_is_followed_on() -> None:
    cluster, step, progress = standing("copying", VmState.RUNNING, VmState.PAUSED)
    left = iter(range(400, 0, -1))

    def slow(*_: object) -> Job | None:
        remaining = next(left, 0)
        if not remaining:
            instead(cluster, "job", lambda *_: None)
            cluster.put(replace(cluster.initial.vm("web-1"), host="host-b", state=VmState.RUNNING))
            cluster._guests.pop(("host-a", UUID))
            return None
        return Job(
            "copying", total=GIB, remaining=remaining, processed=GIB - remaining, iteration=1
        )

    instead(cluster, "job", slow)
    run(cluster, step, progress)
    assert not [each for each in progress.said if str(each).startswith("No progress")]


# --- copies of disks
# ----------------------------------------------------------------------------------------------

POOL = Pool(
    "local",
    "dir",
    "/var/lib/images",
    active=True,
    autostart=True,
    capacity=100 * GIB,
    free=50 * GIB,
)
DISK = Disk("vda", "file", "/var/lib/images/web-1.qcow2", capacity=GIB, format="qcow2")
HERE = Volume("local", "web-1.qcow2", DISK.source, GIB, GIB, "qcow2")


def with_own_disk() -> tuple[Lab, MigrateVm]:
    cluster = lab(change=lambda vm: replace(vm, detail=VmDetail(disks=(DISK,))))
    for host in ("host-a", "host-b", "host-c"):
        cluster.change(host, pools=(POOL,))
    cluster.volumes["host-a", "local", "web-1.qcow2"] = HERE
    return cluster, MigrateVm(UUID, "web-1", "host-a", "host-b", GIB, copy_storage=True)


def test_what_a_copy_leaves_on_the_source_is_told() -> None:
    cluster, step = with_own_disk()
    facts = run(cluster, step)
    assert str(facts["old_disks"]) == "local/web-1.qcow2 (1 GiB) on host-a"
    assert ("host-b", "local", "web-1.qcow2") in cluster.volumes


def test_what_a_failed_copy_leaves_on_the_target_is_told_by_name_and_not_removed() -> None:
    cluster, step = with_own_disk()
    cluster.end_next(Ending.FAILED, at=0.5)
    with pytest.raises(
        DroverError, match=r"Incomplete copies are left on host-b: local/web-1.qcow2 \(1 GiB\)"
    ):
        run(cluster, step)
    assert ("host-b", "local", "web-1.qcow2") in cluster.volumes
    assert cluster.active_on() == ["host-a"]


def test_nothing_is_copied_over_a_volume_that_came_meanwhile() -> None:
    cluster, step = with_own_disk()
    cluster.volumes["host-b", "local", "web-1.qcow2"] = HERE
    with pytest.raises(DroverError, match=r"host-b already has local/web-1\.qcow2"):
        run(cluster, step)
    assert cluster.count("migrate") == 0


def test_a_plain_move_asks_for_no_volumes() -> None:
    cluster, step = with_own_disk()
    cluster.volumes["host-b", "local", "web-1.qcow2"] = HERE
    assert "old_disks" not in run(cluster, replace(step, copy_storage=False))
