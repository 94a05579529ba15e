"""What people and guests are called is never obeyed, and what people send is undone to what they meant."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.adapters.slack.text import command_text, cut, literal, mrkdwn, pieces, plain
from bot.domain.card import Person, prose, words
from bot.domain.words import seemly

NASTY = st.text(
    alphabet=st.sampled_from("<>&*_~`:!@#|{}^\n\t ab1é＞\u202e\x00\ud800"), max_size=60
) | st.text(max_size=60)
CODE = re.compile(r"`([^`\n]*)`")
EMOJI = re.compile(r":(?=[^\s:]*[^\s:\d])[^\s:]+:|:(100|1234):")


def assert_inert(shown: str) -> None:
    """No character is left that Slack's markup would act on (docs.slack.dev/messaging/formatting-message-text).

    In code nothing acts but a mention, and the backtick that ends it.
    """
    assert not re.search(r"[<>]", shown)
    assert not re.search(r"&(?!amp;|lt;|gt;)", shown)
    shown = CODE.sub("code", shown)
    assert not re.search(r"[<>*~`]", shown)
    assert not re.search(r"&(?!amp;|lt;|gt;)", shown)
    assert not re.search(r"(?<![^\W_])_|_(?![^\W_])", shown)
    assert not EMOJI.search(shown)
    assert not re.search(r"^\s*(&gt;|＞)", shown, re.MULTILINE)
    shown.encode("utf-8")


def copied(shown: str) -> str:
    """What is on the clipboard after copying a message: code without its marks, entities undone."""
    return CODE.sub(r"\1", shown).replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


@pytest.mark.parametrize(
    "mark",
    [
        *(
            "\x1b",
            "\x85",
            "\x9b",
            "\xad",
            "\u061c",
            "\u200b",
            "\u200e",
            "\u200f",
            "\u2028",
            "\u2029",
        ),
        *("\u202e", "\u2060", "\u2066", "\ufeff", "\U000e0041"),
    ],
)
def test_what_cannot_be_seen_is_seen(mark: str) -> None:
    """A name with it would look like another, read as another, or end a line."""
    name = f"web{mark}-1"
    for shown in (literal(name), mrkdwn(name), plain(words("{vm}", vm=name)), command_text(name)):
        assert shown == "web\ufffd-1"
    assert plain("👩\u200d💻 می\u200cخواهم") == "👩\u200d💻 می\u200cخواهم"


@given(NASTY)
def test_what_is_shown_copies_exactly(text: str) -> None:
    """Of all characters only a backtick looks otherwise in markup; sections then use plain text."""
    assert copied(literal(text)) == seemly(text).replace("`", "ˋ")


@pytest.mark.parametrize(
    "text",
    [
        "52:54:00:ea:41:4e",
        "2026-11-29 15:00:56",
        "fe80::5054:ff:feea:414e",
        "--copy-storage",
        "/srv/*.qcow2",
        "snap_before_*upgrade*",
        "error: ~/.ssh/config: no such file",
    ],
)
def test_addresses_times_and_paths_copy_exactly(text: str) -> None:
    assert copied(mrkdwn(text)) == text
    assert copied(mrkdwn(words("MAC {mac}, *{mac}*", mac=text))) == f"MAC {text}, *{text}*"


@given(NASTY)
def test_literal_text_is_inert(text: str) -> None:
    assert_inert(mrkdwn(text))


@given(NASTY, NASTY)
def test_values_in_words_are_inert(vm: str, host: str) -> None:
    shown = mrkdwn(words("Moved *{vm}* to {host}.", vm=vm, host=host))
    start, bold, rest = re.split(r"\*(?=(?:[^`]*`[^`]*`)*[^`]*$)", shown)  # outside code
    assert start == "Moved "
    assert_inert(bold)
    assert_inert(rest.removeprefix(" to ").removesuffix("."))


@given(NASTY)
def test_values_in_code_cannot_leave_it(command: str) -> None:
    shown = mrkdwn(words("run `{command}` now", command=command))
    assert shown.count("`") == 2
    assert "\n" not in shown
    assert not re.search(r"[<>]", shown)


@pytest.mark.parametrize(
    "name", ["<!channel>", "<@U0ANA>", "*x*", "_x_", "~x~", "`x`", ":fire:", "> x", "<http://a|b>"]
)
def test_a_guest_with_a_clever_name(name: str) -> None:
    assert_inert(mrkdwn(name))
    assert_inert(mrkdwn(words("{vm} stopped", vm=name)))


@pytest.mark.parametrize(
    "name", ["web-1", "web_1_a", "10:00:00", "52:54:00:12:34:56", "db.example.org", "50 %", "a → b"]
)
def test_ordinary_names_stay_as_they_are(name: str) -> None:
    assert mrkdwn(name) == name


@given(st.text(alphabet=st.sampled_from("<>&*_~`:|ab1- "), max_size=40))
def test_a_name_copied_from_a_message_works_in_a_command(name: str) -> None:
    assert command_text(copied(literal(name))) == name.strip()


@given(NASTY | st.text(alphabet=st.sampled_from("` a*_<"), max_size=30))
def test_prose_shows_commands_as_code_and_nothing_else_of_it_acts(text: str) -> None:
    # Two words for code: what follows does not begin the line, and no colons meet around it
    shown = re.sub(r"`[^`]*`", "a b", mrkdwn(prose(text)))
    assert_inert(shown)
    assert "*" not in shown


def test_a_command_in_prose_is_code() -> None:
    assert mrkdwn(prose("Use `vm start *x*` on *y*.")) == "Use `vm start *x*` on `*y*.`"
    assert mrkdwn(prose("one ` alone")) == "one `ˋ` alone"


def test_moments_people_and_numbers() -> None:
    at = datetime(2026, 3, 1, 10, 2, tzinfo=UTC)
    line = words("{who} at {at}, {n}", who=Person("U0ANA", "ana"), at=at, n=0.1 + 0.2)
    assert (
        mrkdwn(line)
        == "<@U0ANA> at <!date^1772359320^{date_short_pretty} {time}|2026-03-01T10:02:00+00:00>, 0.3"
    )
    assert plain(line) == "ana at 2026-03-01 10:02 UTC, 0.3"


def test_a_person_who_is_none_cannot_mention() -> None:
    assert_inert(mrkdwn(words("{who}", who=Person("!channel"))))
    assert mrkdwn(words("{who}", who=Person("drover", "the schedule"))) == "the schedule"


def test_plain_drops_marks_but_not_underscores_of_names() -> None:
    assert (
        plain(words("*Moved* `{vm}` _now_, cpu_fits {unknown}", vm="a_b*c"))
        == "Moved a_b*c now, cpu_fits {unknown}"
    )


@given(st.lists(NASTY, max_size=8), st.integers(40, 200))
def test_pieces_lose_nothing_but_line_breaks_and_halve_no_entity(
    texts: list[str], limit: int
) -> None:
    shown = "\n".join(mrkdwn(words("{t} {who}", t=text, who=Person("U0ANA"))) for text in texts)
    found = pieces(shown, limit)
    assert all(len(piece) <= limit for piece in found)
    assert "".join(found).replace("\n", "") == shown.replace("\n", "")
    for piece in found:
        assert piece.count("<") == piece.count(">")
        assert not re.search(r"&(?!amp;|lt;|gt;)", piece)
        assert piece.count("`") % 2 == 0


@given(NASTY, st.integers(5, 80))
def test_a_cut_is_short_enough_and_halves_no_entity(text: str, limit: int) -> None:
    short = cut(mrkdwn(text), limit)
    assert len(short) <= limit
    assert short.count("`") % 2 == 0
    assert not re.search(r"&(?!amp;|lt;|gt;)", short)


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        ("migrate web-1 —force", "migrate web-1 —force"),
        ("reason “too hot”", "reason “too hot”"),
        ("<@U0DROVER> hosts", "hosts"),
        ("<@U0DROVER|drover> hosts", "hosts"),
        (
            "move <http://web-1.example.org|web-1.example.org> host-b",
            "move web-1.example.org host-b",
        ),
        ("write <mailto:a@example.org|a@example.org>", "write a@example.org"),
        ("see <https://example.org/a?b=c&amp;d>", "see https://example.org/a?b=c&d"),
        ("a &lt;b&gt; &amp;amp;", "a <b> &amp;"),
        ("in <#C0OPS|ops>", "in ops"),
        ("for <@U0ANA>", "for <@U0ANA>"),
        ("audit <@U0ANA|ana o'neill> --since 7d", "audit <@U0ANA> --since 7d"),
        ("web\u00a01 ", "web\u00a01"),
    ],
)
def test_what_people_meant(sent: str, meant: str) -> None:
    assert command_text(sent, "U0DROVER") == meant
