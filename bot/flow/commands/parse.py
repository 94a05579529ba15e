"""One line of chat to a command and its intent; every slip answered with what to type instead."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import click

from bot.catalog import TIMING, Catalog
from bot.domain.card import Line, said_elsewhere
from bot.domain.errors import (
    MISSING,
    UNEXPECTED,
    DroverError,
    UnitError,
    UsageError,
    word_too_many,
)
from bot.domain.message import Code, Join, Message, Names, Words, join, words
from bot.domain.suggest import is_slip
from bot.domain.timing import Timing
from bot.domain.units import seconds_of
from bot.domain.words import NOT_CLOSED, split_words
from bot.plugin_api import Command, Instead

WIDTH = 100
NO_TIME = Timing()
_TIMES = {
    "at": "--at",
    "às": "--at",
    "as": "--at",
    "in": "--in",
    "em": "--in",
    "window": "--window",
    "janela": "--window",
}
"""Words that people put before a time, in English and Portuguese, and the option for it."""

_NO_VALUE = "?"  # of no option but those that take any text
_FROM = frozenset({"from", "de"})
_AND = frozenset({"and", "e", "&", "+"})


@dataclass(frozen=True, slots=True)
class Parsed:
    """A command with its intent.

    ``intent`` None and ``help`` set when only its usage was asked for.
    """

    command: Command
    intent: Any
    help: str = ""
    timing: Timing = NO_TIME


def parse(catalog: Catalog, slash: str, text: str) -> Parsed:
    """What a person typed after the slash command.

    Raises:
        UsageError: no such command, or arguments it does not take; with usage and the nearest right
            word.
    """
    typed = _split(text) or ["help"]
    if typed[0].lower() == "help" and (named := catalog.commands.get(" ".join(typed[1:]).lower())):
        return Parsed(named, None, help=usage(named, slash, full=True))
    command, rest = catalog.find(typed, slash)
    if {"--help", "-h"} & set(rest[: rest.index("--")] if "--" in rest else rest):
        return Parsed(command, None, help=usage(command, slash, full=True))
    intent, timing = _intent(command, slash, rest)
    if isinstance(intent, Instead):
        if timing.is_set:
            raise UsageError(
                words("With this option {command} only reads.", command=Code(command.name)),
                words("Leave out `--at`, `--in` and `--window`."),
                code="reads-only",
            )
        return Parsed(catalog.commands[intent.command], intent.intent)
    return Parsed(command, intent, timing=timing)


def command_of(catalog: Catalog, slash: str, text: str) -> tuple[Command, list[str]]:
    """The command that a line is about, and the words behind it.

    Raises:
        UsageError: no such command.
    """
    return catalog.find(_split(text) or ["help"], slash)


def usage(command: Command, slash: str, *, full: bool = False) -> str:
    """A command's usage line, or its whole help."""
    return _usage(command.grammar, f"{slash} {command.name}", full=full)


@lru_cache(maxsize=1000)  # each answer to a query tells all commands
def _usage(grammar: click.Command, name: str, *, full: bool) -> str:
    context = click.Context(grammar, info_name=name, terminal_width=WIDTH, max_content_width=WIDTH)
    text = grammar.get_help(context) if full else grammar.get_usage(context)
    text = text.removeprefix("Usage: ").strip()
    optional = any(isinstance(each, click.Option) and each.expose_value for each in grammar.params)
    return text if optional or full else text.replace(" [OPTIONS]", "")


def options(command: Command) -> tuple[tuple[str, Line], ...]:
    """Each option as it is typed; and what it does, its default, what it may be."""
    context = click.Context(command.grammar, terminal_width=WIDTH)
    found: list[tuple[str, Line]] = []
    for each in command.grammar.params:
        record = each.get_help_record(context)
        if record is not None and isinstance(each, click.Option):
            found.append((_RANGE.sub("N", record[0]), _meaning(each, context)))
    return tuple(found)


_RANGE = re.compile(r"(?:INTEGER|FLOAT)(?: RANGE)?$")  # click's own words for a number


def _meaning(option: click.Option, context: click.Context) -> Line:
    """An option's help, apart from what click adds to it in English."""
    more = option.get_help_extra(context)
    default = words("Default: {value}.", value=Code(more["default"])) if "default" in more else ""
    return join((said_elsewhere(option.help or ""), default, _number_range(option.type)))


def _number_range(kind: click.ParamType[object]) -> Message:
    """The numbers that an option takes; '' where it takes no number, or any."""
    if not isinstance(kind, click.IntRange | click.FloatRange) or kind.max is None:
        return ""
    return words("From {least} to {most}.", least=int(kind.min or 0), most=int(kind.max))


