"""What approvers see before they vote, and what is true when an operation has ended."""

from __future__ import annotations

import re
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from bot.adapters.language import Languages
from bot.adapters.linked_chat import LinkedChat
from bot.adapters.slack.blocks import render
from bot.adapters.slack.plaintext import as_text
from bot.adapters.slack.text import mrkdwn
from bot.domain.card import Button, Buttons, Card, Chart, Checklist, Element, Fields, Listing
from bot.domain.cluster import GIB
from bot.domain.message import Duration, Ref, words
from bot.domain.operation import State
from bot.domain.steps import MigrateVm
from bot.flow.commands import dispatcher
from bot.flow.operations import operation_cards, perform, propose
from bot.ports import Request
from tests.bot.flow.small_bot import Bot, small_bot, text
from tests.waiting import until

PLUGINS = ("migrate", "balance", "monitor", "vm_lifecycle")
CLUSTER = """
host-a  16cpu 64G reserve 2G load 4 | web-1 4G load 0.5 [owner=UANA] | db-1 8G [pin=here]
host-b  16cpu 64G reserve 2G load 1 | app-1 2G load 0.2 | off-1 2G off
host-c  16cpu 64G reserve 2G load 1 | app-2 2G load 0.2 | app-3 2G | app-4 2G
"""


def bot_with(tmp_path: Path, cluster: str = CLUSTER) -> Bot:
    tables = {"balance": {"rolling": {"pause_hours": 1}, "cooldown_minutes": 0}}
    return small_bot(tmp_path, cluster, PLUGINS, tables)


@pytest.fixture
def bot(tmp_path: Path) -> Bot:
    return bot_with(tmp_path)


def approve(bot: Bot, number: int = 1) -> None:
    for who in ("UBRUNO", "UCARLA"):
        if bot.operation(number).state is State.PROPOSED:
            bot.clicks("op.approve", bot.value(number), who)


def index_of(card: Card, kind: type[Element]) -> int:
    return next(index for index, each in enumerate(card.elements) if isinstance(each, kind))


def buttons_of(card: Card) -> dict[str, Button]:
    rows = (each for each in card.elements if isinstance(each, Buttons))
    return {str(button.text): button for row in rows for button in row.buttons}


def field(card: Card, label: str) -> str:
    pairs = [pair for each in card.elements if isinstance(each, Fields) for pair in each.pairs]
    return next((str(value) for name, value in pairs if str(name) == label), "")


def test_every_state_has_a_sign_of_its_own() -> None:
    signs = [
        *operation_cards.SIGNS.values(),
        operation_cards.WAITING_SIGN,
        operation_cards.INCOMPLETE_SIGN,
    ]
    assert set(operation_cards.SIGNS) == set(State)
    assert len(set(signs)) == len(signs)


def test_the_sign_of_a_state_stands_first_in_the_title_and_in_the_list(bot: Bot) -> None:
    bot.types("migrate web-1 to host-b")
    assert str(bot.shown().title).startswith("🟡 Approve?")
    approve(bot)
    bot.works()
    assert str(bot.shown().title).startswith("✅ ")
    assert "✅ done" in text(bot.types("ops"))
    assert "✅" in str(render(bot.shown())[1])


def test_buttons_stand_above_pictures_steps_and_definitions(bot: Bot) -> None:
    bot.types("host drain host-c")
    card = bot.shown()
    assert index_of(card, Fields) < index_of(card, Buttons)
    assert index_of(card, Buttons) < index_of(card, Chart) < index_of(card, Checklist)


def test_a_picture_is_drawn_from_three_moves_on_and_in_the_details_of_any_plan(bot: Bot) -> None:
    bot.types("migrate web-1 to host-b")
    assert not any(isinstance(each, Chart) for each in bot.shown().elements)
    details = bot.clicks("op.details", bot.value(), "UBRUNO")
    assert details is not None
    assert any(isinstance(each, Chart) for each in details.elements)


def test_what_is_proposed_already_is_not_proposed_again(bot: Bot) -> None:
    bot.types("migrate web-1 to host-b")
    again = bot.types("migrate web-1 to host-b --reason urgent", by="UBRUNO")
    assert "op-1 proposes this already" in str(again and again.text)
    assert again is not None
    assert "op.approve" in {each.action for each in buttons_of(again).values()}
    assert "op-2" not in text(bot.types("ops"))
    bot.clicks("op.withdraw", bot.value(), "UANA")
    bot.types("migrate web-1 to host-b", by="UEVA")
    assert bot.operation(2).state is State.PROPOSED, "what is over is no twin"


