"""CPU shares inside a host: priorities and limits by tags, one VM's limit, their undoing; pure.

Priority is ``cpu_shares``: it matters only when VMs want more CPU than there is, and then they
get it in these proportions. A limit is ``vcpu_quota`` µs of each ``vcpu_period`` and vCPU: it
always holds. (libvirt, ``<cputune>``.)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from bot.domain.cluster import Host, Scheduler, Snapshot, Vm, sound
from bot.domain.errors import UnknownNameError
from bot.domain.message import Code, Message, Names, Number, Percent, Words, join, nwords, words
from bot.domain.plan import Blast, Objection, Plan, Prediction, Reason, Refused, Risk
from bot.domain.words import command
from bot.plugin_api import History
from plugins.balance import cards
from plugins.balance.contention import WAITING, CpuDemand, demands, predict_cores
from plugins.balance.intents import Cap, Restore, Shares, percent
from plugins.balance.planner import WORKED
from plugins.balance.steps import PERIOD, SetScheduler, cap_cores, limit_title

PRIORITY, CAP = "priority", "cpu-cap"
SHARES: Mapping[str, int] = {"gold": 400, "silver": 100, "bronze": 25}
"""Within cgroup v1 (2..262144) and v2 (1..10000).

Every VM of a host is set, so no default mixes in.
"""
USUAL = "silver"
LEAST_QUOTA = 1000  # µs, libvirt's least
NO_CEILING = -1
SHARES_NAME, LIMIT_NAME = "balance shares", "vm limit"
LOOK_BACK = 500  # operations among which the last change of a VM is looked for


def with_previous(intent: Shares, history: History) -> Shares:
    """For an undo: what the last operation of this name on this host had changed."""
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
    """Set every running VM of a host to what its tags say; or, to undo, to what it was.

    Raises:
        UnknownNameError: no such host.
    """
    host = snapshot.host(intent.host)
    title = _title(host.name, undo=intent.undo)
    if not host.up:
        return Refused(title, (cards.host_silent(host),))
    running = [vm for vm in snapshot.sound().on(host.name) if vm.state.active]
    vms = tuple(vm for vm in running if not vm.problem)
    left = _unreadable_reasons([vm for vm in running if vm.problem])
    if intent.undo:
        steps = tuple(_undo_steps(vms, intent.restore))
        if not steps:
            return Refused(title, (_nothing_to_undo(host.name),))
        return _plan(title, steps, vms, *left)
    return _plan_by_tags(title, host, vms, left)


def _unreadable_reasons(odd: Sequence[Vm]) -> tuple[Reason, ...]:
    """That VMs are left out because they could not be read."""
    if not odd:
        return ()
    told = cards.unreadable_vms(odd)
    return (Reason(told.code, told.text),)


def _plan_by_tags(
    title: Words, host: Host, vms: tuple[Vm, ...], left: tuple[Reason, ...]
) -> Plan | Refused:
    if bad := tuple(_bad_tag(vm, key) for vm in vms for key in _unreadable(vm)):
        return Refused(title, bad)
    if not any(PRIORITY in vm.tags or CAP in vm.tags for vm in vms):
        return Refused(title, (_no_tags(host.name), *_suggestions(vms)))
    steps = tuple(_steps_by_tags(vms, host.cpus))
    if not steps:
        text = words(
            "Every running VM of {host} already has the CPU share of its tags.", host=host.name
        )
        return Refused(title, (Objection("as-tagged", text, words("Nothing to do.")),))
    return _plan(title, steps, vms, *_wait_reasons(host.name, vms), *left)


def _title(host: str, *, undo: bool) -> Words:
    if undo:
        return words("Undo the CPU shares of {host}", host=host)
    return words("Set the CPU shares of {host} by its VMs' tags", host=host)


def _nothing_to_undo(host: str) -> Objection:
    text = words("Nothing that `/kvm balance shares` set on {host} is left to undo.", host=host)
    return Objection("nothing-to-undo", text)


def _bad_tag(vm: Vm, key: str) -> Objection:
    text = words("{vm} has the tag {key}={value}.", vm=vm.name, key=key, value=vm.tags[key])
    return Objection(
        "bad-tag", text, words("Write `priority=gold|silver|bronze` or `cpu-cap=150%`.")
    )


def _no_tags(host: str) -> Objection:
    return Objection(
        "no-tags",
        words("No running VM of {host} has a tag `priority` or `cpu-cap`.", host=host),
        words("Tag a VM first: `/kvm vm tag VM priority=gold`."),
    )


def _wait_reasons(host: str, vms: Sequence[Vm]) -> Iterator[Reason]:
    """What the newest sweep says of whether priorities matter now."""
    waiting = [vm for vm in vms if (vm.wait or 0.0) > WAITING]
    if all(vm.wait is None for vm in vms):
        yield Reason(
            "unmeasured",
            words(
                "CPU wait of the VMs on {host} is not measured; the prediction is based on CPU "
                "use.",
                host=host,
            ),
        )
    elif waiting:
        told = (
            words("{vm} ({cores} cores)", vm=vm.name, cores=Number(vm.wait or 0.0, 2))
            for vm in waiting
        )
        text = words(
            "These VMs on {host} wait for CPU now: {vms}.",
            host=host,
            vms=Names(tuple(told), most=cards.NAMED),
        )
        yield Reason("contended", text)
    else:
        text = words(
            "No VM waits for CPU on {host} now: priorities have no effect until VMs want more CPU "
            "than there is.",
            host=host,
        )
        yield Reason("calm", text)


def _suggestions(vms: Sequence[Vm]) -> Iterator[Objection]:
    """Without any tag: who waits for CPU, and who uses the most of it."""
    waiting = max(vms, key=lambda vm: vm.wait or 0.0, default=None)
    if waiting is not None and (waiting.wait or 0.0) > WAITING:
        hog = max(vms, key=lambda vm: (vm.cpu or 0.0, vm.uuid != waiting.uuid))
        yield _suggestion(waiting, hog)


def _suggestion(waiting: Vm, hog: Vm) -> Objection:
    gold = Code(command("/kvm vm tag {} priority=gold", waiting.name))
    wait = Number(waiting.wait or 0.0, 2)
    if hog.uuid == waiting.uuid:
        text = words("{vm} waits for {wait} cores.", vm=waiting.name, wait=wait)
        advice = words("Give it priority with {gold}, or move it with `/kvm balance`.", gold=gold)
        return Objection("waits", text, advice)
    text = words(
        "{vm} waits for {wait} cores; {hog} uses most, {used} cores.",
        vm=waiting.name,
        wait=wait,
        hog=hog.name,
        used=Number(hog.cpu or 0.0, 2),
    )
    bronze = Code(command("/kvm vm tag {} priority=bronze", hog.name))
    advice = words(
        "Give {vm} priority: {gold} or {bronze}.", vm=waiting.name, gold=gold, bronze=bronze
    )
    return Objection("waits", text, advice)


def _unreadable(vm: Vm) -> Iterator[str]:
    if vm.tags.get(PRIORITY, USUAL).lower() not in SHARES:
        yield PRIORITY
    if CAP in vm.tags and percent(vm.tags[CAP]) is None:
        yield CAP


def _steps_by_tags(vms: Sequence[Vm], cpus: int) -> Iterator[SetScheduler]:
    """What is not as the tags say.

    A VM without a limit by tag keeps the limit it has.
    """
    wishes = {vm.uuid: SHARES[vm.tags.get(PRIORITY, USUAL).lower()] for vm in vms}
    total = sum(wishes.values())
    found = demands(vms, {vm.uuid: _ceiling(vm) for vm in vms})
    likely = predict_cores(found, wishes)
    for vm in vms:
        quota = quota_of(percent(vm.tags[CAP]) or 0.0, vm) if CAP in vm.tags else None
        wanted = _difference(vm.scheduler, Scheduler(cpu_shares=wishes[vm.uuid], vcpu_quota=quota))
        if wanted != Scheduler():
            least = min(float(vm.vcpus), cpus * wishes[vm.uuid] / total)
            said = words(
                "Priority {priority}: at least {cores} cores when all VMs of the host want CPU.",
                priority=vm.tags.get(PRIORITY, USUAL),
                cores=Number(least, 2),
            )
            use = _use_text(found[vm.uuid], likely[vm.uuid]) if vm.uuid in found else ""
            yield _step(vm, wanted, join((said, use)))


def _use_text(want: CpuDemand, likely: float) -> Message:
    """What was measured of a VM, and what it is likely to get."""
    used, waits = Number(want.used, 2), Number(want.waits, 2)
    text = words("It uses {used} and should get {likely}.", used=used, likely=Number(likely, 2))
    if want.waits > WAITING:
        text = words(
            "It uses {used}, waits for {waits} more, and should get {likely}.",
            used=used,
            waits=waits,
            likely=Number(likely, 2),
        )
    held = want.used + want.waits - want.most
    if held <= WAITING:
        return text
    limited = words("Its CPU limit withholds {held}.", held=Number(held, 2))
    return join((text, limited))


def _ceiling(vm: Vm) -> float:
    """The most it may use once its tags are obeyed, in cores."""
    if CAP in vm.tags:
        return (percent(vm.tags[CAP]) or 100.0 * vm.vcpus) / 100
    return cap_cores(vm.scheduler, vm.vcpus) if vm.scheduler.has_cap else float(vm.vcpus)


def quota_of(wanted: float, vm: Vm) -> int:
    """µs of each period and vCPU for a limit in percent of one core; −1 for 0, no limit."""
    if not wanted:
        return NO_CEILING
    return max(LEAST_QUOTA, round((vm.scheduler.vcpu_period or PERIOD) * wanted / 100 / vm.vcpus))


def _difference(present: Scheduler, wanted: Scheduler) -> Scheduler:
    """What of ``wanted`` is not so already."""
    shares = None if wanted.cpu_shares == present.cpu_shares else wanted.cpu_shares
    return Scheduler(
        cpu_shares=shares, vcpu_quota=None if same_ceiling(wanted, present) else wanted.vcpu_quota
    )


def same_ceiling(wanted: Scheduler, present: Scheduler) -> bool:
    """Return whether the limit is as wanted.

    All ways to say “none” are equal, and a request for nothing is always met.
    """
    if wanted.vcpu_quota is None:
        return True
    return wanted.vcpu_quota == present.vcpu_quota or not (wanted.has_cap or present.has_cap)


def _step(vm: Vm, wanted: Scheduler, reason: Message) -> SetScheduler:
    before = Scheduler(
        cpu_shares=None if wanted.cpu_shares is None else vm.scheduler.cpu_shares or SHARES[USUAL],
        vcpu_quota=None if wanted.vcpu_quota is None else vm.scheduler.vcpu_quota or NO_CEILING,
    )
    if wanted.has_cap:
        wanted = replace(wanted, vcpu_period=vm.scheduler.vcpu_period or PERIOD)
    return SetScheduler(vm.uuid, vm.name, vm.host, vm.vcpus, wanted, before, reason)


def _undo_steps(vms: Sequence[Vm], restore: Restore) -> Iterator[SetScheduler]:
    old = dict(restore)
    for vm in vms:
        wanted = _difference(vm.scheduler, old.get(vm.uuid, Scheduler()))
        if wanted != Scheduler():
            yield _step(vm, wanted, words("As it was before."))


def _plan(
    title: Message, steps: tuple[SetScheduler, ...], vms: Sequence[Vm], *warnings: Reason
) -> Plan:
    touched = {step.uuid for step in steps}
    return Plan(
        title=title,
        steps=steps,
        risk=Risk.MEDIUM,
        blast=Blast(
            tuple(step.name for step in steps), tuple(dict.fromkeys(step.host for step in steps))
        ),
        prediction=Prediction(basis=words("set at once, no VM stops")),
        reasons=tuple(
            Reason("cpu", words("{vm}: {why}", vm=step.name, why=step.reason)) for step in steps
        ),
        warnings=warnings,
        tags=tuple(
            sorted({f"{k}={v}" for vm in vms if vm.uuid in touched for k, v in vm.tags.items()})
        ),
    )


def limit(intent: Cap, snapshot: Snapshot) -> Plan | Refused:
    """A limit for one VM, or none any more.

    Raises:
        UnknownNameError, AmbiguousNameError: no such VM, or several.
    """
    vm = snapshot.vm(intent.vm)
    host = snapshot.host(vm.host)
    title = limit_title(vm.name, intent.percent / 100)
    if not host.up:
        return Refused(title, (cards.host_silent(host),))
    if not vm.state.active:
        return Refused(title, (_not_running(vm),))
    vm = sound(vm)
    if vm.problem:
        return Refused(title, (cards.unreadable_vms([vm]),))
    if intent.percent > 100 * vm.vcpus:
        return Refused(title, (_more_than_all(vm),))
    wanted = _difference(vm.scheduler, Scheduler(vcpu_quota=quota_of(intent.percent, vm)))
    if wanted == Scheduler():
        text = words("{vm} already has that CPU limit.", vm=vm.name)
        return Refused(title, (Objection("as-wanted", text, words("Nothing to do.")),))
    step = _step(vm, wanted, _limit_reason(vm, intent.percent / 100))
    return _plan(title, (step,), (vm,))


def _not_running(vm: Vm) -> Objection:
    """Refuse a VM without a process to limit."""
    text = words("{vm} does not run on {host}.", vm=vm.name, host=vm.host)
    advice = words("Start it first: {command}.", command=Code(command("/kvm vm start {}", vm.name)))
    return Objection("not-running", text, advice)


def _more_than_all(vm: Vm) -> Objection:
    """Refuse a limit that limits nothing."""
    text = nwords(
        "{vm} has {n} vCPU, so it never uses more than {most}.",
        "{vm} has {n} vCPUs, so it never uses more than {most}.",
        n=vm.vcpus,
        vm=vm.name,
        most=Percent(vm.vcpus),
    )
    return Objection("no-limit", text, words("Write `--cpu none`, or a smaller limit."))


def _limit_reason(vm: Vm, cores: float) -> Message:
    """What a limit, in cores, means for a VM; 0: none."""
    text = words("At most {cores} cores from now on.", cores=Number(cores, 2))
    if not cores:
        text = words("No CPU limit from now on.")
    if vm.cpu is None:
        return join((text, words("Its CPU use is not measured.")))
    return join((text, words("Now using {cores} cores.", cores=Number(vm.cpu, 2))))


def still_good(planned: Plan, snapshot: Snapshot) -> tuple[Objection, ...]:
    """Every VM still runs on its host, with as many vCPUs."""
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
        text = words(
            "{vm} no longer runs on {host} as it did when this was planned.",
            vm=step.name,
            host=step.host,
        )
        yield Objection("changed", text)
