"""Loads the plugins, collects what they declare, checks it as a whole and freezes it."""

from __future__ import annotations

import copy
import dataclasses
import importlib
import importlib.util
import re
import shlex
import traceback
import typing
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import click
import pluggy
from pydantic import BaseModel, ValidationError

from bot import hookspecs
from bot.domain import (
    backing,
    cluster,
    definition,
    errors,
    legible,
    operation,
    placement,
    plan,
    policy,
    power,
    steps,
    suggest,
    timing,
)
from bot.domain.codec import Codec
from bot.domain.errors import NO_SUBCOMMAND, UNKNOWN, CatalogError, UsageError
from bot.domain.message import Code, Join, Message, Names, join, words
from bot.domain.steps import Step
from bot.domain.suggest import nearest
from bot.plugin_api import (
    Action,
    Command,
    Decision,
    Outlook,
    PlacementRule,
    Query,
    Report,
    Rules,
    Settings,
    SettingsSection,
    StepHandler,
    Watch,
)
from bot.setting_values import complaints

GROUP = "drover.plugins"
_OPERATION = re.compile(r"op-\d+")

_STORED: tuple[type, ...] = (
    *operation.EVENTS, operation.Origin, operation.Vote, operation.Summary, operation.Attempted,
    plan.Plan, plan.Reason, plan.Objection, plan.Blast, plan.DefinitionChange, plan.Prediction,
    plan.HostBar, plan.Spread, policy.Ruling, timing.Slot, errors.Remedy,
    steps.MigrateVm, steps.SetMaintenance, steps.HoldHost, steps.AttestOff, steps.WaitForPerson,
    steps.Carried, backing.Fate, definition.Definition,
    power.Hold, power.Proof, power.Reading, power.Bound, power.Device,
    *(
        each
        for each in vars(cluster).values()
        if dataclasses.is_dataclass(each) and isinstance(each, type)
    ),
)  # fmt: skip
"""What core values can be found in a stored event or a saved snapshot."""


CORE_STEPS: tuple[type[Step], ...] = (
    steps.SetMaintenance,
    steps.HoldHost,
    steps.AttestOff,
    steps.WaitForPerson,
)
"""Kinds of steps that the core does itself."""


def core_codec() -> Codec:
    """Reads what the core itself stores, and keeps what plugins store as it is."""
    return Codec(_STORED)


def is_operation(word: str) -> bool:
    """Whether a word is written like the id of an operation."""
    return bool(_OPERATION.fullmatch(word.lower()))


