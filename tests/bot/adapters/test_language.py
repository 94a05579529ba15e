"""A message in the reader's language: its template, plural, numbers, moments and lists, wherever it stands."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from bot.adapters.language import English, Languages
from bot.adapters.slack.text import mrkdwn, plain
from bot.adapters.translated_chat import TranslatedChat
from bot.domain.card import (
    Button,
    Buttons,
    Card,
    Confirm,
    Fields,
    Form,
    Section,
    Table,
    TextField,
    nwords,
    words,
)
from bot.domain.errors import SettingsError
from bot.domain.message import (
    Code,
    Duration,
    Join,
    Message,
    Names,
    Number,
    Percent,
    Person,
    Rate,
    Size,
    Words,
)
from bot.ports import MessageRef
from bot.testing.chat import FakeChat

AT = datetime(2026, 11, 29, 15, 0, tzinfo=UTC)
PO = r"""
msgid ""
msgstr ""
"Language: pt_BR\n"
"Content-Type: text/plain; charset=utf-8\n"
"Plural-Forms: nplurals=2; plural=(n > 1);\n"

msgid "*{vm}* is {state}."
msgstr "A VM *{vm}* está {state}."

msgid "powered off"
msgstr "desligada"

msgid "{n} VM leaves {host}"
msgid_plural "{n} VMs leave {host}"
msgstr[0] "{n} VM sai de {host}"
msgstr[1] "{n} VMs saem de {host}"

msgid "Approve"
msgstr "Aprovar"

msgid "Why?"
msgstr "Por quê?"

