"""What people do in the workspace.

Type commands and messages, click, choose, submit, close, open the home tab.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from lab.slack import payloads, speech
from lab.slack.answers import ANSWER_KEYS, client_errors, initial_values, merged
from lab.slack.delivery import Reply
from lab.slack.people import BOT_USER_ID, Channel, Member
from lab.slack.records import OpenView, Post, ResponseAddress, Trigger
from lab.slack.response_urls import speak
from lab.slack.site import Site
from lab.slack.validate import elements_of, find_element, judge_options, judge_view, walk_blocks
from lab.slack.views import close_all, close_top, new_view, show_on_top, update_view

Json = dict[str, Any]

TROUBLE = "We had some trouble connecting. Try again?"


class NotPossibleError(Exception):
    """The person can't do that; the text says why, as the page shows it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an act: the app's ack, and what Slack shows the person when something failed."""

    ok: bool
    error: str = ""
    payload: Any = None
    milliseconds: float = 0.0

    def as_json(self) -> Json:
        """Answer it as the page is told."""
        said: Json = {"ok": self.ok, "milliseconds": self.milliseconds, "payload": self.payload}
        return said | ({"error": self.error} if self.error else {})


def member_of(site: Site, user: str) -> Member:
    """Find who acts."""
    member = site.directory.member_named(user)
    if member is None:
        names = ", ".join(each.name for each in site.directory.members.values() if not each.is_bot)
        raise NotPossibleError(f"there is nobody called {user!r}; the people are {names}")
    return member


def channel_of(site: Site, name: str, member: Member) -> Channel:
    """Find where they act; "@drover" means their direct conversation with the app."""
    own = name.removeprefix("@") in (site.app.name, BOT_USER_ID) and not name.startswith("#")
    channel = site.directory.channel_named(member.id if own else name)
    if channel is None or member.id not in channel.members:
        raise NotPossibleError(f"{member.name} is in no channel {name!r}")
    return channel


# -- talking


async def say(
    site: Site, member: Member, channel: Channel, text: str, thread_ts: str = ""
) -> Outcome:
    """Post a line; one that starts with a slash is a command (never in a thread, as at Slack)."""
    if text.startswith("/") and not thread_ts:
        return await command(site, member, channel, text)
    if text.startswith("/"):
        return Outcome(
            ok=False, error=f"{text.split(maxsplit=1)[0]} is not supported in threads. Sorry!"
        )
    if not text.strip():
        return Outcome(ok=False, error="no_text")
    written = speech.as_typed(site.directory, text)
    post = speech.put(
        site, Post(channel.id, site.records.new_ts(), member.id, written, thread_ts=thread_ts)
    )
    return Outcome(ok=True, payload={"ts": post.ts})


async def command(site: Site, member: Member, channel: Channel, line: str) -> Outcome:
    """Run a slash command and wait for its ack.

    A failure is shown to the person as Slack words it.
    """
    name, _, text = line.strip().partition(" ")
    known = next((each for each in site.app.commands if each.command == name), None)
    if known is None:
        return _failed(site, channel, member, f"{name} is not a valid command.", None)
    address = ResponseAddress(channel.id, member.id, site.now())
    trigger = Trigger(member.id, site.now(), channel=channel.id)
    payload = payloads.slash_command(
        member,
        channel,
        name,
        speech.as_commanded(site.directory, text.strip(), escaped=known.escaped),
        response_url=site.records.new_address(address),
        trigger_id=site.records.new_trigger(trigger),
    )
    replies = await site.delivery.send("slash_commands", payload)
    for reply in replies:
        fault = _inline_answer(site, address, reply)
        if fault and reply is replies[0]:
            return _failed(site, channel, member, f'{name} failed with the error "{fault}"', reply)
    return Outcome(ok=True, payload=replies[0].payload, milliseconds=replies[0].milliseconds)


def _inline_answer(site: Site, address: ResponseAddress, reply: Reply) -> str:
    """Post what came with a command's ack; answer Slack's error name, or nothing."""
    if not reply.ok:
        return reply.error
    said = {"text": reply.payload} if isinstance(reply.payload, str) else reply.payload
    if not said or not (said.get("text") or said.get("blocks") or said.get("attachments")):
        return ""
    return (
        "invalid_command_response"
        if speak(site, address, {**said, "replace_original": False})
        else ""
    )


def _failed(
    site: Site, channel: Channel, member: Member, text: str, reply: Reply | None
) -> Outcome:
    speech.from_slackbot(site, channel, member, text)
    return Outcome(ok=False, error=text, milliseconds=reply.milliseconds if reply else 0.0)


# -- clicking


@dataclass(frozen=True, slots=True)
class Spot:
    """An element in a message or view: the page's container, and the element's ids."""

    container: Mapping[str, Any]
    action_id: str
    block_id: str | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """The message or view somebody acts on."""

    thing: Post | OpenView
    channel: Channel | None

    @property
    def blocks(self) -> list[Json]:
        """The blocks it shows."""
        return (
            self.thing.blocks if isinstance(self.thing, Post) else list(self.thing.body["blocks"])
        )


def held_by(site: Site, member: Member, container: Mapping[str, Any]) -> Held:
    """Find what a page's container names; people reach only what they see."""
    if container.get("type") == "view":
        view = site.records.views.get(container["view_id"]) or site.records.homes.get(member.id)
        if view is None or view.user != member.id or view.id != container["view_id"]:
            raise NotPossibleError("that view is no longer open")
        return Held(view, None)
    channel = channel_of(site, container["channel"], member)
    post = site.records.find(channel.id, container["ts"])
    if post is None or post.ephemeral_to not in ("", member.id):
        raise NotPossibleError("that message is gone")
    return Held(post, channel)