@dataclass(frozen=True, slots=True)
class Catalog:
    """Everything the plugins declared, checked. ``commands`` by full name (``host check``)."""

    commands: Mapping[str, Command]
    handlers: Mapping[type[Step], StepHandler]
    rules: Rules
    watches: tuple[Watch, ...]
    reports: tuple[Report, ...]
    plugins: tuple[str, ...]
    hooks: pluggy.HookRelay
    owners: Mapping[str, str] = field(default_factory=dict)  # command name → plugin
    outlooks: tuple[Outlook, ...] = ()
    translations: tuple[Path, ...] = ()  # the ``locale`` folders of the plugins

    def find(self, typed: Sequence[str], slash: str = "") -> tuple[Command, list[str]]:
        """The command that ``typed`` begins with (longest name wins) and the words that are left.

        ``slash``: what stands before a command that is suggested.

        Raises:
            UsageError: no such command; the advice names those that may be meant.
        """
        for count in range(min(len(typed), 4), 0, -1):
            if command := self.commands.get(" ".join(typed[:count]).lower()):
                return command, list(typed[count:])
        raise self._unknown(typed, slash)

    def _unknown(self, typed: Sequence[str], slash: str) -> UsageError:
        group, ends = self._group([word.lower() for word in typed])
        lines = self.suggestions(typed, slash)
        # The group itself is no slip, however near another command's name is
        guessed = [f" {str(each).strip('`')} " for each in lines.items]
        named = any(f" {group} " in each for each in guessed)
        meant = len(typed) == 1 and (not named or len(ends) > 1)
        meant_is = words("Did you mean {commands}?", commands=lines) if lines.items else ""
        if ends and (meant or " " in group or not lines.items):
            also = meant_is if meant and named else ""
            return UsageError(
                words("{command} needs a subcommand: {names}.", command=Code(group), names=ends),
                join((also, words("See {help}.", help=Code(f"{slash} help {group}".strip())))),
                code=NO_SUBCOMMAND,
            )
        said = " ".join(typed[:2]) if ends else typed[0].lower()
        all_of_them = words("See all with {help}.", help=Code(f"{slash} help".strip()))
        return UsageError(
            words("There is no command “{name}”.", name=said),
            join((meant_is, all_of_them)),
            code=UNKNOWN,
        )

    def _group(self, typed: Sequence[str]) -> tuple[str, list[str]]:
        """The longest beginning of a line that commands begin with, and how these go on."""
        for count in range(min(len(typed), 3), 0, -1):
            group = " ".join(typed[:count])
            ends = [
                name.removeprefix(f"{group} ")
                for name in self.commands
                if name.startswith(f"{group} ")
            ]
            if ends:
                return group, ends
        return "", []

    def suggestions(self, typed: Sequence[str], slash: str) -> Names:
        """The lines that a person may have meant, each to be typed as it is."""
        found = self.guesses(typed)
        lines = (shlex.join([*command.name.split(), *rest]) for command, rest in found)
        return Names(tuple(Code(f"{slash} {line}".strip()) for line in lines), Join.OR)

    def guesses(self, typed: Sequence[str]) -> list[tuple[Command, tuple[str, ...]]]:
        """The commands that a person may have meant, each with the words that it takes.

        Of a line about an operation only what decides on it or looks: nothing is done to an
        operation as if it were a VM.
        """
        known = {name: each.also for name, each in self.commands.items()}
        found = [
            (self.commands[name], rest)
            for name, rest in suggest.guesses(typed, known)
            if _takes(self.commands[name].grammar, rest)
        ]
        steered = [each for each in found if isinstance(each[0], Decision)]
        if len(typed) > 1 and is_operation(typed[-1]):
            return steered or [each for each in found if isinstance(each[0], Query)]
        return [each for each in found if each not in steered] or found

    def action(self, name: str) -> Action:
        """The action of this name.

        Raises:
            CatalogError: the plugin that declares it is not loaded.
        """
        found = self.commands.get(name)
        if not isinstance(found, Action):
            raise CatalogError(
                words("No loaded plugin has the command {command}.", command=Code(name)),
                words("Load the plugin again."),
            )
        return found

    @property
    def role_commands(self) -> tuple[str, ...]:
        """Names of the commands that a role is granted; what decides asks as its button does."""
        return tuple(name for name, each in self.commands.items() if not isinstance(each, Decision))

    @property
    def pickable(self) -> frozenset[str]:
        """Names of the actions of whose plans people may pick a part."""
        return frozenset(
            name for name, each in self.commands.items() if isinstance(each, Action) and each.pick
        )

    @property
    def automatic(self) -> frozenset[str]:
        """Names of the actions that watches mean to do by themselves."""
        return frozenset(name for watch in self.watches for name in watch.automatic)

    @property
    def where_allowed(self) -> frozenset[str]:
        """Names of the actions that watches do by themselves where a rule lets them."""
        return frozenset(name for watch in self.watches for name in watch.where_allowed)

    def unable(self, found: operation.Operation) -> Message:
        """Why nothing can be done with an operation here; '' when all that it takes is loaded."""
        if why := legible.unknown_parts(found):
            return why
        loaded = isinstance(self.commands.get(found.action), Action)
        return (
            ""
            if loaded
            else words("no loaded plugin has the command {command}", command=Code(found.action))
        )

    def codec(self) -> Codec:
        """Reads back every value an event of these plugins can hold."""
        intents = [each.intent for each in self.commands.values() if isinstance(each, Action)]
        values = [
            value
            for each in self.commands.values()
            if isinstance(each, Action)
            for value in each.values
        ]
        return Codec((*_STORED, *intents, *values, *self.handlers))


def _takes(grammar: click.Command, rest: Sequence[str]) -> bool:
    """Whether a command takes these words, though some may still be missing."""
    try:
        grammar.make_context(grammar.name, list(rest))
    except click.MissingParameter:
        return True
    except (click.ClickException, click.exceptions.Exit):
        return False
    except errors.DroverError:
        return True  # the command itself tells what is wrong
    return True


