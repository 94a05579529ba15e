"""Pure: who gets how much CPU inside a host: priorities and ceilings from tags, one guest's ceiling, and their undoing.

Priority is ``cpu_shares``: it matters only when guests want more CPU than there is, and then they
get it in these proportions. A ceiling is ``vcpu_quota`` µs of each ``vcpu_period`` and vCPU: it
always holds. (libvirt, ``<cputune>``.)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from bot.domain.cluster import Scheduler, Snapshot, Vm, sound
from bot.domain.errors import UnknownNameError
from bot.domain.plan import Blast, Objection, Plan, Prediction, Reason, Refused, Risk
from bot.plugin_api import History
from plugins.balance import cards
from plugins.balance.contention import WAITING, foretold, wants
from plugins.balance.intents import Cap, Restore, Shares, percent
from plugins.balance.planner import WORKED
from plugins.balance.steps import SetScheduler

PRIORITY, CAP = "priority", "cpu-cap"
SHARES: Mapping[str, int] = {"gold": 400, "silver": 100, "bronze": 25}
"""Within what cgroup v1 (2..262144) and v2 (1..10000) take; every guest of a host is set, so no default mixes in."""
USUAL = "silver"
PERIOD = 100_000  # µs, libvirt's default
LEAST_QUOTA = 1000  # µs, libvirt's least
NO_CEILING = -1
SHARES_NAME, LIMIT_NAME = "balance shares", "vm limit"
LOOK_BACK = 500


def recalled(intent: Shares, history: History) -> Shares:
    """For an undo: what the last operation of this name on this host had changed, as it was before."""
    if not intent.undo:
        return intent
    for operation in history.operations(states=WORKED, limit=LOOK_BACK):
        if (
            operation.action == SHARES_NAME
            and operation.intent.host == intent.host
            and operation.ended
        ):
            steps = [operation.plan.steps[ended.index] for ended in operation.ended]
            old = tuple(
                (each.uuid, each.before) for each in steps if isinstance(each, SetScheduler)
            )
            return replace(intent, restore=old)
    return intent


def plan(intent: Shares, snapshot: Snapshot) -> Plan | Refused:
    """Set every running guest of a host to what its tags say; or, to undo, to what it was.

    Raises:
        UnknownNameError: no such host.
    """
    host = snapshot.host(intent.host)
    title = cards.shares_title(host.name, undo=intent.undo)
    if not host.up:
        return Refused(title, (cards.silent(host),))
    running = [vm for vm in snapshot.sound().on(host.name) if vm.state.active]
    guests, odd = (
        tuple(vm for vm in running if not vm.problem),
        [vm for vm in running if vm.problem],
    )
    left = [Reason(told.code, told.text) for told in [cards.unreadable_vms(odd)]] if odd else []
    if intent.undo:
        steps = tuple(_restored(guests, intent.restore))
        return (
            _plan(title, steps, guests, *left)
            if steps
            else Refused(title, (cards.nothing_to_undo(host.name),))
        )
    if bad := tuple(
        cards.bad_tag(vm.name, key, vm.tags[key]) for vm in guests for key in _unreadable(vm)
    ):
        return Refused(title, bad)
    if not any(PRIORITY in vm.tags or CAP in vm.tags for vm in guests):
        return Refused(title, (cards.no_tags(host.name), *_suggested(guests)))
    steps = tuple(_tagged(guests, host.cpus))
    if not steps:
        return Refused(title, (cards.as_tagged(host.name),))
    return _plan(title, steps, guests, *_measured(host.name, guests), *left)


def _measured(host: str, guests: Sequence[Vm]) -> Iterator[Reason]:
    """What the newest sweep says of whether priorities matter now."""
    waiting = [vm for vm in guests if (vm.wait or 0.0) > WAITING]
    if all(vm.wait is None for vm in guests):
        yield cards.steal_unknown(host)
    elif waiting:
        yield cards.contended(host, waiting)
    else:
        yield cards.nobody_waits(host)


def _suggested(guests: Sequence[Vm]) -> Iterator[Objection]:
    """Without any tag: who waits for CPU, and who uses the most of it."""
    waiting = max(guests, key=lambda vm: vm.wait or 0.0, default=None)
    if waiting is not None and (waiting.wait or 0.0) > WAITING:
        hog = max(guests, key=lambda vm: (vm.cpu or 0.0, vm.uuid != waiting.uuid))
        yield cards.suggested(waiting, hog)


def _unreadable(vm: Vm) -> Iterator[str]:
    if vm.tags.get(PRIORITY, USUAL).lower() not in SHARES:
        yield PRIORITY
    if CAP in vm.tags and percent(vm.tags[CAP]) is None:
        yield CAP


def _tagged(guests: Sequence[Vm], cpus: int) -> Iterator[SetScheduler]:
    """What is not as the tags say. A guest without a ceiling by tag keeps whatever ceiling it has."""
    wishes = {vm.uuid: SHARES[vm.tags.get(PRIORITY, USUAL).lower()] for vm in guests}
    total = sum(wishes.values())
    found = wants(guests, {vm.uuid: _ceiling(vm) for vm in guests})
    likely = foretold(found, wishes)
    for vm in guests:
        quota = quota_of(percent(vm.tags[CAP]) or 0.0, vm) if CAP in vm.tags else None
        wanted = _differing(vm.scheduler, Scheduler(cpu_shares=wishes[vm.uuid], vcpu_quota=quota))
        if wanted != Scheduler():
            least = min(float(vm.vcpus), cpus * wishes[vm.uuid] / total)
            said = cards.least_cpu(vm.tags.get(PRIORITY, USUAL), least)
            if vm.uuid in found:
                said += cards.likely_cpu(found[vm.uuid], likely[vm.uuid])
            yield _step(vm, wanted, said)


def _ceiling(vm: Vm) -> float:
    """The most it may use once its tags are obeyed, in cores."""
    if CAP in vm.tags:
        return (percent(vm.tags[CAP]) or 100.0 * vm.vcpus) / 100
    return cap_cores(vm.scheduler, vm.vcpus) if vm.scheduler.capped else float(vm.vcpus)


def cap_cores(scheduler: Scheduler, vcpus: int) -> float:
    """A ceiling in cores."""
    return vcpus * (scheduler.vcpu_quota or 0) / (scheduler.vcpu_period or PERIOD)


def quota_of(wanted: float, vm: Vm) -> int:
    """µs of each period and vCPU for so many percent of one core over all its vCPUs; −1 for 0, no ceiling."""
    if not wanted:
        return NO_CEILING
    return max(LEAST_QUOTA, round((vm.scheduler.vcpu_period or PERIOD) * wanted / 100 / vm.vcpus))


def _differing(present: Scheduler, wanted: Scheduler) -> Scheduler:
    """What of ``wanted`` is not so already."""
    shares = None if wanted.cpu_shares == present.cpu_shares else wanted.cpu_shares
    return Scheduler(
        cpu_shares=shares, vcpu_quota=None if same_ceiling(wanted, present) else wanted.vcpu_quota
    )


def same_ceiling(wanted: Scheduler, present: Scheduler) -> bool:
    """Whether the ceiling is as wanted; all ways to say “none” are equal, and nothing wanted is always so."""
    if wanted.vcpu_quota is None:
        return True
    return wanted.vcpu_quota == present.vcpu_quota or not (wanted.capped or present.capped)


def _step(vm: Vm, wanted: Scheduler, reason: str) -> SetScheduler:
    before = Scheduler(
        cpu_shares=None if wanted.cpu_shares is None else vm.scheduler.cpu_shares or SHARES[USUAL],
        vcpu_quota=None if wanted.vcpu_quota is None else vm.scheduler.vcpu_quota or NO_CEILING,
    )
    if wanted.capped:
        wanted = replace(wanted, vcpu_period=vm.scheduler.vcpu_period or PERIOD)
    return SetScheduler(vm.uuid, vm.name, vm.host, vm.vcpus, wanted, before, reason)


def _restored(guests: Sequence[Vm], restore: Restore) -> Iterator[SetScheduler]:
    old = dict(restore)
    for vm in guests:
        wanted = _differing(vm.scheduler, old.get(vm.uuid, Scheduler()))
        if wanted != Scheduler():
            yield _step(vm, wanted, cards.AS_BEFORE)


def _plan(
    title: str, steps: tuple[SetScheduler, ...], guests: Sequence[Vm], *warnings: Reason
) -> Plan:
    touched = {step.uuid for step in steps}
    return Plan(
        title=title,
        steps=steps,
        risk=Risk.MEDIUM,
        blast=Blast(
            tuple(step.name for step in steps), tuple(dict.fromkeys(step.host for step in steps))
        ),
        prediction=Prediction(basis=cards.AT_ONCE),
        reasons=tuple(Reason("cpu", f"{step.name}: {step.reason}") for step in steps),
        warnings=warnings,
        tags=tuple(
            sorted({f"{k}={v}" for vm in guests if vm.uuid in touched for k, v in vm.tags.items()})
        ),
    )


def limit(intent: Cap, snapshot: Snapshot) -> Plan | Refused:
    """A ceiling for one guest, or none any more.

    Raises:
        UnknownNameError, AmbiguousNameError: no such guest, or several.
    """
    vm = snapshot.vm(intent.vm)
    host = snapshot.host(vm.host)
    title = cards.limit_title(vm.name, intent.percent)
    if not host.up:
        return Refused(title, (cards.silent(host),))
    if not vm.state.active:
        return Refused(title, (cards.not_running(vm),))
    vm = sound(vm)
    if vm.problem:
        return Refused(title, (cards.unreadable_vms([vm]),))
    if intent.percent > 100 * vm.vcpus:
        return Refused(title, (cards.more_than_all(vm),))
    wanted = _differing(vm.scheduler, Scheduler(vcpu_quota=quota_of(intent.percent, vm)))
    if wanted == Scheduler():
        return Refused(title, (cards.as_wanted(vm),))
    step = _step(vm, wanted, cards.ceiling_reason(vm, intent.percent))
    return _plan(title, (step,), (vm,))


def still_good(planned: Plan, snapshot: Snapshot) -> tuple[Objection, ...]:
    """Every guest still runs on its host, with as many vCPUs."""
    return tuple(
        found
        for step in planned.steps
        if isinstance(step, SetScheduler)
        for found in _against(step, snapshot)
    )


def _against(step: SetScheduler, snapshot: Snapshot) -> Iterator[Objection]:
    try:
        vm = snapshot.vm(step.uuid)
    except UnknownNameError as error:
        yield Objection("gone", error.text, error.advice)
        return
    if (
        vm.host != step.host
        or not vm.state.active
        or not snapshot.host(vm.host).up
        or vm.vcpus != step.vcpus
    ):
        yield cards.not_as_planned(step.name, step.host)
