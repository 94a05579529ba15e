"""Trigger ids, modal stacks, answers kept over updates, and what an app may answer to a submission."""

from collections.abc import Callable
from typing import Any

import pytest
from slack_bolt import Ack, App
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError

from lab.slack import CannotActError, Person, View, Workspace
from tests.lab_slack.parts import actions, button, modal, option, section, text_input, words
from tests.waiting import until

Json = dict[str, Any]


class Opener:
    """An app whose command hands its trigger id over and whose submissions are answered as a test likes."""

    def __init__(self, workspace: Workspace, app: App) -> None:
        self.workspace = workspace
        self.client: WebClient = app.client
        self.triggers: list[str] = []
        self.answer: Json = {}
        self.submitted: list[Json] = []
        self.closed: list[str] = []

        @app.command("/kvm")
        def kvm(ack: Ack, command: Json) -> None:
            ack()
            self.triggers.append(command["trigger_id"])

        @app.view("deny")
        def submitted(ack: Ack, body: Json) -> None:
            ack(**self.answer)
            self.submitted.append(body)

        @app.view_closed("deny")
        def closed(ack: Ack, view: Json) -> None:
            ack()
            self.closed.append(view["id"])

        @app.options("host")
        def hosts(ack: Ack) -> None:
            ack(options=[option("host-a")])

    def trigger(self) -> str:
        self.workspace.person("ana").command("/kvm form")
        until(lambda: bool(self.triggers))
        return self.triggers.pop()

    def open(self, view: Json) -> View:
        self.client.views_open(trigger_id=self.trigger(), view=view)
        return self.workspace.person("ana").wait_view()


@pytest.fixture
def opener(workspace: Workspace, bare_app: App, connect: Callable[[App], object]) -> Opener:
    opener = Opener(workspace, bare_app)
    connect(bare_app)
    return opener


@pytest.fixture
def ana(workspace: Workspace) -> Person:
    return workspace.person("ana")


def error_of(call: Callable[[], object]) -> str:
    with pytest.raises(SlackApiError) as caught:
        call()
    return str(caught.value.response["error"])


def test_a_trigger_id_is_good_once_and_for_three_seconds(
    workspace: Workspace, opener: Opener
) -> None:
    client, fresh = opener.client, opener.trigger()
    assert (
        error_of(lambda: client.views_open(trigger_id="1.2.x", view=modal()))
        == "invalid_trigger_id"
    )
    workspace.advance(1)
    client.views_open(trigger_id=fresh, view=modal())
    assert (
        error_of(lambda: client.views_open(trigger_id=fresh, view=modal()))
        == "exchanged_trigger_id"
    )
    stale = opener.trigger()
    workspace.advance(3.1)
    assert (
        error_of(lambda: client.views_open(trigger_id=stale, view=modal())) == "expired_trigger_id"
    )


def test_a_refused_view_leaves_the_trigger_unspent(opener: Opener) -> None:
    trigger = opener.trigger()
    assert (
        error_of(lambda: opener.client.views_open(trigger_id=trigger, view=modal(title="x" * 25)))
        == "invalid_arguments"
    )
    assert opener.client.views_open(trigger_id=trigger, view=modal())["ok"]


def test_three_modals_lie_on_each_other_and_no_more(opener: Opener, ana: Person) -> None:
    opener.open(modal(title="one"))
    for title in ("two", "three"):
        opener.client.views_push(trigger_id=opener.trigger(), view=modal(title=title))
    trigger = opener.trigger()
    assert (
        error_of(lambda: opener.client.views_push(trigger_id=trigger, view=modal()))
        == "push_limit_reached"
    )
    titles = []
    while (view := ana.view) is not None:
        titles.append(view.title)
        ana.close_view()
    assert titles == ["three", "two", "one"]


