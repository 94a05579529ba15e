"""The cards of ``why`` and ``where``."""

from __future__ import annotations

from collections.abc import Sequence

from bot.domain.card import Card, Context, Element, Section, Table
from bot.domain.cluster import Vm
from bot.domain.message import Message, Percent, Person, join, words
from bot.domain.operation import BOT, Operation
from bot.domain.owner import tag_texts
from bot.domain.plan import Objection
from bot.domain.state_names import OPERATION_STATES, VM_STATES
from bot.domain.steps import MigrateVm
from plugins.migrate.case import as_code
from plugins.migrate.preflight import HostVerdict

SHOWN_OPERATIONS = 8
SHOWN_HOSTS = 100  # what one table of a chat holds


def why_card(
    vm: Vm,
    operations: Sequence[Operation],
    immovable: Sequence[Objection],
    verdicts: Sequence[HostVerdict],
) -> Card:
    """Why a VM is where it is; ``immovable`` holds for every host."""
    elements: list[Element] = [Section(_because(vm, operations))]
    if operations:
        elements.append(Section(_operations(operations[:SHOWN_OPERATIONS])))
    if vm.tags:
        tags = join(tuple(tag_texts(vm)), ", ")
        elements.append(Section(words("Tags: {tags}", tags=tags)))
    elements += _in_the_way(immovable, verdicts)
    elements.append(_hosts(vm, verdicts))
    return Card(
        text=words(
            "{vm} is on {host} ({state}).", vm=vm.name, host=vm.host, state=VM_STATES[vm.state]
        ),
        title=words("Why {vm} is on {host}", vm=vm.name, host=vm.host),
        elements=tuple(elements),
    )


def where_card(vm: Vm, immovable: Sequence[Objection], verdicts: Sequence[HostVerdict]) -> Card:
    """Where a VM could move; ``immovable`` holds for every host."""
    summary = _summary(vm, immovable, verdicts)
    elements: list[Element] = [
        Section(summary),
        *_in_the_way(immovable, verdicts),
        _hosts(vm, verdicts),
    ]
    elements.append(
        Context((words("Best host first. Memory: allocated share of what VMs may use."),))
    )
    return Card(
        text=summary, title=words("Where {vm} can move", vm=vm.name), elements=tuple(elements)
    )


def _summary(vm: Vm, immovable: Sequence[Objection], verdicts: Sequence[HostVerdict]) -> Message:
    possible = tuple(each.host for each in verdicts if each.possible and each.host != vm.host)
    copying = tuple(each.host for each in verdicts if each.copying)
    if possible:
        return words(
            "{vm} is on {host}. It can move to {hosts}.", vm=vm.name, host=vm.host, hosts=possible
        )
    if copying:
        return words(
            "{vm} is on {host}. It can move to {hosts} if its disks are copied.",
            vm=vm.name,
            host=vm.host,
            hosts=copying,
        )
    if immovable:
        return words("{vm} is on {host} and cannot be moved now.", vm=vm.name, host=vm.host)
    return words("{vm} is on {host}. No other host can take it now.", vm=vm.name, host=vm.host)


def _in_the_way(immovable: Sequence[Objection], verdicts: Sequence[HostVerdict]) -> list[Element]:
    if not immovable:
        return []
    lines = [words("• {text} {remedy}", text=each.text, remedy=each.remedy) for each in immovable]
    if any(each.copying for each in verdicts):
        head = words("*Without a copy of its disks it cannot move:*")
    else:
        head = words("*It cannot move to any host:*")
    return [Section(join((head, *lines), "\n"))]


def _because(vm: Vm, operations: Sequence[Operation]) -> Message:
    for number, operation in enumerate(operations):
        for step in operation.plan.steps:
            if isinstance(step, MigrateVm) and step.uuid == vm.uuid and _has_ended(operation, step):
                later = () if step.target == vm.host else (_later(vm, operations[:number]),)
                move = _last_move(operation, step, vm.host)
                return join((_state(vm), move, *later, _reason(operation, step)))
    never = join((_state(vm), words("Drover has not migrated it.")))
    last = _newest_here(vm, operations)
    if last is None:
        return never
    told = words("Last operation on it here: {op}, {title}.", op=last.id, title=last.plan.title)
    return join((never, told))