msgid "{n} more"
msgid_plural "{n} more"
msgstr[0] "mais {n}"
msgstr[1] "mais {n}"
"""


@pytest.fixture
def languages(tmp_path: Path) -> Languages:
    folder = tmp_path / "pt_BR" / "LC_MESSAGES"
    folder.mkdir(parents=True)
    (folder / "messages.po").write_text(PO, encoding="utf-8")
    return Languages("en", [tmp_path])


OFF = words("*{vm}* is {state}.", vm="web_1", state=words("powered off"))


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (OFF, "A VM web_1 está desligada."),
        (nwords("{n} VM leaves {host}", "{n} VMs leave {host}", n=0, host="a"), "0 VM sai de a"),
        (nwords("{n} VM leaves {host}", "{n} VMs leave {host}", n=1, host="a"), "1 VM sai de a"),
        (nwords("{n} VM leaves {host}", "{n} VMs leave {host}", n=2, host="a"), "2 VMs saem de a"),
        (words("{size}, {rate}", size=Size(1536), rate=Rate(1 << 20)), "1,5 KiB, 1 MiB/s"),
        (words("{a}, {b}", a=Duration(4.24), b=Duration(7500)), "4,2 s, 2 h 5 min"),
        (
            words("{a} {b} {c} {d}", a=Percent(0.125, 1), b=Number(2, 3), c=0.5, d=1234567),
            "12,5% 2,000 0,5 1234567",
        ),
        (words("{at}", at=AT), "29/11/2026 15:00 UTC"),
        (words("{names}", names=Names(("a", "b", "c"), Join.AND)), "a, b e c"),
        (words("{names}", names=Names(("a", "b"), Join.OR)), "a ou b"),
        (words("{names}", names=Names(("a", "b", "c"), most=1)), "a e mais 2"),
        (words("not translated: {vm}", vm="a"), "not translated: a"),
        ("A plain text stays, with 1.5 and {vm}", "A plain text stays, with 1.5 and {vm}"),
        (words(""), ""),
    ],
)
def test_a_message_in_portuguese(languages: Languages, message: Message, said: str) -> None:
    shown = languages.of("pt_BR").translate(message)
    assert plain(shown).replace("\u202f", " ") == said
    assert str(shown).replace("\u202f", " ") == said


def test_in_slack_values_stay_inert_people_are_mentioned_and_moments_are_the_readers_own(
    languages: Languages,
) -> None:
    asked = words(
        "*{vm}* is {state}.",
        vm="<!here> *x*",
        state=words("{who}, {at}", who=Person("U1AB"), at=AT),
    )
    shown = mrkdwn(languages.of("pt-BR").translate(asked))
    assert shown.startswith("A VM *&lt;!here&gt; `*x*`* está <@U1AB>, <!date^1795964400^")
    assert "29/11/2026" not in shown


def test_a_command_in_a_sentence_is_code_once() -> None:
    assert mrkdwn(words("Type {line}", line=Code("a `b`"))) == "Type `a ˋbˋ`"
    assert mrkdwn(words("Type `{line}`", line=Code("a"))) == "Type `a`"
    assert mrkdwn(words("`{line}`", line=words("*{a}*", a="x"))) == "`x`"
    assert mrkdwn(words("*{line}*", line=words("*{a}* b", a="x"))) == "*x b*"


def test_people_in_a_list_are_mentioned() -> None:
    assert (
        mrkdwn(words("{who}", who=Names((Person("U1AB"), "Drover"), Join.OR)))
        == "<@U1AB> or Drover"
    )


def test_every_part_of_a_card_and_a_form_is_translated(languages: Languages) -> None:
    approve: Words = words("Approve")
    card = Card(
        text=OFF,
        elements=(
            Section(
                OFF,
                Button(
                    approve,
                    "op.approve",
                    "op-1",
                    confirm=Confirm(approve, approve, approve, "Not yet"),
                ),
            ),
            Fields(((approve, OFF),)),
            Table((approve,), ((OFF, "as it is"),)),
            Buttons((Button(approve, "a", "b"),)),
        ),
    )
    shown = languages.of("pt_BR").translate(card)
    assert "Approve" not in repr(shown)
    assert "is {state}" not in repr(shown)
    assert "as it is" in repr(shown)
    form = Form("x", approve, approve, (TextField("why", words("Why?")),))
    assert "Por quê?" in repr(languages.of("pt_BR").translate(form))


def test_english_is_shown_as_it_is(languages: Languages) -> None:
    card = Card(text="x", elements=(Section(OFF),))
    assert languages.of("en-GB").translate(card) is card


def test_the_nearest_language_is_taken_and_the_default_where_there_is_none(
    tmp_path: Path, languages: Languages
) -> None:
    names = [
        languages.of(each).locale
        for each in ("pt-BR", "pt_BR", "pt-PT", "pt", "en-US", "de-DE", "", "nonsense!")
    ]
    assert names == ["pt_BR"] * 4 + ["en"] * 4
    assert Languages("pt-BR", [tmp_path]).of("de").locale == "pt_BR"
    assert Languages("pt-BR", [tmp_path]).of("en-US").locale == "en"


def test_a_locale_without_translation_is_refused_at_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no translation for the locale “fr_FR”"):
        Languages("fr_FR", [tmp_path])


def test_a_broken_translation_leaves_english(tmp_path: Path, languages: Languages) -> None:
    (tmp_path / "pt_BR" / "LC_MESSAGES" / "messages.po").write_bytes(b'msgid "x\nmsgstr \xff\n')
    assert plain(languages.of("pt_BR").translate(OFF)).startswith("web_1 is ")


@pytest.mark.parametrize(
    ("environment", "locale"),
    [
        ({}, "en"),
        ({"LANG": "pt_BR.UTF-8"}, "pt_BR"),
        ({"LANG": "pt_BR.UTF-8", "LC_CTYPE": "C.UTF-8"}, "pt_BR"),
        ({"LANG": "pt_BR.UTF-8", "LC_ALL": "C.UTF-8"}, "en"),
        ({"LANG": "C"}, "en"),
        ({"LANG": "xx_nothing"}, "en"),
    ],
)
def test_the_terminal_speaks_the_language_of_its_environment(
    languages: Languages, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], locale: str
) -> None:
    for name in ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LC_CTYPE", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert languages.of_terminal().locale == locale


def test_channels_read_the_configured_language_and_people_their_own(
    tmp_path: Path, languages: Languages
) -> None:
    under = FakeChat(locales={"U0ANA": "pt-BR"})
    chat = TranslatedChat(under, languages)
    card = Card(text="x", elements=(Section(OFF),))
    ref: MessageRef = chat.post("C0OPS", card)
    chat.whisper("C0OPS", "U0ANA", card)
    chat.tell("U0BRUNO", card)
    chat.publish_home("U0ANA", card)
    chat.open_form(
        "t1", Form("a", "T", "Go", (), intro=(Section(OFF),)), locale=chat.locale_of("U0ANA")
    )
    assert under.messages[ref] is card
    assert ["está" in repr(each.card) for each in under.whispers] == [True, False]
    assert "está" in repr(under.homes["U0ANA"])
    assert "está" in repr(under.forms["t1"])
    portuguese = TranslatedChat(under, Languages("pt_BR", [tmp_path]))
    assert "está" in repr(under.messages[portuguese.post("C0OPS", card)])


def test_nobody_is_asked_for_a_locale_while_there_is_one_language() -> None:
    class Never(FakeChat):
        def locale_of(self, user: str) -> str:
            raise AssertionError(user)

    languages = Languages()
    languages.available = ("en",)
    assert TranslatedChat(Never(), languages).locale_of("U0ANA") == ""
    assert isinstance(languages.default, English)