def test_an_update_keeps_what_was_typed_and_minds_the_hash(opener: Opener, ana: Person) -> None:
    view = opener.open(modal(text_input("why", "reason"), text_input("more", "note")))
    opener.answer = {"response_action": "errors", "errors": {"why": "No."}}
    ana.submit(view, {"reason": "typed", "note": "also"})
    kept = [text_input("why", "reason"), section("new"), text_input("other", "note")]
    updated = opener.client.views_update(view_id=view.id, hash=view.raw["hash"], view=modal(*kept))[
        "view"
    ]
    values = updated["state"]["values"]
    assert values["why"]["reason"]["value"] == "typed"
    assert values["other"]["note"]["value"] is None
    late = error_of(
        lambda: opener.client.views_update(view_id=view.id, hash=view.raw["hash"], view=modal())
    )
    assert late == "hash_conflict"
    assert error_of(lambda: opener.client.views_update(view_id="V0", view=modal())) == "not_found"


def test_external_ids_are_unique_and_name_views(opener: Opener, ana: Person) -> None:
    opener.open(modal(external_id="form-1"))
    trigger = opener.trigger()
    again = error_of(
        lambda: opener.client.views_push(trigger_id=trigger, view=modal(external_id="form-1"))
    )
    assert again == "duplicate_external_id"
    opener.client.views_update(
        external_id="form-1", view=modal(title="Renamed", external_id="form-1")
    )
    assert ana.wait_view(title="Renamed").raw["external_id"] == "form-1"


@pytest.mark.parametrize(
    ("answer", "left"),
    [
        ({}, "one"),
        ({"response_action": "clear"}, None),
        ({"response_action": "update", "view": modal(title="changed")}, "changed"),
        ({"response_action": "push", "view": modal(title="third")}, "third"),
        ({"response_action": "errors", "errors": {"why": "No."}}, "two"),
    ],
    ids=["close", "clear", "update", "push", "errors"],
)
def test_what_an_app_may_answer_to_a_submission(
    opener: Opener, ana: Person, answer: Json, left: str | None
) -> None:
    opener.open(modal(title="one"))
    opener.client.views_push(trigger_id=opener.trigger(), view=modal(title="two"))
    opener.answer = answer
    ack = ana.submit(ana.wait_view(title="two"), {"reason": "because"})
    assert ack.ok
    assert dict(ack.errors) == answer.get("errors", {})
    assert (ana.view.title if ana.view else None) == left


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        ({"response_action": "errors", "errors": {"nowhere": "No."}}, "nowhere"),
        (
            {"response_action": "update", "view": modal(title="x" * 25)},
            "must be less than 25 characters",
        ),
        ({"response_action": "explode"}, "explode"),
    ],
    ids=["errors", "view", "action"],
)
def test_a_wrong_answer_to_a_submission_shows_slacks_trouble(
    opener: Opener, ana: Person, answer: Json, fault: str
) -> None:
    view = opener.open(modal())
    opener.answer = answer
    ack = ana.submit(view, {"reason": "because"})
    assert not ack.ok
    assert ack.text.startswith("We had some trouble connecting. Try again?")
    assert fault in ack.text
    assert ana.view is not None


def test_the_client_checks_what_it_can_before_it_sends(opener: Opener, ana: Person) -> None:
    number = {
        "type": "number_input",
        "action_id": "n",
        "is_decimal_allowed": False,
        "min_value": "1",
        "max_value": "8",
    }
    mail = {"type": "email_text_input", "action_id": "m"}
    blocks = [
        text_input("short", "s", max_length=3, min_length=2),
        {"type": "input", "block_id": "count", "label": words("N"), "element": number},
        {
            "type": "input",
            "block_id": "mail",
            "label": words("M"),
            "element": mail,
            "optional": True,
        },
    ]
    view = opener.open(modal(*blocks))
    errors = ana.submit(view, {"s": "four", "n": 9, "m": "nobody"}).errors
    assert dict(errors) == {
        "short": "Please enter at most 3 characters.",
        "count": "Please enter a number of at most 8.",
        "mail": "Please enter a valid email address.",
    }
    assert opener.submitted == []
    assert ana.submit(view, {"s": "abc", "n": 8, "m": ""}).ok
    [body] = opener.submitted
    values = body["view"]["state"]["values"]
    assert (
        values["short"]["s"]["value"],
        values["count"]["n"]["value"],
        values["mail"]["m"]["value"],
    ) == (
        "abc",
        "8",
        None,
    )


