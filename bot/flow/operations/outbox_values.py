"""What is still to be said in the chat, as values that the database keeps."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, replace

from bot.domain import card as elements
from bot.domain import codec
from bot.domain.card import Card, Picture, Section
from bot.domain.codec import Codec


@dataclass(frozen=True, slots=True)
class CopyWord:
    """Show an operation in a channel.

    ``again``: the timestamp of the message that was there and is gone; ``stays``: it is there and
    shows what is not true any more.
    """

    operation: str
    channel: str
    again: str = ""
    stays: bool = False


@dataclass(frozen=True, slots=True)
class NoteWord:
    """Say something in an operation's thread, under a key of the operation."""

    operation: str
    key: str
    card: Card


@dataclass(frozen=True, slots=True)
class DirectWord:
    """Tell a person something."""

    user: str
    card: Card


@dataclass(frozen=True, slots=True)
class LastWord:
    """Show in an operation's messages how it ended."""

    operation: str


Word = CopyWord | NoteWord | DirectWord | LastWord

_CARDS = (
    each
    for each in vars(elements).values()
    if isinstance(each, type) and dataclasses.is_dataclass(each)
)
_CODEC = Codec((CopyWord, NoteWord, DirectWord, LastWord, *_CARDS))


def text(word: Word) -> str:
    """A word as the database keeps it; a picture is kept as its description."""
    if isinstance(word, NoteWord | DirectWord):
        kept = tuple(
            Section(each.alt) if isinstance(each, Picture) else each for each in word.card.elements
        )
        word = replace(word, card=replace(word.card, elements=kept))
    return codec.text(word)


def read(stored: str) -> Word:
    """The word of a text.

    Raises:
        CodecError: it was kept by a version that knows more.
    """
    word: Word = _CODEC.loads(stored)
    return word