def _element(held: Held, spot: Spot) -> tuple[Json, Json]:
    find = (
        held.thing.element if isinstance(held.thing, Post) else partial(find_element, held.blocks)
    )
    found = find(spot.action_id, spot.block_id)
    if found is None:
        ids = [
            each["action_id"]
            for block, _ in walk_blocks(held.blocks)
            for each, _ in elements_of(block)
        ]
        raise NotPossibleError(f"there is no element {spot.action_id!r} here; there are {ids}")
    return found


def _remember(held: Held, member: Member, block_id: str, answer: Json) -> None:
    action_id = answer.pop("action_id")
    if answer["type"] not in ANSWER_KEYS:
        return
    thing = held.thing
    values = thing.values.setdefault(member.id, {}) if isinstance(thing, Post) else thing.values
    if not values:
        values.update(initial_values(held.blocks))
    values.setdefault(block_id, {})[action_id] = answer


def _action(site: Site, block: Json, element: Json, answer: Mapping[str, Any]) -> Json:
    action: Json = {
        "type": element["type"],
        "block_id": block["block_id"],
        "action_id": element["action_id"],
        "action_ts": site.records.new_ts(),
    }
    for name in ("text", "value", "style", "placeholder", "url"):
        if name in element and element["type"] in ("button", "workflow_button", "icon_button"):
            action[name] = element[name]
    return action | dict(answer)


async def act(
    site: Site,
    member: Member,
    spot: Spot,
    answer: Mapping[str, Any],
    state: Mapping[str, Any] | None = None,
) -> Outcome:
    """Click a button or make a choice; waits for the app's ack.

    `state` holds what else was typed in a view.
    """
    held = held_by(site, member, spot.container)
    block, element = _element(held, spot)
    with site.records.change():
        _remember(
            held,
            member,
            block["block_id"],
            {"action_id": spot.action_id, "type": element["type"], **answer},
        )
        if state:
            _take_state(held, member, state)
    in_view = isinstance(held.thing, OpenView)
    payload = payloads.block_actions(
        member,
        payloads.source(site.records, member, held.channel, held.thing),
        _action(site, block, element, answer),
        site.records.new_trigger(_trigger_from(site, member, held)),
        "" if in_view else site.records.new_address(_address_of(site, member, held)),
    )
    return await _acknowledged(site, payload)


def _take_state(held: Held, member: Member, state: Mapping[str, Any]) -> None:
    if isinstance(held.thing, OpenView):
        held.thing.values = merged(held.thing.values, state)
    else:
        held.thing.values[member.id] = merged(held.thing.values.get(member.id, {}), state)


