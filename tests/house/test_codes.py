"""Codes: what approvals and stored events hold, and programs decide by, whatever the wording and the language."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
from collections import Counter
from collections.abc import Iterator

import bot
import plugins
from bot.domain.errors import DroverError
from tests.source import ROOT, calls

CODE = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def kinds_of_errors() -> set[type[DroverError]]:
    for package in (bot, plugins):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__") and ".migrations" not in module.name:
                importlib.import_module(module.name)
    found: set[type[DroverError]] = {DroverError}
    waiting = [DroverError]
    while waiting:
        below = waiting.pop().__subclasses__()
        found.update(below)
        waiting += below
    return {each for each in found if each.__module__.startswith(("bot.", "plugins."))}


def test_every_kind_of_error_has_a_code_of_its_own() -> None:
    """A subclass without a code is told apart by nobody; two alike are confused by everybody."""
    kinds = kinds_of_errors()
    assert len(kinds) > 15
    given = {each.__name__: vars(each).get("code", "") for each in kinds}
    assert [name for name, code in given.items() if not CODE.fullmatch(code)] == []
    assert [code for code, count in Counter(given.values()).items() if count > 1] == []


def codes() -> Iterator[tuple[str, str]]:
    """Each literal code of an objection or a reason, with where it stands."""
    for file, call in calls("Objection", "Reason"):
        code = call.args[0] if call.args else None
        if isinstance(code, ast.Constant):
            yield str(code.value), f"{file.relative_to(ROOT)}:{call.lineno}"


def test_codes_are_lower_case_words_with_hyphens() -> None:
    found = list(codes())
    assert len(found) > 100
    assert [each for each in found if not CODE.fullmatch(each[0])] == []


def test_an_error_of_a_kind_may_have_a_narrower_code() -> None:
    assert DroverError("It failed.").code == "error"
    assert DroverError("It failed.", code="disk-full").code == "disk-full"
