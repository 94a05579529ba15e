"""`me`: what one person wants of Drover, kept by user id; and what is told to owners of VMs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

import click

from bot.domain import personal
from bot.domain.card import (
    Button,
    Buttons,
    Card,
    ChoiceField,
    Context,
    Fields,
    Form,
    Line,
    ManyField,
    Section,
    Table,
    TextField,
    error_card,
    nwords,
    words,
)
from bot.domain.cluster import Snapshot
from bot.domain.message import Code, Message, Names, Ref, Words, join
from bot.domain.metrics import Incident, gravest_first
from bot.domain.operation import Operation
from bot.domain.owner import OWNER, owners_of, tag_text, vms_of_owner
from bot.domain.personal import About, Personal
from bot.domain.state_names import VM_STATES
from bot.flow.context import Services
from bot.flow.operations import operation_cards
from bot.plugin_api import View
from bot.ports import Request
from bot.ports.series import Notes

NAME = "me"
EDIT = "me.edit"
KEY = "me:"  # and a user id: the key of that person's settings
TRIES = 5  # lost races; a person has two windows open, not five
SHOWN = 20  # VMs and operations in a digest

SUMMARY = words("Your own settings: direct messages, quiet hours, digest of your VMs, language")
_HELP = words("Your own settings: direct messages, quiet hours, digest of your VMs, language.")
_DMS = words("Direct messages: all, none, or some of operations, alerts, digest.")
_QUIET = words("Hours without direct messages, for example 22:00-07:00; off for none.")
_ZONE = words("Your time zone for them, for example Europe/Lisbon.")
_LANGUAGE = words("A language such as pt-BR; auto: the one you chose in Slack.")
_KINDS: Mapping[About, Words] = {
    About.OPERATIONS: words("How what you asked for ends, and when it waits for you"),
    About.ALERTS: words("Alerts of your own VMs"),
    About.DIGEST: words("A daily digest of your own VMs"),
}


@dataclass(frozen=True, slots=True)
class Me:
    """``me [OPTIONS]``: None leaves a setting as it is."""

    dms: str | None = None
    quiet: str | None = None
    zone: str | None = None
    language: str | None = None

    @property
    def changes(self) -> dict[str, str]:
        """The settings that are named."""
        named = {"dms": self.dms, "quiet": self.quiet, "zone": self.zone, "language": self.language}
        return {name: value for name, value in named.items() if value is not None}


@click.command(NAME, help=str(_HELP))
@click.option("--dms", metavar="KINDS", help=str(_DMS))
@click.option("--quiet", metavar="HH:MM-HH:MM", help=str(_QUIET))
@click.option("--zone", metavar="ZONE", help=str(_ZONE))
@click.option("--language", metavar="LOCALE", help=str(_LANGUAGE))
def grammar(dms: str | None, quiet: str | None, zone: str | None, language: str | None) -> Me:
    """Grammar of `me`."""
    return Me(dms, quiet, zone, language)


def elsewhere(_intent: Me, seen: View) -> Card:
    """Where no person is known, as in a terminal."""
    text = words("Personal settings are shown and changed in the chat.")
    return error_card(text, words("Type {command} there.", command=Code(f"{seen.slash} {NAME}")))


def read_from(notes: Notes, user: str) -> Personal:
    """A person's settings as they are now."""
    return personal.read(notes.note(f"{KEY}{user}")[0])


def of(services: Services, user: str) -> Personal:
    """A person's settings; without a history nothing can be set."""
    return Personal() if services.notes is None else read_from(services.notes, user)


def answer(services: Services, request: Request, wanted: Me) -> Card:
    """Show a person's settings, after changing what was named."""
    if services.notes is None:
        return error_card(words("Personal settings cannot be kept here."))
    if not wanted.changes:
        return _card(services, of(services, request.by))
    return _change(services, services.notes, request.by, wanted.changes)


