"""Owners of VMs, people's own settings, a Home of what one may do, and refused attempts in the trail."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from bot.adapters.language import Languages
from bot.adapters.slack.blocks import render
from bot.adapters.sql.series import SqlSeries
from bot.adapters.translated_chat import TranslatedChat
from bot.audit import json_lines
from bot.domain import personal
from bot.domain.card import Buttons, Card, Section, error_card
from bot.domain.cluster import Vm, VmState
from bot.domain.errors import UsageError
from bot.domain.message import words
from bot.domain.metrics import Incident
from bot.domain.owner import has_tag, owners_of, stored_tag, tag_value
from bot.domain.personal import Personal
from bot.domain.policy import Policy, Rule
from bot.flow import personal_settings
from bot.flow.commands import dispatcher
from bot.flow.operations import operation_cards
from bot.flow.operations.operation_messages import OperationMessages
from bot.ports import Request
from tests.bot.flow.small_bot import Bot, small_bot, text

CLUSTER = """
host-a  16cpu 64G reserve 2G | web-1 4G [owner=UANA] | web-2 4G [owner=<@UANA>+UEVA] | db-1 8G
host-b  16cpu 64G reserve 2G | app-1 2G
"""
POLICY = Policy(
    grants={"engineer": ("*",), "approver": ("*",)},
    everyone=("help",),
    rules=(Rule("default", votes=1, expires=600),),
)


@pytest.fixture
def bot(tmp_path: Path) -> Bot:
    notes = SqlSeries(f"sqlite:///{tmp_path}/drover.sqlite", keep_raw=HOUR, keep=HOUR)
    made = small_bot(tmp_path, CLUSTER, ("migrate", "vm_lifecycle", "monitor"), policy=POLICY)
    made.services = replace(made.services, notes=notes, languages=("en", "pt_BR"))

    def wishes(user: str) -> tuple[Personal, float]:
        mine = personal_settings.read_from(notes, user)
        return mine, mine.quiet_seconds(made.clock.now())

    draw = partial(operation_cards.operation_card, pickable=())
    screen = OperationMessages(made.store, made.chat, draw, personal=wishes)
    made.services = replace(made.services, messages=screen)
    return made


HOUR = timedelta(hours=1)


def vm(owner: str) -> Vm:
    return Vm("u-1", "web-1", "host-a", VmState.RUNNING, 1, 1, tags={"owner": owner})


def home(bot: Bot, user: str) -> str:
    from bot.flow.commands import dispatcher

    dispatcher.handle(bot.services, Request("home", "home", user, bot.clock.now()))
    return text(bot.chat.homes[user])


# owners


def test_a_mention_is_stored_as_the_persons_id_and_shown_as_the_person() -> None:
    assert stored_tag("owner", "<@U0ANA>") == "U0ANA"
    assert stored_tag("owner", "<@U0ANA|ana>, <@U0EVA>") == "U0ANA,U0EVA"
    assert stored_tag("owner", "platform-team") == "platform-team"
    assert stored_tag("env", "prod") == "prod"
    _, blocks = render(Card("x", elements=(Section(words("{o}", o=tag_value("owner", "U0ANA"))),)))
    assert "<@U0ANA>" in str(blocks)
    with pytest.raises(UsageError, match="did not say who"):
        stored_tag("owner", "@ana")


def test_owners_are_found_however_they_were_stored() -> None:
    for stored in ("U0ANA", "<@U0ANA>", "@U0ANA", "U0EVA,U0ANA", "U0EVA+U0ANA"):
        assert "U0ANA" in owners_of(vm(stored))
        assert has_tag(vm(stored), "owner", "<@U0ANA>")
    assert owners_of(vm("ana")) == ("ana",)
    assert has_tag(vm("ana"), "owner", "@ana")
    assert not has_tag(vm("U0EVA"), "owner", "U0ANA")


def test_what_is_typed_naturally_makes_one_an_owner(bot: Bot) -> None:
    bot.types("vm tag db-1 owner=<@UEVA>")
    proposed = str([render(card) for card in bot.chat.messages.values()])
    assert "<@UEVA>" in proposed
    bot.clicks("op.approve", bot.value(), "UBRUNO")
    bot.works()
    shown = proposed + str([render(card) for card in bot.chat.messages.values()])
    told = shown.replace("<@UEVA>", "").replace("owner=&lt;@UEVA&gt;`", "")  # the command as typed
    assert "UEVA" not in told, "nobody knows a member id by heart"
    assert bot.hypervisor.snapshot().vm("db-1").tags["owner"] == "UEVA"
    assert "db-1" in text(bot.types("vms owner=<@UEVA>", by="UBRUNO"))
    assert "db-1 (running on host-a)" in home(bot, "UEVA")
    assert "web-2" in home(bot, "UEVA"), "one of two owners, stored by an older version"


# the Home


def test_the_home_of_a_person_without_rights_shows_nothing_of_the_cluster(bot: Bot) -> None:
    shown = home(bot, "UGIL")
    for said in ("host-a", "web-1", "Active alerts", "Running operations", "QEMU"):
        assert said not in shown
    assert "You have no role in Drover yet." in shown
    assert not any(isinstance(each, Buttons) for each in bot.chat.homes["UGIL"].elements)


def test_the_home_shows_ones_own_requests(bot: Bot) -> None:
    bot.types("migrate db-1 to host-b")
    assert "My requests: 1" in home(bot, "UANA")
    assert "My requests: 0" in home(bot, "UBRUNO")
    assert "Waiting for your vote: 1" in home(bot, "UBRUNO")


# refused attempts


def test_refused_attempts_are_in_the_audit_trail_and_in_its_chain(bot: Bot) -> None:
    bot.types("migrate db-1 to host-b")
    bot.types("migrate web-1 to host-b", by="UGIL")
    bot.clicks("op.approve", bot.value(), "UGIL")
    bot.clicks("op.approve", bot.value(), "UANA")
    bot.clicks("op.withdraw", bot.value(), "UGIL")
    bot.types(f"deny {bot.operation().id} no", by="UGIL")
    trail = text(bot.types("audit <@UGIL>", by="UBRUNO"))
    assert "4 events in the audit trail" in trail
    assert "tried `/kvm migrate web-1 to host-b`; refused: You may not use `migrate`." in trail
    assert "You may not approve op-1" in trail
    assert "op-1" in trail
    assert "You asked for op-1 yourself" in text(bot.types("audit <@UANA>", by="UBRUNO"))
    assert bot.store.broken_link() == ""
    kinds = [line for line in json_lines(bot.store.trail()) if '"kind": "Attempted"' in line]
    assert len(kinds) == 5
    assert all('"operation": ""' in line for line in kinds)
    assert [each.id for each in bot.store.operations()] == ["op-1"]


def test_attempts_take_no_operations_number_and_stand_in_nobodys_history(bot: Bot) -> None:
    bot.types("migrate web-1 to host-b", by="UGIL")
    bot.types("migrate db-1 to host-b")
    assert bot.operation(1).version == 1
    assert "There is no operation" in text(
        bot.types("audit op-0", by="UBRUNO")
    ) or "not an operation" in text(bot.types("audit op-0", by="UBRUNO"))


def test_a_refused_click_on_the_home_is_kept_as_well(bot: Bot) -> None:
    bot.types("migrate db-1 to host-b")
    click = Request("h-1", "click", "UGIL", bot.clock.now(), action="op.approve", value=bot.value())
    dispatcher.handle(bot.services, click)
    (kept,) = bot.store.attempts(by="UGIL")
    assert kept.operation == "op-1"
    assert kept.what.startswith("op.approve op-1:")


# settings


def test_settings_are_shown_and_changed_by_their_person_alone_with_or_without_a_role(
    bot: Bot,
) -> None:
    shown = text(bot.types("me", by="UGIL"))
    assert "Your settings" in shown
    changed = text(
        bot.types("me --quiet 22:00-7:00 --zone Europe/Lisbon --dms operations", by="UGIL")
    )
    assert "22:00-07:00 (Europe/Lisbon)" in changed
    assert bot.services.notes is not None
    mine = personal_settings.read_from(bot.services.notes, "UGIL")
    assert mine == Personal(alerts=False, quiet="22:00-07:00", zone="Europe/Lisbon")
    assert personal_settings.of(bot.services, "UANA") == Personal()


def test_all_that_is_wrong_is_told_at_once_and_nothing_is_changed(bot: Bot) -> None:
    said = text(bot.types("me --quiet never --zone Mars/Olympus --dms post --language xx"))
    for part in ("never", "Mars/Olympus", "post", "xx", "Nothing was changed."):
        assert part in said
    assert personal_settings.of(bot.services, "UANA") == Personal()


def test_the_dialog_gives_what_the_line_gives(bot: Bot) -> None:
    bot.clicks("me.edit", "me", "UANA", key="trigger")
    form = bot.chat.forms["trigger"]
    assert [each.name for each in form.fields] == ["dms", "quiet", "zone", "language"]
    bot.answers("me.edit", "", "UANA", dms="alerts,digest", quiet="", zone="", language="pt-BR")
    assert personal_settings.of(bot.services, "UANA") == Personal(
        operations=False, digest=True, language="pt-BR"
    )


def test_who_wants_no_messages_of_operations_gets_none(bot: Bot) -> None:
    bot.types("me --dms none")
    before = len(bot.chat.whispers)
    bot.types("migrate db-1 to host-b")
    bot.clicks("op.approve", bot.value(), "UBRUNO")
    bot.works()
    assert not [each for each in bot.chat.whispers[before:] if "Done" in str(each.card.text)]


def test_in_quiet_hours_a_message_waits_for_their_end(bot: Bot) -> None:
    now = bot.clock.now()
    quiet = f"{now - HOUR:%H:%M}-{now + HOUR:%H:%M}"
    bot.types(f"me --quiet {quiet}")
    bot.services.messages.tell("UANA", error_card("wake up"), "claim-1")
    assert not [each for each in bot.chat.cards_for("UANA") if "wake up" in str(each.text)]
    bot.types("me --quiet off")
    bot.services.messages.catch_up()
    assert [each for each in bot.chat.cards_for("UANA") if "wake up" in str(each.text)]


@pytest.mark.parametrize(
    ("quiet", "at", "until"),
    [
        ("22:00-07:00", "2026-01-05T23:30+00:00", "2026-01-06T07:00+00:00"),
        ("22:00-07:00", "2026-01-06T06:59+00:00", "2026-01-06T07:00+00:00"),
        ("22:00-07:00", "2026-01-06T07:00+00:00", None),
        ("12:00-13:00", "2026-01-06T12:30+00:00", "2026-01-06T13:00+00:00"),
        ("12:00-13:00", "2026-01-06T13:30+00:00", None),
        ("", "2026-01-06T13:30+00:00", None),
    ],
)
def test_quiet_hours_may_pass_midnight(quiet: str, at: str, until: str | None) -> None:
    expected = None if until is None else datetime.fromisoformat(until)
    assert Personal(quiet=quiet).quiet_until(datetime.fromisoformat(at)) == expected


def test_quiet_hours_are_those_of_the_persons_own_clock() -> None:
    mine = Personal(quiet="22:00-07:00", zone="America/Sao_Paulo")
    at = datetime(2026, 1, 6, 3, 0, tzinfo=UTC)  # midnight there
    assert mine.quiet_until(at) == datetime(2026, 1, 6, 10, 0, tzinfo=UTC)


def test_settings_survive_a_version_that_knows_more() -> None:
    assert personal.read('{"quiet": "1:00-2:00", "colour": "red"}') == Personal(quiet="1:00-2:00")
    assert personal.read(personal.dump(Personal(digest=True))) == Personal(digest=True)


def test_the_language_that_a_person_chose_here_goes_before_that_of_the_chat(bot: Bot) -> None:
    chat = TranslatedChat(bot.chat, Languages(), {"UANA": "pt-BR"}.get)  # type: ignore[arg-type]
    chat.tell("UANA", error_card(words("Ask again if it is still wanted.")))
    assert "Ask again" not in str(bot.chat.whispers[-1].card.text)


def test_owners_are_told_of_alerts_of_their_vms_and_nobody_else_is(bot: Bot) -> None:
    seen = bot.hypervisor.snapshot()
    now = bot.clock.now()
    alert = error_card("host-a does not answer")
    incident = Incident("host:host-a", "host-a does not answer", now)
    personal_settings.tell_owners(bot.services, incident, alert, seen)
    personal_settings.tell_owners(bot.services, incident, alert, seen)
    (told,) = bot.chat.cards_for("UANA")
    assert "Your VMs web-1, web-2 are concerned" in str(told.text)
    assert len(bot.chat.cards_for("UEVA")) == 1
    assert not bot.chat.cards_for("UBRUNO")
    of_one = Incident(f"crash:{seen.vm('web-1').uuid}", "web-1 crashed", now)
    personal_settings.tell_owners(bot.services, of_one, error_card("crash"), seen)
    assert len(bot.chat.cards_for("UANA")) == 2
    assert len(bot.chat.cards_for("UEVA")) == 1


def test_the_digest_of_ones_own_vms_comes_once_to_who_wants_it(bot: Bot) -> None:
    bot.types("me --dms all")
    before = len(bot.chat.cards_for("UANA"))
    for _ in range(2):
        personal_settings.send_digests(
            bot.services,
            bot.clock.now().replace(microsecond=0, second=0),
            bot.hypervisor.snapshot(),
        )
    (digest,) = bot.chat.cards_for("UANA")[before:]
    assert "web-1" in text(digest)
    assert "db-1" not in text(digest)


def test_who_owns_no_vm_is_told_the_tag_with_a_name(bot: Bot) -> None:
    """Nobody knows a member id: the sentence mentions the person."""
    bot.types("me --dms all", "UBRUNO")
    before = len(bot.chat.cards_for("UBRUNO"))
    personal_settings.send_digests(bot.services, bot.clock.now(), bot.hypervisor.snapshot())
    (digest,) = bot.chat.cards_for("UBRUNO")[before:]
    assert "none has the tag owner=<@UBRUNO>" in str(render(digest))
