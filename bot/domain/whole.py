"""Whether people can see all of a plan before they vote: on its card, or attached beneath it.

Else it is refused.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping

from bot.domain import codec
from bot.domain.message import Message, join, words
from bot.domain.plan import Objection, Plan

CARD = 8_000  # characters that a card surely shows
FIELD = 1_400  # …of one value in it
TITLE = 120  # …of the plan's title
LINE = 230  # …of one step's title
BEGINNING = 40  # characters of a value that a title may show of a longer one
STEPS = 50  # steps that it shows
LIST = 8  # reasons, and warnings
MOST_FIELD = 6_000  # characters of one value that can be attached whole
MOST = 100_000  # …of a whole plan
PART = 6_500  # …of one attached message


def size(text: str) -> int:
    """The characters of a text where ``<``, ``>`` and ``&`` are written out."""
    return len(html.escape(text, quote=False))


def too_long(plan: Plan, command: str, reason: str) -> Objection | None:
    """Why a plan cannot be shown whole at all; None when it can, on its card or attached."""
    for name, text in _values(plan, command, reason):
        if size(text) > MOST_FIELD:
            return Objection(
                "too-long",
                words(
                    "{part}: {count} characters; no more than about {most} can be shown to "
                    "approvers.",
                    part=name,
                    count=len(text),
                    most=MOST_FIELD,
                ),
                words("Shorten it, or put it into a file on the host and name that file."),
            )
    if sum(size(str(line)) for line in _lines(plan, command, reason)) > MOST:
        return Objection(
            "too-long",
            words("The plan is too long to be shown whole to approvers."),
            words("Ask for it in smaller parts."),
        )
    return None


def attachments(plan: Plan, command: str, reason: str) -> tuple[Message, ...]:
    """The whole plan as texts of at most ``PART`` characters.

    Empty when its card shows all of it.
    """
    if _fits(plan, command, reason):
        return ()
    parts: list[list[Message]] = [[]]
    room = PART
    for line in _lines(plan, command, reason):
        needed = size(str(line)) + 1
        if parts[-1] and needed > room:
            parts.append([])
            room = PART
        parts[-1].append(line)
        room -= needed
    return tuple(join(lines, "\n") for lines in parts)


def _fits(plan: Plan, command: str, reason: str) -> bool:
    lists = len(plan.steps) <= STEPS and len(plan.reasons) <= LIST and len(plan.warnings) <= LIST
    titles = size(str(plan.title)) <= TITLE and all(
        size(str(step.title)) <= LINE for step in plan.steps
    )
    values = all(size(text) <= FIELD for _, text in _values(plan, command, reason))
    shown = [str(line) for line in _lines(plan, command, reason, fields=False)]
    touched = all(size(", ".join(names)) <= FIELD for names in (plan.blast.vms, plan.blast.hosts))
    told = "\n".join((command, *(str(each.text) for each in (*plan.reasons, *plan.warnings))))
    hidden = any(text not in told for text in _beyond_titles(plan))
    return lists and titles and values and touched and not hidden and sum(map(size, shown)) <= CARD


def _values(plan: Plan, command: str, reason: str) -> Iterator[tuple[Message, str]]:
    """Everything of a plan that a person reads, each with its name."""
    yield from (
        (words("Command"), command),
        (words("Reason"), reason),
        (words("Title of the plan"), str(plan.title)),
    )
    yield from ((words("Title of a step"), str(step.title)) for step in plan.steps)
    yield from (
        (words("Text of a reason"), str(each.text)) for each in (*plan.reasons, *plan.warnings)
    )
    yield from _fields(plan)


def _fields(plan: Plan) -> Iterator[tuple[str, str]]:
    """Every text in the steps, named by the step's kind and the field."""
    for step in plan.steps:
        stored = codec.data(step)
        yield from _texts(stored, str(stored[codec.TAG]))


def _beyond_titles(plan: Plan) -> Iterator[str]:
    """Texts in the steps that are long, or of which the step's title shows only the beginning."""
    for step in plan.steps:
        title, stored = str(step.title), codec.data(step)
        for _, text in _texts(stored, ""):
            cut = len(text) > BEGINNING and text[:BEGINNING] in title and text not in title
            if cut or len(text) > LINE:
                yield text


def _texts(stored: object, name: str) -> Iterator[tuple[str, str]]:
    if isinstance(stored, str):
        yield name, stored
    elif isinstance(stored, Mapping):
        for key, each in stored.items():
            yield from _texts(each, f"{name} {key}")
    elif isinstance(stored, list):
        for each in stored:
            yield from _texts(each, name)


def _lines(plan: Plan, command: str, reason: str, *, fields: bool = True) -> Iterator[Message]:
    """Write the whole plan, line by line; ``fields``: with the long texts in its steps."""
    yield plan.title
    yield words("Command: {command}", command=command)
    if reason:
        yield words("Reason: {reason}", reason=reason)
    yield from (
        words("{number}. {step}", number=number, step=step.title)
        for number, step in enumerate(plan.steps, 1)
    )
    yield from (words("• {reason}", reason=each.text) for each in plan.reasons)
    yield from (words("Please note: {warning}", warning=each.text) for each in plan.warnings)
    if plan.blast.vms:
        yield words("VMs: {vms}", vms=plan.blast.vms)
    if plan.blast.hosts:
        yield words("Hosts: {hosts}", hosts=plan.blast.hosts)
    beyond = frozenset(_beyond_titles(plan)) if fields else frozenset()
    long = dict.fromkeys((name, text) for name, text in _fields(plan) if text in beyond)
    yield from (words("{field}: {text}", field=name, text=text) for name, text in long)
