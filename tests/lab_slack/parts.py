"""Blocks and views the tests are made of, and the small Slack app they are shown by."""

from typing import Any

from slack_bolt import Ack, App, Respond, Say
from slack_sdk import WebClient

from lab.slack import Workspace

Json = dict[str, Any]


def words(text: str) -> Json:
    """Answer a plain text object."""
    return {"type": "plain_text", "text": text}


def button(action_id: str, **more: Any) -> Json:
    """Answer a button."""
    return {"type": "button", "action_id": action_id, "text": words(action_id.title()), **more}


def actions(*elements: Json, block_id: str = "acts") -> Json:
    """Answer an actions block."""
    return {"type": "actions", "block_id": block_id, "elements": list(elements)}


def section(text: str, **more: Any) -> Json:
    """Answer a section block."""
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}, **more}


def text_input(block_id: str, action_id: str, **more: Any) -> Json:
    """Answer an input block with a text field."""
    element = {"type": "plain_text_input", "action_id": action_id, **more}
    return {
        "type": "input",
        "block_id": block_id,
        "label": words(action_id.title()),
        "element": element,
    }


def modal(*blocks: Json, title: str = "Deny", callback_id: str = "deny", **more: Any) -> Json:
    """Answer a modal; without blocks, one with a required text field `reason`."""
    return {
        "type": "modal",
        "callback_id": callback_id,
        "title": words(title),
        "submit": words("Send"),
        "blocks": list(blocks) or [text_input("why", "reason")],
        **more,
    }


def option(value: str) -> Json:
    """Answer an option whose text is its value in capitals."""
    return {"text": words(value.upper()), "value": value}


CONFIRM = {
    "title": words("Sure?"),
    "text": words("Really approve?"),
    "confirm": words("Yes"),
    "deny": words("No"),
}
PROPOSAL = [
    {"type": "header", "text": words("Migrate web-1")},
    section("*web-1* goes to host-b"),
    actions(
        button("approve", value="op-1", style="primary", confirm=CONFIRM),
        button("deny", value="op-1", style="danger"),
        {
            "type": "external_select",
            "action_id": "host",
            "placeholder": words("Host"),
            "min_query_length": 0,
        },
    ),
]


def approval_app(workspace: Workspace) -> App:  # noqa: C901 one listener a thing people do
    """Answer a Bolt app that proposes, takes approvals and denials with reasons, and keeps a home tab."""
    client = WebClient(token=workspace.bot_token, base_url=workspace.web_api)
    app = App(client=client, signing_secret=workspace.signing_secret, process_before_response=True)

    @app.command("/kvm")
    def kvm(ack: Ack, command: Json, client: WebClient) -> None:
        ack(f"planning {command['text']}")
        client.chat_postMessage(channel="#approvals", text="Migrate web-1", blocks=PROPOSAL)

    @app.action("approve")
    def approve(ack: Ack, body: Json, client: WebClient) -> None:
        ack()
        ts = body["message"]["ts"]
        client.chat_update(
            channel=body["channel"]["id"], ts=ts, text=f"approved by <@{body['user']['id']}>"
        )
        client.chat_postMessage(channel=body["channel"]["id"], thread_ts=ts, text="it begins")

    @app.action("deny")
    def deny(ack: Ack, body: Json, client: WebClient) -> None:
        ack()
        client.views_open(
            trigger_id=body["trigger_id"], view=modal(private_metadata=body["message"]["ts"])
        )

    @app.options("host")
    def hosts(ack: Ack, payload: Json) -> None:
        ack(options=[option(name) for name in ("host-a", "host-b") if payload["value"] in name])

    @app.action("host")
    def chosen(ack: Ack, action: Json, respond: Respond) -> None:
        ack()
        respond(text=f"you chose {action['selected_option']['value']}", response_type="ephemeral")

    @app.view("deny")
    def denied(ack: Ack, view: Json, body: Json, client: WebClient) -> None:
        reason = view["state"]["values"]["why"]["reason"]["value"]
        if len(reason) < 5:
            ack(response_action="errors", errors={"why": "Say more."})
            return
        ack()
        text = f"denied by <@{body['user']['id']}>: {reason}"
        client.chat_update(channel="C0APPROVALS", ts=view["private_metadata"], text=text)

    @app.event("app_mention")
    def mentioned(event: Json, say: Say) -> None:
        say(f"you said {event['text']}", thread_ts=event["ts"])

    @app.event("message")
    def written(event: Json, say: Say) -> None:
        if event["channel_type"] == "im":
            say(f"psst {event['text']}")

    @app.event("app_home_opened")
    def home(event: Json, client: WebClient) -> None:
        client.views_publish(
            user_id=event["user"], view={"type": "home", "blocks": [section("All hosts up")]}
        )

    @app.event("reaction_added")
    def reacted(event: Json, client: WebClient) -> None:
        client.chat_postMessage(
            channel=event["item"]["channel"], text=f"thanks for :{event['reaction']}:"
        )

    return app