def edit(services: Services, request: Request) -> Card | None:
    """Open the dialog of a person's settings, or take its answers."""
    if services.notes is None:
        return error_card(words("Personal settings cannot be kept here."))
    if request.kind == "form":
        return _change(services, services.notes, request.by, dict(request.answers))
    form = _form(services, of(services, request.by))
    services.chat.open_form(request.trigger, form, locale=request.locale, place=request.place)
    return None


def _change(services: Services, notes: Notes, user: str, given: Mapping[str, str]) -> Card:
    faults = tuple(why for _, why in _faults(services, given))
    if faults:
        return error_card(join(faults, "\n"), words("Nothing was changed."))
    for _ in range(TRIES):
        text, version = notes.note(f"{KEY}{user}")
        after = _with(personal.read(text), given)
        if notes.put_note(f"{KEY}{user}", personal.dump(after), version) or not text:
            return _card(services, after)
    return error_card(words("Your settings changed at the same moment."), words("Try again."))


def problems(services: Services, answers: Mapping[str, str]) -> Mapping[str, Message]:
    """What is wrong with the answers of the dialog, by field."""
    return dict(_faults(services, answers))


def _faults(services: Services, given: Mapping[str, str]) -> Iterable[tuple[str, Message]]:
    """Each field that is wrong, and why."""
    kinds = _kinds(given["dms"]) if "dms" in given else frozenset()
    if kinds is None:
        names = Names(tuple(each.value for each in About))
        yield (
            "dms",
            words(
                "“{text}” is not a choice of: all, none, {kinds}.", text=given["dms"], kinds=names
            ),
        )
    if personal.quiet_hours(given.get("quiet", "")) is None:
        yield (
            "quiet",
            words(
                "“{text}” are no quiet hours; write for example 22:00-07:00, or off.",
                text=given["quiet"],
            ),
        )
    if (zone := given.get("zone", "")) and not personal.is_zone(zone):
        yield (
            "zone",
            words("“{text}” is not a time zone; write for example Europe/Lisbon.", text=zone),
        )
    language = _language(given.get("language", ""))
    if language and language not in {each.replace("_", "-") for each in services.languages}:
        known = Names(tuple(each.replace("_", "-") for each in services.languages))
        yield (
            "language",
            words(
                "There is no translation for “{text}”. There are: {known}.",
                text=language,
                known=known,
            ),
        )


def _kinds(text: str) -> frozenset[About] | None:
    """The kinds of messages that somebody named; None when one is none."""
    said = text.strip().lower()
    if said in {"all", "none", "off", ""}:
        return frozenset(About) if said == "all" else frozenset()
    try:
        return frozenset(About(each) for each in said.replace("+", ",").replace(" ", "").split(","))
    except ValueError:
        return None


def _language(text: str) -> str:
    said = text.strip().replace("_", "-")
    return "" if said.lower() == "auto" else said


def _with(before: Personal, given: Mapping[str, str]) -> Personal:
    after = before
    if "dms" in given:
        kinds = _kinds(given["dms"]) or frozenset()
        after = replace(
            after,
            operations=About.OPERATIONS in kinds,
            alerts=About.ALERTS in kinds,
            digest=About.DIGEST in kinds,
        )
    if "quiet" in given:
        after = replace(after, quiet=personal.quiet_hours(given["quiet"]) or "")
    if "zone" in given:
        after = replace(after, zone=given["zone"])
    if "language" in given:
        after = replace(after, language=_language(given["language"]))
    return after


def _card(services: Services, mine: Personal) -> Card:
    yes, no = words("yes"), words("no")
    pairs: list[tuple[Line, Line]] = [
        (_KINDS[each], yes if mine.wants(each) else no) for each in About
    ]
    quiet = words("{hours} ({zone})", hours=mine.quiet, zone=mine.zone or services.zone)
    pairs.append((words("Quiet hours"), quiet if mine.quiet else words("not set")))
    pairs.append((words("Language"), mine.language or words("as in Slack")))
    title = words("Your settings")
    hint = words(
        "You own the VMs with the tag `owner` and your name: {command}.",
        command=Code(f"{services.slash} vm tag VM owner=@you"),
    )
    button = Button(words("Change…"), "me.edit", NAME)
    heading = Section(words("*Direct messages, and more*"))
    return Card(title, title, (heading, Fields(tuple(pairs)), Buttons((button,)), Context((hint,))))


