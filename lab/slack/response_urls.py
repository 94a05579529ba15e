"""What an app says to a response_url.

Five times within thirty minutes, to the person or in the channel.
"""

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from lab.slack import speech
from lab.slack.people import BOT_USER_ID
from lab.slack.records import Post, ResponseAddress
from lab.slack.site import Site
from lab.slack.validate import Verdict, judge_attachments, judge_blocks, judge_text

Json = dict[str, Any]

MOST_USES = 5
LIFE_SECONDS = 30 * 60


def speak(site: Site, address: ResponseAddress, said: Mapping[str, Any]) -> str:
    """Do what was said to a response address; answers Slack's error name, or nothing.

    Source: docs.slack.dev/interactivity/handling-user-interaction, "Message responses".
    """
    source = site.records.find(address.channel, address.source_ts) if address.source_ts else None
    if said.get("delete_original"):
        if source is None:
            return "message_not_found"
        speech.take_down(site, source)
        return ""
    verdict = judge_said(site, said)
    if verdict.error:
        return verdict.error
    text, blocks = str(said.get("text") or ""), list(said.get("blocks") or [])
    if said.get("replace_original") and source is not None:
        speech.rewrite(site, source, text, blocks, list(said.get("attachments") or []))
        return ""
    _post(site, address, said, text, blocks)
    return ""


def _post(
    site: Site, address: ResponseAddress, said: Mapping[str, Any], text: str, blocks: list[Json]
) -> None:
    to = "" if said.get("response_type") == "in_channel" else address.user
    thread = str(said.get("thread_ts") or address.thread_ts or "")
    speech.put(
        site,
        Post(
            address.channel,
            site.records.new_ts(),
            BOT_USER_ID,
            text,
            blocks,
            list(said.get("attachments") or []),
            thread_ts=thread,
            ephemeral_to=to,
        ),
    )


def judge_said(site: Site, said: Mapping[str, Any]) -> Verdict:
    """Judge a response's text, blocks and attachments."""
    if not (said.get("text") or said.get("blocks") or said.get("attachments")):
        return Verdict("no_text")
    verdict = judge_text(str(said.get("text") or ""))
    if not verdict.error and said.get("blocks"):
        verdict = judge_blocks(said["blocks"], site.context("message"))
    if not verdict.error and said.get("attachments"):
        verdict = judge_attachments(said["attachments"], site.context("message"))
    return verdict


def _refusal(site: Site, address: ResponseAddress | None) -> str:
    if address is None:
        return "invalid_url"
    if site.now() - address.born > LIFE_SECONDS:
        return "expired_url"
    return "used_url" if address.uses >= MOST_USES else ""


async def receive(site: Site, request: web.Request) -> web.Response:
    """Answer a POST to a response_url.

    200 ``ok``, 404 when spent or expired, 400 when Slack would refuse it.
    """
    address = site.records.addresses.get(request.match_info["secret"])
    refusal = _refusal(site, address)
    if refusal or address is None:
        return web.json_response({"ok": False, "error": refusal}, status=404)
    try:
        said = await request.json()
    except ValueError:
        return web.Response(text="invalid_payload", status=400)
    if not isinstance(said, dict):
        return web.Response(text="invalid_payload", status=400)
    address.uses += 1
    error = speak(site, address, said)
    return web.Response(text=error or "ok", status=400 if error else 200)
