"""Dialogs of commands, made from their grammars.

What was typed is filled in, what is missing can be picked.

An argument is picked from a list where its metavar says what it is: VM, HOST, NETWORK; SNAPSHOT,
TARGET (a disk) and MAC of the VM that is named. What is wrong is told at its field, all at once.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import click

from bot.catalog import Catalog
from bot.domain.card import (
    Card,
    ChoiceField,
    Form,
    FormField,
    ManyField,
    Section,
    TextField,
    said_elsewhere,
)
from bot.domain.cluster import Vm
from bot.domain.errors import MISSING, UsageError
from bot.domain.message import Join, Message, Names, Words, words
from bot.flow.commands import form_pages
from bot.flow.commands.form_pages import FORM
from bot.flow.commands.parse import as_typed, command_of, parse, several
from bot.flow.context import Services
from bot.plugin_api import Action, Command, Decision, Query
from bot.ports import Request

TICKED = 75  # characters beside a box
WHY = words("For the approvers and the audit trail.")
YES = words("Yes")
CHANGE = words("Change…")
Choices = tuple[tuple[str, str], ...]

ONE_AFTER_TO = "to HOST"  # two words of a line, and one host
SOURCES = {
    "VM": "vms",
    "HOST": "hosts",
    ONE_AFTER_TO: "hosts",
    "NETWORK": "networks",
    "NET": "networks",
}
"""Lists of the whole cluster, by the metavar of an argument."""

OF_VM: Mapping[str, Callable[[Vm], Choices]] = {
    "SNAPSHOT": lambda vm: _names(
        each.name for each in (vm.detail.snapshot_list or () if vm.detail else ())
    ),
    "TARGET": lambda vm: tuple(
        (each.target, f"{each.target}: {each.source}"[:75])
        for each in (vm.detail.disks if vm.detail else ())
    ),
    "MAC": lambda vm: tuple(
        (each.mac, f"{each.mac}: {each.source}"[:75])
        for each in (vm.detail.nics if vm.detail else ())
        if each.mac
    ),
}
"""Lists of one VM, by the metavar of an argument."""

LABELS: Mapping[str, Message] = {
    "VM": words("VM"),
    "HOST": words("Host"),
    "to HOST": words("Host (empty: the best one)"),
    "NETWORK": words("Network"),
    "NET": words("Network"),
    "SNAPSHOT": words("Snapshot"),
    "TARGET": words("Disk"),
    "MAC": words("NIC"),
    "NAME": words("Name"),
    "NEW-NAME": words("New name"),
    "SIZE": words("Size"),
    "DURATION|off": words("Duration, or off"),
    "KEY=VALUE": words("Tag"),
    "CONTROLLER": words("Power controller"),
    "METRIC": words("Metric"),
    "COMMAND": words("Command"),
    "FILTER": words("Filters"),
    "WORD": words("Command"),
    "reason": words("Reason"),
    "cpus": words("vCPUs"),
    "memory": words("Memory"),
    "state": words("On or off"),
    "cpu": words("CPU limit"),
    "disks": words("Its disks"),
    "description": words("Description"),
    "copy_storage": words("Copy local disks as well"),
    "policy": words("How hard to try"),
    "bandwidth": words("Bandwidth in MiB/s"),
    "lines": words("Lines"),
    "what": words("VM, host, pool or cluster"),
    "metric": words("Metric"),
    "since": words("Since"),
    "everything": words("All hosts"),
    "every": words("All hosts"),
    "run": words("Command to run on each host"),
    "reboots": words("The command reboots the host"),
    "shutdown": words("Shut down what cannot be moved live"),
    "verbose": words("What passed as well"),
    "dry_run": words("Only show what would be done"),
    "despite_life": words("Although it shows life"),
    "lasts": words("How long"),
    "seen": words("What you saw"),
    "lose_definition": words("Although its definition is lost"),
    "now": words("Without the grace period"),
    "at": words("When (empty: as soon as it is approved)"),
    "by": words("Order by"),
    "undo": words("Restore what it was"),
    "max_moves": words("Most moves"),
    "min_gain": words("Least gain of a move"),
    "only": words("What to balance"),
    "pick": words("Numbers of the moves"),
    "add": words("One more host"),
    "when": words("For the channel, or for you alone"),
    "operation": words("Operation"),
    "pool": words("Pool"),
    "switch": words("On or off"),
    "sort": words("Order by"),
    "take": words("Tags to remove"),
    "disk": words("Disk"),
}
"""What fields are called, by the metavar or the name of a parameter."""

PAGE = "page"  # chosen by buttons
SEVERAL: Mapping[str, Message] = {
    "hosts": words("Hosts"),
    "vms": words("VMs"),
    "copy_vm": words("Copy the disks of these VMs"),
    "shutdown_vm": words("Shut these VMs down"),
    "skip": words("Leave these VMs out"),
    "only": words("Only these VMs"),
    "without": words("As if these hosts were gone"),
}
"""What fields are called in which several can be picked, by the name of a parameter."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A command that is asked for in a dialog, and what is known of its arguments already."""

    command: Query | Action
    known: Mapping[str, str]