def test_another_way_to_ask_for_the_same_steps_is_the_same_proposal(bot: Bot) -> None:
    bot.types("migrate web-1")
    target = bot.operation().plan.blast.hosts[1]
    assert "proposes this already" in text(bot.types(f"migrate web-1 to {target}", by="UEVA"))
    other = next(each for each in ("host-b", "host-c") if each != target)
    assert "is proposed" in text(bot.types(f"migrate web-1 to {other}", by="UEVA"))


def test_a_request_read_a_second_time_after_a_crash_is_no_twin_of_itself(bot: Bot) -> None:
    bot.types("migrate web-1 to host-b", key="once")
    operation = bot.operation()
    action = bot.services.catalog.action("migrate")
    found = propose.try_plan(bot.services, action, operation.intent, operation.origin)
    assert found == operation


def test_a_card_says_that_a_plan_takes_n_plus_one_away(tmp_path: Path) -> None:
    bot = bot_with(tmp_path, CLUSTER + "host-d  16cpu 64G down")
    bot.types("host drain host-c")
    assert field(bot.shown(), "After it") == "N+1 OK."
    approve(bot)
    bot.works()
    assert field(bot.shown(), "After it") == "", "what was foretold is no result"
    bot.types("host drain host-b")
    assert "N+1 would be LOST: only host-a is in service." in field(bot.shown(2), "After it")
    confirm = buttons_of(bot.shown(2))["Approve"].confirm
    assert confirm is not None
    assert "N+1 would be LOST" in str(confirm.text)


def test_a_rolling_maintenance_says_that_n_plus_one_is_lost_meanwhile(tmp_path: Path) -> None:
    two = """
    host-a  16cpu 64G reserve 2G load 4 | web-1 4G load 0.5
    host-b  16cpu 64G reserve 2G load 1 | app-1 2G load 0.2
    """
    bot = bot_with(tmp_path, two)
    bot.types("host rolling host-b")
    assert "N+1 OK at the end, but lost meanwhile" in field(bot.shown(), "After it")


def test_a_resize_shows_before_and_after(bot: Bot) -> None:
    bot.types("vm resize app-1 --cpus 2 --memory 4G")
    card = bot.shown()
    diff = next(str(each.text) for each in card.elements if isinstance(each, Listing))
    assert diff == "~ app-1 vCPUs: 1 → 2\n~ app-1 memory: 2 GiB → 4 GiB"
    assert diff.splitlines()[0] in as_text(card)


def test_a_nic_is_shown_with_its_network_and_address(bot: Bot) -> None:
    bot.types("vm nic add app-1 br0")
    diff = next(str(each.text) for each in bot.shown().elements if isinstance(each, Listing))
    assert diff.startswith("+ app-1 NIC: bridge br0, MAC 52:54:00:")


def test_a_drain_with_a_vm_left_is_not_done(bot: Bot) -> None:
    bot.types("host drain host-a")
    approve(bot)
    bot.works()
    title = str(bot.shown().title)
    assert title == "⚠️ Drained host-a, except db-1, which still runs there"
    told = text(bot.chat.cards_for("UANA")[-1])
    assert "except db-1" in told
    assert "host-a is NOT empty" in told
    assert "pin" in told, "and why"
    assert {"Shut down db-1", "Undrain host-a"} <= set(buttons_of(bot.shown()))
    assert "⚠️ done" in text(bot.types("ops"))


def test_what_stays_is_told_to_who_asked_and_to_who_votes(bot: Bot) -> None:
    """Also where the whole card is not shown: the note, the list of votes, the Home, a second request."""
    asked = bot.types("host drain host-a")
    votes = bot.types("approvals", "UBRUNO")
    dispatcher.handle(bot.services, Request("home-1", "home", "UBRUNO", bot.clock.now()))
    again = bot.types("host drain host-a", "UEVA")
    for shown in (asked, votes, bot.chat.homes["UBRUNO"], again):
        assert "db-1 stays on host-a" in text(shown)
        assert "pin" in text(shown), "and why"
        assert "After it: " in text(shown)


