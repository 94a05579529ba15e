"""A person at the workspace, for tests and the demo.

Does over HTTP what the web page does, and nothing else.
"""

import json
from collections.abc import Mapping, Sequence
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any

from lab.slack.answers import ANSWER_KEYS, MANY
from lab.slack.shown import Ack, Message, View
from lab.slack.validate import elements_of, walk_blocks

if TYPE_CHECKING:
    from lab.slack.workspace import Workspace

Json = dict[str, Any]
PATIENCE_SECONDS = 60.0
"""How long an act may take and what comes of it is waited for.

Far more than a busy machine needs: only a wait that fails takes so long, and Slack's own limits
(3 s for an ack) end an act much sooner.
"""


class CannotActError(Exception):
    """The person can't do that; the text says what is there instead."""


class Person:
    """One of the workspace's people. Get one from `Workspace.person("ana")`."""

    def __init__(self, workspace: "Workspace", user_id: str, name: str) -> None:
        self._workspace = workspace
        self.user_id = user_id
        self.name = name

    def _request(self, method: str, path: str, body: Json | None) -> Json:
        connection = HTTPConnection("127.0.0.1", self._workspace.port, timeout=PATIENCE_SECONDS)
        try:
            sent = json.dumps(body) if body is not None else None
            connection.request(method, path, sent, {"Content-Type": "application/json"})
            response = connection.getresponse()
            answer: Json = json.loads(response.read())
        finally:
            connection.close()
        if response.status >= 400:
            raise CannotActError(f"{self.name}: {answer.get('error')}")
        return answer

    def _post(self, what: str, **asked: Any) -> Json:
        return self._request("POST", f"/lab/api/{what}", {"as": self.user_id, **asked})

    # -- talking

    def command(self, line: str, channel: str = "#ops") -> Ack:
        """Type a slash command such as "/kvm migrate web-1".

        Answers after the app's ack or Slack's timeout.
        """
        return _ack(self._post("command", channel=channel, text=line))

    def say(self, text: str, channel: str = "#ops", thread_ts: str | None = None) -> Ack:
        """Write a message; @drover mentions the app, channel "@drover" writes to it directly."""
        return _ack(self._post("say", channel=channel, text=text, thread_ts=thread_ts))

    def react(self, message: Message, name: str) -> Ack:
        """Put a reaction on a message."""
        return _ack(self._post("react", channel=message.channel, ts=message.ts, name=name))

    def complete(self, text: str) -> list[str]:
        """Answer how the command line typed so far may go on."""
        return list(self._post("complete", text=text)["suggestions"])

    # -- clicking and choosing

    def click(
        self,
        target: Message | View,
        action_id: str,
        *,
        value: str | None = None,
        confirm: bool = True,
    ) -> Ack:
        """Click a button; `value` tells apart buttons that share an action id.

        With a confirm dialog, `confirm=False` presses its deny button: nothing is sent, and the ack
        is not ok.
        """
        block, element = _find(target, action_id, value)
        if element.get("confirm") and not confirm:
            return Ack(None, 0.0, ok=False, text="the confirm dialog was dismissed")
        answer = {
            "type": element["type"],
            **({"value": element["value"]} if "value" in element else {}),
        }
        return self._act(target, block, element, answer)

    def select(self, target: Message | View, action_id: str, choice: object) -> Ack:
        """Choose in a select, date picker, checkboxes ….

        An option's value or text, a user id, a date, a list.
        """
        block, element = _find(target, action_id, None)
        return self._act(target, block, element, self._answer(target, block, element, choice))

    def options(self, target: Message | View, action_id: str, typed: str) -> list[tuple[str, str]]:
        """Answer the options the app offers for what was typed into an external select.

        As (text, value).
        """
        block, element = _find(target, action_id, None)
        return [
            (each["text"]["text"], each["value"])
            for each in self._offered(target, block, element, typed)
        ]

    def _act(self, target: Message | View, block: Json, element: Json, answer: Json) -> Ack:
        return _ack(
            self._post(
                "action",
                container=target.container,
                block_id=block["block_id"],
                action_id=element["action_id"],
                element=answer,
            )
        )

    def _offered(
        self, target: Message | View, block: Json, element: Json, typed: str
    ) -> list[Json]:
        answer = self._post(
            "options",
            container=target.container,
            block_id=block["block_id"],
            action_id=element["action_id"],
            value=typed,
        )
        if answer.get("error"):
            raise CannotActError(f"{self.name}: the options did not come: {answer['error']}")
        groups = answer.get("option_groups", [])
        return [
            *answer.get("options", []),
            *(option for group in groups for option in group["options"]),
        ]

    def _answer(self, target: Message | View, block: Json, element: Json, choice: object) -> Json:
        kind = element["type"]
        if kind == "overflow":
            return {"type": kind, "selected_option": _option(_static(element), choice)}
        key, _ = ANSWER_KEYS[kind]
        if not key.startswith("selected_option"):
            return {"type": kind, key: _text_or(choice)}
        if kind in MANY:
            chosen = (
                choice if isinstance(choice, Sequence) and not isinstance(choice, str) else [choice]
            )
            return {
                "type": kind,
                key: [self._one_option(target, block, element, each) for each in chosen],
            }
        return {"type": kind, key: self._one_option(target, block, element, choice)}

    def _one_option(
        self, target: Message | View, block: Json, element: Json, choice: object
    ) -> Json:
        if "external" in element["type"]:
            return _option(self._offered(target, block, element, str(choice)), choice)
        return _option(_static(element), choice)

    # -- modals and home

    @property
    def view(self) -> View | None:
        """The modal open before this person, or None."""
        raw = self._request("GET", f"/lab/api/view?as={self.user_id}", None)["view"]
        return View.of(raw) if raw else None

    def wait_view(
        self,
        timeout: float = PATIENCE_SECONDS,
        *,
        title: str | None = None,
        other_than: View | None = None,
    ) -> View:
        """Wait for a modal (with this title; another version than `other_than`) to be open.

        Raises:
            TimeoutError: None came in time; the text says which modal is open instead.
        """

        def wanted() -> View | None:
            view = self.view
            if view is None or (title is not None and view.title != title):
                return None
            return (
                None
                if other_than is not None and other_than.raw["hash"] == view.raw["hash"]
                else view
            )

        found = self._workspace.wait_for(wanted, timeout)
        if found is None:
            there = self.view
            shown = f"this one is open:\n{there.plain()}" if there else "none is open"
            raise TimeoutError(
                f"{self.name} waited {timeout} s for a modal{f' {title!r}' if title else ''}; "
                f"{shown}"
            )
        return found

    def submit(self, view: View, values: Mapping[str, object] | None = None) -> Ack:
        """Fill in and submit a modal.

        `values` by action id or block id, choices as for `select`.
        """
        state: Json = {}
        for name, choice in (values or {}).items():
            block, element = _input(view, name)
            answer = self._answer(view, block, element, choice)
            state.setdefault(block["block_id"], {})[element["action_id"]] = answer
        answer = self._post("view_submit", view_id=view.id, state={"values": state})
        errors = answer.get("errors") or {}
        text = answer.get("error") or "; ".join(errors.values())
        return Ack(
            answer.get("payload"),
            answer.get("milliseconds", 0.0),
            ok=bool(answer["ok"]),
            text=text,
            errors=errors,
        )

    def close_view(self) -> Ack:
        """Press Cancel in the open modal."""
        view = self.view
        if view is None:
            raise CannotActError(f"{self.name} has no modal open")
        return _ack(self._post("view_close", view_id=view.id))

    def open_home(self) -> View | None:
        """Open the app's home tab; answers what the app has published, after it was told."""
        raw = self._post("home")["view"]
        return View.of(raw) if raw else None

    @property
    def home(self) -> View | None:
        """The home tab as published, without opening it."""
        return self._workspace.home_of(self.user_id)

    # -- reading

    def ephemerals(self, channel: str = "#ops") -> list[Message]:
        """Answer the messages only this person sees, oldest first."""
        seen = self._workspace.messages(channel, seen_by=self.user_id)
        return [each for each in seen if each.ephemeral_to == self.user_id]


