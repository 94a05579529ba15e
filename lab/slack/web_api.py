"""The Web API's front door: reads a call in any encoding, checks token and scopes, lays on faults.

Answers.
"""

import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from lab.slack import api_chat, api_files, api_people, api_views
from lab.slack.api_call import Args, Method, SlackError
from lab.slack.faults import ApiFault
from lab.slack.site import ApiCall, Site

Json = dict[str, Any]

METHODS: Mapping[str, Method] = {
    **api_chat.METHODS,
    **api_files.METHODS,
    **api_people.METHODS,
    **api_views.METHODS,
}


async def read_args(request: web.Request) -> Json:
    """Answer a call's arguments from the query and a form, multipart or JSON body."""
    args: Json = dict(request.query)
    if request.content_type == "application/json":
        body = await request.text()
        try:
            more = json.loads(body) if body else {}
        except ValueError as problem:
            raise SlackError("invalid_json") from problem
        if not isinstance(more, dict):
            raise SlackError("json_not_object")
        return args | more
    if request.method == "POST":
        args |= {
            name: value for name, value in (await request.post()).items() if isinstance(value, str)
        }
    return args


def _token(request: web.Request, args: Mapping[str, Any]) -> str:
    header = request.headers.get("Authorization", "")
    return header[7:] if header.startswith("Bearer ") else str(args.get("token") or "")


def check_token(site: Site, method: Method, token: str) -> None:
    """Refuse a call without a token, with an unknown one, or with the wrong kind."""
    if method.token == "any" and not token:
        return
    if not token:
        raise SlackError("not_authed")
    if token not in (site.bot_token, site.app_token):
        raise SlackError("invalid_auth")
    kind = "app" if token == site.app_token else "bot"
    if method.token not in ("any", kind):
        raise SlackError("not_allowed_token_type")


def check_scopes(site: Site, method: Method) -> None:
    """Refuse a call the app's manifest has no scope for."""
    granted = site.app.scopes
    if granted is None or not method.scopes or granted & set(method.scopes):
        return
    raise SlackError(
        "missing_scope", needed=",".join(method.scopes), provided=",".join(sorted(granted))
    )


def _method(name: str) -> Method:
    method = METHODS.get(name)
    if method is None:
        raise SlackError("unknown_method", req_method=name)
    return method


def _perform(site: Site, name: str, args: Json, token: str) -> Json:
    try:
        method = _method(name)
        check_token(site, method, token)
        check_scopes(site, method)
        return {"ok": True, **method.run(Args(site, args))}
    except SlackError as refusal:
        return _refused(refusal)


def _refused(refusal: SlackError) -> Json:
    answer: Json = {"ok": False, "error": refusal.error, **refusal.more}
    messages = refusal.more.get("response_metadata", {}).get("messages", [])
    if messages:  # Slack repeats the complaints here
        answer["errors"] = [each.removeprefix("[ERROR] ") for each in messages]
    return answer


def _over_the_limit(site: Site, name: str, args: Mapping[str, Any], token: str) -> ApiFault | None:
    """Count the call; the refusal when Slack would want fewer of them."""
    if site.limits is None or token not in (site.bot_token, site.app_token):
        return None
    wait = site.limits.refused(name, str(args.get("channel") or ""))
    return ApiFault("rate_limit", retry_after=wait) if wait else None


def _faulty(fault: ApiFault) -> tuple[Json, int, dict[str, str]]:
    if fault.kind == "rate_limit":
        return {"ok": False, "error": "ratelimited"}, 429, {"Retry-After": str(fault.retry_after)}
    if fault.kind == "server_error":
        return {"ok": False, "error": "internal_error"}, 500, {}
    return {"ok": False, "error": fault.error}, 200, {}


async def serve_call(site: Site, request: web.Request) -> web.StreamResponse:
    """Answer one call of ``/api/METHOD``, recording it."""
    name = request.match_info["method"]
    try:
        args = await read_args(request)
    except SlackError as refusal:
        return web.json_response(_refused(refusal))
    token = _token(request, args)
    fault = site.faults.take_api(name) or _over_the_limit(site, name, args, token)
    headers: dict[str, str] = {}
    status = 200
    if fault is None or fault.kind in ("drop", "garble"):
        answer = _perform(site, name, args, token)
    else:
        answer, status, headers = _faulty(fault)
    args.pop("token", None)
    site.calls.append(ApiCall(name, args, site.now(), answer, status))
    if fault is not None and fault.kind == "drop" and request.transport is not None:
        request.transport.abort()
    if fault is not None and fault.kind == "garble":
        return web.Response(body=fault.body, status=fault.status, content_type="text/html")
    method = METHODS.get(name)
    if site.app.scopes is not None and method is not None:
        headers |= {
            "X-OAuth-Scopes": ",".join(sorted(site.app.scopes)),
            "X-Accepted-OAuth-Scopes": ",".join(method.scopes),
        }
    return web.json_response(answer, status=status, headers=headers)
