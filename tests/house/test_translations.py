"""Every sentence of a converted package has a translation that fits; the packages not converted yet become none."""

from __future__ import annotations

import ast
import re
import shutil
from collections import defaultdict
from pathlib import Path

import pytest

from bot import translations
from bot.translations import literals, load, packages, problems, templates

ROOT = Path(__file__).parents[2]
HOLE = re.compile(r"\{\w+\}")
NOT_YET: frozenset[str] = frozenset()
"""Packages with sentences that are no messages yet, or not translated.

A converted package leaves this list.
"""

every_package = pytest.mark.parametrize("package", packages(), ids=lambda package: package.name)


@every_package
def test_every_template_has_a_translation_that_fits(package: Path) -> None:
    found = [each for each in problems(package) if not (each.missing and package.name in NOT_YET)]
    assert not found, "\n".join(map(str, found))


@every_package
def test_every_package_has_portuguese(package: Path) -> None:
    locales = [locale for locale, _ in translations.translations(package)]
    assert locales == ["pt_BR"] or package.name in NOT_YET


@every_package
def test_every_sentence_of_a_converted_package_is_a_message(package: Path) -> None:
    found: list[object] = list(literals(package))
    if package.name in NOT_YET:
        assert found or list(problems(package)), (
            f"{package.name} is converted: take it from NOT_YET"
        )
    else:
        assert not found, "\n".join(map(str, found))


SENTENCES = frozenset({"exit", "kept_until", "removed"})
"""Facts of steps whose values are whole sentences, so that their names are not shown."""


def names_of_facts(file: Path) -> set[str]:
    """The keys of what functions return that measure a step."""
    found: set[str] = set()
    for function in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(function, ast.FunctionDef) and function.returns is not None:
            if ast.unparse(function.returns) != "Facts":
                continue
            dicts = [each for each in ast.walk(function) if isinstance(each, ast.Dict)]
            keys = [key for each in dicts for key in each.keys if isinstance(key, ast.Constant)]
            found |= {str(key.value) for key in keys}
    return found - SENTENCES


def test_every_name_of_a_fact_of_a_step_is_translated() -> None:
    known = {
        message.id
        for package in packages()
        for locale, file in translations.translations(package)
        for message in load(file, locale)
    }
    files = [*ROOT.glob("plugins/*/*.py"), *ROOT.glob("bot/flow/operations/*.py")]
    names = {name for file in files for name in names_of_facts(file)}
    assert "not heard by" in names, "they are found"
    assert {name for name in names if name.replace("_", " ") not in known} == set()


def test_two_packages_translate_one_template_alike_by_one_plural_rule() -> None:
    said: defaultdict[tuple[str, object], set[object]] = defaultdict(set)
    rules = defaultdict(set)
    for package in packages():
        for locale, file in translations.translations(package):
            catalog = load(file, locale)
            rules[locale].add(catalog.plural_forms)
            for message in catalog:
                if message.id and message.string:
                    said[locale, message.id].add(message.string)
    assert {key: found for key, found in said.items() if len(found) > 1} == {}
    assert all(len(found) == 1 for found in rules.values())


CODE = '''"""A sentence in a docstring is no message."""
log.warning("and what is logged is none")
TITLE = words("Stop *{vm}* with `vm stop`")
LEFT = nwords("{n} VM is left", "{n} VMs are left", n=len(x))
EMPTY = words("{a} {b}", b=shown(words("deep inside")))
PLAIN = "this is a sentence"
FILLED = f"this one {TITLE} too"
# no message: what a host prints
PATTERN = "some words of virsh"
KEY = "one-word"
ADVICE = "Save one with `drover check --save FILE`."
'''


@pytest.fixture
def package(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "plugins/host_check/locale", tmp_path / "example/locale")
    file = tmp_path / "example/locale/pt_BR/LC_MESSAGES/messages.po"
    file.write_text(re.split(r"\n\n", file.read_text(encoding="utf-8"))[0] + "\n", encoding="utf-8")
    (tmp_path / "example/code.py").write_text(CODE, encoding="utf-8")
    return tmp_path / "example"


def po(package: Path) -> Path:
    return package / "locale/pt_BR/LC_MESSAGES/messages.po"


def test_templates_are_found_and_sentences_that_are_none(package: Path) -> None:
    found = {message.id for message in templates(package) if message.id}
    assert found == {
        "Stop *{vm}* with `vm stop`",
        ("{n} VM is left", "{n} VMs are left"),
        "deep inside",
    }
    assert [(each.line, each.text) for each in literals(package)] == [
        (6, "this is a sentence"),
        (7, "this one {} too"),
        (11, "Save one with `drover check --save FILE`."),
    ]


def test_extract_keeps_what_is_translated_and_drops_what_is_said_no_more(package: Path) -> None:
    translations.extract(package)
    assert [each.what for each in problems(package)] == ["not translated"] * 3
    text = po(package).read_text(encoding="utf-8")
    text = text.replace('vm stop`"\nmsgstr ""', 'vm stop`"\nmsgstr "Parar *{vm}* com `vm stop`"')
    text += '\nmsgid "gone"\nmsgstr "foi"\n'
    po(package).write_text(text, encoding="utf-8")
    assert [each.what for each in problems(package)] == [
        "not translated",
        "not translated",
        "the code no longer says it; run extract",
    ]
    translations.extract(package)
    again = po(package).read_text(encoding="utf-8")
    assert "Parar" in again
    assert "gone" not in again
    translations.extract(package)
    assert po(package).read_text(encoding="utf-8") == again


@pytest.mark.parametrize(
    ("translated", "what"),
    [
        ("Parar *{host}* com `vm stop`", "holes"),
        ("Parar {vm} com `vm stop`", "marks"),
        ("Parar *{vm}* com `vm parar`", "code"),
        ("Parar *{vm}* com `vm stop`\\n", "newline"),
    ],
)
def test_a_translation_that_does_not_fit_is_told(package: Path, translated: str, what: str) -> None:
    translations.extract(package)
    text = po(package).read_text(encoding="utf-8")
    po(package).write_text(
        text.replace('stop`"\nmsgstr ""', f'stop`"\nmsgstr "{translated}"'), encoding="utf-8"
    )
    assert any(what in each.what for each in problems(package) if not each.missing)


def test_every_text_of_the_page_is_in_portuguese_with_the_same_holes() -> None:
    page = ROOT / "lab/slack/page/src"
    table = dict(
        re.findall(r'^  "([^"]+)": "([^"]+)",$', (page / "texts.ts").read_text(), re.MULTILINE)
    )
    used = {
        text
        for file in page.glob("*.ts*")
        for text in re.findall(r'[^\w.]t\(\s*"([^"]+)"', file.read_text())
    }
    assert len(used) > 60
    assert used - set(table) == set()
    holes = {text: (re.findall(HOLE, text), re.findall(HOLE, said)) for text, said in table.items()}
    assert {
        text for text, (ours, theirs) in holes.items() if sorted(ours) != sorted(theirs)
    } == set()