def test_every_choice_reaches_the_app_in_slacks_form(opener: Opener, ana: Person) -> None:
    def field(action_id: str, kind: str, **more: Any) -> Json:
        element = {"type": kind, "action_id": action_id, **more}
        return {
            "type": "input",
            "block_id": f"b-{action_id}",
            "label": words("x"),
            "element": element,
            "optional": True,
        }

    choices = [option("a"), option("b")]
    view = opener.open(
        modal(
            field("one", "static_select", options=choices),
            field("many", "multi_static_select", options=choices),
            field("host", "external_select", min_query_length=0),
            field("user", "users_select"),
            field("channel", "channels_select"),
            field("day", "datepicker"),
            field("ticks", "checkboxes", options=choices, initial_options=[choices[0]]),
        )
    )
    filled = {
        "one": "a",
        "many": ["a", "B"],
        "host": "host-a",
        "user": "U0GIL",
        "channel": "C0OPS",
        "day": "2026-11-23",
    }
    assert ana.submit(view, filled).ok
    values = opener.submitted[0]["view"]["state"]["values"]
    assert values["b-one"]["one"] == {"type": "static_select", "selected_option": choices[0]}
    assert values["b-many"]["many"]["selected_options"] == choices
    assert values["b-host"]["host"]["selected_option"] == option("host-a")
    assert values["b-user"]["user"]["selected_user"] == "U0GIL"
    assert values["b-channel"]["channel"]["selected_channel"] == "C0OPS"
    assert values["b-day"]["day"]["selected_date"] == "2026-11-23"
    assert values["b-ticks"]["ticks"]["selected_options"] == [choices[0]]


def test_closing_is_told_only_to_an_app_that_asked(opener: Opener, ana: Person) -> None:
    opener.open(modal())
    ana.close_view()
    assert opener.closed == []
    view = opener.open(modal(notify_on_close=True))
    ana.close_view()
    until(lambda: opener.closed == [view.id])


def test_a_closed_modal_can_not_be_submitted(opener: Opener, ana: Person) -> None:
    view = opener.open(modal())
    ana.close_view()
    with pytest.raises(CannotActError, match="no longer open"):
        ana.submit(view, {"reason": "late"})


def test_nobody_submits_anothers_modal(opener: Opener, workspace: Workspace) -> None:
    view = opener.open(modal())
    with pytest.raises(CannotActError, match="no longer open"):
        workspace.person("gil").submit(view, {"reason": "mine now"})


def test_an_open_conversation_select_gives_a_response_url(opener: Opener, ana: Person) -> None:
    element = {"type": "conversations_select", "action_id": "to", "response_url_enabled": True}
    blocks = [{"type": "input", "block_id": "where", "label": words("To"), "element": element}]
    ana.submit(opener.open(modal(*blocks)), {"to": "C0OPS"})
    [url] = opener.submitted[0]["response_urls"]
    assert (url["block_id"], url["action_id"], url["channel_id"]) == ("where", "to", "C0OPS")


def test_home_is_published_per_person_and_minds_the_hash(
    client: WebClient, workspace: Workspace
) -> None:
    home = {"type": "home", "blocks": [section("up")]}
    first = client.views_publish(user_id="U0ANA", view=home)["view"]
    client.views_publish(user_id="U0ANA", view=home, hash=first["hash"])
    assert (
        error_of(lambda: client.views_publish(user_id="U0ANA", view=home, hash=first["hash"]))
        == "hash_conflict"
    )
    assert (
        error_of(lambda: client.views_publish(user_id="U0ANA", view=modal())) == "invalid_arguments"
    )
    assert workspace.person("bruno").home is None


def test_a_button_on_the_home_tab_says_which_view_it_was_in(
    workspace: Workspace, bare_app: App, connect: Callable[[App], object], ana: Person
) -> None:
    bodies: list[Json] = []

    @bare_app.action("refresh")
    def refresh(ack: Ack, body: Json) -> None:
        ack()
        bodies.append(body)

    connect(bare_app)
    bare_app.client.views_publish(
        user_id="U0ANA", view={"type": "home", "blocks": [actions(button("refresh"))]}
    )
    assert ana.home is not None
    assert ana.click(ana.home, "refresh").ok
    until(lambda: bool(bodies))
    assert bodies[0]["container"] == {"type": "view", "view_id": ana.home.id}
    assert bodies[0]["view"]["type"] == "home"
    assert "response_url" not in bodies[0]
