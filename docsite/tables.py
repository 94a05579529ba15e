"""Markdown tables, and the parameters of click commands in them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import click


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; what would break a cell is escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines) + "\n"


def code(text: str) -> str:
    """As code in a cell; '' stays empty."""
    return f"`{text}`" if text else ""


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def parameters(command: click.Command) -> str:
    """Each argument and option with its values, its default and its help; '' when it has none."""
    rows = [
        _option(each) if isinstance(each, click.Option) else _argument(each)
        for each in command.params
        if each.name != "help"
    ]
    return table(("option", "values", "default", "what it does"), rows) if rows else ""


def _option(option: click.Option) -> Sequence[str]:
    names = ", ".join(code(each) for each in (*option.opts, *option.secondary_opts))
    return names, _values(option), _default(option), option.help or ""


def _argument(argument: click.Parameter) -> Sequence[str]:
    named = argument.human_readable_name.strip("[]").upper()
    return code(named), _values(argument), "", "" if argument.required else "may be left out"


def _values(parameter: click.Parameter) -> str:
    kind = parameter.type
    if isinstance(parameter, click.Option) and parameter.is_flag:
        return ""
    if isinstance(kind, click.Choice):
        return ", ".join(code(str(each)) for each in kind.choices)
    if isinstance(kind, click.IntRange | click.FloatRange):
        return f"{_bound(kind.min, 'from')} {_bound(kind.max, 'to')}".strip()
    return code(parameter.metavar or "") if isinstance(parameter, click.Option) else ""


def _bound(value: float | None, word: str) -> str:
    return "" if value is None else f"{word} {value:g}"


def _default(option: click.Option) -> str:
    value = option.default
    plain = isinstance(value, str | int | float) and not isinstance(value, bool)
    return code(str(value)) if plain and option.show_default else ""
