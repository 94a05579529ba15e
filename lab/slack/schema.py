"""A small language for the shape a JSON value must have.

With complaints worded as Slack words them.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Context:
    """What a check may need to know beside the value.

    Attributes:
        surface: Where the blocks will stand: "message", "modal" or "home".
        is_image_file: Says whether a `slack_file` object names an uploaded image.
    """

    surface: str = "message"
    is_image_file: Callable[[Mapping[str, Any]], bool] = lambda _: True


Check = Callable[[Any, str, Context], Iterator[str]]
"""A check yields one complaint a fault; nothing when the value is good.

The second argument is the JSON pointer.
"""


def complaint(text: str, pointer: str) -> str:
    """Answer a complaint in Slack's form: ``must be … [json-pointer:/blocks/0/text]``."""
    return f"{text} [json-pointer:{pointer}]"


def string(most: int | None = None, least: int = 1) -> Check:
    """Check for a string of `least` to `most` characters."""

    def check(value: Any, at: str, _: Context) -> Iterator[str]:
        if not isinstance(value, str):
            yield complaint("must provide a string", at)
        elif len(value) < least:
            yield complaint(f"must be more than {least - 1} characters", at)
        elif most is not None and len(value) > most:
            yield complaint(f"must be less than {most + 1} characters", at)

    return check


def matching(pattern: str, wanted: str) -> Check:
    """Check for a string that matches the whole of `pattern`.

    `wanted` says in words what that is.
    """
    compiled = re.compile(pattern)

    def check(value: Any, at: str, _: Context) -> Iterator[str]:
        if not isinstance(value, str):
            yield complaint("must provide a string", at)
        elif not compiled.fullmatch(value):
            yield complaint(f"must be {wanted}", at)

    return check


def url(most: int = 3000) -> Check:
    """Check for an http(s) or mailto address."""
    length = string(most)

    def check(value: Any, at: str, context: Context) -> Iterator[str]:
        faults = list(length(value, at, context))
        if not faults and not re.match(r"(https?://|mailto:|slack://)\S+$", value):
            faults.append(complaint("must be a valid URL", at))
        yield from faults

    return check


def boolean(value: Any, at: str, _: Context) -> Iterator[str]:
    """Check for true or false."""
    if not isinstance(value, bool):
        yield complaint("must provide a boolean", at)


def integer(least: int | None = None, most: int | None = None) -> Check:
    """Check for a whole number between the bounds, both included."""

    def check(value: Any, at: str, _: Context) -> Iterator[str]:
        if isinstance(value, bool) or not isinstance(value, int):
            yield complaint("must provide an integer", at)
        elif least is not None and value < least:
            yield complaint(f"must be greater than {least - 1}", at)
        elif most is not None and value > most:
            yield complaint(f"must be less than {most + 1}", at)

    return check


def number(above: float | None = None) -> Check:
    """Check for a number, greater than `above` when that is given."""

    def check(value: Any, at: str, _: Context) -> Iterator[str]:
        if isinstance(value, bool) or not isinstance(value, int | float):
            yield complaint("must provide a number", at)
        elif above is not None and value <= above:
            yield complaint(f"must be greater than {above:g}", at)

    return check


def one_of(*allowed: str | int) -> Check:
    """Check for one of some fixed values."""

    def check(value: Any, at: str, _: Context) -> Iterator[str]:
        if value not in allowed:
            yield complaint(f"must be one of {', '.join(map(str, allowed))}", at)

    return check


def array(item: Check, most: int | None = None, least: int = 1) -> Check:
    """Check for a list of `least` to `most` items that each pass `item`."""

    def check(value: Any, at: str, context: Context) -> Iterator[str]:
        if not isinstance(value, list):
            yield complaint("must provide an array", at)
            return
        if len(value) < least:
            yield complaint(f"no fewer than {least} items allowed", at)
        if most is not None and len(value) > most:
            yield complaint(f"no more than {most} items allowed", at)
        for index, each in enumerate(value):
            yield from item(each, f"{at}/{index}", context)

    return check


def fields(
    required: Mapping[str, Check],
    optional: Mapping[str, Check] | None = None,
    *rules: Check,
) -> Check:
    """Check for an object with these fields and no others.

    `rules` look at the object as a whole afterwards.
    """
    known = {**required, **(optional or {})}

    def check(value: Any, at: str, context: Context) -> Iterator[str]:
        if not isinstance(value, dict):
            yield complaint("must provide an object", at)
            return
        faults = [
            complaint(f"missing required field: {name}", at)
            for name in required
            if name not in value
        ]
        faults += [
            complaint(f"invalid additional property: {name}", at)
            for name in value
            if name not in known
        ]
        for name, sub in known.items():
            if name in value:
                faults += sub(value[name], f"{at}/{name}", context)
        yield from faults
        if not faults:
            for rule in rules:
                yield from rule(value, at, context)

    return check


def by_type(
    kinds: Mapping[str, Check], allowed: Callable[[Context], Collection[str]] | None = None
) -> Check:
    """Check an object by its `type`; `allowed` narrows the types by context (a surface)."""

    def check(value: Any, at: str, context: Context) -> Iterator[str]:
        if not isinstance(value, dict):
            yield complaint("must provide an object", at)
            return
        kind = value.get("type")
        if kind is None:
            yield complaint("missing required field: type", at)
        elif not isinstance(kind, str):
            yield complaint("must provide a string", f"{at}/type")
        elif kind not in kinds or (allowed is not None and kind not in allowed(context)):
            yield complaint(f"unsupported type: {kind}", f"{at}/type")
        else:
            yield from kinds[kind](value, at, context)

    return check


def exactly_one(*names: str) -> Check:
    """Rule: exactly one of these fields must be given."""

    def check(value: Any, at: str, _: Context) -> Iterator[str]:
        given = [name for name in names if name in value]
        listed = " or ".join(f"`{name}`" for name in names)
        if not given:
            yield complaint(f"must define either {listed}", at)
        elif len(given) > 1:
            yield complaint(f"must define only one of {listed}", at)

    return check


def at_least_one(*names: str) -> Check:
    """Rule: at least one of these fields must be given."""

    def check(value: Any, at: str, _: Context) -> Iterator[str]:
        if not any(name in value for name in names):
            yield complaint("must define either " + " or ".join(f"`{name}`" for name in names), at)

    return check
