"""A bot that Slack cannot reach starts, runs and says so, and tells what it had to say when Slack is back."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from bot import slack_link
from bot.adapters.slack.api import SlackLimitedError, SlackRefusedError, SlackUnsureError
from bot.adapters.slack.chat import Identity
from bot.adapters.slack.listeners import SocketRefusedError
from bot.app import Drover
from bot.domain.errors import ChatError, DroverError, SettingsError, StoreGoneError
from bot.factories import chat_trouble, health_problem, say_well
from bot.flow.operations.outbox import MOST_PASSING, Item, Outbox
from bot.settings import DroverSettings, SlackSection
from bot.slack_link import DEAF, SlackLink
from tests.waiting import until

UNSURE = SlackUnsureError("Slack does not answer.")
LIMITED = SlackLimitedError("Slack limits the bot.")


class Slack:
    """A Slack that is told how to answer, and a clock that is moved by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, mode: Any = "socket") -> None:
        monkeypatch.setattr(slack_link, "FIRST_REST", 0.01)
        monkeypatch.setattr(slack_link, "MOST_REST", 0.01)
        monkeypatch.setattr(slack_link, "ASKED", 0.01)
        self.now = 1000.0
        self.fault: Exception | None = None  # of the Web API
        self.socket: Exception | None = None  # of opening it
        self.connected = False
        self.asked = 0
        self.backs = 0
        self.closed = 0
        self.link = SlackLink(
            SlackSection(mode=mode, team="T1"),
            self,  # type: ignore[arg-type]
            lambda _: self,  # type: ignore[arg-type, return-value]
            self._back,
            lambda: self.now,
        )

    def _back(self) -> None:
        self.backs += 1

    def loses(self) -> None:
        """Neither the socket nor the Web API is there."""
        self.fault, self.connected = UNSURE, False
        until(lambda: not self.link._is_open())

    def finds(self) -> None:
        self.fault, self.connected = None, True
        until(self.link._is_open)

    def identity(self, tries: int) -> Identity:
        self.asked += 1
        if self.fault is not None:
            raise self.fault
        return Identity("T1", "U1")

    def connect(self) -> None:
        if self.socket is not None:
            raise self.socket
        self.connected = True

    def http_server(self, host: str, port: int) -> Any:
        return SimpleNamespace(start=lambda: None)

    def close(self) -> None:
        self.closed += 1

    def is_connected(self) -> bool:
        return self.connected

    def passes(self, seconds: float) -> None:
        self.now += seconds
        self.link.look()


