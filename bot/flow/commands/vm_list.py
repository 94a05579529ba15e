"""`vms`: the VMs that are wanted, page by page, each with a menu of what can be done with it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

import click

from bot.domain.card import (
    Card,
    Context,
    Element,
    Line,
    Menu,
    Section,
    Table,
    join,
    nwords,
    words,
)
from bot.domain.cluster import Health, Snapshot, Vm, VmState
from bot.domain.errors import UsageError
from bot.domain.message import Code, Join, Message, Names, Number, Size, Words
from bot.domain.owner import has_tag, tag_texts
from bot.domain.pages import Page, page_buttons
from bot.domain.state_names import VM_STATES
from bot.domain.units import moment_of
from bot.domain.vm_menu import DELETED, vm_buttons
from bot.flow.operations import operation_cards
from bot.plugin_api import View

SIZE = 20  # VMs on a page: each takes a block, and a message has 50
INTERNAL = "drover."  # tags that Drover itself keeps

STATES: Mapping[str, Callable[[Vm], bool]] = {
    "running": lambda vm: vm.state is VmState.RUNNING,
    "paused": lambda vm: vm.state in (VmState.PAUSED, VmState.SUSPENDED),
    "off": lambda vm: vm.state is VmState.SHUT_OFF and DELETED not in vm.tags,
    "saved": lambda vm: vm.saved,
    "crashed": lambda vm: vm.has_crashed,
    "deleted": lambda vm: DELETED in vm.tags,
    "unknown": lambda vm: vm.state is VmState.UNKNOWN,
}
_ALSO = {"shutoff": "off", "stopped": "off", "up": "running", "on": "running"}
SORTS: Mapping[str, Callable[[Vm], tuple[float, str]]] = {
    "name": lambda _: (0.0, ""),
    "host": lambda vm: (0.0, vm.host),
    "state": lambda vm: (0.0, vm.state.value),
    "memory": lambda vm: (-float(vm.memory), ""),
    "cpu": lambda vm: (-(vm.cpu or 0.0), ""),
}


@dataclass(frozen=True, slots=True)
class Vms:
    """`vms [FILTER]…`: each filter must hold; ``page`` from 1."""

    wanted: tuple[str, ...] = ()
    sort: str = "name"
    page: int = 1

    def line(self, page: int) -> str:
        """The command that shows a page of the same list."""
        sort = [] if self.sort == "name" else ["--sort", self.sort]
        return shlex.join(
            ["vms", *self.wanted, *sort, *(["--page", str(page)] if page > 1 else [])]
        )


STATE_HELP = words("Only those in this state.")
HOST_HELP = words("Only those on this host.")
TAG_HELP = words("Only those with this tag, for example env=prod.")
SORT_HELP = words("In this order; memory and CPU the largest first.")
PAGE_HELP = words("Which page of the list.")
FILTERS = words(
    "A filter is a part of a name, a pattern such as `web*`, `state=off`, `host=host-a`, or a tag "
    "such as `env=prod`. Several must all hold."
)

HELP = words(
    "List VMs. A filter is a part of a name, a pattern such as `web*`, `state=off`, "
    "`host=host-a`, or a tag such as `env=prod`. Several must all hold."
)


def page_option() -> Callable[[Callable[..., object]], Callable[..., object]]:
    """``--page N``."""
    return click.option(
        "--page", type=click.IntRange(1, 100_000), default=1, metavar="N", help=str(PAGE_HELP)
    )


@click.command("vms", help=str(HELP))
@click.argument("wanted", nargs=-1, metavar="[FILTER]…")
@click.option(
    "--state", type=click.Choice(tuple(STATES), case_sensitive=False), help=str(STATE_HELP)
)
@click.option("--host", default="", metavar="HOST", help=str(HOST_HELP))
@click.option("--tag", default="", metavar="KEY=VALUE", help=str(TAG_HELP))
@click.option(
    "--sort",
    type=click.Choice(tuple(SORTS), case_sensitive=False),
    default="name",
    help=str(SORT_HELP),
)
@page_option()
def grammar(
    *, wanted: tuple[str, ...], state: str | None, host: str, tag: str, sort: str, page: int
) -> Vms:
    """Grammar of `vms`."""
    more = [f"state={state.lower()}"] if state else []
    more += [f"host={host}"] if host else []
    more += [f"tag={tag}"] if tag else []
    return Vms((*wanted, *more), sort.lower(), page)


def _know_hosts(wanted: Iterable[str], seen: View) -> None:
    """Refuse a filter by a host that there is not.

    Raises:
        UnknownNameError: no such host; the advice names the nearest.
    """
    for key, _, name in (each.partition("=") for each in wanted):
        if key == "host" and not {"*", "?", "["} & set(name):
            seen.snapshot.host(name)


def _hint(intent: Vms, slash: str) -> Message:
    """Ask for the list that a bare state or ``sort=…`` among the filters may mean."""
    wanted = [
        f"state={word.lower()}" if word.lower() in STATES or word.lower() in _ALSO else word
        for word in intent.wanted
    ]
    sorts = [word for word in wanted if word.lower().removeprefix("sort=") in SORTS]
    sort = sorts[-1].lower().removeprefix("sort=") if sorts else intent.sort
    meant = Vms(tuple(word for word in wanted if word not in sorts), sort)
    if meant == replace(intent, page=1):
        return ""
    return words("Did you mean {line}?", line=Code(f"{slash} {meant.line(1)}"))


def answer(intent: Vms, seen: View) -> Card:
    """The VMs that are wanted.

    Raises:
        UnknownNameError: of the VMs on a host that there is not.
    """
    found = matching(seen.snapshot.vms, intent.wanted)
    found.sort(key=lambda vm: (*SORTS[intent.sort](vm), vm.name, vm.host))
    if not found:
        _know_hosts(intent.wanted, seen)
        nothing = (
            words("Nothing matches “{wanted}”.", wanted=" ".join(intent.wanted))
            if intent.wanted
            else words("The hosts that answer have none.")
        )
        advice = join((nothing, _hint(intent, seen.slash), FILTERS))
        return operation_cards.note_card(words("No VMs."), advice)
    allowed = {each.name for each in seen.commands if each.allowed}
    page = Page(len(found), intent.page, SIZE)
    shown = found[page.first : page.last]
    running = sum(1 for vm in found if STATES["running"](vm))
    title = nwords(
        "{n} VM, {running} running", "{n} VMs, {running} running", n=len(found), running=running
    )
    elements: list[Element] = [
        Section(_line(vm, seen.snapshot), _menu(vm, allowed)) for vm in shown
    ]
    notes: tuple[Line, ...] = (words("as of {at}", at=seen.snapshot.taken_at),)
    if page.count > 1:
        notes = (page.text, *notes)
    return Card(
        text=title,
        title=title,
        elements=(*elements, page_buttons(intent.line, page), Context(notes)),
        # Of thousands of VMs it takes longer than all the rest, and only a file shows it
        export=_table(found, seen.snapshot) if seen.whole else None,
    )


def matching(vms: Sequence[Vm], wanted: Sequence[str]) -> list[Vm]:
    """The VMs for which every filter holds.

    Raises:
        UsageError: a state that is none.
    """
    tests = [_test(word) for word in wanted]
    return [vm for vm in vms if all(test(vm) for test in tests)]


def _test(word: str) -> Callable[[Vm], bool]:
    key, equals, value = word.partition("=")
    if not equals:
        return lambda vm: _matches_name(vm, word)
    if key == "state":
        return STATES[_state(value)]
    if key == "host":
        return lambda vm: fnmatchcase(vm.host, value)
    if key == "name":
        return lambda vm: fnmatchcase(vm.name, value)
    if key == "tag":
        key, _, value = value.partition("=")
    return lambda vm: _has_tag(vm, key, value)


def _state(value: str) -> str:
    name = value.lower().removeprefix("powered ")
    name = _ALSO.get(name, name)
    if name not in STATES:
        raise UsageError(
            words("“{state}” is no state of a VM.", state=value),
            words("Use {states}.", states=Names(tuple(map(Code, STATES)), Join.OR)),
            code="no-such-state",
        )
    return name


def _has_tag(vm: Vm, key: str, value: str) -> bool:
    """Whether a VM has a tag; a value may be a pattern, and '' is any."""
    return (
        has_tag(vm, key, value)
        or (not value and key in vm.tags)
        or (bool(value) and fnmatchcase(vm.tags.get(key, ""), value) and key in vm.tags)
    )


def _matches_name(vm: Vm, word: str) -> bool:
    if set("*?[") & set(word):
        return fnmatchcase(vm.name.casefold(), word.casefold())
    return word.casefold() in vm.name.casefold() or word in (vm.host, vm.uuid)


def _line(vm: Vm, seen: Snapshot) -> Words:
    """Two lines of one VM."""
    used = words("CPU {cores}", cores=Number(vm.cpu, 2)) if vm.cpu is not None else ""
    size = nwords("{n} vCPU", "{n} vCPUs", n=vm.vcpus)
    memory = Words("{size}", {"size": Size(vm.memory)})
    tags = join(_tags(vm), ", ")
    return words(
        "*{vm}* · {state} · {host}\n{facts}",
        vm=vm.name,
        state=state_text(vm, seen),
        host=vm.host,
        facts=join((size, memory, used, tags), " · "),
    )


def _tags(vm: Vm) -> list[Message]:
    kept = {key: value for key, value in vm.tags.items() if not key.startswith(INTERNAL)}
    return list(tag_texts(replace(vm, tags=kept)))


def state_text(vm: Vm, seen: Snapshot) -> Message:
    """A VM's state, with what is special about it."""
    state = VM_STATES[vm.state]
    if until := vm.tags.get(DELETED):
        state = words("deleted, purged {at}", at=moment_of(until) or until)
    elif vm.saved:
        state = words("{state}, memory saved", state=state)
    if seen.host(vm.host).health is not Health.UP:
        state = words("{state} (last seen)", state=state)
    return state


def _menu(vm: Vm, allowed: Collection[str]) -> Menu | None:
    """What can be done with a VM in its state, as far as the person may; at most five."""
    choices = vm_buttons(vm, allowed)
    return Menu(choices[:5]) if choices else None


def _table(found: Sequence[Vm], seen: Snapshot) -> Table:
    """All of them, as a file has them."""
    columns = (
        words("VM"),
        words("Host"),
        words("State"),
        words("vCPUs"),
        words("Memory"),
        words("CPU"),
        words("Tags"),
        words("UUID"),
    )
    rows = tuple(
        (
            vm.name,
            vm.host,
            state_text(vm, seen),
            str(vm.vcpus),
            Words("{size}", {"size": Size(vm.memory)}),
            "" if vm.cpu is None else f"{vm.cpu:.2f}",
            join(_tags(vm), ", "),
            Words("{uuid}", {"uuid": Code(vm.uuid)}),
        )
        for vm in found
    )
    return Table(columns, rows, frozenset({3}))
