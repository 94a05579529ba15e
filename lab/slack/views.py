"""Modals and home tabs: stacks of at most three, one home a person.

Updates that keep what was typed.
"""

import copy
import secrets
from typing import Any

from lab.slack.answers import initial_values, kept_answers
from lab.slack.records import OpenView
from lab.slack.site import Site
from lab.slack.validate import give_ids

Json = dict[str, Any]

MOST_IN_STACK = 3


def new_view(site: Site, user: str, body: Json, origin_channel: str = "") -> OpenView:
    """Answer a view made of what the app sent.

    With ids and initial answers, shown to nobody yet.
    """
    own = copy.deepcopy(body)
    give_ids(own["blocks"], site.records.next_id)
    return OpenView(
        "V" + secrets.token_hex(5).upper(), user, own, values=initial_values(own["blocks"]),
        origin_channel=origin_channel,
    )  # fmt: skip


def show(site: Site, user: str, view: OpenView) -> None:
    """Open a modal as the first of a person's stack; what was open before is gone."""
    with site.records.change():
        _forget(site, site.records.stacks.get(user, []))
        site.records.views[view.id] = view
        site.records.stacks[user] = [view.id]
    site.tell_view(user)


def show_on_top(site: Site, user: str, view: OpenView) -> str:
    """Push a modal on a person's stack.

    Answers ``push_limit_reached`` when it is full, else nothing.
    """
    stack = site.records.stacks.setdefault(user, [])
    if len(stack) >= MOST_IN_STACK:
        return "push_limit_reached"
    with site.records.change():
        view.root, view.previous = (stack[0], stack[-1]) if stack else ("", "")
        site.records.views[view.id] = view
        stack.append(view.id)
    site.tell_view(user)
    return ""


def update_view(site: Site, view: OpenView, body: Json) -> None:
    """Put new contents in an open view; answers stay where block and action ids are the same."""
    with site.records.change():
        own = copy.deepcopy(body)
        give_ids(own["blocks"], site.records.next_id)
        view.values = kept_answers(view.values, own["blocks"])
        view.body = own
        view.version += 1
    site.tell_view(view.user)


def publish(site: Site, user: str, body: Json) -> OpenView:
    """Put a person's home tab up."""
    view = new_view(site, user, body)
    before = site.records.homes.get(user)
    if before is not None:
        view.id, view.version = before.id, before.version + 1
    with site.records.change():
        site.records.homes[user] = view
    site.tell({"type": "home", "view": site.page_view(view)}, user)
    return view


def close_top(site: Site, user: str, view_id: str) -> None:
    """Close a view and what lies on it.

    The one below shows again, unless a view said clear_on_close.
    """
    stack = site.records.stacks.get(user, [])
    if view_id not in stack:
        return
    if site.records.views[view_id].body.get("clear_on_close"):
        close_all(site, user)
        return
    with site.records.change():
        at = stack.index(view_id)
        _forget(site, stack[at:])
        del stack[at:]
    site.tell_view(user)


def close_all(site: Site, user: str) -> None:
    """Close every modal a person has open."""
    with site.records.change():
        _forget(site, site.records.stacks.get(user, []))
        site.records.stacks[user] = []
    site.tell_view(user)


def _forget(site: Site, view_ids: list[str]) -> None:
    for each in view_ids:
        site.records.views.pop(each, None)
