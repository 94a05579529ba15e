"""What users read is in plain words: none of those that docs/style.md's glossary replaces."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from bot.__main__ import drover
from bot.translations import literals, packages, templates

ROOT = Path(__file__).parents[2]
NOT_YET: frozenset[str] = frozenset(["bot"])
"""Packages that still say some of them. One that says none leaves this list and stays out."""

BANNED = {
    "VM": r"guests?(?!['’]s| agent| OS\b| operating)",
    "imbalance": r"uneven(?:ness)?|even enough|evenness",
    "predicted": r"foretold|foretell(?:s|ing)?",
    "proposed": r"laid before",
    "approved": r"votes? suffices?",
    "withdrawn": r"taken? back",
    "acknowledged": r"taken up",
    "request": r"wish(?:es|ed)?",
    "fix": r"mend(?:s|ed|ing)?",
    "active, there is": r"stands?|standing",
    "migrate, move back": r"homecoming|(?:bring|come|comes|brought) home",
    "possible": r"(?:il)?legal",
    "pause": r"(?:stand|stands|standing) still",
    "resume, continue": r"(?:go|goes|going) on",
    "subcommand": r"one of its words",
    "no permission": r"not yours",
    "power off": r"pulls? (?:its|the|a VM's) plug",
    "serial console": r"serial lines?",
    "most used": r"hungr(?:y|iest)",
    "purge": r"end(?:s|ed)? for good",
    "clone": r"ma[dk]e alike",
    "unreachable": r"silent|says nothing|(?:the|its|'s|’s) silence|falls? quiet",
    "spare capacity": r"room",
    "threshold": r"band",
    "keep running": r"let it run",
    "leave it out": r"nobody in particular",
}
PLAIN = {
    plain: re.compile(rf"(?<![\w/.-])(?:{words})(?![\w/]|\.\w)", re.IGNORECASE)
    for plain, words in BANNED.items()
}


def complaints(text: str) -> Iterator[str]:
    """The banned words in a text, outside of code and holes."""
    prose = re.sub(r"`[^`]*`|\{\w+\}", "", text)
    for plain, banned in PLAIN.items():
        for found in banned.finditer(prose):
            yield f"“{found[0]}” instead of “{plain}”: {' '.join(text.split())[:100]}"


def said_by(package: Path) -> Iterator[str]:
    """Every sentence of a package: its messages, and what is none yet."""
    for message in templates(package):
        yield from (message.id,) if isinstance(message.id, str) else message.id
    for each in literals(package):
        yield each.text


@pytest.mark.parametrize("package", packages(), ids=lambda package: package.name)
@pytest.mark.filterwarnings("ignore:Skipping f-string")
def test_no_package_says_a_word_that_the_glossary_replaces(package: Path) -> None:
    found = [each for text in said_by(package) for each in complaints(text)]
    if package.name in NOT_YET:
        assert found, f"{package.name} says none of them: take it from NOT_YET"
    else:
        assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "page", ["README.md", "plugins/README.md", "examples/drover-quiet/README.md"]
)
def test_no_page_for_users_says_one(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    found = [each for part in prose.split("\n\n") for each in complaints(part)]
    assert not found, "\n".join(found)


def helps(command: click.Command) -> Iterator[str]:
    yield command.help or ""
    for option in command.params:
        yield getattr(option, "help", None) or ""
    for each in getattr(command, "commands", {}).values():
        yield from helps(each)


def test_the_command_lines_help_says_none() -> None:
    found = [each for text in helps(drover) for each in complaints(text)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("The guests on host-a", ["VM"]),
        ("The guest agent does not answer", []),
        ("See `balance --band`, the threshold", []),
        ("Set a lower band", ["threshold"]),
        ("He understands; recommend it", []),
        ("3 alerts stand, taken up", ["acknowledged", "active, there is"]),
    ],
)
def test_a_banned_word_is_found_and_a_harmless_one_is_not(text: str, plain: list[str]) -> None:
    found = [each.split("“")[2].split("”")[0] for each in complaints(text)]
    assert sorted(found) == plain