def missing_arguments(catalog: Catalog, slash: str, text: str) -> Wanted | None:
    """Return the command of a line that lacks arguments, with those that it has.

    None where none is asked for.
    """
    try:
        command, rest = command_of(catalog, slash, text)
    except UsageError:
        return None
    if isinstance(command, Decision):
        return None
    if not rest and command.form is not None:
        return Wanted(command, {})
    try:
        parse(catalog, slash, text)
    except UsageError as error:
        return Wanted(command, prefill(command, rest)) if error.code == MISSING else None
    return None


def prefill(command: Command, rest: Sequence[str]) -> Mapping[str, str]:
    """What of an unfinished line can be filled in, by field."""
    context = command.grammar.make_context(command.name, [], resilient_parsing=True)
    try:
        found, _, _ = command.grammar.make_parser(context).parse_args(list(rest))
    except click.ClickException:
        return {}
    return {name: text for name, value in found.items() if (text := _as_answer(value))}


def _as_answer(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, list | tuple):
        given = [each for each in value if isinstance(each, str)]
        return shlex.join(given[1:] if given[:1] == ["to"] else given)
    return value if isinstance(value, str) else ""


def form_of(services: Services, asked: Wanted) -> Form:
    """The dialog: the command's own, or one made from its grammar."""
    command = asked.command
    form = command.form() if command.form is not None else _form_of(services, asked)
    fields = tuple(_prefill(each, asked.known.get(each.name, "")) for each in form.fields)
    return replace(form, action=f"{FORM}{command.name}", fields=fields)


def _form_of(services: Services, asked: Wanted) -> Form:
    command, known = asked.command, asked.known
    first = _first_page(command, known)
    page = form_pages.NOTHING if first else form_pages.second_page(services, command, known)
    shown = [each for each in _fields_of(command) if not first or each.name in first]
    vm = None if first else _vm_of(services, command, known)
    every = [_field(each, command, vm) for each in sorted(shown, key=_order)]
    pages = form_pages.pages_of(command)
    behind = pages.first if pages is not None and not first else ()
    fields, hidden = form_pages.with_own(every, page, known, behind)
    changes = isinstance(command, Action)
    submit = words("Next") if first else words("Plan") if changes else words("Show")
    return Form(
        FORM,
        command.name,
        submit,
        tuple(fields),
        (Section(command.summary), *page.intro),
        hidden,
    )


def _first_page(command: Command, known: Mapping[str, str]) -> Collection[str]:
    """The fields that are asked for before the others; none once one of them is known."""
    pages = form_pages.pages_of(command)
    if pages is not None:
        names = pages.first
    else:
        names = ("vm",) if any(_kind(each) in OF_VM for each in _fields_of(command)) else ()
    return () if any(known.get(name) for name in names) else names