def as_typed(grammar: click.Command, answers: Mapping[str, str]) -> str:
    """The answers of a dialog as a person would have typed them.

    Fields are named as the grammar's parameters.

    ``parse`` gives back each answer as it is here, whatever it holds, but for blanks around it.
    """
    arguments: list[str] = []
    options: list[str] = []
    for parameter in grammar.params:
        value = answers.get(parameter.name or "", "").strip()
        if value and isinstance(parameter, click.Option):
            given = several(value) if parameter.multiple else [value]
            options += [word for each in given for word in _option(parameter, each)]
        elif value and parameter.nargs == -1:
            arguments += several(value)
        elif value:
            arguments.append(value)
    apart = ["--"] if any(each.startswith("-") for each in arguments) else []
    return shlex.join([*options, *apart, *arguments] if apart else [*arguments, *options])


def _option(option: click.Option, value: str) -> list[str]:
    name = option.opts[0]
    if option.is_flag:
        return [] if isinstance(option.flag_value, str) and option.flag_value != value else [name]
    # One word: an answer such as --help is then no option.
    return [f"{name}={value}"] if name.startswith("--") else [name, value]


def several(value: str) -> list[str]:
    """The words of a field that takes several; one word where a quote is not closed."""
    try:
        return split_words(value)
    except ValueError:
        return [value]


def _split(text: str) -> list[str]:
    try:
        return split_words(text)
    except ValueError as error:
        said = (
            words("A quote is not closed.")
            if str(error) == NOT_CLOSED
            else words("No character follows the backslash.")
        )
        raise UsageError(said, words('Write for example `--reason "disk swap"`.')) from error


def _intent(
    command: Command, slash: str, rest: Sequence[str]
) -> tuple[Any, Timing]:  # Any: the intent, which only the command reads
    try:
        _contradict(command.grammar, rest)
        with command.grammar.make_context(
            f"{slash} {command.name}", list(rest), terminal_width=WIDTH
        ) as context:
            intent = command.grammar.invoke(context)
            written = context.meta.get(TIMING, {})
            return intent, Timing(
                written.get("at", ""), written.get("in", ""), written.get("window", "")
            )
    except UsageError as error:
        if not error.advice:
            quoted = error.code == UNEXPECTED and _rightly(command.grammar, rest)
            error.advice = join((quoted or "", _write(command, slash)))
        raise
    except click.ClickException as error:
        if extra := extra_word(command.grammar, rest, error):
            advice = join((_rightly(command.grammar, rest), _write(command, slash)))
            raise UsageError(word_too_many(extra), advice) from error
        said, advice = slip(error, command.grammar), _write(command, slash)
        if isinstance(error, click.MissingParameter):
            advice = join((_as_value(command.grammar, rest), advice))
            raise UsageError(said, advice, code=MISSING) from error
        raise UsageError(said, advice) from error


def _contradict(grammar: click.Command, rest: Sequence[str]) -> None:
    """Refuse flags that set the same parameter: of these click takes the last without a word.

    Raises:
        UsageError: two of them were typed.
    """
    given: dict[str, list[str]] = {}
    for each in grammar.params:
        if isinstance(each, click.Option) and isinstance(each.flag_value, str):
            given.setdefault(each.name or "", []).extend(set(each.opts) & set(rest))
    for flags in given.values():
        if len(flags) > 1:
            both = Names(tuple(map(Code, flags)), Join.AND)
            raise UsageError(words("{options} exclude each other.", options=both))


def extra_word(grammar: click.Command, rest: Sequence[str], error: click.ClickException) -> str:
    """The first word that a command has no place for; '' where something else is wrong."""
    if type(error) is not click.UsageError:  # click has no kind of its own for it
        return ""
    context = click.Context(grammar, resilient_parsing=True)
    _, left, _ = grammar.make_parser(context).parse_args(list(rest))
    return left[0] if left else ""


def _rightly(grammar: click.Command, rest: Sequence[str]) -> Message:
    """How the words too many are written with an option; '' where that is not known."""
    return (
        _as_time(grammar, rest)
        or _as_value(grammar, rest)
        or _without(grammar, rest)
        or _in_quotes(grammar, rest)
    )


def _as_time(grammar: click.Command, rest: Sequence[str]) -> Message:
    """The end of a line such as ``at 22:00`` or ``in 2 hours`` as the option that it means."""
    taken = {opt for each in grammar.params for opt in each.opts}
    for at, word in enumerate(rest[:-1]):
        option, value = _TIMES.get(word.lower(), ""), " ".join(rest[at + 1 :])
        if option in taken and _is_time(option, value) and is_whole(grammar, rest[:at]):
            line = Code(shlex.join([option, value]))
            return words("Write the time with an option: {line}.", line=line)
    return ""


def _as_value(grammar: click.Command, rest: Sequence[str]) -> Message:
    """The last word as the value of the one option that takes it, and not any word."""
    found = [
        option.opts[0]
        for option in grammar.params
        if isinstance(option, click.Option)
        and not option.is_flag
        and is_whole(grammar, [*rest[:-1], option.opts[0], *rest[-1:]])
        and (option.required or not is_whole(grammar, [*rest[:-1], option.opts[0], _NO_VALUE]))
    ]
    if len(found) != 1:
        return ""
    line = Code(shlex.join([*found, *rest[-1:]]))
    return words("Write it with an option: {line}.", line=line)


