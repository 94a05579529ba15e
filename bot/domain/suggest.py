"""Did you mean: the known name nearest to one that was typed.

And the commands that a line may mean.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence

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


GROUPS = {"vm": "vm", "vms": "vm", "host": "host", "hosts": "host"}
"""Words that people put before or behind what they want done."""


def guesses(
    typed: Sequence[str], known: Mapping[str, Sequence[str]]
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return the commands that a line may mean, each with the words that are left for it.

    By meaning first: another word for a command, its own words in another order, or without the
    group (``stop vm web-1``, ``snapshot create web-1``). Then by spelling, within a slip or two:
    a wrong suggestion is worse than none.

    Args:
        typed: the words of a line that is no command.
        known: what else people type for each command, by its name.
    """
    words_of = [word.casefold() for word in typed]
    for count in range(min(len(typed), _LONGEST), 0, -1):
        if found := [name for name in known if _means(words_of[:count], name, known[name])]:
            return tuple((name, tuple(typed[count:])) for name in found[:_MOST_MEANT])
    if len(typed) > 1 and words_of[0] in GROUPS:  # ``vm move web-1``: the command has no group
        plain = {name: also for name, also in known.items() if " " not in name}
        if found := [name for name in plain if _means(words_of[1:2], name, plain[name])]:
            return tuple((name, tuple(typed[2:])) for name in found[:_MOST_MEANT])
    return tuple((name, tuple(typed[count:])) for name, count in _nearest(words_of, known))


def _nearest(words_of: Sequence[str], known: Mapping[str, Sequence[str]]) -> list[tuple[str, int]]:
    """The commands spelt most alike, each with how many words were typed for it; none of many."""
    slips = {name: _slips(words_of, name, also) for name, also in known.items()}
    close = [(name, slip) for name, slip in slips.items() if slip is not None]
    best = min(((slip[0], -slip[1]) for _, slip in close), default=None)
    found_near = [(name, slip[1]) for name, slip in close if (slip[0], -slip[1]) == best]
    return found_near if len(found_near) <= _MOST_ALIKE else []


_MOST_MEANT = 4  # commands that one word may mean
_LONGEST = 4  # words of a command's name, or of what means it


def _means(typed: Sequence[str], name: str, also: Sequence[str]) -> bool:
    own, phrase = name.split(), " ".join(typed)
    if phrase in also or sorted(typed) == sorted(own):
        return True
    if len(typed) == 1 and len(own) == 3 and typed[0] == own[1]:
        return True  # ``snapshot``: all that can be done with one
    group = next((GROUPS[word] for word in typed if word in GROUPS), "")
    rest = sorted(word for word in typed if word not in GROUPS)
    if not rest:
        return False
    if len(rest) == len(typed):
        return rest == sorted(own[1:])
    return group == own[0] and (rest == sorted(own[1:]) or " ".join(rest) in also)


def _slips(typed: Sequence[str], name: str, also: Sequence[str]) -> tuple[int, int] | None:
    """How many letters are wrong, and how many words were typed for the name; None: too many.

    The whole name, or what stands behind its group, or another word for it.
    """
    own = name.split()
    spelled = [own, own[1:], *([each] for each in also if " " not in each)]
    tries = [each for each in spelled if each == own or (each and each[0] not in GROUPS)]
    fits = [
        (letters, len(each)) for each in tries if (letters := _letters(typed, each)) is not None
    ]
    return min(fits, key=lambda fit: (fit[0], -fit[1]), default=None)


def _letters(typed: Sequence[str], wanted: Sequence[str]) -> int | None:
    if not wanted or len(typed) < len(wanted):
        return None
    wrong = [_distance(one, other) for one, other in zip(typed, wanted, strict=False)]
    fits = all(found <= _most_slips(word) for found, word in zip(wrong, typed, strict=False))
    return sum(wrong) if fits else None


def _most_slips(word: str) -> int:
    """How many slips a word may have: a short one would soon be another word."""
    return 0 if len(word) <= 3 else 1 if len(word) <= 6 else 2


def is_slip(typed: str, known: str) -> bool:
    """Whether an option may have been meant by a word: its beginning, or within a slip or two."""
    word, name = typed.strip("-").casefold(), known.strip("-")
    begins = len(word) > 1 and name.startswith(word)
    return begins or _distance(word, name) <= _most_slips(word)


def _distance(one: str, other: str) -> int:
    """Letters added, left out, changed, or swapped with their neighbour."""
    before: list[int] = []
    line = list(range(len(other) + 1))
    for row, letter in enumerate(one, 1):
        earlier, before, line = before, line, [row]
        for column, wanted in enumerate(other, 1):
            cost = min(
                before[column] + 1,
                line[column - 1] + 1,
                before[column - 1] + (letter != wanted),
            )
            swapped = row > 1 and column > 1 and letter == other[column - 2]
            if swapped and one[row - 2] == wanted:
                cost = min(cost, earlier[column - 2] + 1)
            line.append(cost)
    return line[-1]
