"""Pure: the plan of a migration, and whether an approved one still holds at the last moment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from bot.domain import past_moves, placement
from bot.domain.cluster import MIB, Snapshot, Vm, VmState, tags_of
from bot.domain.errors import AmbiguousNameError, UnknownNameError
from bot.domain.message import Message, Percent, Rate, Size, join, nwords, words
from bot.domain.placement import Rule
from bot.domain.plan import Blast, Objection, Plan, Prediction, Reason, Refused, Risk
from bot.domain.steps import Carried, MigrateVm, MigrationPolicy
from bot.domain.storage import local_disks
from bot.plugin_api import History
from plugins.migrate.case import AUTOSTART, SCHEDULER, MigrationCase, as_code, scheduler_text
from plugins.migrate.forecast import Forecast, forecast, patience
from plugins.migrate.grammar import Migrate
from plugins.migrate.plan_warnings import list_warnings
from plugins.migrate.preflight import HostVerdict, barriers, immovable, survey, verdict
from plugins.migrate.settings import MigrateSettings

DIRTY_STEP = 2 * MIB
"""Bytes/s that one changed page stands for: QEMU samples 512 pages a GiB, over a second.

One alone may be chance.
"""

NAMED_HOSTS = 4  # hosts ruled out that a plan names; `where` shows all


def plan(
    settings: MigrateSettings, intent: Migrate, snapshot: Snapshot, rules: Iterable[Rule]
) -> Plan | Refused:
    """The move that ``intent`` asks for, or everything that prevents it at once."""
    rules = tuple(rules)
    found = _find_vm(intent, snapshot)
    if isinstance(found, Refused):
        return found
    case = MigrationCase(snapshot, found, intent.copy_storage)
    if not intent.to:
        return _plan_best(settings, intent, case, rules)
    against = (*_against_policy(case, intent.policy), *_against(case, intent.to, rules))
    if against:
        return Refused(_refusal_title(found.name, intent.to), against, sentence=True)
    asked = verdict(case, intent.to, ())
    reason = Reason(
        "asked-for",
        words(
            "{host} was asked for and can take it: {change}.",
            host=asked.host,
            change=_change(asked),
        ),
    )
    return _plan(settings, intent, case, intent.to, (reason,))


def _refusal_title(vm: str, target: str = "") -> Message:
    if target:
        return words("Cannot move {vm} to {target}:", vm=vm, target=target)
    return words("Cannot move {vm}:", vm=vm)


def _find_vm(intent: Migrate, snapshot: Snapshot) -> Vm | Refused:
    """The VM; both names are checked, so that two typing errors are reported at once."""
    against: list[Objection] = []
    vm = None
    try:
        vm = snapshot.vm(intent.vm)
    except UnknownNameError as error:
        against.append(Objection("unknown-vm", error.text, error.advice))
    except AmbiguousNameError as error:
        against.append(Objection("ambiguous-vm", error.text, error.advice))
    try:
        if intent.to:
            snapshot.host(intent.to)
    except UnknownNameError as error:
        against.append(Objection("unknown-host", error.text, error.advice))
    if vm is None or against:
        title = _refusal_title(vm.name if vm else intent.vm, intent.to)
        return Refused(title, tuple(against), sentence=True)
    return vm


def _against(case: MigrationCase, target: str, rules: Iterable[Rule]) -> tuple[Objection, ...]:
    """Every objection once, those about the VM itself first."""
    return tuple(dict.fromkeys((*immovable(case), *barriers(case, target, rules))))


def _against_policy(case: MigrationCase, policy: MigrationPolicy) -> Iterator[Objection]:
    """Libvirt refuses post-copy of a paused VM; it has no need of it."""
    vm = case.vm
    if policy is MigrationPolicy.POSTCOPY and vm.state is VmState.PAUSED:
        yield Objection(
            "paused-postcopy",
            words("{vm} is paused: libvirt does not move a paused VM by post-copy.", vm=vm.name),
            words(
                "It writes no memory while it is paused. Leave out the policy: {command}.",
                command=as_code("/kvm migrate {}", vm.name),
            ),
        )


def _plan_best(
    settings: MigrateSettings, intent: Migrate, case: MigrationCase, rules: tuple[Rule, ...]
) -> Plan | Refused:
    vm = case.vm
    stuck = (*_against_policy(case, intent.policy), *immovable(case))
    places = survey(case, rules)
    possible = [each for each in places if each.possible]
    if possible and not stuck:
        reasons = _choice(places, possible)
        return _plan(settings, intent, case, possible[0].host, reasons)
    against = list(stuck)
    if not places:
        against.append(
            Objection(
                "no-other-host",
                words("There is no host besides {host}.", host=vm.host),
                words("Add one under `[[hosts]]` in the configuration."),
            )
        )
    if not stuck:
        against += dict.fromkeys(each for place in places for each in place.objections)
    return Refused(_refusal_title(vm.name), tuple(against), sentence=True)


def _choice(places: Sequence[HostVerdict], possible: Sequence[HostVerdict]) -> tuple[Reason, ...]:
    """Why the first, what would be second, why not the others."""
    first, out = possible[0], [each for each in places if not each.possible]
    if len(possible) == 1:
        why = words(
            "{host} is the only host that can take it: {change}.",
            host=first.host,
            change=_change(first),
        )
    else:
        why = words(
            "{host} is the least loaded of {count} hosts that can take it: {change}.",
            host=first.host,
            count=len(possible),
            change=_change(first),
        )
    reasons = [Reason("chosen", why)]
    reasons += [
        Reason(
            "runner-up",
            words("Next best: {host}: {change}.", host=each.host, change=_change(each)),
        )
        for each in possible[1:2]
    ]
    reasons += [Reason("ruled-out", _why_not(each)) for each in out[:NAMED_HOSTS]]
    if (more := len(out) - NAMED_HOSTS) > 0:
        reasons.append(
            Reason(
                "ruled-out",
                nwords(
                    "{n} more host cannot take it; `/kvm where` lists all.",
                    "{n} more hosts cannot take it; `/kvm where` lists all.",
                    n=more,
                ),
            )
        )
    return tuple(reasons)


def _why_not(place: HostVerdict) -> Message:
    first, more = place.objections[0].text, len(place.objections) - 1
    if not more:
        return words("Not {host}: {why}", host=place.host, why=first)
    return nwords(
        "Not {host}: {why} ({n} more reason)",
        "Not {host}: {why} ({n} more reasons)",
        n=more,
        host=place.host,
        why=first,
    )


def _change(place: HostVerdict) -> Message:
    before, after = Percent(place.before), Percent(place.after)
    if place.cpu is None:
        return words("memory allocated {before} → {after}", before=before, after=after)
    return words(
        "memory allocated {before} → {after}, CPU {cpu} busy",
        before=before,
        after=after,
        cpu=Percent(place.cpu),
    )


def _plan(
    settings: MigrateSettings,
    intent: Migrate,
    case: MigrationCase,
    target: str,
    reasons: tuple[Reason, ...],
) -> Plan:
    vm = case.vm
    predicted, model, given_up_after = _forecast(settings, case, intent)
    prediction = learn(model, intent, vm, target)
    step = MigrateVm(
        uuid=vm.uuid,
        name=vm.name,
        source=vm.host,
        target=target,
        memory=vm.memory,
        policy=intent.policy,
        copy_storage=intent.copy_storage,
        bandwidth=intent.bandwidth or settings.bandwidth_mib_s,
        carried=to_carry(vm),
        reason=intent.reason,
    )
    risky = intent.policy is MigrationPolicy.POSTCOPY or predicted.converges is False
    host = case.snapshot.host(target)
    return Plan(
        title=step.title,
        steps=(step,),
        risk=Risk.HIGH if risky else Risk.MEDIUM,
        blast=Blast((vm.name,), (vm.host, target), vm.memory, _to_copy(case)),
        prediction=prediction,
        reasons=reasons,
        warnings=tuple(list_warnings(case, host, intent.policy, predicted, given_up_after)),
        bars=placement.bars(case.snapshot, [(vm, target)]),
        tags=tags_of((vm,)),
    )


def with_past(intent: Migrate, history: History) -> Migrate:
    """The request with what moves took lately."""
    return replace(intent, past=past_moves.recent_moves(history))


def learn(model: Prediction, intent: Migrate, vm: Vm, target: str) -> Prediction:
    """A prediction by what alike moves took before; the model's where too few are known.

    Of a move that copies disks, has a limit of its own or does not converge, they say nothing.
    """
    plain = not (intent.copy_storage or intent.bandwidth) and model.converges is not False
    if not plain or intent.policy is not MigrationPolicy.SAFE:
        return model
    found = past_moves.experience(intent.past, vm.uuid, vm.host, target, vm.memory)
    if found is None:
        return model
    return replace(
        model,
        seconds=found.seconds,
        least=found.fastest,
        most=found.slowest,
        downtime=model.downtime if found.pause is None else found.pause,
        shortest=found.shortest,
        longest=found.longest,
        basis=past_moves.basis_of(found),
    )


def to_carry(vm: Vm) -> Carried:
    """What must be the same after the move."""
    return Carried(vm.autostart, vm.state is VmState.PAUSED, vm.persistent, vm.scheduler)


def _forecast(
    settings: MigrateSettings, case: MigrationCase, intent: Migrate, *, leeway: float = DIRTY_STEP
) -> tuple[Forecast, Prediction, float]:
    """The forecast, the prediction that people see, and after how many seconds it is given up.

    ``leeway``: bytes/s by which the dirty rate is taken to be lower than it was measured.
    """
    vm, limit = case.vm, intent.bandwidth or settings.bandwidth_mib_s
    rate = (limit or settings.assumed_mib_s) * MIB
    storage = _to_copy(case)
    waits = patience(settings, vm.memory + storage, limit)
    dirty = 0.0 if vm.state is VmState.PAUSED else vm.dirty_rate
    floor = settings.downtime_floor_ms / 1000
    sure = None if dirty is None else max(0.0, dirty - leeway)
    found = forecast(
        vm.memory, sure, rate, policy=intent.policy, waits=waits, floor=floor, storage=storage
    )
    basis = _basis(replace(vm, dirty_rate=dirty), rate, storage, assumed=not limit)
    down = None if found.downtime is None else round(found.downtime, 3)
    prediction = Prediction(round(found.seconds, 3), down, found.converges, basis)
    return found, prediction, storage / rate + waits.gives_up(vm.memory / rate)


def _basis(vm: Vm, rate: float, storage: int, *, assumed: bool) -> Message:
    """From what a prediction was made; ``rate`` in bytes/s."""
    if vm.dirty_rate is None:
        written: Message = words("memory writes not measured")
    else:
        written = words("the VM writes {dirty}", dirty=Rate(vm.dirty_rate))
    speed: Message = words("{rate}", rate=Rate(rate))
    if assumed:
        speed = words("an assumed {rate}", rate=Rate(rate))
    if storage:
        return words(
            "{memory} of memory and {storage} of disks at {speed}; {written}",
            memory=Size(vm.memory),
            storage=Size(storage),
            speed=speed,
            written=written,
        )
    return words(
        "{memory} of memory at {speed}; {written}",
        memory=Size(vm.memory),
        speed=speed,
        written=written,
    )


def _to_copy(case: MigrationCase) -> int:
    """Bytes of storage that are copied too."""
    if not case.copy_storage:
        return 0
    return sum(disk.capacity or 0 for disk in local_disks(case.source, case.detail))


def still_good(
    settings: MigrateSettings,
    intent: Migrate,
    planned: Plan,
    snapshot: Snapshot,
    rules: Iterable[Rule],
) -> tuple[Objection, ...]:
    """What prevents carrying ``planned`` out now.

    A chosen target must be possible, not still the best.
    """
    step = next(each for each in planned.steps if isinstance(each, MigrateVm))
    if not any(vm.uuid == step.uuid for vm in snapshot.vms):
        return (
            Objection(
                "gone",
                words("{vm} is no longer on any host.", vm=step.name),
                words(
                    "Find out who removed it: {command}.",
                    command=as_code("/kvm audit {}", step.name),
                ),
            ),
        )
    vm = snapshot.vm(step.uuid)
    if vm.state.active and vm.host != step.source:
        return (
            Objection(
                "moved",
                words(
                    "{vm} is now on {host}; the plan moves it from {source}.",
                    vm=step.name,
                    host=vm.host,
                    source=step.source,
                ),
                words("Check the new plan."),
            ),
        )
    case = MigrationCase(snapshot, vm, step.copy_storage)
    try:
        snapshot.host(step.target)
    except UnknownNameError as error:
        return (Objection("unknown-host", error.text, error.advice),)
    against = _against(case, step.target, rules)
    return against or tuple(_changes(settings, intent, planned, step, case))


def _changes(
    settings: MigrateSettings,
    intent: Migrate,
    planned: Plan,
    step: MigrateVm,
    case: MigrationCase,
) -> Iterator[Objection]:
    """What is possible, and yet is not what was approved."""
    yield from _list_changes(step, case.vm, to_carry(case.vm))
    # A measurement's noise is no change
    predicted, _, _ = _forecast(settings, case, intent, leeway=2 * DIRTY_STEP)
    if predicted.converges is False and planned.risk is Risk.MEDIUM:
        yield Objection("riskier", _riskier(step, case.vm), words("Check the new plan."))


def _riskier(step: MigrateVm, vm: Vm) -> Message:
    if vm.dirty_rate is None:
        return words(
            "{vm} now writes memory too fast for the network: the risk is higher than approved.",
            vm=step.name,
        )
    return words(
        "{vm} now writes memory too fast for the network ({rate}): the risk is higher than "
        "approved.",
        vm=step.name,
        rate=Rate(vm.dirty_rate),
    )


def _list_changes(step: MigrateVm, vm: Vm, now: Carried) -> Iterator[Objection]:
    """Yield each difference between what was approved and what ``vm`` is now."""
    if vm.name != step.name:
        yield Objection(
            "renamed",
            words("{vm} is now called {now}.", vm=step.name, now=vm.name),
            words("Check the new plan."),
        )
    if vm.memory != step.memory:
        yield Objection(
            "memory-changed",
            words(
                "{vm} now has {now} of memory; the plan says {then}.",
                vm=step.name,
                now=Size(vm.memory),
                then=Size(step.memory),
            ),
            words("Check the new plan."),
        )
    if now != step.carried:
        yield Objection(
            "carried-changed",
            words(
                "{vm} was changed: {changes}.",
                vm=step.name,
                changes=join(_differences(step.carried, now), "; "),
            ),
            words("Check the new plan."),
        )


def _differences(then: Carried, now: Carried) -> Iterator[Message]:
    switches = (
        (AUTOSTART, then.autostart, now.autostart),
        (words("paused"), then.paused, now.paused),
        (words("persistent"), then.persistent, now.persistent),
    )
    for what, before, after in switches:
        if before != after:
            yield _difference(what, _yes_or_no(on=before), _yes_or_no(on=after))
    if then.scheduler != now.scheduler:
        yield _difference(SCHEDULER, scheduler_text(then.scheduler), scheduler_text(now.scheduler))


def _difference(what: Message, before: Message, after: Message) -> Message:
    return words("{what} {before} → {after}", what=what, before=before, after=after)


def _yes_or_no(*, on: bool) -> Message:
    return words("yes") if on else words("no")