def _without(grammar: click.Command, rest: Sequence[str]) -> Message:
    """What must go: where a thing is now, and all but the first of several things."""
    for at, word in enumerate(rest[:-1]):
        if word.lower() in _FROM | _AND and is_whole(grammar, [*rest[:at], *rest[at + 2 :]]):
            if word.lower() in _AND:
                return words("Ask for one at a time.")
            return words("Leave out {words}.", words=Code(shlex.join(rest[at : at + 2])))
    return ""


def _is_time(option: str, value: str) -> bool:
    """Whether words may be meant as a time: “at the office” is none."""
    if option == "--in":
        try:
            return seconds_of(value) >= 0
        except UnitError:
            return False
    return option != "--at" or any(char.isdigit() for char in value)


def is_whole(grammar: click.Command, rest: Sequence[str]) -> bool:
    """Whether a command takes these words as they are."""
    try:
        with grammar.make_context(grammar.name, list(rest)) as context:
            grammar.invoke(context)
    except (click.ClickException, DroverError):
        return False
    return True


def _in_quotes(grammar: click.Command, rest: Sequence[str]) -> Message:
    """The last option with all words behind it in quotes; '' where that makes no good line."""
    at = max((each for each, word in enumerate(rest) if word.startswith("--")), default=len(rest))
    name, value = " ".join(rest[at : at + 1]), " ".join(rest[at + 1 :])
    if not is_whole(grammar, [*rest[:at], name, value]):
        return _as_reason(grammar, rest)
    line = Code(f'{name} "{value}"')
    return words("Put several words of an option in quotes: {line}.", line=line)


def _as_reason(grammar: click.Command, rest: Sequence[str]) -> Message:
    """The last two words of a line without options as its reason; '' where they are none."""
    named = {each.name for each in grammar.params if isinstance(each, click.Option)}
    if "reason" not in named or any(word.startswith("-") for word in rest):
        return ""
    if is_whole(grammar, rest[:-1]) or not is_whole(grammar, rest[:-2]):
        return ""  # of ``web-1 host-b tonight`` the second may be the host
    line = Code(f'--reason "{" ".join(rest[-2:])}"')
    return words("Put a reason of several words in quotes: {line}.", line=line)


def slip(error: click.ClickException, grammar: click.Command) -> Message:
    """What is wrong with a line, for the slips that people make most; else click's own sentence."""
    param = getattr(error, "param", None)
    if isinstance(error, click.NoSuchOption):
        return _unknown_option(error)
    if isinstance(error, click.BadOptionUsage):
        return _value_slip(error, grammar)
    if isinstance(error, click.MissingParameter) and param is not None:
        return words("{name} is missing.", name=_name_of(param))
    if isinstance(error, click.BadParameter) and param is not None and (said := _misfit(param)):
        return said
    text = error.format_message().strip()
    return text if text.endswith((".", "?")) else f"{text}."


def _unknown_option(error: click.NoSuchOption) -> Message:
    option = Code(error.option_name)
    alike = (each for each in error.possibilities or () if is_slip(error.option_name, each))
    near = Names(tuple(map(Code, alike)), Join.OR)
    if not near.items:
        return words("There is no option {option}.", option=option)
    return words("There is no option {option}. Did you mean {near}?", option=option, near=near)


def _name_of(param: click.Parameter) -> Code:
    if isinstance(param, click.Option):
        return Code(param.opts[0])
    return Code(param.human_readable_name.strip("[]…"))


def _misfit(param: click.Parameter) -> Message:
    """What an argument or option takes; '' where its own sentence says it."""
    kind = param.type
    name = _name_of(param)
    if isinstance(kind, click.Choice):
        choices = Names(tuple(map(str, kind.choices)), Join.OR)
        if isinstance(param, click.Argument) and (not param.metavar or "|" in param.metavar):
            return words("Write {choices}.", choices=choices)  # it has no name but them
        return words("{name} must be {choices}.", name=name, choices=choices)
    if isinstance(kind, click.IntRange) and kind.max is not None:
        least, most = int(kind.min or 0), int(kind.max)
        return words(
            "{name} must be a whole number from {least} to {most}.",
            name=name,
            least=least,
            most=most,
        )
    if isinstance(kind, click.types.IntParamType | click.types.FloatParamType):
        return words("{name} must be a number in its range.", name=name)
    if isinstance(kind, click.Path):
        return words("{name} must be a file that exists and can be read.", name=name)
    return ""


def _value_slip(error: click.BadOptionUsage, grammar: click.Command) -> Message:
    """A value that an option lacks, or one too many."""
    name = Code(error.option_name)
    flags = (each for each in grammar.params if isinstance(each, click.Option) and each.is_flag)
    if any(error.option_name in each.opts for each in flags):
        return words("{option} takes no value.", option=name)
    return words("{option} needs a value behind it.", option=name)


def _write(command: Command, slash: str) -> Words:
    return words("Usage: {usage}", usage=Code(usage(command, slash)))
