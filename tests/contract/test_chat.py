"""One suite for every chat: the fake that plugin authors use, and Slack on the local workspace."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import pytest

from bot.adapters.slack import api
from bot.adapters.slack.chat import SlackChat
from bot.adapters.slack.manifest import manifest
from bot.adapters.slack.pacer import Pacer
from bot.domain.card import Button, Buttons, Card, Form, Section, TextField, words
from bot.domain.errors import ChatError
from bot.ports import Chat, MessageRef
from bot.testing.chat import FakeChat
from lab.slack import Workspace
from lab.slack.records import Trigger

ANA, BRUNO = "U0ANA", "U0BRUNO"
OPS, APPROVALS = "C0OPS", "C0APPROVALS"


class FlushingChat(Chat, Protocol):
    def flush(self) -> None: ...


class Bench(Protocol):
    """A chat and the eyes of the people in it."""

    @property
    def chat(self) -> FlushingChat: ...
    def another_process(self) -> FlushingChat: ...
    def texts(self, channel: str) -> list[str]: ...
    def thread(self, ref: MessageRef) -> list[str]: ...
    def whispered(self, channel: str, user: str) -> list[str]: ...
    def told(self, user: str) -> list[str]: ...
    def trigger(self) -> str: ...
    def late_trigger(self) -> str: ...
    def form_title(self) -> str: ...
    def home(self, user: str) -> str: ...
    def outage(self, method: str) -> None: ...
    def lose_answer_of_post(self) -> None: ...


@dataclass
class FakeBench:
    chat: FakeChat = field(
        default_factory=lambda: FakeChat(
            groups={BRUNO: frozenset({"S0APPROVERS", "kvm-approvers"})}, locales={ANA: "pt-BR"}
        )
    )

    def another_process(self) -> FakeChat:
        return self.chat

    def texts(self, channel: str) -> list[str]:
        return [
            str(card.text) for ref, card in self.chat.messages.items() if ref.channel == channel
        ]

    def thread(self, ref: MessageRef) -> list[str]:
        return [
            str(card.text)
            for each, card in self.chat.messages.items()
            if ref in (each, self.chat.threads.get(each))
        ]

    def whispered(self, channel: str, user: str) -> list[str]:
        return [
            str(each.card.text)
            for each in self.chat.whispers
            if (each.channel, each.user) == (channel, user)
        ]

    def told(self, user: str) -> list[str]:
        return self.whispered("", user)

    def trigger(self) -> str:
        return "trigger"

    def late_trigger(self) -> str:
        self.chat.expired.add("late")
        return "late"

    def form_title(self) -> str:
        return str(list(self.chat.forms.values())[-1].title)

    def home(self, user: str) -> str:
        return str(self.chat.homes[user].title)

    def outage(self, method: str) -> None:
        self.chat.fail(method, times=10)

    def lose_answer_of_post(self) -> None:
        self.chat.fail("post", after=True)


METHODS = {
    "post": "chat.postMessage",
    "update": "chat.update",
    "later": "chat.update",
    "whisper": "chat.postEphemeral",
    "tell": "chat.postMessage",
    "open_form": "views.open",
    "publish_home": "views.publish",
}


@dataclass
class SlackBench:
    workspace: Workspace
    chats: list[SlackChat] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.chat = self.another_process()

    def another_process(self) -> SlackChat:
        client = api.client(self.workspace.bot_token, self.workspace.web_api)
        self.chats.append(SlackChat(client, progress_every=0.05, pacer=Pacer(pace=500)))
        return self.chats[-1]

    def texts(self, channel: str) -> list[str]:
        return [each.text for each in self.workspace.messages(channel)]

    def thread(self, ref: MessageRef) -> list[str]:
        return [each.text for each in self.workspace.messages(ref.channel, thread=ref.ts)]

    def whispered(self, channel: str, user: str) -> list[str]:
        seen = self.workspace.messages(channel, seen_by=user)
        return [each.text for each in seen if each.ephemeral_to == user]

    def told(self, user: str) -> list[str]:
        return [each.text for each in self.workspace.messages(f"@{self._name(user)}")]

    def trigger(self) -> str:
        """A trigger id such as a click brings."""
        site = self.workspace._site
        return site.records.new_trigger(Trigger(ANA, site.now(), channel=OPS))

    def late_trigger(self) -> str:
        trigger = self.trigger()
        self.workspace.advance(10)
        return trigger

    def form_title(self) -> str:
        return self.workspace.person("ana").wait_view().title

    def home(self, user: str) -> str:
        home = self.workspace.home_of(user)
        assert home is not None
        return str(home.blocks[0]["text"]["text"])

    def outage(self, method: str) -> None:
        self.workspace.fault.server_error(METHODS[method], times=10)

    def lose_answer_of_post(self) -> None:
        self.workspace.fault.drop_response("chat.postMessage")

    @staticmethod
    def _name(user: str) -> str:
        return {ANA: "ana", BRUNO: "bruno"}[user]


@pytest.fixture(params=["fake", pytest.param("slack", marks=pytest.mark.process)])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    if request.param == "fake":
        yield FakeBench()
        return
    with Workspace(manifest=manifest(), locales={ANA: "pt-BR"}, pace=500) as workspace:
        slack = SlackBench(workspace)
        yield slack
        for chat in slack.chats:
            chat.close()


def card(text: str) -> Card:
    return Card(
        text,
        title=text,
        elements=(
            Section(words("*{t}*", t=text)),
            Buttons((Button("Details", "details", "op-1"),)),
        ),
    )


def test_a_posted_message_is_there(bench: Bench) -> None:
    ref = bench.chat.post(OPS, card("moved web-1"))
    assert ref.channel == OPS
    assert bench.texts(OPS) == ["moved web-1"]


def test_an_update_replaces_a_message(bench: Bench) -> None:
    ref = bench.chat.post(OPS, card("moving"))
    bench.chat.update(ref, card("moved"))
    assert bench.texts(OPS) == ["moved"]


def test_a_key_finds_the_message_again(bench: Bench) -> None:
    first = bench.chat.post(OPS, card("asked"), key="op-1")
    again = bench.chat.post(OPS, card("approved"), key="op-1")
    assert again == first
    assert bench.texts(OPS) == ["approved"]


def test_a_key_holds_after_a_crash(bench: Bench) -> None:
    first = bench.chat.post(OPS, card("asked"), key="op-1")
    bench.chat.post(OPS, card("something else"), key="op-2")
    again = bench.another_process().post(OPS, card("approved"), key="op-1")
    assert again == first
    assert bench.texts(OPS) == ["approved", "something else"]


def test_a_key_is_a_channels_own(bench: Bench) -> None:
    bench.chat.post(OPS, card("asked"), key="op-1")
    bench.chat.post(APPROVALS, card("asked"), key="op-1")
    assert bench.texts(OPS) == bench.texts(APPROVALS) == ["asked"]


def test_a_thread_gathers_its_replies(bench: Bench) -> None:
    parent = bench.chat.post(OPS, card("asked"))
    first = bench.chat.post(OPS, card("decided"), thread=parent, key="op-1:decided")
    again = bench.another_process().post(
        OPS, card("decided, really"), thread=parent, key="op-1:decided"
    )
    assert again == first
    assert bench.thread(parent) == ["asked", "decided, really"]


def test_a_message_whose_answer_was_lost_is_there_once(bench: Bench) -> None:
    bench.lose_answer_of_post()
    try:
        bench.chat.post(OPS, card("asked"), key="op-1")
    except ChatError:
        bench.chat.post(OPS, card("asked"), key="op-1")
    assert bench.texts(OPS) == ["asked"]


def test_of_several_later_edits_the_last_is_shown(bench: Bench) -> None:
    ref = bench.chat.post(OPS, card("0 %"))
    for percent in range(10, 100, 10):
        bench.chat.later(ref, card(f"{percent} %"))
    bench.chat.flush()
    assert bench.texts(OPS) == ["90 %"]


def test_an_update_overtakes_later_edits(bench: Bench) -> None:
    ref = bench.chat.post(OPS, card("0 %"))
    for percent in range(10, 100, 10):
        bench.chat.later(ref, card(f"{percent} %"))
    bench.chat.update(ref, card("done"))
    bench.chat.flush()
    assert bench.texts(OPS) == ["done"]


def test_later_never_raises(bench: Bench) -> None:
    ref = bench.chat.post(OPS, card("0 %"))
    bench.outage("later")
    bench.chat.later(ref, card("10 %"))
    bench.chat.flush()
    assert bench.texts(OPS) == ["0 %"]


def test_a_whisper_is_for_one(bench: Bench) -> None:
    bench.chat.whisper(OPS, ANA, card("no such VM"))
    assert bench.whispered(OPS, ANA) == ["no such VM"]
    assert bench.whispered(OPS, BRUNO) == []
    assert bench.texts(OPS) == []


def test_a_person_is_told_directly(bench: Bench) -> None:
    bench.chat.tell(ANA, card("your request is approved"))
    assert bench.told(ANA) == ["your request is approved"]
    assert bench.told(BRUNO) == []


def test_a_form_opens(bench: Bench) -> None:
    bench.chat.open_form(
        bench.trigger(),
        Form("deny", "Deny op-1", "Deny", (TextField("why", "Why?"),), hidden="op-1"),
    )
    assert bench.form_title() == "Deny op-1"


def test_a_late_form_says_what_to_do(bench: Bench) -> None:
    with pytest.raises(ChatError) as caught:
        bench.chat.open_form(
            bench.late_trigger(), Form("deny", "Deny", "Deny", (TextField("why", "Why?"),))
        )
    assert "again" in str(caught.value.advice)


def test_a_home_is_filled_and_filled_anew(bench: Bench) -> None:
    bench.chat.publish_home(ANA, card("3 hosts"))
    bench.chat.publish_home(ANA, card("2 hosts"))
    assert bench.home(ANA) == "2 hosts"


def test_groups_by_id_and_handle(bench: Bench) -> None:
    assert bench.chat.groups_of(BRUNO) == {"S0APPROVERS", "kvm-approvers"}
    assert bench.chat.groups_of(ANA) == frozenset()


def test_the_locale_that_a_person_has_chosen(bench: Bench) -> None:
    assert bench.chat.locale_of(ANA) == "pt-BR"
    assert bench.chat.locale_of("U0NOBODY") == ""


@pytest.mark.parametrize(
    "method", ["post", "update", "whisper", "tell", "open_form", "publish_home"]
)
def test_an_outage_is_a_chat_error(bench: Bench, method: str) -> None:
    ref = bench.chat.post(OPS, card("before"))
    trigger = bench.trigger()
    bench.outage(method)
    calls: dict[str, Callable[[], object]] = {
        "post": lambda: bench.chat.post(OPS, card("x")),
        "update": lambda: bench.chat.update(ref, card("x")),
        "whisper": lambda: bench.chat.whisper(OPS, ANA, card("x")),
        "tell": lambda: bench.chat.tell(ANA, card("x")),
        "open_form": lambda: bench.chat.open_form(
            trigger, Form("a", "x", "Go", (TextField("why", "Why?"),))
        ),
        "publish_home": lambda: bench.chat.publish_home(ANA, card("x")),
    }
    with pytest.raises(ChatError):
        calls[method]()
    assert bench.texts(OPS) == ["before"]


def test_a_message_that_is_not_there_cannot_be_updated(bench: Bench) -> None:
    with pytest.raises(ChatError):
        bench.chat.update(MessageRef(OPS, "1600000000.000001"), card("x"))
