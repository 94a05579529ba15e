"""What every flow function is handed: ports, catalog, policy and roles."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial

import structlog

from bot.catalog import Catalog
from bot.domain.admission import Limits
from bot.domain.card import Card
from bot.domain.cluster import Inbound, Snapshot, Vm
from bot.domain.errors import ChatError, ConflictError, StoreError
from bot.domain.operation import MOST_OPEN, Attempted, Event, Operation, State
from bot.domain.policy import Policy, Window
from bot.domain.steps import MigrateVm, Step
from bot.flow.answers import Answers
from bot.flow.monitoring.monitor import Monitor
from bot.flow.operations.operation_messages import OperationMessages
from bot.plugin_api import Asker
from bot.ports import Chat, Clock, Hypervisor, Request, Store, Work
from bot.ports.series import Notes

log = structlog.get_logger()

_OPERATION = re.compile(r"\bop-\d+\b")

BUSY = (State.APPROVED, State.RUNNING)
OPEN = (State.PROPOSED, *BUSY)
FRESH = timedelta(minutes=2)  # what is measured longer ago says nothing of now


@dataclass(frozen=True, slots=True)
class Role:
    """Who has a role: user ids and user groups."""

    users: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Places:
    """Channels by id.

    Where approvals are asked for, where alerts go, and digests ('': as alerts).
    """

    approvals: str
    ops: str
    reports: str = ""

    @property
    def digest(self) -> str:
        """Where digests go."""
        return self.reports or self.ops


@dataclass(frozen=True, slots=True)
class Services:
    """Everything, composed once at start.

    ``patience``: seconds to wait for a host that does not answer.

    Whoever holds ``turn`` is the only one in this process who lets steps begin.
    """

    catalog: Catalog
    store: Store
    chat: Chat
    hypervisor: Hypervisor
    clock: Clock
    work: Work
    messages: OperationMessages
    policy: Policy
    places: Places
    roles: Mapping[str, Role] = field(default_factory=dict)
    slash: str = "/kvm"
    patience: float = 600.0
    monitor: Monitor | None = None  # None: nothing is measured
    limits: Limits = field(default_factory=Limits)
    silence: float = 600.0  # seconds without a bot after which what runs waits for a person
    windows: Mapping[str, Window] = field(default_factory=dict)  # for maintenance, by name
    grace: float = 900.0  # seconds after its time within which an operation may still begin
    remind_before: float = (
        1800.0  # seconds before its time that missing votes are told of; 0: never
    )
    settle: float = 60.0  # seconds after a move before the load that it brought is measured
    working_after: float = 0.0  # seconds until who asked is told that it takes longer; 0: never
    notes: Notes | None = None  # where people's own settings are kept; None: nowhere
    zone: str = "UTC"  # of times that people write, where nobody told otherwise
    languages: tuple[str, ...] = ("en",)
    answers: Answers = field(default_factory=Answers)
    turn: threading.Lock = field(default_factory=threading.Lock)


def roles_by_id(services: Services, user: str) -> frozenset[str]:
    """The roles that a person has whatever the chat says: by id."""
    return frozenset(name for name, role in services.roles.items() if user in role.users)


def roles_of(services: Services, user: str) -> frozenset[str]:
    """The roles a person has now, by id and by user group.

    Raises:
        ChatError: the groups cannot be known now.
    """
    groups = (
        services.chat.groups_of(user)
        if any(role.groups for role in services.roles.values())
        else frozenset()
    )
    by_group = (name for name, role in services.roles.items() if role.groups & groups)
    return roles_by_id(services, user) | frozenset(by_group)


def has_role(services: Services, user: str, wanted: Collection[str]) -> bool:
    """Whether a person has one of the roles now; the chat is asked only when the id does not tell.

    Raises:
        ChatError: the groups cannot be known now.
    """
    known = roles_by_id(services, user) & set(wanted)
    return bool(known or roles_of(services, user) & set(wanted))


def roles_known_of(services: Services, user: str) -> frozenset[str]:
    """The roles of who asks; while the chat does not tell the groups, those by id.

    Raises:
        ChatError: the groups cannot be known now, and there is no role by id.
    """
    try:
        return roles_of(services, user)
    except ChatError:
        if not (known := roles_by_id(services, user)):
            raise
        return known


def whisper(services: Services, request: Request, card: Card, *, instead: bool = False) -> None:
    """Answer whoever asked, where they did; returns at once.

    A refusal goes into the audit trail first. ``instead``: in place of the message that was
    clicked.
    """
    if card.refused:
        keep_attempt(services, request, card)
    if request.via:
        services.answers.give(request.key, card)
        return
    place, by = request.channel or request.by, request.by
    answer = partial(
        services.chat.whisper,
        place,
        by,
        card,
        thread=request.thread,
        answer_to=request.answer_to,
        instead=instead,
    )
    services.messages.answer(by, answer)


def keep_attempt(services: Services, request: Request, card: Card) -> None:
    """Put into the audit trail that somebody tried what they may not; ``card``: their answer."""
    typed = request.kind == "command"
    what = f"{services.slash} {request.text}" if typed else f"{request.action} {request.value}"
    about = _OPERATION.search(what)
    attempt = Attempted(
        services.clock.now(), request.by, what.strip(), about[0] if about else "", card.text
    )
    try:
        services.store.keep_attempt(attempt)
    # The person is answered all the same; nothing was done that the trail would have to hold
    except StoreError as error:
        log.error(  # noqa: TRY400 - the expected kind
            "a refused attempt is not in the audit trail", by=request.by, error=str(error)
        )


def asker(services: Services, request: Request) -> Asker:
    """Who asks, with roles read now."""
    return Asker(
        request.by, roles_known_of(services, request.by), request.locale, services.clock.now()
    )


def snapshot(
    services: Services,
    focus: Collection[str] = (),
    *,
    chosen: Callable[[Snapshot], Collection[str]] | None = None,
    but: str = "",
) -> Snapshot:
    """The cluster now, with what only Drover knows.

    Maintenance, holds, moves under way (except of ``but``). ``focus``, ``chosen``: see the port.
    """
    return complete(services, services.hypervisor.snapshot(focus, chosen), but=but)


def complete(services: Services, seen: Snapshot, *, but: str = "") -> Snapshot:
    """A snapshot with what only Drover knows.

    Maintenance, holds, moves under way, how long guests wait for a CPU.
    """
    resting, held = services.store.maintenance(), {each.host for each in services.store.holds()}
    hosts = tuple(
        replace(host, maintenance=host.name in resting, held=host.name in held)
        for host in seen.hosts
    )
    waits = _waits(services)
    vms = _without_ghosts(seen.sound(), held)  # every plan is made of this snapshot
    vms = tuple(replace(vm, wait=waits.get((vm.uuid, vm.host))) for vm in vms) if waits else vms
    return replace(seen, hosts=hosts, vms=vms, inbound=_inbound(services, seen, but))


def _without_ghosts(seen: Snapshot, held: Collection[str]) -> tuple[Vm, ...]:
    """The VMs without those last seen on a held host that is silent and that run elsewhere now."""
    silent = {host.name for host in seen.hosts if host.name in held and not host.up}
    running = {vm.uuid for vm in seen.vms if vm.state.active and vm.host not in silent}
    return tuple(vm for vm in seen.vms if vm.host not in silent or vm.uuid not in running)


def _waits(services: Services) -> Mapping[tuple[str, str], float]:
    """Cores that guests were ready to use and did not get.

    By (UUID, host), as far as that was measured lately.
    """
    sweep = services.monitor.newest if services.monitor is not None else None
    if sweep is None or services.clock.now() - sweep.at > FRESH:
        return {}
    return {(vm.uuid, vm.host): vm.wait for vm in sweep.vms if vm.wait is not None}


def active_operations(services: Services) -> tuple[Operation, ...]:
    """What runs or is about to, newest first; not what is approved for a later time."""
    now = services.clock.now()
    busy = services.store.operations(states=BUSY, limit=MOST_OPEN)
    return tuple(each for each in busy if not each.early(now))


def _inbound(services: Services, seen: Snapshot, but: str) -> tuple[Inbound, ...]:
    """Memory promised to moves and starts to come.

    A guest already seen on its target is counted there.

    Nothing is promised for what comes after the next wait for a person: that may be a day away.
    """
    busy = [each for each in active_operations(services) if each.id != but]
    arrived = {(vm.uuid, vm.host) for vm in seen.vms if vm.state.active} if busy else set()
    return tuple(
        each
        for operation in busy
        for step in (operation.plan.steps[index] for index in operation.near)
        if (each := _inbound_of(step, operation.id)) is not None
        and (each.vm_uuid, each.target) not in arrived
    )


def _inbound_of(step: Step, operation: str) -> Inbound | None:
    """The memory that a step will need on a host."""
    if isinstance(step, MigrateVm):
        return Inbound(step.uuid, step.source, step.target, step.memory, operation)
    lane = step.lane if isinstance(step, Step) else None
    if lane is None or not lane.memory or not step.vms:
        return None
    return Inbound(step.vms[0], lane.host, lane.host, lane.memory, operation)


def commit(services: Services, operation: Operation, *events: Event) -> Operation:
    """Store the events, tell the plugins and show the operation as it now is.

    Raises:
        ConflictError: somebody else changed it first; nothing was stored.
    """
    after = services.store.append(operation, *events)
    publish(services, after, *events)
    return after


def publish(services: Services, operation: Operation, *events: Event) -> None:
    """Tell the plugins of stored events and show the operation as it now is."""
    for event in events:
        notify_plugins(services, operation, event)
    services.messages.show_soon(operation.id)


def record(services: Services, operation_id: str, event: Event) -> Operation:
    """Store a fact of the work and show it.

    People's asks may arrive at the same moment; it is then stored after.
    """
    after = append(services, operation_id, event)
    publish(services, after, event)
    return after


def append(services: Services, operation_id: str, event: Event) -> Operation:
    """Store a fact of the work, however often somebody else is first."""
    while True:
        try:
            return services.store.append(services.store.operation(operation_id), event)
        except ConflictError:
            continue


def notify_plugins(services: Services, operation: Operation, event: Event) -> None:
    """Call ``operation_changed`` of every plugin; a failure in one is logged and stops nobody."""
    for implementation in services.catalog.hooks.operation_changed.get_hookimpls():
        given = {"operation": operation, "event": event}
        try:
            implementation.function(*(given[name] for name in implementation.argnames))
        # A plugin's failure must not stop the operation; it is logged with its name
        except Exception:
            log.exception("plugin failed in operation_changed", plugin=implementation.plugin_name)
