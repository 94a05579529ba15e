"""Slack's limits (docs.slack.dev/reference/block-kit).

Also how the characters of a message are counted.
"""

from __future__ import annotations

from collections.abc import Iterable

MESSAGE_BLOCKS = 50
VIEW_BLOCKS = 100
CHARACTERS = 12_000
"""All a message's blocks together. Slack documents none.

Its users see refusals from about 13,200.
"""
TEXT = 3_900
"""The plain text: postMessage takes 40,000.

But ``chat.update`` answers msg_too_long beyond 4,000.
"""
SECTION = 3_000
FIELD = 2_000
FIELDS = 10
HEADER = 150
CONTEXT = 10
CONTEXT_TEXT = 3_000
BUTTONS = 25
BUTTON = 75
VALUE = 2_000
ID = 255
CONFIRM_TITLE = 100
CONFIRM_TEXT = 300
CONFIRM_BUTTON = 30
OPTIONS = 100
BOXES = 10
OVERFLOW = 5
OPTION_TEXT = 75
PLACEHOLDER = 150
OPTION_VALUE = 150
ROWS = 100
COLUMNS = 20
TABLE_CHARACTERS = 9_500
"""Slack refuses a table's cells beyond 10,000 characters."""
CELL = 500
TASKS = 50
TASK = 250
CHARTS = 2
CHART_TITLE = 50
CHART_LABEL = 20
SERIES = 6
POINTS = 20
ALT = 2_000
VIEW_TITLE = 24
HIDDEN = 3_000
INPUT = 3_000
LABEL = 2_000
HINT = 2_000

_READ = frozenset(
    {"text", "title", "label", "name", "alt_text", "x_label", "y_label", "categories", "fallback"}
)


def characters(value: object, key: str = "") -> int:
    """The characters people read in some blocks: labels, texts, titles.

    Not ids, values or addresses.
    """
    if isinstance(value, str):
        return len(value) if key in _READ else 0
    if isinstance(value, dict):
        return sum(characters(each, name) for name, each in value.items())
    if isinstance(value, Iterable):
        return sum(characters(each, key) for each in value)
    return 0
