"""What a value of the configuration may be, and what is said of one that is not."""

from __future__ import annotations

import re
import typing
from collections.abc import Mapping
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, BeforeValidator, ValidationError
from pydantic_core import ErrorDetails

from bot.domain.errors import UnfitError, UnitError
from bot.domain.message import Code, Join, Message, Names, join, words
from bot.domain.suggest import nearest
from bot.domain.units import seconds_of, size

FIRST = 5  # complaints; more than that is read again after these are corrected


def _size(value: object) -> object:
    return size(value) if isinstance(value, str) else value


def _seconds(value: object) -> object:
    return seconds_of(value) if isinstance(value, str) else value


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise UnfitError(
            words("“{zone}” is not a time zone; write for example Europe/Lisbon", zone=value)
        ) from error
    return value


Bytes = Annotated[int, BeforeValidator(_size)]
Seconds = Annotated[int, BeforeValidator(_seconds)]
Zone = Annotated[str, AfterValidator(_zone)]
UNITS: Mapping[object, str] = {_size: "size", _seconds: "duration"}
"""By the function that reads it, what the value is."""


def shape(pattern: str, said: Message) -> AfterValidator:
    """For a text that has a pattern: who writes another one is told ``said``, not the pattern.

    Args:
        pattern: a regular expression that the whole text fits.
        said: what to write, without a final stop, such as "write host or host:port".
    """
    known = re.compile(pattern)

    def check(value: str) -> str:
        if known.fullmatch(value) is None:
            raise UnfitError(said)
        return value

    return AfterValidator(check)


def complaints(error: ValidationError, model: type[BaseModel], whole: Message) -> Message:
    """What is wrong with a table: its first faults, each by its key; no final stop.

    Args:
        error: as pydantic raised it.
        model: of the table.
        whole: what the table itself is called, where no key of it is wrong.
    """
    found = []
    for each in error.errors()[:FIRST]:
        where = ".".join(str(part) for part in each["loc"])
        found.append(join((where or whole, _complaint(each, model)), ": "))
    return join(found, "; ")


def _complaint(found: ErrorDetails, model: type[BaseModel]) -> Message:
    if found["type"] != "extra_forbidden":
        return _fault(found)
    known = {name for table in tables(model) for name in table.model_fields}
    near = nearest(str(found["loc"][-1]), known)
    return words("there is no such key ({near})", near=near) if near else _NO_KEY


def tables(annotation: Any) -> set[type[BaseModel]]:  # Any: as typing gives them
    """The model itself and the tables that its fields are made of."""
    if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        return {found for each in typing.get_args(annotation) for found in tables(each)}
    fields = annotation.model_fields.values()
    return {annotation, *(found for each in fields for found in tables(each.annotation))}


def _fault(found: ErrorDetails) -> Message:
    """What is wrong with one value, in our own words; no final stop."""
    context = found.get("ctx", {})
    error = context.get("error")
    if isinstance(error, UnfitError):
        return error.text
    if isinstance(error, UnitError):
        return error.clause
    return _bounds(context) or _KINDS.get(found["type"], found["msg"])


def _bounds(context: Mapping[str, Any]) -> Message:  # Any: as pydantic gives it
    match context:
        case {"ge": limit}:
            return words("write {limit} or more", limit=limit)
        case {"gt": limit}:
            return words("write more than {limit}", limit=limit)
        case {"le": limit}:
            return words("write {limit} or less", limit=limit)
        case {"expected": listed}:  # the choices of a Literal or an Enum
            choices = tuple(Code(each) for each in re.findall(r"'([^']*)'", str(listed)))
            return words("write {choices}", choices=Names(choices, Join.OR))
        case _:
            return ""


_NO_KEY = words("there is no such key")
_TEXT = words("write a text, in quotes")
_NUMBER = words("write a number")
_WHOLE = words("write a whole number")
_FLAG = words("write true or false, without quotes")
_TIME = words("write a time such as 22:00, in quotes")
_TABLE = words("it is a table, not a value")
_KINDS: Mapping[str, Message] = {
    "missing": words("it is missing"),
    "string_type": _TEXT,
    "string_too_short": words("it is empty"),
    "int_type": _WHOLE,
    "int_parsing": _WHOLE,
    "int_from_float": _WHOLE,
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "finite_number": _NUMBER,
    "bool_type": _FLAG,
    "bool_parsing": _FLAG,
    "time_type": _TIME,
    "time_parsing": _TIME,
    "tuple_type": words("write a list, in square brackets"),
    "dict_type": _TABLE,
    "model_type": _TABLE,
}
"""By pydantic's name of the fault."""