@pytest.mark.parametrize(
    ("line", "title"),
    [
        ("host undrain host-c", "Undrain host-c"),
        ("host maintenance host-c off", "Take host-c out of maintenance"),
        ("vm limit web-1 --cpu 900%", "Limit web-1 to 9 cores"),
    ],
)
def test_what_is_refused_is_not_headed_as_if_it_were_done(
    tmp_path: Path, line: str, title: str
) -> None:
    bot = small_bot(tmp_path, CLUSTER, (*PLUGINS, "host_check"))
    card = bot.types(line)
    assert card is not None
    assert str(card.text).startswith(f"Not proposed: {title}")
    portuguese = Languages(folders=bot.services.catalog.translations).of("pt-BR")
    assert str(portuguese.translate(card.text)).startswith("Não proposto: ")


def test_a_refusal_in_a_sentence_of_its_own_is_not_said_twice(bot: Bot) -> None:
    assert str(bot.types("vm start web-1").text).startswith("Cannot start web-1")  # type: ignore[union-attr]
    assert "Not proposed" not in text(bot.types("migrate web-1 to host-a"))


@pytest.mark.parametrize(
    "line",
    [
        "vm resize off-1 --memory 4G",
        "vm limit web-1 --cpu 50%",
        "vm clone off-1 copy-1",
        "vm snapshot create off-1 before",
        "migrate web-1 to host-b",
    ],
)
def test_what_was_done_is_told_without_words_of_code(bot: Bot, line: str) -> None:
    bot.types(line)
    approve(bot)
    bot.works()
    assert bot.operation().state is State.DONE, bot.operation().outcome
    said = re.sub(r"<!date[^>]*>", "", as_text(bot.shown()))
    assert not re.search(r"\b(?:True|False|None)\b|[a-z]_[a-z]|\d{4}-\d\d-\d\dT", said), said


def test_a_drain_of_which_nothing_moves_predicts_nothing(tmp_path: Path) -> None:
    bot = bot_with(tmp_path, "host-a 16cpu 64G | db-1 8G [pin=here]\nhost-b 16cpu 64G")
    bot.types("host drain host-a")
    shown = text(bot.shown())
    assert "db-1 stays on host-a" in shown
    assert "0 migration" not in shown
    assert field(bot.shown(), "Prediction") == ""


def test_the_thread_of_an_old_proposal_leads_to_the_one_that_follows(bot: Bot) -> None:
    bot.types("migrate web-1 to host-b")
    approve(bot)
    bot.clicks("op.cancel", bot.value(), "UANA")
    assert bot.operation().state is State.CANCELLED
    bot.clicks("op.again", bot.value(), "UANA")
    assert bot.operation(2).replaces == "op-1"
    (old, *_) = bot.store.copies("op-1")
    replies = [
        text(bot.chat.messages[ref]) for ref, parent in bot.chat.threads.items() if parent == old
    ]
    assert any("op-2 proposes it again" in each for each in replies)
    assert "proposes it again" not in text(bot.shown(2))


def test_a_drain_that_emptied_its_host_says_so(bot: Bot) -> None:
    bot.types("host drain host-b")
    approve(bot)
    bot.works()
    assert str(bot.shown().title) == "✅ Drained host-b: no VM runs there"
    assert "off-1" in text(bot.shown()), "what stays behind"


def test_a_vm_started_on_the_host_meanwhile_keeps_the_drain_from_being_done(bot: Bot) -> None:
    bot.types("host drain host-b")
    approve(bot)
    bot.hypervisor.start("host-b", bot.hypervisor.snapshot().vm("off-1").uuid)
    bot.works()
    assert bot.operation().state in (State.STALE, State.DONE)
    assert "no VM runs there" not in str(bot.shown().title)


def note_of(bot: Bot, said: str) -> Card | None:
    return next((each for each in bot.chat.cards_for("UANA") if said in str(each.text)), None)


def run_in_background(bot: Bot) -> threading.Thread:
    (operation_id,) = bot.work.ids
    bot.work.ids.clear()
    worker = threading.Thread(target=perform.perform, args=(bot.services, operation_id))
    worker.start()
    return worker