def _trigger_from(site: Site, member: Member, held: Held) -> Trigger:
    if isinstance(held.thing, OpenView):
        return Trigger(
            member.id, site.now(), view_id=held.thing.id, channel=held.thing.origin_channel
        )
    return Trigger(member.id, site.now(), channel=held.thing.channel)


def _address_of(site: Site, member: Member, held: Held) -> ResponseAddress:
    post = held.thing
    if not isinstance(post, Post):
        raise TypeError("only messages have response addresses")
    return ResponseAddress(
        post.channel, member.id, site.now(), source_ts=post.ts, thread_ts=post.thread_ts
    )


async def _acknowledged(site: Site, payload: Json) -> Outcome:
    reply = (await site.delivery.send("interactive", payload))[0]
    if reply.ok:
        return Outcome(ok=True, payload=reply.payload, milliseconds=reply.milliseconds)
    return Outcome(ok=False, error=reply.error, milliseconds=reply.milliseconds)


async def suggestions(site: Site, member: Member, spot: Spot, typed: str) -> Json:
    """Ask the app for an external select's options.

    Answers options or option_groups, and `error` on failure.
    """
    held = held_by(site, member, spot.container)
    block, element = _element(held, spot)
    if len(typed) < element.get("min_query_length", 3):
        return {"options": []}
    origin = payloads.source(site.records, member, held.channel, held.thing)
    payload = payloads.block_suggestion(member, origin, block["block_id"], spot.action_id, typed)
    reply = (await site.delivery.send("interactive", payload))[0]
    if not reply.ok:
        return {"options": [], "error": reply.error}
    verdict = judge_options(reply.payload)
    if verdict.error:
        return {"options": [], "error": "; ".join((verdict.error, *verdict.messages))}
    return dict(reply.payload)


# -- modals


def _response_urls(site: Site, member: Member, view: OpenView) -> list[Json]:
    """Answer a response_url for each conversation select of the view that asked for one."""
    urls: list[Json] = []
    for block in view.body["blocks"]:
        element = block.get("element", {})
        if not element.get("response_url_enabled"):
            continue
        answer = view.values.get(block["block_id"], {}).get(element["action_id"], {})
        channel = answer.get("selected_conversation") or answer.get("selected_channel")
        if channel in site.directory.channels:
            url = site.records.new_address(ResponseAddress(channel, member.id, site.now()))
            ids = {"block_id": block["block_id"], "action_id": element["action_id"]}
            urls.append({**ids, "channel_id": channel, "response_url": url})
    return urls


async def submit(site: Site, member: Member, view_id: str, values: Mapping[str, Any]) -> Json:
    """Submit a modal; answers response_action, errors and the view that is open afterwards."""
    view = held_by(site, member, {"type": "view", "view_id": view_id}).thing
    if not isinstance(view, OpenView):
        raise NotPossibleError("that is no view")
    with site.records.change():
        view.values = merged(merged(initial_values(view.body["blocks"]), view.values), values)
    errors = client_errors(view.body["blocks"], view.values)
    if errors:  # Slack's client does not send these
        return {
            "ok": False,
            "response_action": "errors",
            "errors": errors,
            "view": site.page_view(view),
        }
    trigger_id = site.records.new_trigger(Trigger(member.id, site.now(), view_id=view.id))
    payload = payloads.view_submission(
        member, site.records.as_view(view), trigger_id, _response_urls(site, member, view)
    )
    replies = await site.delivery.send("interactive", payload)
    answers = [_after_submit(site, member, view, reply) for reply in replies]
    return answers[0] | {"milliseconds": replies[0].milliseconds, "payload": replies[0].payload}


def _after_submit(site: Site, member: Member, view: OpenView, reply: Reply) -> Json:
    if not reply.ok:
        shown = site.page_view(view) if view.id in site.records.views else None
        return {"ok": False, "error": f"{TROUBLE} ({reply.error})", "view": shown}
    answer = reply.payload or {}
    fault = (
        _obey(site, member, view, answer)
        if isinstance(answer, dict)
        else "the ack is not an object"
    )
    top = site.records.top_view(member.id)
    said: Json = {"ok": not fault, "view": site.page_view(top) if top else None}
    if fault:
        return said | {"error": f"{TROUBLE} ({fault})"}
    return said | {name: answer[name] for name in ("response_action", "errors") if name in answer}


