"""The page about the architecture names files and values that exist, and every folder that does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench.house import VISIT_BEFORE, visit
from bot import catalog
from bot.domain import operation

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
CODE = re.compile(r"`([^`]+)`")
PATH = re.compile(r"[\w./]+(?:/|\.py)")


def test_every_path_on_the_page_exists() -> None:
    paths = [each for each in CODE.findall(PAGE) if "/" in each and PATH.fullmatch(each)]
    assert len(paths) > 50
    assert [each for each in paths if not (ROOT / each).exists()] == []


def test_every_link_on_the_page_leads_to_a_file() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", PAGE)
    assert links
    assert [each for each in links if not (ROOT / "docs" / each).exists()] == []


def test_every_package_has_a_row() -> None:
    packages = [
        each.parent.relative_to(ROOT).as_posix() + "/"
        for pattern in (
            "plugins/*/__init__.py",
            "bot/flow/*/__init__.py",
            "bot/adapters/*/__init__.py",
            "bot/adapters/libvirt/*/__init__.py",
        )
        for each in ROOT.glob(pattern)
    ]
    assert len(packages) > 15
    assert [each for each in packages if f"`{each}`" not in PAGE] == []


def test_every_value_on_the_page_is_a_class_of_the_code() -> None:
    named = {each for each in CODE.findall(PAGE) if re.fullmatch(r"[A-Z]\w+", each)}
    code = "\n".join(
        each.read_text(encoding="utf-8")
        for folder in ("bot", "plugins")
        for each in (ROOT / folder).rglob("*.py")
    )
    assert {"Request", "Plan", "Refused", "Snapshot", "Migrate"} <= named
    assert [each for each in named if f"\nclass {each}" not in code] == []
    assert {each.__name__ for each in operation.EVENTS} >= {"Proposed", "Began", "Finished"}


def test_what_the_page_says_of_functions_holds() -> None:
    assert catalog.GROUP == "drover.plugins"
    assert callable(operation.advance)


@pytest.mark.process
def test_the_command_is_played_by_the_bench_and_its_figures_before_are_the_pages() -> None:
    found = visit(ROOT)
    assert found.files > 20
    assert found.functions > found.files
    row = f"| {VISIT_BEFORE.files} | {VISIT_BEFORE.functions} | {VISIT_BEFORE.calls:,} |"
    assert row in PAGE
    files, functions = map(int, re.findall(r"\| now[^|]*\| (\d+) \| (\d+) \|", PAGE)[0])
    # The page is brought up to date now and then; what it says is not far off
    assert abs(found.files - files) <= 0.1 * files
    assert abs(found.functions - functions) <= 0.1 * functions