def test_what_waits_for_a_person_looks_so_and_can_be_continued_from_the_direct_message(
    bot: Bot,
) -> None:
    bot.types("host rolling host-b")
    approve(bot)
    worker = run_in_background(bot)
    assert until(lambda: bot.operation().waiting is not None)
    assert until(lambda: str(bot.shown().title).startswith("✋ Waiting for a person"))
    assert not any(type(each).__name__ == "Bar" for each in bot.shown().elements)
    assert until(lambda: "Waiting for somebody to press Continue" in text(bot.shown()))
    assert "Starting: Move" not in text(bot.shown()), "what the step before said last"
    assert "✋ waiting for a person" in text(bot.types("ops", by="UBRUNO"))
    note = until(lambda: note_of(bot, "waits for a person"))
    button = buttons_of(note)["Continue"]
    bot.clicks(button.action, button.value, "UANA")
    worker.join(60)
    assert bot.operation().state is State.DONE
    assert str(bot.shown().title) == "✅ Maintained host-b"


def test_a_cancelled_rolling_says_what_it_leaves_and_how_to_mend_it(bot: Bot) -> None:
    bot.types("host rolling host-b")
    approve(bot)
    worker = run_in_background(bot)
    assert until(lambda: bot.operation().waiting is not None)
    bot.clicks("op.cancel", bot.value(), "UBRUNO")
    worker.join(60)
    assert bot.operation().state is State.CANCELLED
    said = text(bot.shown())
    assert "host-b is still in maintenance, and no VM runs there." in said
    assert "Moved away from host-b: app-1 on" in said
    mend = buttons_of(bot.shown())["Undrain host-b"]
    assert mend.value == "host undrain host-b"
    assert "Undrain host-b" in buttons_of(bot.chat.cards_for("UANA")[-1])
    bot.clicks(mend.action, mend.value, "UANA")
    approve(bot, 2)
    bot.works()
    assert bot.where("app-1") == ["host-b"]
    assert str(bot.shown(2).title) == "✅ host-b is in service again, with its VMs"


def test_a_summary_that_fails_keeps_no_end_from_being_told(
    bot: Bot, monkeypatch: pytest.MonkeyPatch
) -> None:
    bot.types("host drain host-b")
    approve(bot)
    action = bot.services.catalog.action("host drain")

    def fails(*_: object) -> None:
        raise ValueError("a plugin's fault")

    commands = {**bot.services.catalog.commands, "host drain": replace(action, summarize=fails)}
    bot.services = replace(bot.services, catalog=replace(bot.services.catalog, commands=commands))
    bot.works()
    assert bot.operation().state is State.DONE
    assert str(bot.shown().title) == "✅ Done: Drain host-b for maintenance"


def test_operations_that_are_named_lead_to_their_message(bot: Bot) -> None:
    linked = LinkedChat(bot.chat, bot.store)
    bot.services = replace(bot.services, chat=linked)
    bot.types("migrate web-1 to host-b")
    (ref,) = bot.store.copies("op-1")
    address = bot.chat.permalink(ref)
    again = bot.types("migrate web-1 to host-b", by="UEVA")
    assert again is not None
    _, blocks = render(again)
    assert f"<{address}|op-1>" in str(blocks)
    listed = bot.types("ops")
    assert listed is not None
    assert f"{{'type': 'link', 'url': '{address}', 'text': 'op-1'}}" in str(render(listed)[1])


def test_an_address_that_could_end_a_link_makes_none() -> None:
    bad = words("{id}", id=Ref("op-1", "https://x.example/|y> <!channel"))
    assert mrkdwn(bad) == "op-1"


def moved(bot: Bot, number: int, target: str) -> None:
    """Move web-1 and say what it took: 6 s, paused for 800 ms."""
    bot.types(f"migrate web-1 to {target}")
    approve(bot, number)
    bot.works()
    assert bot.operation(number).state is State.DONE, bot.operation(number).outcome


def every_move_takes(bot: Bot, seconds: float, pause: float) -> None:
    handlers = dict(bot.services.catalog.handlers)
    real = handlers[MigrateVm]

    def measured(*given: object) -> dict[str, object]:
        real.run(*given)  # type: ignore[arg-type]
        return {"took": Duration(seconds), "pause": Duration(pause)}

    handlers[MigrateVm] = replace(real, run=measured)  # type: ignore[arg-type]
    bot.services = replace(bot.services, catalog=replace(bot.services.catalog, handlers=handlers))


