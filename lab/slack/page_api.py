"""What the web page (and the tests' people) ask of the workspace.

JSON over /lab/api and a live websocket.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import aiohttp
from aiohttp import web

from lab.slack import people_acts as acts
from lab.slack.people import BOT_USER_ID, TEAM_ID, TEAM_NAME, Member
from lab.slack.people_acts import NotPossibleError
from lab.slack.site import Listener, Site

Json = dict[str, Any]
Act = Callable[[Site, Member, Json], Awaitable[Json]]


def _person(member: Member) -> Json:
    return {
        "id": member.id,
        "name": member.name,
        "real_name": member.real_name,
        "title": member.title,
        "locale": member.locale,
        "guest": member.guest,
    }


async def state(site: Site, member: Member, _: Json) -> Json:
    """Answer what a page needs first: who and where, commands, the app."""
    channels = [each for each in site.directory.channels.values() if member.id in each.members]
    return {
        "me": _person(member),
        "team": {"id": TEAM_ID, "name": TEAM_NAME},
        "people": [_person(each) for each in site.directory.people],
        "channels": [
            {
                "id": each.id,
                "name": each.name,
                "purpose": each.purpose,
                "is_im": bool(each.with_user),
            }
            for each in channels
        ],
        "commands": [
            {
                "command": each.command,
                "description": each.description,
                "usage_hint": each.usage_hint,
            }
            for each in site.app.commands
        ],
        "app": {"name": site.app.name, "user_id": BOT_USER_ID},
        "apps_connected": len(site.delivery.sockets),
    }


async def history(site: Site, member: Member, asked: Json) -> Json:
    """Answer a channel's messages as this person sees them, oldest first, replies among them."""
    channel = acts.channel_of(site, _needed(asked, "channel"), member)
    return {
        "messages": [
            site.page_message(post) for post in site.records.seen_by(member.id, channel.id)
        ]
    }


async def say(site: Site, member: Member, asked: Json) -> Json:
    """Post a line or run a command."""
    channel = acts.channel_of(site, _needed(asked, "channel"), member)
    outcome = await acts.say(
        site, member, channel, _needed(asked, "text"), str(asked.get("thread_ts") or "")
    )
    return outcome.as_json()


async def command(site: Site, member: Member, asked: Json) -> Json:
    """Run a slash command."""
    channel = acts.channel_of(site, _needed(asked, "channel"), member)
    return (await acts.command(site, member, channel, _needed(asked, "text"))).as_json()


def _spot(asked: Json) -> acts.Spot:
    return acts.Spot(
        asked.get("container") or {}, _needed(asked, "action_id"), asked.get("block_id")
    )


async def action(site: Site, member: Member, asked: Json) -> Json:
    """Click or choose."""
    answer = {
        name: value for name, value in dict(asked.get("element") or {}).items() if name != "type"
    }
    outcome = await acts.act(
        site, member, _spot(asked), answer, (asked.get("state") or {}).get("values")
    )
    return outcome.as_json()


async def options(site: Site, member: Member, asked: Json) -> Json:
    """Ask the app for an external select's options."""
    return await acts.suggestions(site, member, _spot(asked), str(asked.get("value") or ""))


async def view_submit(site: Site, member: Member, asked: Json) -> Json:
    """Submit a modal."""
    values = (asked.get("state") or {}).get("values") or {}
    return await acts.submit(site, member, _needed(asked, "view_id"), values)


async def view_close(site: Site, member: Member, asked: Json) -> Json:
    """Close a modal."""
    return (await acts.close(site, member, _needed(asked, "view_id"))).as_json()


async def view(site: Site, member: Member, _: Json) -> Json:
    """Answer the modal this person has open, or null."""
    top = site.records.top_view(member.id)
    return {"view": site.page_view(top) if top else None}


async def home(site: Site, member: Member, _: Json) -> Json:
    """Open the app's home tab."""
    return {"view": await acts.open_home(site, member)}


async def react(site: Site, member: Member, asked: Json) -> Json:
    """React to a message."""
    channel = acts.channel_of(site, _needed(asked, "channel"), member)
    return (
        await acts.react(site, member, channel, _needed(asked, "ts"), _needed(asked, "name"))
    ).as_json()


async def complete(site: Site, _: Member, asked: Json) -> Json:
    """Complete a command line."""
    return {"suggestions": acts.completions(site, str(asked.get("text") or ""))}


READS: dict[str, Act] = {"state": state, "history": history, "view": view}
ACTS: dict[str, Act] = {
    "say": say,
    "command": command,
    "action": action,
    "options": options,
    "view_submit": view_submit,
    "view_close": view_close,
    "home": home,
    "react": react,
    "complete": complete,
}


def _needed(asked: Json, name: str) -> str:
    value = asked.get(name)
    if not isinstance(value, str) or not value:
        raise NotPossibleError(f"{name} is missing")
    return value


async def serve(
    site: Site, request: web.Request, table: dict[str, Act], asked: Json
) -> web.Response:
    """Answer one request of the page; what can't be done is answered 400 with `error`."""
    work = table.get(request.match_info["what"])
    if work is None:
        return web.json_response({"ok": False, "error": "there is no such address"}, status=404)
    try:
        member = acts.member_of(site, _needed(asked, "as"))
        return web.json_response(await work(site, member, asked))
    except NotPossibleError as problem:
        return web.json_response({"ok": False, "error": str(problem)}, status=400)


async def serve_read(site: Site, request: web.Request) -> web.Response:
    """Answer a GET."""
    return await serve(site, request, READS, dict(request.query))


async def serve_act(site: Site, request: web.Request) -> web.Response:
    """Answer a POST, whose body must be JSON.

    A form of another site can't send that without being asked first.
    """
    if request.content_type != "application/json":
        return web.json_response(
            {"ok": False, "error": "the body must be application/json"}, status=415
        )
    try:
        asked = json.loads(await request.text())
    except ValueError:
        return web.json_response({"ok": False, "error": "the body is not JSON"}, status=400)
    return await serve(site, request, ACTS, asked if isinstance(asked, dict) else {})


async def serve_live(site: Site, request: web.Request) -> web.StreamResponse:
    """Tell one page what happens, as it happens."""
    try:
        member = acts.member_of(site, request.query.get("as", ""))
    except NotPossibleError as problem:
        return web.json_response({"ok": False, "error": str(problem)}, status=400)
    ws = web.WebSocketResponse(heartbeat=20)
    await ws.prepare(request)
    listener = Listener(member.id)
    site.listeners.append(listener)
    await ws.send_json({"type": "apps", "connected": len(site.delivery.sockets)})
    telling = asyncio.get_running_loop().create_task(_tell(ws, listener))
    try:
        async for message in ws:
            if message.type == aiohttp.WSMsgType.ERROR:
                break
    finally:
        site.listeners.remove(listener)
        telling.cancel()
    return ws


async def _tell(ws: web.WebSocketResponse, listener: Listener) -> None:
    with suppress(ConnectionError):
        while True:
            await ws.send_json(await listener.queue.get())
