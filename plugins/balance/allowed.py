"""Which commands the configuration lets run on hosts, word by word; pure.

A pattern is a command in which ``*`` stands for one plain word, or for a plain part of a word
(``web-*``). A plain word
has no characters that a shell acts on and does not begin with a dash: an option must stand in the
pattern itself. The number of words is the same. A pattern without ``*`` is one command, letter by
letter; the pattern ``*`` alone lets everything run.
"""

from __future__ import annotations

import re

ANYTHING = "*"
_PLAIN = "A-Za-z0-9_.:@%+,"  # nothing of these means anything to a shell, wherever it stands
_PROGRAM = re.compile(rf"[{_PLAIN}/][{_PLAIN}/\-]*")
# Not for the first one: NAME=value there is no program
_WORD = re.compile(rf"[{_PLAIN}/][{_PLAIN}/=\-]*")
_PART = rf"[{_PLAIN}\-]*"


def covers(pattern: str, command: str) -> bool:
    """Return whether a pattern of the configuration lets this command line run."""
    if pattern == ANYTHING:
        return True
    wanted, words = pattern.split(" "), command.split(" ")
    if len(wanted) != len(words):
        return False
    return all(
        _is_covered(*pair, place) for place, pair in enumerate(zip(wanted, words, strict=True))
    )


def _is_covered(wanted: str, word: str, place: int) -> bool:
    """Return whether one word of a pattern covers one word of a command.

    A part of a path names no other folder.
    """
    if "*" not in wanted:
        return wanted == word
    if wanted == ANYTHING:
        return (_WORD if place else _PROGRAM).fullmatch(word) is not None
    if word.startswith("-") and not wanted.startswith("-"):
        return False
    shape = _PART.join(re.escape(part) for part in wanted.split("*"))
    return re.fullmatch(shape, word) is not None and word.split("/").count("..") <= wanted.split(
        "/"
    ).count("..")
