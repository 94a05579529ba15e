"""Pure: ``vm definition``, what Drover keeps of a VM's definition."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

import click

from bot.domain.card import Card, Context, Element, Listing, Section
from bot.domain.definition import Definition
from bot.domain.errors import AmbiguousNameError, UnknownNameError
from bot.domain.message import Message, When, join, nwords, words
from bot.domain.suggest import nearest
from bot.plugin_api import History, View
from plugins.failover.commands import chat
from plugins.failover.hidden import hide

SUMMARY = words("The definition of a VM as Drover keeps it, or what changed in it last.")
_DIFF = words("What changed between the two newest versions.")


@dataclass(frozen=True, slots=True)
class LookAtDefinition:
    """``vm definition VM [--diff]``."""

    vm: str
    diff: bool = False


def grammar() -> click.Command:
    """``vm definition VM [--diff]`` → ``LookAtDefinition``."""
    return click.Command(
        "vm definition",
        params=[
            click.Argument(["vm"], metavar="VM"),
            click.Option(["--diff"], is_flag=True, help=str(_DIFF)),
        ],
        callback=LookAtDefinition,
        help=str(SUMMARY),
        short_help=str(SUMMARY),
        add_help_option=False,
    )


def answer(about: LookAtDefinition, view: View) -> Card:
    """The newest version, or the last change.

    With when it was read and when it was last seen to be so.
    """
    versions = find(view.history, about.vm)
    newest = versions[0]
    small = join((_where(newest), _versions(versions)))
    if about.diff and len(versions) < 2:
        said = words(
            "The definition of {vm} has not changed since Drover keeps it.", vm=newest.name
        )
        return Card(said, elements=(Section(said), Context((small,))))
    if about.diff:
        said = words(
            "{vm}: what changed in its definition at {at}.",
            vm=newest.name,
            at=When(newest.taken_at),
        )
        return Card(
            said,
            newest.name,
            (Section(said), _changes(versions[1], newest), Context((small,))),
        )
    said = words(
        "The definition of {vm}, unchanged since {at}.", vm=newest.name, at=When(newest.taken_at)
    )
    shown = Listing(hide(newest.xml.strip()))
    return Card(said, newest.name, (Section(said), shown, Context((small,))))


def find(history: History, name: str) -> tuple[Definition, ...]:
    """All kept versions of the VM of this name or UUID, newest first.

    Raises:
        UnknownNameError: none is kept.
        AmbiguousNameError: several VMs have the name.
    """
    known = history.definitions()
    found = [each for each in known if name in {each.name, each.uuid}]
    there = [
        each for each in found if each.host
    ] or found  # one that was removed does not hide one that exists
    if not there:
        text = words("Drover keeps no definition of “{vm}”.", vm=name)
        advice = nearest(name, sorted({each.name for each in known})) or words(
            "`/kvm vms` lists all VMs."
        )
        raise UnknownNameError(text, advice)
    if len(there) > 1:
        commands = [chat("vm definition {}", each.uuid) for each in there]
        text = nwords(
            "{n} VM is called “{vm}”.", "{n} VMs are called “{vm}”.", n=len(there), vm=name
        )
        raise AmbiguousNameError(
            text, words("Give the UUID instead: {commands}.", commands=commands)
        )
    return history.definitions(uuid=there[0].uuid)


def _changes(before: Definition, after: Definition) -> Element:
    found = changes(before, after)
    return Listing(found) if found else Section(words("Only what is hidden here has changed."))


def changes(before: Definition, after: Definition) -> str:
    """What changed between two versions, as ``diff -u`` shows it; '' when all of it is hidden."""
    old, new = hide(before.xml).splitlines(), hide(after.xml).splitlines()
    lines = difflib.unified_diff(old, new, before.sha, after.sha, n=2, lineterm="")
    return "\n".join(lines)


def _where(newest: Definition) -> Message:
    at = When(newest.seen_at)
    if not newest.host:
        return words("No host that answers has this VM any more; last seen {at}.", at=at)
    return words("On {host}, last seen so {at}.", host=newest.host, at=at)


def _versions(versions: Sequence[Definition]) -> Message:
    return nwords("{n} version is kept.", "{n} versions are kept.", n=len(versions))