def _obey(site: Site, member: Member, view: OpenView, answer: Json) -> str:
    """Do what the app answered to a submission; answers what is wrong with it, or nothing."""
    wish = answer.get("response_action")
    if wish is None and not answer:
        close_top(site, member.id, view.id)
        return ""
    if wish == "clear":
        close_all(site, member.id)
        return ""
    if wish == "errors":
        return _misplaced_errors(view, answer.get("errors"))
    if wish in ("update", "push"):
        verdict = judge_view(answer.get("view"), site.context)
        if verdict.error:
            return "; ".join((verdict.error, *verdict.messages))
        return _show_answer(site, member, view, wish, answer["view"])
    return f"unknown response_action {wish!r}"


def _show_answer(site: Site, member: Member, view: OpenView, wish: str, body: Json) -> str:
    if wish == "update":
        update_view(site, view, body)
        return ""
    return show_on_top(site, member.id, new_view(site, member.id, body, view.origin_channel))


def _misplaced_errors(view: OpenView, errors: Any) -> str:
    if not isinstance(errors, dict) or not errors:
        return "errors must be an object of block_id: text"
    inputs = {block["block_id"] for block in view.body["blocks"] if block["type"] == "input"}
    strange = sorted(set(errors) - inputs)
    return f"errors name {strange}, which are no input blocks of this view" if strange else ""


async def close(site: Site, member: Member, view_id: str) -> Outcome:
    """Close a modal with its Cancel button; the app hears of it only when the view asked."""
    view = held_by(site, member, {"type": "view", "view_id": view_id}).thing
    if not isinstance(view, OpenView):
        raise NotPossibleError("that is no view")
    shown = site.records.as_view(view)
    close_top(site, member.id, view.id)
    if not view.body.get("notify_on_close"):
        return Outcome(ok=True)
    return await _acknowledged(site, payloads.view_closed(member, shown, is_cleared=False))


# -- home


async def open_home(site: Site, member: Member) -> Json | None:
    """Open the app's home tab: fires app_home_opened, answers the published view or None."""
    event: Json = {
        "type": "app_home_opened",
        "user": member.id,
        "channel": "D" + member.id[1:],
        "tab": "home",
        "event_ts": site.records.new_ts(),
    }
    home = site.records.homes.get(member.id)
    if home is not None:
        event["view"] = site.records.as_view(home)
    if "app_home_opened" in site.app.events and site.delivery.connected:
        await site.delivery.send("events_api", payloads.event_callback(event, site.now()))
    home = site.records.homes.get(member.id)
    return site.page_view(home) if home else None


async def react(site: Site, member: Member, channel: Channel, ts: str, name: str) -> Outcome:
    """Put a reaction on a message."""
    post = site.records.find(channel.id, ts)
    if post is None:
        return Outcome(ok=False, error="message_not_found")
    with site.records.change():
        users = post.reactions.setdefault(name, [])
        if member.id not in users:
            users.append(member.id)
    site.tell({"type": "reaction", "channel": channel.id, "message": site.page_message(post)})
    if "reaction_added" in site.app.events and site.delivery.connected:
        item = {"type": "message", "channel": channel.id, "ts": ts}
        event = {
            "type": "reaction_added",
            "user": member.id,
            "reaction": name,
            "item_user": post.user,
            "item": item,
        }
        event["event_ts"] = site.records.new_ts()
        await site.delivery.send("events_api", payloads.event_callback(event, site.now()))
    return Outcome(ok=True)


# -- completing what is typed


def completions(site: Site, typed: str) -> list[str]:
    """Answer how a started command line may go on.

    Commands first, then the words of the usage hint.
    """
    name, space, rest = typed.partition(" ")
    if not typed.startswith("/"):
        return []
    if not space:
        return [each.command for each in site.app.commands if each.command.startswith(name)]
    hint = next((each.usage_hint for each in site.app.commands if each.command == name), "")
    words = [words[0].strip("[]<>") for part in hint.split("|") if (words := part.split())]
    return [f"{name} {word}" for word in words if word.startswith(rest.strip())]