def load(
    enabled: Iterable[str],
    tables: Mapping[str, object] | None = None,
    *,
    extra: Iterable[object] = (),
    core_steps: Iterable[type[Step]] = CORE_STEPS,
) -> Catalog:
    """The catalog of the enabled plugins: built-in ones by name, others by their entry point.

    Args:
        enabled: entry points' names, built-in names (``plugins.<name>`` is imported), or dotted
            modules.
        tables: the raw ``[plugins.<name>]`` tables of the configuration.
        extra: plugin objects to register as they are (tests, the core's own commands).
        core_steps: kinds of steps that the core does itself.

    Raises:
        CatalogError: whatever could not work later, told now.
    """
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    for name in enabled:
        _register(manager, name, _entry_points())
    for plugin in extra:
        manager.register(plugin, name=getattr(plugin, "__name__", type(plugin).__name__.lower()))
    try:
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise CatalogError(
            words("A plugin implements an unknown hook: {error}.", error=str(error))
        ) from error
    return _collect(manager, tables or {}, frozenset(core_steps))


@cache  # it reads the metadata of every installed distribution, and those stay while we run
def _entry_points() -> Mapping[str, metadata.EntryPoint]:
    """The plugins that installed distributions bring, by name."""
    return {point.name: point for point in metadata.entry_points(group=GROUP)}


def _register(
    manager: pluggy.PluginManager, name: str, points: Mapping[str, metadata.EntryPoint]
) -> None:
    try:
        plugin = _module(name, points)
    except errors.DroverError:
        raise
    # A plugin is other people's code: whatever stops it is told in a sentence, and where it
    # happened
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        raise CatalogError(
            words(
                "The plugin “{plugin}” cannot be loaded: {error} ({file}, line {line}).",
                plugin=name,
                error=f"{type(error).__name__}: {error}",
                file=last.filename,
                line=last.lineno or 0,
            ),
            code="plugin-broken",
        ) from error
    manager.register(plugin, name=name)
    if not manager.get_hookcallers(plugin):
        raise CatalogError(
            words("“{plugin}” is not a plugin: it implements no hook.", plugin=name),
            words("Decorate its hooks with `@hookimpl` of `bot.hookspecs`."),
            code="no-hook",
        )


def _module_name(name: str) -> str:
    """A built-in plugin, else any module that Python finds, such as one file on PYTHONPATH."""
    built_in = f"plugins.{name}"
    if "." in name or importlib.util.find_spec(built_in) is not None:
        return name if "." in name else built_in
    return name if importlib.util.find_spec(name) is not None else built_in


def _module(name: str, points: Mapping[str, metadata.EntryPoint]) -> object:
    if name in points:
        return points[name].load()
    module = _module_name(name)
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise  # the plugin is there, and something that it needs is not
        raise CatalogError(
            words("There is no plugin “{name}”.", name=name),
            nearest(
                name,
                points,
                words(
                    "Install one with the entry point “{name}” in “{group}”, or correct the name.",
                    name=name,
                    group=GROUP,
                ),
            ),
        ) from error


def _collect(
    manager: pluggy.PluginManager, tables: Mapping[str, object], core: frozenset[type[Step]]
) -> Catalog:
    settings = Settings(_sections(manager, tables))
    commands, owners = _collect_commands(manager, settings)
    handlers = _handlers(manager, settings)
    for command in commands.values():
        if isinstance(command, Action):
            _emits_only_handled(command, core | handlers.keys())
    jobs = [job for _, job in _each(manager, "register_jobs", settings)]
    rules = tuple(rule for _, rule in _each(manager, "register_placement_rules", settings))
    return Catalog(
        commands=commands,
        handlers=handlers,
        rules=(*placement.CORE_RULES, *typing.cast("tuple[PlacementRule, ...]", rules)),
        watches=tuple(job for job in jobs if isinstance(job, Watch)),
        reports=tuple(job for job in jobs if isinstance(job, Report)),
        plugins=tuple(name for name, _ in manager.list_name_plugin()),
        hooks=manager.hook,
        owners=owners,
        outlooks=tuple(each for _, each in _each(manager, "register_outlooks", settings)),
        translations=tuple(_translations(manager)),
    )


def _translations(manager: pluggy.PluginManager) -> Iterable[Path]:
    """Where plugins that are packages keep their translations."""
    for _, plugin in manager.list_name_plugin():
        for folder in getattr(plugin, "__path__", ()):
            yield Path(folder) / "locale"


def _each(
    manager: pluggy.PluginManager, hook: str, settings: Settings | None
) -> Iterable[tuple[str, Any]]:
    """Every declared value of a hook with its plugin's name, in the order of registration."""
    caller = getattr(manager.hook, hook)
    for implementation in caller.get_hookimpls():
        arguments = [settings] if settings is not None and implementation.argnames else []
        for value in implementation.function(*arguments) or ():
            yield implementation.plugin_name, value


