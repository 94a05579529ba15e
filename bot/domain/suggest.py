"""Did you mean: the known name nearest to one that was typed."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from bot.domain.message import Message, words

_CLOSE = 0.6  # below this similarity a suggestion would only puzzle
_MOST_ALIKE = 3  # more names that are equally near say nothing


def nearest(word: str, known: Iterable[str], otherwise: Message = "") -> Message:
    """Ask whether the known word nearest to ``word`` was meant; ``otherwise`` when none is near.

    Upper and lower case count as alike. Names that are equally near are listed.
    """
    names, wanted = list(dict.fromkeys(known)), word.casefold()
    close = {name: difflib.SequenceMatcher(None, name.casefold(), wanted).ratio() for name in names}
    best = max(close.values(), default=0.0)
    found = [name for name, ratio in close.items() if ratio == best]
    if best < _CLOSE or len(found) > _MOST_ALIKE:
        return otherwise
    first, *others = found
    if not others:
        return words("Did you mean “{name}”?", name=first)
    if len(others) == 1:
        return words("Did you mean “{first}” or “{second}”?", first=first, second=others[0])
    return words(
        "Did you mean “{first}”, “{second}” or “{third}”?",
        first=first,
        second=others[0],
        third=others[1],
    )