def _vm_of(services: Services, command: Command, known: Mapping[str, str]) -> Vm | None:
    """The VM of whose disks, NICs or snapshots one is picked, in depth; None for none."""
    name = known.get("vm", "")
    if not name or not any(_kind(each) in OF_VM for each in _fields_of(command)):
        return None
    return form_pages.in_time(lambda: services.hypervisor.snapshot((name,)).vm(name))


def _fields_of(command: Command) -> list[click.Parameter]:
    """The parameters with a field: of options that share a name the first.

    Of the options of the time only `--at`, which takes what the others take as well; of `[METRIC]`
    and `--metric`, which mean the same, the option.
    """
    found: dict[str, click.Parameter] = {}
    choices = [
        each.type
        for each in command.grammar.params
        if isinstance(each, click.Option) and isinstance(each.type, click.Choice)
    ]
    for each in command.grammar.params:
        timed = not each.expose_value and each.name != "at"
        twice = isinstance(each, click.Argument) and each.type in choices and not each.required
        if not getattr(each, "hidden", False) and not timed and not twice and each.name != PAGE:
            found.setdefault(each.name or "", each)
    return list(found.values())


def _takes_several(parameter: click.Parameter) -> bool:
    return parameter.nargs == -1 or bool(getattr(parameter, "multiple", False))


def _order(parameter: click.Parameter) -> tuple[bool, bool]:
    last = parameter.name == "reason" or not parameter.expose_value
    return (not isinstance(parameter, click.Argument), last)


def _kind(parameter: click.Parameter) -> str:
    """What an argument is, by its metavar: VM of ``[VM]``."""
    return (parameter.metavar or "").strip("[]…")


def _field(parameter: click.Parameter, command: Command, vm: Vm | None) -> FormField:
    name, kind = parameter.name or "", _kind(parameter)
    label, hint = _label(parameter), _hint(parameter)
    required = parameter.required or (name == "vm" and kind == "VM")
    if kind in OF_VM and vm is not None and (options := OF_VM[kind](vm)):
        return ChoiceField(name, label, options, required=required)
    if kind in SOURCES:
        return _live(parameter, label, kind, required=required)
    if isinstance(parameter.type, click.Choice):
        choices = tuple((str(each), str(each)) for each in parameter.type.choices)
        return ChoiceField(name, label, choices, required=required)
    if isinstance(parameter, click.Option) and parameter.is_flag:
        return _flag(parameter, command, label, hint)
    return TextField(name, label, hint=hint, required=required)


def _label(parameter: click.Parameter) -> Message:
    name = parameter.name or ""
    label = SEVERAL.get(name, "") if _takes_several(parameter) else ""
    named = label or LABELS.get(_kind(parameter)) or LABELS.get(name)
    if not named and isinstance(parameter, click.Option) and parameter.is_flag:
        named = _hint(parameter)  # a sentence that is translated; the box beside it says “Yes”
    return named or name.replace("_", " ").capitalize()


def _hint(parameter: click.Parameter) -> Message:
    if parameter.name == "reason":
        return WHY
    told = getattr(parameter, "help", None)
    return said_elsewhere(told) if told else ""


def _flag(option: click.Option, command: Command, label: Message, hint: Message) -> FormField:
    """A tick; one of several flags that set the same parameter is a choice among them."""
    name = option.name or ""
    if isinstance(option.flag_value, str):
        return ChoiceField(name, label, _alternatives(command, name), required=True)
    fits = hint and hint != label and len(str(hint)) <= TICKED
    return ManyField(name, label, (("yes", hint if fits else YES),))


def _live(parameter: click.Parameter, label: Message, kind: str, *, required: bool) -> FormField:
    """One or several names of a list of the whole cluster."""
    name, source = parameter.name or "", SOURCES[kind]
    if _takes_several(parameter) and kind != ONE_AFTER_TO:
        return ManyField(name, label, source=source)
    return ChoiceField(name, label, source=source, required=required)