def test_predictions_learn_and_stand_beside_what_was_measured(bot: Bot) -> None:
    bot.types("migrate web-1 to host-b")
    first = bot.operation().plan.prediction
    assert (first.least, first.shortest) == (None, None), "nothing is known yet"
    bot.clicks("op.withdraw", bot.value(), "UANA")
    every_move_takes(bot, 6.0, 0.8)
    for number, target in enumerate(("host-b", "host-c", "host-a"), 2):
        moved(bot, number, target)
    assert "Time: 6.0 s, predicted" in text(bot.shown(2))
    bot.types("migrate web-1 to host-b")
    told = bot.operation(5).plan.prediction
    assert (told.seconds, told.downtime) == (6.0, 0.8)
    assert told.least is not None
    assert told.least < 6.0 < (told.most or 0)
    prediction = field(bot.shown(5), "Prediction")
    assert "paused for about 800 ms (600 ms to 1.0 s)" in prediction
    assert "from 3 earlier moves of this VM" in prediction
    approve(bot, 5)
    bot.works()
    done = text(bot.shown(5))
    assert "Pause: 800 ms, predicted 800 ms (600 ms to 1.0 s)." in done
    assert field(bot.shown(5), "Prediction") == "", "it stands beside what was measured"
    digest = text(bot.types("digest preview"))
    assert "pause: 1 of 1 within the predicted range" in digest


def test_the_moves_of_a_whole_operation_stand_beside_what_was_predicted_of_them(bot: Bot) -> None:
    handlers = dict(bot.services.catalog.handlers)
    real = handlers[MigrateVm]

    def measured(*given: object) -> dict[str, object]:
        real.run(*given)  # type: ignore[arg-type]
        return {"took": Duration(4.0)}

    handlers[MigrateVm] = replace(real, run=measured)  # type: ignore[arg-type]
    bot.services = replace(bot.services, catalog=replace(bot.services.catalog, handlers=handlers))
    bot.types("host drain host-c")
    approve(bot)
    bot.works()
    assert "3 migrations took 12 s added up, predicted" in text(bot.shown())
    assert field(bot.shown(), "Prediction") == "", "it stands beside what was measured"


LOPSIDED = """
host-a  8cpu 64G load 7 | web-1 4G load 0.1 | app-1 2G load 3 | app-2 2G load 3
host-b  8cpu 64G
host-c  8cpu 64G
"""


@pytest.mark.parametrize(
    ("cluster", "line"),
    [(CLUSTER, "host drain host-c"), (CLUSTER, "host rolling host-c"), (LOPSIDED, "balance")],
)
def test_plans_of_several_moves_learn_as_well(tmp_path: Path, cluster: str, line: str) -> None:
    bot = bot_with(tmp_path, cluster)
    every_move_takes(bot, 6.0, 0.8)
    for number, target in enumerate(("host-b", "host-c", "host-a"), 1):
        moved(bot, number, target)
    bot.types(line)
    moves = [each for each in bot.operation(4).plan.steps if isinstance(each, MigrateVm)]
    # web-1, which was moved, has 4 GiB; it moves neither now, so that all moves count
    likely = sum(6.0 * each.memory / (4 * GIB) for each in moves)
    assert bot.operation(4).plan.prediction.seconds == pytest.approx(likely)
    assert "from earlier moves; range of 4 in 5" in field(bot.shown(4), "Prediction")
    assert len(moves) > 1
    if "rolling" not in line:  # it waits for a person
        approve(bot, 4)
        bot.works()
        said = f"{len(moves)} migrations took {Duration(6.0 * len(moves))} added up, predicted"
        assert said in text(bot.shown(4))


def test_a_resize_that_waits_for_a_restart_says_so_with_a_button(bot: Bot) -> None:
    bot.types("vm resize app-1 --memory 4G")
    approve(bot)
    bot.works()
    assert str(bot.shown().title) == "⚠️ Resized app-1: takes effect at its next start"
    assert "after a restart" in text(bot.shown())
    assert buttons_of(bot.shown())["Reboot app-1"].value == "vm reboot app-1"
