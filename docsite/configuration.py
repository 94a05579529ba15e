"""The reference of the settings: the core's and the plugins', with types and defaults."""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Iterator, Mapping
from datetime import time
from enum import Enum
from pathlib import Path
from typing import Any

from pydantic import BaseModel, BeforeValidator
from pydantic.fields import FieldInfo

from bot import settings
from bot.factories import load_catalog
from bot.setting_values import UNITS
from docsite.tables import code, table

EXAMPLE = Path(__file__).parents[1] / "config" / "drover.example.toml"
SECRETS = {"bot_token", "app_token", "signing_secret"}
_HEAD = re.compile(r"^#? ?(\[+[\w.-]+\]+)")
_KEY = re.compile(r"^#? ?\"?([\w-]+)\"? *= .*?(?<=\s)# *(.+)$")
_MORE = re.compile(r"^ {8,}# *(.+)$")


def settings_page() -> str:
    """Every key of the core and of the plugins."""
    said = comments(EXAMPLE.read_text(encoding="utf-8"))
    parts = ["# Settings\n", _INTRODUCTION, "## Top level\n"]
    fields = settings.DroverSettings.model_fields
    sections = [name for name, each in fields.items() if _is_section(name, each)]
    plain = {name: each for name, each in fields.items() if name not in sections}
    parts.append(_rows(plain, said, ""))
    for name in sections:
        parts += _section(name, fields[name], said)
    parts.append("## Plugins\n")
    for plugin, model in _plugins():
        parts += list(_tables(f"plugins.{plugin}", f"[plugins.{plugin}]", model, said))
    return "\n".join(parts)


_INTRODUCTION = """\
Made from the code; the words are those of `config/drover.example.toml`. Sizes: `512M`, `4G`.
Durations: `90s`, `15m`, `24h`, `2d`. An environment variable wins over the file:
`DROVER_SLACK__COMMAND=/vm` sets `slack.command`. Secrets are never in the file:
`SLACK_BOT_TOKEN`, `SLACK_APP_TOKEN`, `SLACK_SIGNING_SECRET` and `DATABASE_URL`, or a file with
the secret, named by the same variable with `_FILE` behind it. `drover check` reads the file and
explains it.
"""


def _is_section(name: str, field: FieldInfo) -> bool:
    return name == "plugins" or bool(_models(field.annotation))


def comments(example: str) -> Mapping[tuple[str, str], str]:
    """What the example says of each key, by table (without brackets) and key."""
    found: dict[tuple[str, str], str] = {}
    section, last = "", ("", "")
    for line in example.splitlines():
        if head := _HEAD.match(line):
            section, last = head[1].strip("[]"), ("", "")
        elif key := _KEY.match(line):
            last = (section, key[1])
            found.setdefault(last, key[2])
        elif (more := _MORE.match(line)) and last in found:
            found[last] = f"{found[last]} {more[1]}"
        else:
            last = ("", "")
    return found


def _section(name: str, field: FieldInfo, said: Mapping[tuple[str, str], str]) -> Iterator[str]:
    if name == "plugins":
        yield "## [plugins]\n"
        enabled = {"enabled": settings.PluginsSection.model_fields["enabled"]}
        yield _rows(enabled, said, "plugins")
        return
    title = _heading(name, field)
    for model in _models(field.annotation):
        for part in _tables(name, title, model, said):
            yield part.replace("### ", "## ", 1)


def _tables(
    path: str, title: str, model: type[BaseModel], said: Mapping[tuple[str, str], str]
) -> Iterator[str]:
    yield f"### {title}\n"
    yield _about(model)
    fields = {name: each for name, each in model.model_fields.items() if name not in SECRETS}
    yield _rows(fields, said, path)
    for name, field in fields.items():
        head = _heading(f"{title.strip('[]')}.{name}", field)
        for below in _models(field.annotation):
            yield from _tables(f"{path}.{name}", head, below, said)


def _heading(path: str, field: FieldInfo) -> str:
    """How a table is written: one of many, one of a name, or the only one."""
    origin = typing.get_origin(field.annotation)
    if origin is tuple:
        return f"[[{path}]]"
    return f"[{path}.NAME]" if origin is dict else f"[{path}]"


def _about(model: type[BaseModel]) -> str:
    return inspect.cleandoc(model.__doc__ or "").replace("``", "`") + "\n"


def _rows(fields: Mapping[str, FieldInfo], said: Mapping[tuple[str, str], str], path: str) -> str:
    rows = [
        (
            code(name),
            _unit(field) or kind(field.annotation),
            _default(field),
            field.description or said.get((path, name), ""),
        )
        for name, field in fields.items()
    ]
    return table(("key", "type", "default", "what it is"), rows)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "*needed*"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, BaseModel | dict) or (
        isinstance(value, tuple) and any(isinstance(each, BaseModel) for each in value)
    ):
        return "see below" if value else "none"
    if value is None or value in ("", ()):
        return "none"
    return code(toml(value))


def toml(value: Any) -> str:
    """A value as the file writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "[" + ", ".join(map(toml, value)) + "]"
    return str(value) if isinstance(value, int | float) else f'"{value}"'


def _unit(field: FieldInfo) -> str:
    """Size or duration, where the file may have one with its unit."""
    for each in field.metadata:
        if isinstance(each, BeforeValidator) and each.func in UNITS:
            return UNITS[each.func]
    return ""


def kind(annotation: Any) -> str:
    """A type in plain words."""
    origin, inside = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return ", ".join(code(str(each)) for each in inside)
    if origin in (typing.Union, types.UnionType, typing.Annotated):
        return kind(inside[0])
    if origin in (tuple, dict):
        return f"{_MANY[origin]} of {kind(inside[-1 if origin is dict else 0])}"
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return ", ".join(code(str(each.value)) for each in annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "table"
    return _PLAIN.get(annotation, "text")


_MANY: Mapping[object, str] = {tuple: "list", dict: "table"}
_PLAIN: Mapping[object, str] = {
    int: "number",
    float: "number",
    bool: "`true`, `false`",
    time: "time",
}


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The tables that a field is made of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for each in typing.get_args(annotation) for found in _models(each)]


def _plugins() -> list[tuple[str, type[BaseModel]]]:
    """The sections that the built-in plugins declare."""
    hooks = load_catalog(settings.DroverSettings()).hooks
    declared = [each for found in hooks.register_settings() for each in found]
    return sorted((each.name, each.model) for each in declared)
