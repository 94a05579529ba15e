"""Pages of a list.

What is shown of it, and the buttons that turn to the others or make a file of all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from bot.domain.card import Button, Buttons, Menu, Section
from bot.domain.message import Message, Words, words

PAGE = "page"
ROW = "row"
"""The action of what is chosen in a row's menu.

The line of a command, which MORE at its end opens as a dialog.
"""
MORE = "…"


@dataclass(frozen=True, slots=True)
class Page:
    """Page ``number`` (from 1; too large: the last) of ``whole`` rows, ``size`` a page."""

    whole: int
    number: int
    size: int

    @property
    def count(self) -> int:
        """How many pages there are."""
        return max(1, -(-self.whole // self.size))

    @property
    def at(self) -> int:
        """The page that is shown."""
        return min(self.number, self.count)

    @property
    def first(self) -> int:
        """Index of its first row."""
        return (self.at - 1) * self.size

    @property
    def last(self) -> int:
        """Index behind its last row."""
        return min(self.first + self.size, self.whole)

    @property
    def numbers(self) -> str:
        """``31–60``."""
        return f"{self.first + 1}–{self.last}"

    @property
    def text(self) -> Words:
        """Which rows are shown, of how many."""
        return words("{page} of {whole}", page=self.numbers, whole=self.whole)


def page_buttons(line: Callable[[int], str], page: Page, *, by_time: bool = False) -> Buttons:
    """Buttons to the pages beside this one, and to the whole list as a file.

    ``line(page)``: the command of a page. ``by_time``: the newest rows come first.
    """
    back, on = (words("Newer"), words("Older")) if by_time else (words("Previous"), words("Next"))
    turns = [Button(back, PAGE, line(page.at - 1))] if page.at > 1 else []
    turns += [Button(on, PAGE, line(page.at + 1))] if page.at < page.count else []
    files = (
        Button(words("CSV"), "run", f"{line(1)} --csv"),
        Button(words("JSON"), "run", f"{line(1)} --json"),
    )
    return Buttons((*turns, *files))


def picker(text: Message, hint: Message, rows: Iterable[tuple[str, str]]) -> list[Section]:
    """A list in which a row of a table is chosen, for a table can hold no menus; none without rows.

    ``rows``: the name of each, and the line that choosing it types.
    """
    choices = tuple(Button(name, ROW, line) for name, line in dict(rows).items())
    return [Section(text, Menu(choices, hint))] if choices else []