def _later(vm: Vm, operations: Sequence[Operation]) -> Message:
    """What happened to a VM here after its last migration: by an operation, or outside Drover."""
    operation = _newest_here(vm, operations)
    if operation is None:
        return words("Later it was moved outside Drover.")
    return words("Later: {op}, {title}.", op=operation.id, title=operation.plan.title)


def _newest_here(vm: Vm, operations: Sequence[Operation]) -> Operation | None:
    """The newest operation that did something with a VM on its host, such as a failover's start."""
    for operation in operations:
        steps = (operation.plan.steps[each.index] for each in operation.ended)
        if any(vm.uuid in step.vms and vm.host in step.hosts for step in steps):
            return operation
    return None


def _state(vm: Vm) -> Message:
    return words(
        "*{vm}* is {state} on *{host}*.", vm=vm.name, state=VM_STATES[vm.state], host=vm.host
    )


def _has_ended(operation: Operation, step: MigrateVm) -> bool:
    return any(operation.plan.steps[each.index] == step for each in operation.ended)


def _last_move(operation: Operation, step: MigrateVm, host: str) -> Message:
    who, at = _who(operation.origin.by), operation.changed_at
    if step.target == host:
        return words(
            "{op} moved it from {source}; requested by {who}, {at}.",
            op=operation.id,
            source=step.source,
            who=who,
            at=at,
        )
    return words(
        "{op} moved it from {source} to {target}; requested by {who}, {at}.",
        op=operation.id,
        source=step.source,
        target=step.target,
        who=who,
        at=at,
    )


def _reason(operation: Operation, step: MigrateVm) -> Message:
    planned = [each.text for each in operation.plan.reasons[:1]]
    if reason := step.reason or operation.origin.reason or join(planned):
        return words("Reason: {reason}", reason=reason)
    return words("No reason was given.")


def _who(user: str) -> Person | str:
    return "Drover" if user == BOT else Person(user)


def _operations(operations: Sequence[Operation]) -> Message:
    """Its operations, line by line: of two tables in a message Slack shows one."""
    lines = (
        words(
            "• {op}, {at}: {title} ({state}, requested by {who})",
            op=operation.id,
            at=operation.changed_at,
            title=operation.plan.title,
            state=OPERATION_STATES[operation.state],
            who=_who(operation.origin.by),
        )
        for operation in operations
    )
    return join((words("*Operations*"), *lines), "\n")


def _hosts(vm: Vm, verdicts: Sequence[HostVerdict]) -> Table:
    """The results first: a phone shows the first columns, the others when it is swiped."""
    rows = tuple(
        (
            each.host,
            *_verdict(vm, each),
            words("{share}", share=Percent(each.before)),
            words("{share}", share=Percent(each.after)),
        )
        for each in verdicts[:SHOWN_HOSTS]
    )
    columns = (words("Host"), words("Result"), words("What to do"))
    memory = (words("Memory now"), words("Memory with it"))
    return Table((*columns, *memory), rows, numeric=frozenset({3, 4}))


def _verdict(vm: Vm, verdict: HostVerdict) -> tuple[Message, Message]:
    """What holds for a host, and what to type or to do about it."""
    if verdict.host == vm.host:
        return words("it is here"), ""
    if verdict.possible:
        return words("can take it"), _command("/kvm migrate {} to {}", vm, verdict)
    if verdict.copying:
        return (
            words("can take it if its disks are copied"),
            _command("/kvm migrate {} to {} --copy-storage", vm, verdict),
        )
    if verdict.stuck and not verdict.objections:
        return words("not now: see above what keeps {vm} where it is", vm=vm.name), ""
    remedies = dict.fromkeys(each.remedy for each in verdict.objections)
    return join(each.text for each in verdict.objections), join(remedies)


def _command(template: str, vm: Vm, verdict: HostVerdict) -> Message:
    return words("{command}", command=as_code(template, vm.name, verdict.host))