def _form(services: Services, mine: Personal) -> Form:
    kinds = tuple((each.value, _KINDS[each]) for each in About)
    wanted = tuple(each.value for each in About if mine.wants(each))
    languages: tuple[tuple[str, Line], ...] = (
        ("auto", words("as in Slack")),
        *((each.replace("_", "-"), each.replace("_", "-")) for each in services.languages),
    )
    return Form(
        "me.edit",
        words("Your settings"),
        words("Save"),
        (
            ManyField("dms", words("Direct messages"), kinds, wanted),
            TextField("quiet", words("Quiet hours"), _QUIET, mine.quiet, required=False),
            TextField("zone", words("Time zone"), _ZONE, mine.zone, required=False),
            ChoiceField("language", words("Language"), languages, initial=mine.language or "auto"),
        ),
    )


# --- owners of VMs


def tell_owners(services: Services, incident: Incident, card: Card, seen: Snapshot) -> None:
    """Tell the owners of the VMs that an alert is about, once when it opens and once when it ends.

    An alert's key names them: between colons stands a VM's UUID, or the host that they are on.
    """
    about = set(incident.key.split(":"))
    theirs: dict[str, list[str]] = {}
    for vm in seen.vms:
        if vm.uuid in about or vm.host in about:
            for user in owners_of(vm):
                theirs.setdefault(user, []).append(vm.name)
    for user, names in theirs.items():
        said = nwords(
            "Your VM {vms} is concerned: {title}",
            "Your VMs {vms} are concerned: {title}",
            n=len(names),
            vms=Names(tuple(sorted(set(names))), most=SHOWN),
            title=incident.title
            if incident.open
            else words("resolved: {title}", title=incident.title),
        )
        own = replace(card, text=said, elements=(Section(said), *card.elements))
        claim = f"own:{incident.key}:{incident.opened_at.isoformat()}:{incident.open}:{user}"
        services.messages.tell(user, own, claim, About.ALERTS)


def send_digests(services: Services, slot: datetime, seen: Snapshot) -> None:
    """Send everybody who wants it the digest of their own VMs, once for each slot."""
    if services.notes is None:
        return
    incidents = services.monitor.measures().incidents if services.monitor is not None else ()
    for key, text in services.notes.notes(KEY).items():
        user = key.removeprefix(KEY)
        if personal.read(text).digest:
            card = _digest(services, user, seen, incidents)
            claim = f"my-vms:{slot.isoformat()}:{user}"
            services.messages.tell(user, card, claim, About.DIGEST)


def _digest(services: Services, user: str, seen: Snapshot, incidents: Iterable[Incident]) -> Card:
    mine = vms_of_owner(seen.vms, user)
    title = nwords("Your VMs: {n}", "Your VMs: {n}", n=len(mine))
    if not mine:
        text = words("You own no VM: none has the tag {tag}.", tag=tag_text(OWNER, user))
        return Card(title, title, (Section(text),))
    uuids, hosts = {vm.uuid for vm in mine}, {vm.host for vm in mine}
    alerts = [
        each.title
        for each in gravest_first(incidents)
        if each.open and {*each.key.split(":")} & (uuids | hosts)
    ]
    recent = {found.id: found for vm in mine for found in services.store.touching(vm.uuid, limit=3)}
    rows: tuple[tuple[Line, ...], ...] = tuple(
        (vm.name, VM_STATES[vm.state], vm.host) for vm in mine[:SHOWN]
    )
    columns = (words("VM"), words("State"), words("Host"))
    return Card(
        title,
        title,
        (
            Table(columns, rows),
            Section(words("*Active alerts:* {titles}", titles=join(alerts, "; ") or words("none"))),
            *(Section(_operation(each)) for each in list(recent.values())[:SHOWN]),
        ),
    )


def _operation(operation: Operation) -> Words:
    return Words(
        "{id} {headline}",
        {"id": Ref(operation.id), "headline": operation_cards.headline_of(operation)},
    )