def _alternatives(command: Command, name: str) -> tuple[tuple[str, Message], ...]:
    """The flags of which one sets a parameter: ``--keep-disks`` or ``--remove-disks``."""
    return tuple(
        (str(each.flag_value), said_elsewhere(each.help or each.opts[0]))
        for each in command.grammar.params
        if each.name == name and isinstance(each, click.Option)
    )


def _prefill(field: FormField, value: str) -> FormField:
    if not value:
        return field
    if isinstance(field, ManyField):
        chosen = several(value) if field.as_words else value.split(",")
        return replace(field, initial=tuple(chosen))
    return replace(field, initial=value)


def _names(found: Iterable[str]) -> Choices:
    return tuple((name, name[:75]) for name in found)


def with_change(card: Card, request: Request) -> Card:
    """A refusal of what a dialog asked for, with a button that opens it again, filled in."""
    answers = form_pages.all_answers(request)
    return form_pages.with_button(card, CHANGE, request.action, answers)


# -- what is wrong with answers


def problems(catalog: Catalog, slash: str, request: Request) -> Mapping[str, Message]:
    """What is wrong with a dialog's answers, by field.

    {} when nothing is, as far as that is seen without a host.
    """
    command = catalog.commands.get(request.action.removeprefix(FORM))
    if not request.action.startswith(FORM) or command is None:
        return {}
    answers = form_pages.all_answers(request)
    context = click.Context(command.grammar)
    found = {
        name: problem
        for parameter in command.grammar.params
        if (name := parameter.name or "") in answers and answers[name].strip()
        if (problem := _problem(parameter, context, answers[name].strip()))
    }
    return found or _as_a_whole(catalog, slash, command, answers, whole=_is_all(command, request))


def _is_all(command: Command, request: Request) -> bool:
    """Whether no further page asks for what is missing."""
    pages = form_pages.pages_of(command)
    if pages is not None:
        return True
    own = {each.name for each in _fields_of(command) if each.expose_value}
    return own <= dict(request.answers).keys()


def _as_a_whole(
    catalog: Catalog, slash: str, command: Command, answers: Mapping[str, str], *, whole: bool
) -> Mapping[str, Message]:
    """What is wrong with the answers together: at the error's field, or the first that is empty.

    ``whole``: no further page asks for what is missing.
    """
    try:
        parse(catalog, slash, f"{command.name} {as_typed(command.grammar, answers)}")
    except UsageError as error:
        if error.code == MISSING and not whole:
            return {}  # the next dialog asks for the rest
        if error.field in answers:
            return {error.field: error.text}
        empty = [name for name, answer in answers.items() if not answer and name != "reason"]
        at = (empty or list(answers) or [""])[0]
        text = words("Fill in this field or another one.") if error.code == MISSING else error.text
        return {at: text}
    return {}


def _problem(parameter: click.Parameter, context: click.Context, answer: str) -> Message:
    """Why one answer will not do, in the words of its field; '' when it will."""
    if isinstance(parameter, click.Option) and parameter.is_flag:
        return ""
    value = tuple(several(answer)) if _takes_several(parameter) else answer
    try:
        parameter.process_value(context, value)
    except UsageError as error:
        return error.text
    except click.ClickException as error:
        return _in_field(parameter.type, error)
    return ""


def _in_field(kind: click.ParamType[object], error: click.ClickException) -> Message:
    if isinstance(kind, click.IntRange):
        if kind.max is None:
            return words("Use a whole number, at least {least}.", least=int(kind.min or 0))
        return words(
            "Use a whole number from {least} to {most}.",
            least=int(kind.min or 0),
            most=int(kind.max),
        )
    if isinstance(kind, click.types.IntParamType):
        return words("Use a whole number.")
    if isinstance(kind, click.types.FloatParamType):
        return words("Use a number.")
    if isinstance(kind, click.Choice):
        return words("Use {choices}.", choices=Names(tuple(map(str, kind.choices)), Join.OR))
    return Words("{text}", {"text": error.format_message()})
