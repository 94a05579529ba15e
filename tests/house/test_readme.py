"""README.md and its Portuguese: the same commands, blocks, links and pictures; and commands that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bot import catalog, terminal
from bot.__main__ import drover
from bot.flow.commands.queries import Core

terminal.add_to(drover)
ROOT = Path(__file__).parents[2]
ENGLISH = (ROOT / "README.md").read_text(encoding="utf-8")
PORTUGUESE = (ROOT / "README.pt-BR.md").read_text(encoding="utf-8")
ENGLISH_ONLY = ("An operation's life", "How it is built", "Measured", "Limits")
"""Sections that the Portuguese page links to."""
LAUNCHER = {"demo", "test", "bench", "docs"}


def translated_part() -> str:
    sections = re.split(r"^## ", ENGLISH, flags=re.MULTILINE)
    titles = [each.splitlines()[0] for each in sections]
    assert set(ENGLISH_ONLY) <= set(titles)
    return "## ".join(each for each in sections if not each.startswith(ENGLISH_ONLY))


def blocks(page: str) -> list[str]:
    return re.findall(r"^```.*?^```", page, re.MULTILINE | re.DOTALL)


def code(page: str) -> list[str]:
    """Code spans in their order, wherever lines break."""
    prose = re.sub(r"^```.*?^```", "", page, flags=re.MULTILINE | re.DOTALL)
    return [" ".join(each.split()) for each in re.findall(r"`([^`]+)`", prose)]


def test_the_portuguese_page_has_the_same_blocks_of_commands() -> None:
    assert blocks(PORTUGUESE) == blocks(translated_part())
    assert len(blocks(PORTUGUESE)) >= 3


def test_the_portuguese_page_has_the_same_commands_and_settings() -> None:
    assert sorted(code(PORTUGUESE)) == sorted(code(translated_part()))


@pytest.mark.parametrize("name", ["README.md", "README.pt-BR.md"])
def test_every_link_and_picture_leads_to_a_file(name: str) -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", (ROOT / name).read_text(encoding="utf-8"))
    assert len(links) > 10
    assert [each for each in links if not (ROOT / each).exists()] == []


def test_the_portuguese_page_shows_every_picture_in_portuguese_where_there_is_one() -> None:
    def pictures(page: str) -> list[str]:
        return re.findall(r"!\[[^\]]+\]\(([^)]+)\)", page)

    english = pictures(translated_part())
    portuguese = [each.replace(".png", ".pt-BR.png") for each in english]
    wanted = {
        ours if (ROOT / ours).exists() else each
        for each, ours in zip(english, portuguese, strict=True)
        if ".pt-BR" not in each
    }
    assert set(pictures(PORTUGUESE)) == wanted
    assert "docs/images/approval.pt-BR.png" in wanted


def test_every_command_of_the_readme_exists() -> None:
    plugins = [each.parent.name for each in (ROOT / "plugins").glob("*/__init__.py")]
    loaded = catalog.load(plugins, extra=(Core(),))
    typed = [each.removeprefix("/kvm ") for each in code(ENGLISH) if each.startswith("/kvm ")]
    assert len(typed) > 30
    for line in typed:
        words = line.replace(",", "").split()
        if words[:2] == ["vm", "start"]:  # the row that lists all words of vm
            named = [each for each in words[1:] if each != "…"]
            assert [
                each
                for each in named
                if not any(f"{name} ".startswith(f"vm {each} ") for name in loaded.commands)
            ] == []
        else:
            loaded.find(words)
    ours = [each.split()[1] for each in code(ENGLISH) if each.startswith("./drover ")]
    assert [each for each in ours if each not in {*drover.commands, *LAUNCHER}] == []