@pytest.mark.parametrize("fault", [UNSURE, LIMITED])
def test_a_start_goes_on_without_slack_and_slack_is_taken_up_when_it_answers(
    monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    slack = Slack(monkeypatch)
    slack.fault = fault
    slack.link.open(patience=5)
    slack.passes(5)
    assert slack.link.silence() >= DEAF
    assert "out of reach" in str(slack.link.trouble())
    assert slack.backs == 0
    slack.fault = None
    until(lambda: slack.link._listeners)
    slack.passes(3600)
    assert (slack.backs, slack.link.trouble(), slack.link.silence()) == (1, "", 0)
    slack.link.close()
    assert slack.closed == 1


@pytest.mark.parametrize(
    ("fault", "socket"),
    [
        (SlackRefusedError("auth.test", "invalid_auth"), None),
        (None, SocketRefusedError("The socket to Slack does not open.")),
        (SettingsError("The configured channel cannot be used."), None),
    ],
)
def test_what_slack_refuses_ends_the_first_start(
    monkeypatch: pytest.MonkeyPatch, fault: Exception | None, socket: Exception | None
) -> None:
    slack = Slack(monkeypatch)
    slack.fault, slack.socket = fault, socket
    with pytest.raises(DroverError):
        slack.link.open(patience=5)


def test_a_slack_that_hangs_does_not_hold_up_a_start(monkeypatch: pytest.MonkeyPatch) -> None:
    slack = Slack(monkeypatch)
    monkeypatch.setattr(slack.link, "_try", lambda: slack.link._closed.wait(20))
    slack.link.open(patience=0.01)
    assert slack.link.trouble()
    slack.link.close()


def test_a_refusal_after_an_outage_is_told_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    slack = Slack(monkeypatch)
    slack.fault = UNSURE
    slack.link.open(patience=5)
    slack.fault = SlackRefusedError("auth.test", "token_revoked")
    until(lambda: "token_revoked" in str(slack.link.trouble()))
    slack.fault = None
    until(lambda: slack.link._listeners)
    slack.link.close()


@pytest.mark.parametrize("mode", ["socket", "http"])
def test_a_lost_socket_is_told_when_it_is_no_reconnection_and_what_waits_is_told_afterwards(
    monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    slack = Slack(monkeypatch, mode)
    slack.link.open(patience=5)
    slack.passes(5)
    slack.loses()
    slack.passes(DEAF - 1)
    assert not slack.link.trouble()
    slack.passes(2)
    said = "no socket to Slack" if mode == "socket" else "does not answer what Drover asks"
    assert said in str(slack.link.trouble())
    slack.passes(3600)
    slack.finds()
    slack.passes(1)
    assert (slack.backs, slack.link.trouble()) == (1, "")
    slack.link.close()


@pytest.mark.parametrize("fault", [LIMITED, SlackRefusedError("auth.test", "x")])
def test_a_slack_that_refuses_is_not_away(
    monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    slack = Slack(monkeypatch, "http")
    slack.link.open(patience=5)
    slack.fault = fault
    asked = slack.asked
    until(lambda: slack.asked > asked + 1)
    slack.passes(DEAF + 1)
    assert not slack.link.trouble()
    slack.link.close()


@pytest.mark.parametrize(
    ("fault", "answers"),
    [(UNSURE, False), (LIMITED, True), (SlackRefusedError("auth.test", "x"), True), (None, True)],
)
def test_whether_slack_answers_is_asked_at_that_moment(
    monkeypatch: pytest.MonkeyPatch, fault: Exception | None, *, answers: bool
) -> None:
    slack = Slack(monkeypatch)
    slack.link.open(patience=5)
    slack.fault, slack.connected = fault, False
    assert slack.link.answers() is True  # a moment ago it did
    slack.passes(DEAF + 1)
    assert slack.link.answers() is answers
    slack.link.close()


def test_the_health_file_says_that_the_bot_runs_and_what_is_wrong_with_slack(tmp_path: Any) -> None:
    settings = DroverSettings(database={"url": f"sqlite:///{tmp_path}/d.sqlite"})
    say_well(settings)
    assert (health_problem(settings), chat_trouble(settings)) == ("", "")
    say_well(settings, "Slack is out of reach.")
    assert (health_problem(settings), chat_trouble(settings)) == ("", "Slack is out of reach.")


def test_of_too_much_that_waits_only_what_is_kept_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    outbox, said = Outbox(), list[str]()
    away = [True]

    def say(what: str) -> None:
        if away[0]:
            raise ChatError("Slack does not answer.")
        said.append(what)

    for number in range(MOST_PASSING + 300):
        outbox.put("C1", Item(lambda n=number: say(f"passing {n}"), kept=False))  # type: ignore[misc]
        if number % 10 == 0:
            outbox.put("C1", Item(lambda n=number: say(f"decided {n}")))  # type: ignore[misc]
    assert outbox.waiting() <= MOST_PASSING + 1 + 50
    away[0] = False
    outbox.catch_up()
    decided = [each for each in said if each.startswith("decided")]
    assert decided == [f"decided {number}" for number in range(0, MOST_PASSING + 300, 10)]
    passing = [int(each.split()[1]) for each in said if each.startswith("passing")]
    assert passing == sorted(passing)
    assert passing[-1] == MOST_PASSING + 299
    assert outbox.waiting() == 0


def test_that_the_database_is_gone_is_told_once_and_until_the_chat_takes_it() -> None:
    outbox, tries = Outbox(), []

    def post(place: str, card: Any, **_: object) -> None:
        tries.append((place, str(card.text)))
        if len(tries) == 1:
            raise ChatError("Slack does not answer.")

    bot = object.__new__(Drover)
    bot._told_gone = False
    bot.services = SimpleNamespace(  # type: ignore[assignment]
        places=SimpleNamespace(ops="COPS", approvals="CAPP"),
        chat=SimpleNamespace(post=post),
        messages=SimpleNamespace(say=lambda lane, say: outbox.put(lane, Item(say))),
    )
    for _ in range(3):
        bot._tell_gone(StoreGoneError("The database file was deleted.", "Stop the bot."))
    assert len(tries) == 1
    outbox.catch_up()
    assert tries == [("COPS", "The database file was deleted. Stop the bot.")] * 2
    outbox.catch_up()
    assert len(tries) == 2
