"""Domain values to canonical JSON and back.

Dataclasses tagged with their name, so stored rows explain themselves.

A dataclass becomes ``{"is": "MigrateVm", field: value, …}``; enums their value, datetimes ISO 8601
with zone, tuples and frozensets arrays. Fields equal to their default are kept, so a digest covers
what was meant at the time; but for those that a type got ``later``, so that what was stored before
has the JSON, and the digest, that it had.
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from enum import Enum
from functools import cache
from typing import Any

from bot.domain.errors import DroverError
from bot.domain.message import VALUES, Message, words

TAG = "is"
LATER = "later"


_PLAIN = frozenset({type(None), bool, int, float, str})


class CodecError(DroverError):
    """A stored value does not fit the code that reads it."""

    code = "codec"


def later(default: object) -> Any:
    """A field added to a type that is stored already.

    Left out of the JSON while it has this ``default``.
    """
    return dataclasses.field(default=default, metadata={LATER: True})


def data(value: object) -> Any:  # noqa: PLR0911 - one line per kind of value
    """``value`` as JSON-able data.

    Raises:
        CodecError: a type that the domain does not use.
    """
    if type(value) in _PLAIN:  # most are: nothing else has to be asked of them
        return value
    if isinstance(value, Unknown):
        return json.loads(value.stored)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {TAG: type(value).__name__, **_fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, date):  # a datetime too
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(key): data(each) for key, each in value.items()}
    if isinstance(value, frozenset):
        return sorted(data(each) for each in value)
    if isinstance(value, tuple):
        return [data(each) for each in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise CodecError(
        words("{kind} cannot be stored.", kind=type(value).__name__),
        words("Use the domain's frozen values."),
    )


def _fields(value: Any) -> dict[str, object]:
    found = {}
    for name, is_later, default in _layout(value.__class__):
        each = getattr(value, name)
        if not (is_later and each == default):
            found[name] = data(each)
    return found


@cache
def _layout(kind: type) -> tuple[tuple[str, bool, object], ...]:
    """Name of each field of a dataclass, whether it came ``later``, and its default."""
    return tuple(
        (field.name, bool(field.metadata.get(LATER)), field.default)
        for field in dataclasses.fields(kind)
        if field.init
    )


def text(value: object) -> str:
    """``value`` as canonical JSON."""
    return canonical(data(value))


def canonical(stored: object) -> str:
    """JSON-able data as canonical JSON: sorted keys, no spaces, UTF-8 as it is."""
    return json.dumps(stored, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


@dataclasses.dataclass(frozen=True, slots=True)
class Unknown:
    """A stored value that no loaded code can read.

    Of a plugin that is not loaded, or of a newer Drover.

    It is kept as it was stored, so that digests and hashes of what holds it stay the same, and it
    can stand for a step.
    """

    kind: str
    stored: str  # canonical JSON
    why: Message

    @property
    def title(self) -> str:
        """What it is called: what it says of itself, else its kind."""
        fields = json.loads(self.stored)
        named = next(
            (
                fields[key]
                for key in ("title", "name", "vm", "host")
                if isinstance(fields.get(key), str)
            ),
            "",
        )
        return f"{self.kind} {named}".strip()

    @property
    def hosts(self) -> tuple[str, ...]:
        """As of a step: none that is known."""
        return ()

    @property
    def vms(self) -> tuple[str, ...]:
        """As of a step: the VM that it names by UUID."""
        found = json.loads(self.stored).get("uuid")
        return (found,) if isinstance(found, str) else ()


class Codec:
    """Reads back what ``data`` wrote, for a closed set of dataclasses.

    Args:
        known: every dataclass that can appear in a stored value, beside those of messages.
    """

    def __init__(self, known: Iterable[type]) -> None:
        self._known = {each.__name__: each for each in (*VALUES, *known)}

    def read(self, stored: object) -> Any:
        """The value of tagged data.

        Raises:
            CodecError: unknown tag or a field that does not fit.
        """
        if not (isinstance(stored, dict) and TAG in stored):
            raise CodecError(
                words("Stored value without a tag."),
                words("The database was written by something else."),
            )
        kind = self._known.get(stored[TAG])
        if kind is None:
            raise CodecError(
                words("No loaded plugin declares “{kind}”.", kind=stored[TAG]),
                words("Load the plugin that declares it."),
            )
        try:
            return self._make(kind, stored)
        except (KeyError, TypeError, ValueError) as error:
            raise CodecError(
                words("A stored {kind} does not fit: {error}", kind=stored[TAG], error=repr(error))
            ) from error

    def loads(self, stored: str) -> Any:
        """The value of canonical JSON."""
        return self.read(json.loads(stored))

    def keeps(self, stored: str) -> Any:
        """The value of canonical JSON, in which ``Unknown`` stands for whatever cannot be read."""
        return self._keep(json.loads(stored))

    def _keep(self, stored: Any) -> Any:
        kind = self._known.get(stored[TAG])
        if kind is None:
            return Unknown(
                stored[TAG],
                canonical(stored),
                words("“{kind}” is of a plugin that is not loaded", kind=stored[TAG]),
            )
        try:
            return self._make(kind, stored, keep=True)
        except (KeyError, TypeError, ValueError) as error:
            return Unknown(
                stored[TAG],
                canonical(stored),
                words(
                    "“{kind}” is of another version: {error}", kind=stored[TAG], error=repr(error)
                ),
            )

    def _make(self, kind: type, stored: dict[str, Any], *, keep: bool = False) -> Any:
        hints = _hints(kind)
        return kind(
            **{
                name: self._as(hints[name], each, keep=keep)
                for name, each in stored.items()
                if name != TAG
            }
        )

    def _as(self, hint: object, stored: object, *, keep: bool = False) -> Any:
        if stored is None:
            return None
        if isinstance(stored, dict) and TAG in stored:
            return self._keep(stored) if keep else self.read(stored)
        if isinstance(stored, list):
            return self._sequence(hint, stored, keep=keep)
        if isinstance(stored, dict):
            return types.MappingProxyType(
                {key: self._as(Any, each, keep=keep) for key, each in stored.items()}
            )
        return _scalar(hint, stored)

    def _sequence(
        self, hint: object, stored: list[Any], *, keep: bool
    ) -> tuple[Any, ...] | frozenset[Any]:
        arguments = [each for each in typing.get_args(_bare(hint)) if each is not Ellipsis]
        fixed = len(arguments) == len(stored) and Ellipsis not in typing.get_args(_bare(hint))
        hints = arguments if fixed else (arguments[:1] or [Any]) * len(stored)
        values = [
            self._as(each_hint, each, keep=keep)
            for each_hint, each in zip(hints, stored, strict=True)
        ]
        return frozenset(values) if typing.get_origin(_bare(hint)) is frozenset else tuple(values)


_MESSAGES = Codec(())


def message_of(stored: object) -> Message:
    """A message out of JSON-able data.

    What ``data`` made of it, or plain text as version 0.1 stored it.

    Raises:
        CodecError: it is neither.
    """
    message: Message = stored if isinstance(stored, str) else _MESSAGES.read(stored)
    return message


def unknowns(value: object) -> tuple[Unknown, ...]:
    """Every ``Unknown`` in a value that ``keeps`` returned."""
    if isinstance(value, Unknown):
        return (value,)
    if dataclasses.is_dataclass(value):
        parts: Iterable[object] = (
            getattr(value, field.name) for field in dataclasses.fields(value)
        )
    elif isinstance(value, Mapping):
        parts = value.values()
    elif isinstance(value, tuple | frozenset):
        parts = value
    else:
        return ()
    return tuple(found for part in parts for found in unknowns(part))


@cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _bare(hint: object) -> Any:
    """The hint without ``| None``."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        rest = [each for each in typing.get_args(hint) if each is not type(None)]
        return rest[0] if len(rest) == 1 else Any
    return hint


def _scalar(hint: Any, stored: Any) -> Any:
    bare = _bare(hint)
    if isinstance(bare, type) and issubclass(bare, Enum):
        return bare(stored)
    if bare is datetime:
        return datetime.fromisoformat(stored)
    if bare is date:
        return date.fromisoformat(stored)
    # A whole number in a float's place stays one: what is read must have the digest of what was
    # stored
    return stored