def _ack(answer: Json) -> Ack:
    return Ack(
        answer.get("payload"),
        answer.get("milliseconds", 0.0),
        bool(answer["ok"]),
        answer.get("error", ""),
    )


def _find(target: Message | View, action_id: str, value: str | None) -> tuple[Json, Json]:
    seen: list[str] = []
    for block, _ in walk_blocks(target.blocks):
        for element, _ in elements_of(block):
            seen.append(str(element.get("action_id")))
            if element.get("action_id") == action_id and value in (None, element.get("value")):
                return block, element
    raise CannotActError(
        f"there is no element {action_id!r}{f' with {value!r}' if value else ''}; there are {seen}"
    )


def _input(view: View, name: str) -> tuple[Json, Json]:
    for block, _ in walk_blocks(view.blocks):
        for element, _ in elements_of(block):
            if name in (element.get("action_id"), block.get("block_id")):
                return block, element
    raise CannotActError(f"the modal {view.title!r} has no input {name!r}")


def _static(element: Json) -> list[Json]:
    groups = element.get("option_groups", [])
    return [
        *element.get("options", []),
        *(option for group in groups for option in group["options"]),
    ]


def _option(options: list[Json], choice: object) -> Json:
    for each in options:
        if choice in (each["value"], each["text"]["text"]):
            return each
    raise CannotActError(
        f"{choice!r} is not offered; there are {[each['value'] for each in options]}"
    )


def _text_or(choice: object) -> object:
    """Answer numbers as the text Slack sends for them; lists and rich text as they are."""
    return (
        str(choice) if isinstance(choice, int | float) and not isinstance(choice, bool) else choice
    )