def _sections(
    manager: pluggy.PluginManager, tables: Mapping[str, object]
) -> Mapping[str, BaseModel]:
    declared: dict[str, SettingsSection] = {}
    for plugin, section in _each(manager, "register_settings", None):
        if section.name in declared:
            raise CatalogError(
                words(
                    "Two plugins want the settings [plugins.{section}], one is {plugin}.",
                    section=section.name,
                    plugin=plugin,
                )
            )
        declared[section.name] = section
    for name in tables:
        if name not in declared:
            near = nearest(name, declared, words("Remove it, or enable the plugin."))
            raise CatalogError(
                words("No loaded plugin has the settings [plugins.{section}].", section=name), near
            )
    return {name: _validate(section, tables.get(name, {})) for name, section in declared.items()}


def _validate(section: SettingsSection, table: object) -> BaseModel:
    try:
        return section.model.model_validate(table)
    except ValidationError as error:
        raise CatalogError(
            words(
                "[plugins.{section}] {said}.",
                section=section.name,
                said=complaints(error, section.model, words("the table")),
            )
        ) from error


def _collect_commands(
    manager: pluggy.PluginManager, settings: Settings
) -> tuple[dict[str, Command], dict[str, str]]:
    commands: dict[str, Command] = {}
    owners: dict[str, str] = {}
    for plugin, command in _each(manager, "register_commands", settings):
        if command.name in commands:
            raise CatalogError(
                words(
                    "Two plugins have the command {command}: {one} and {other}.",
                    command=Code(command.name),
                    one=owners[command.name],
                    other=plugin,
                ),
                words("Disable one of them."),
            )
        commands[command.name] = _with_timing(command)
        owners[command.name] = plugin
    return dict(sorted(commands.items())), owners


AT = words('Run it then, for example 22:00, "sat 22:00" or "2026-11-28 22:00" (site\'s time zone).')
IN = words("Run it after this time, for example 2h.")
WINDOW = words("Run it in this maintenance window, the next time it opens.")
TIMING = "drover.timing"
"""Where in click's context the options of the time leave what was written."""


def _keep_timing(context: click.Context, option: click.Parameter, value: str) -> None:
    context.meta.setdefault(TIMING, {})[option.name] = value


@cache  # all actions share them
def timing_options() -> tuple[click.Option, ...]:
    """The options that every action has beside its own: when it is to run."""
    return tuple(
        click.Option(
            [name],
            metavar=metavar,
            default="",
            help=str(told),
            expose_value=False,
            callback=_keep_timing,
        )
        for name, metavar, told in (
            ("--at", "TIME", AT),
            ("--in", "DURATION", IN),
            ("--window", "NAME", WINDOW),
        )
    )


def _with_timing(command: Command) -> Command:
    """An action whose grammar also takes when it is to run.

    Raises:
        CatalogError: its own grammar has such an option, with another meaning.
    """
    if not isinstance(command, Action):
        return command
    options = timing_options()
    own = {name for each in command.grammar.params for name in each.opts}
    if taken := own & {name for each in options for name in each.opts}:
        raise CatalogError(
            words(
                "{command} has the option {option}, which Drover itself gives to every action.",
                command=Code(command.name),
                option=Code(min(taken)),
            ),
            words("Rename the plugin's option."),
            code="option-taken",
        )
    grammar = copy.copy(command.grammar)
    grammar.params = [*command.grammar.params, *options]
    return dataclasses.replace(command, grammar=grammar)


def _handlers(manager: pluggy.PluginManager, settings: Settings) -> dict[type[Step], StepHandler]:
    handlers: dict[type[Step], StepHandler] = {}
    for plugin, handler in _each(manager, "register_step_handlers", settings):
        if handler.step in handlers:
            raise CatalogError(
                words(
                    "Two plugins handle {step}; the second is {plugin}.",
                    step=handler.step.__name__,
                    plugin=plugin,
                )
            )
        handlers[handler.step] = handler
    return handlers


def _emits_only_handled(action: Action, handled: AbstractSet[type[Step]]) -> None:
    for step in action.emits:
        if step not in handled:
            raise CatalogError(
                words(
                    "{command} plans {step} steps, and no loaded plugin handles them.",
                    command=Code(action.name),
                    step=step.__name__,
                ),
                words("Enable the plugin that does."),
            )
