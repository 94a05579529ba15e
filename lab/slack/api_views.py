"""The Web API's view methods and the block check."""

from typing import Any

from lab.slack.api_call import Args, Method, SlackError, refuse
from lab.slack.records import OpenView, Trigger
from lab.slack.validate import judge_blocks, judge_view
from lab.slack.views import new_view, publish, show, show_on_top, update_view

Json = dict[str, Any]


def _body(args: Args, kind: str) -> Json:
    body = args.structure("view", "invalid_arguments")
    refuse(judge_view(body, args.site.context))
    if not isinstance(body, dict) or body["type"] != kind:
        message = f"[ERROR] must be a {kind} [json-pointer:/view/type]"
        raise SlackError("invalid_arguments", response_metadata={"messages": [message]})
    external = body.get("external_id")
    known = [
        view
        for view in args.site.records.views.values()
        if external and view.body.get("external_id") == external
    ]
    if known and not args.text("view_id") and not args.text("external_id"):
        raise SlackError("duplicate_external_id")
    return body


def _trigger(args: Args) -> Trigger:
    name = args.text("trigger_id") or args.text("interactivity_pointer")
    trigger = args.site.records.triggers.get(name)
    if trigger is None:
        raise SlackError("invalid_trigger_id")
    if trigger.used:
        raise SlackError("exchanged_trigger_id")
    if args.site.now() - trigger.born > args.site.trigger_seconds:
        raise SlackError("expired_trigger_id")
    return trigger


def _answer(args: Args, view: OpenView) -> Json:
    return {"view": args.site.records.as_view(view)}


def views_open(args: Args) -> Json:
    """views.open."""
    trigger = _trigger(args)
    view = new_view(args.site, trigger.user, _body(args, "modal"), trigger.channel)
    trigger.used = True
    show(args.site, trigger.user, view)
    return _answer(args, view)


def views_push(args: Args) -> Json:
    """views.push."""
    trigger = _trigger(args)
    view = new_view(args.site, trigger.user, _body(args, "modal"), trigger.channel)
    if not args.site.records.stacks.get(trigger.user):
        raise SlackError("not_found")
    error = show_on_top(args.site, trigger.user, view)
    if error:
        raise SlackError(error)
    trigger.used = True
    return _answer(args, view)


def _open_view(args: Args) -> OpenView:
    records, view_id, external = args.site.records, args.text("view_id"), args.text("external_id")
    homes = {view.id: view for view in records.homes.values()}
    for view in (records.views | homes).values():
        if view.id == view_id or (external and view.body.get("external_id") == external):
            return view
    raise SlackError("not_found")


def views_update(args: Args) -> Json:
    """views.update."""
    view = _open_view(args)
    if args.text("hash") not in ("", view.hash):
        raise SlackError("hash_conflict")
    update_view(args.site, view, _body(args, view.body["type"]))
    return _answer(args, view)


def views_publish(args: Args) -> Json:
    """views.publish."""
    member = args.member("user_id")
    body = _body(args, "home")
    home = args.site.records.homes.get(member.id)
    if home is not None and args.text("hash") not in ("", home.hash):
        raise SlackError("hash_conflict")
    return _answer(args, publish(args.site, member.id, body))


def blocks_validate(args: Args) -> Json:
    """blocks.validate: the same judgement as chat.postMessage, without posting."""
    surface = args.text("surface", "message")
    refuse(
        judge_blocks(args.structure("blocks", "invalid_blocks_format"), args.site.context(surface))
    )
    return {}


METHODS = {
    "views.open": Method(views_open),
    "views.push": Method(views_push),
    "views.update": Method(views_update),
    "views.publish": Method(views_publish),
    "blocks.validate": Method(blocks_validate),
}
