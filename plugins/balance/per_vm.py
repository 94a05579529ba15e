"""The dialog of a drain or a rolling maintenance: what becomes of VMs that cannot be moved live."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from bot.domain.card import Context, Element, ManyField, Section
from bot.domain.cluster import Snapshot, Vm
from bot.domain.message import Message, Size, join, nwords, words
from bot.domain.placement import Rule
from bot.domain.plan import Objection, Plan, Refused
from bot.plugin_api import SecondPage
from plugins.balance import drain, leaving
from plugins.balance.intents import Drain, Rolling, Ways
from plugins.balance.settings import BalanceSettings

CHOOSE = words("Choose for each VM…")
MOST_HOSTS = 5  # of a rolling maintenance: each is planned, and a person waits
MOST = 100  # VMs that a field offers; of more all are copied or shut down, or none
IN_A_PARAGRAPH = 5
COPY = words("Copy the disks of these VMs, then move them")
OFF = words("Shut these VMs down")
NONE_STUCK = words("Every VM there can be moved live.")
STAYS = words("What is ticked nowhere stays where it is, and its host is then not empty.")
MUST = words("A rolling maintenance begins only when each of them is ticked.")


def of_drain(
    settings: BalanceSettings, intent: Drain, snapshot: Snapshot, rules: Sequence[Rule]
) -> SecondPage | None:
    """Ask for each VM that a drain would leave behind."""
    return _page(settings, (intent.host,), STAYS, snapshot, rules)


def of_rolling(
    settings: BalanceSettings, intent: Rolling, snapshot: Snapshot, rules: Sequence[Rule]
) -> SecondPage | None:
    """Ask for each VM that is in the way of a rolling maintenance."""
    hosts = intent.hosts or tuple(each.name for each in snapshot.hosts if not each.maintenance)
    if len(hosts) > MOST_HOSTS:
        return None
    return _page(settings, hosts, MUST, snapshot, rules)


def leaves_open(found: Plan | Refused) -> bool:
    """Whether VMs would stay on their hosts."""
    against = found.objections if isinstance(found, Refused) else found.warnings
    return any(each.code.startswith(leaving.STUCK) for each in against)


def _page(
    settings: BalanceSettings,
    hosts: Sequence[str],
    then: Message,
    snapshot: Snapshot,
    rules: Sequence[Rule],
) -> SecondPage:
    found = [
        pair
        for host in hosts
        if snapshot.host(host).up
        for pair in _stay_reasons(settings, host, snapshot, rules)
    ]
    stuck = [vm for vm, _ in found]
    intro = _intro([why for _, why in found], then)
    if len(stuck) > MOST:
        return SecondPage(intro)
    copied = _helped_by_copies(settings, hosts, snapshot, rules, stuck)
    fields = (
        _field("copy_vm", COPY, [(vm, _with_size(vm, snapshot)) for vm in copied]),
        _field(
            "shutdown_vm", OFF, [(vm, vm.name) for vm in stuck if leaving.can_end(vm, snapshot)]
        ),
    )
    asked = tuple(each for each in fields if each.options)
    answered = frozenset({"copy_storage", "shutdown", *(each.name for each in fields)})
    return SecondPage(
        intro,
        asked,
        instead_of=answered - {each.name for each in asked},
        near=frozenset(vm.uuid for vm in copied if leaving.disk_bytes(vm, snapshot) is None),
    )


def _stay_reasons(
    settings: BalanceSettings, host: str, snapshot: Snapshot, rules: Sequence[Rule]
) -> Iterator[tuple[Vm, Objection]]:
    """The VMs that would stay on a host, each with what keeps it there."""
    there = {vm.name: vm for vm in snapshot.on(host)}
    for each in drain.evacuate(settings, host, snapshot, rules)[2]:
        yield there[each.code.removeprefix(leaving.STUCK)], each


def _helped_by_copies(
    settings: BalanceSettings,
    hosts: Sequence[str],
    snapshot: Snapshot,
    rules: Sequence[Rule],
    stuck: Iterable[Vm],
) -> list[Vm]:
    """Those that could be moved if their disks were copied."""
    copying = leaving.with_copies(Ways(copy=True), snapshot, hosts)
    still = {
        vm.uuid
        for host in hosts
        if copying.host(host).up
        for vm, _ in _stay_reasons(settings, host, copying, rules)
    }
    return [vm for vm in stuck if vm.uuid in copying.copying and vm.uuid not in still]


def _field(name: str, label: Message, choices: Sequence[tuple[Vm, Message]]) -> ManyField:
    options = tuple((vm.name, text) for vm, text in choices)
    return ManyField(name, label, options, names=True)


def _with_size(vm: Vm, snapshot: Snapshot) -> Message:
    size = leaving.disk_bytes(vm, snapshot)
    if size is None:  # as on the first look, which may be all that there is time for
        return vm.name
    return words("{vm}: {size} to copy", vm=vm.name, size=Size(size))


def _intro(stuck: Sequence[Objection], then: Message) -> tuple[Element, ...]:
    if not stuck:
        return (Section(NONE_STUCK),)
    head = nwords("*{n} VM cannot be moved live:*", "*{n} VMs cannot be moved live:*", n=len(stuck))
    lines = [words("• {why}", why=each.text) for each in stuck]
    parts = [lines[at : at + IN_A_PARAGRAPH] for at in range(0, len(lines), IN_A_PARAGRAPH)]
    return (Section(head), *(Section(join(part, "\n")) for part in parts), Context((then,)))
