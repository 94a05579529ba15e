"""Words in and out."""

from __future__ import annotations

import re
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.suggest import nearest
from bot.domain.units import seconds_of, size
from bot.domain.words import bytes_text, duration_text, names_for, plural, split_words, straighten


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("migrate web-1 —force", "migrate web-1 --force"),
        ("migrate web-1 –force", "migrate web-1 --force"),
        ("—force", "--force"),
        ("migrate web-1 --reason “it’s hot”", 'migrate web-1 --reason "it\'s hot"'),
        ("  vms\u00a0--all\u202f ", "vms --all"),
        ("a — b", "a — b"),  # a dash between words is a dash
        ("web—1", "web—1"),
        ("„quoted“", '"quoted"'),
    ],
)
def test_autocorrection_is_turned_back(typed: str, meant: str) -> None:
    assert straighten(typed) == meant


@given(st.text(st.characters(codec="ascii")))
def test_plain_words_stay_as_they_are(text: str) -> None:
    assert straighten(text) == text.strip()


@given(st.text())
def test_straightening_twice_changes_nothing_more(text: str) -> None:
    assert straighten(straighten(text)) == straighten(text)


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("vm show web-1", ["vm", "show", "web-1"]),
        ("migrate web-1 —force", ["migrate", "web-1", "--force"]),
        ("–now\u00a0a\u3000b\u202f c", ["--now", "a", "b", "c"]),
        ('show "web 1" web\\ 2', ["show", "web 1", "web 2"]),
        (
            "show “web 1” „web 2“ «web 3» ‹web 4› ‘web 5’ ‚web 6‘",
            ["show", *(f"web {n}" for n in range(1, 7))],
        ),
        ("--reason “it’s hot”", ["--reason", "it’s hot"]),
        ("--reason=“too hot”x", ["--reason=too hotx"]),
        ("--reason ‘Bob’s team’ now", ["--reason", "Bob’s team", "now"]),
        ("show Bob’s rock’n’roll ’90s", ["show", "Bob’s", "rock’n’roll", "’90s"]),
        ('"mixed” «too»', ["mixed", "too"]),
        ('“mixed" too', ["mixed", "too"]),
        ("'Bob’s \"VM\"' '“world” — say —hi'", ['Bob’s "VM"', "“world” — say —hi"]),
        ("`web-1` ```web 2``` a`b", ["web-1", "web 2", "a`b"]),
        ("`vm show web-1`", ["vm", "show", "web-1"]),
        ("a — b web—1", ["a", "—", "b", "web—1"]),
        ("", []),
        ("''", [""]),
    ],
)
def test_a_line_is_split_whatever_quotes_it_is_typed_with(typed: str, words: list[str]) -> None:
    assert split_words(typed) == words


@pytest.mark.parametrize("typed", ["“open", 'a "b', "it's", "a\\"])
def test_a_quote_that_is_not_closed_is_an_error(typed: str) -> None:
    with pytest.raises(ValueError, match=r"not closed|nothing escaped"):
        split_words(typed)


@given(st.lists(st.text()))
def test_what_the_bot_quoted_comes_back_to_the_letter(words: list[str]) -> None:
    assert split_words(f"x {shlex.join(words)} x") == ["x", *words, "x"]


@given(st.lists(st.text(st.sampled_from("ab1-.\"'\\ \t"), max_size=12), max_size=4))
def test_plain_lines_are_split_as_a_shell_splits_them(words: list[str]) -> None:
    line = " ".join(words)
    try:
        expected = shlex.split(line)
    except ValueError:
        with pytest.raises(ValueError, match=r"not closed|nothing escaped"):
            split_words(line)
    else:
        assert split_words(line) == expected


def test_a_name_is_meant_exactly_then_straightened_then_without_marks() -> None:
    known = ["Bob’s VM", "Bob's VM", "web-1", "say “hi”", "*loud*", "loud", "a\u3000b"]
    assert names_for("Bob’s VM", known) == ["Bob’s VM"]
    assert names_for("Bob's VM", known) == ["Bob's VM"]
    assert names_for("Bob‘s VM", known) == ["Bob’s VM", "Bob's VM"]
    assert (
        names_for("*web-1*", known)
        == names_for("`web-1`", known)
        == names_for("_*web-1*_", known)
        == ["web-1"]
    )
    assert names_for('say "hi"', known) == ["say “hi”"]
    assert names_for("*loud*", known) == ["*loud*"]
    assert names_for("a b", known) == ["a\u3000b"]
    assert names_for("web", known) == []


def test_case_is_no_difference_and_equally_near_names_are_all_offered() -> None:
    assert str(nearest("WEB-1", ["db-1", "web-1"])) == "Did you mean “web-1”?"
    assert (
        str(nearest("host-z", ["host-a", "host-b", "host-c"]))
        == "Did you mean “host-a”, “host-b” or “host-c”?"
    )
    assert nearest("host-z", [f"host-{n}" for n in range(9)], "See all.") == "See all."


def test_the_nearest_word_is_offered_and_nothing_far_off() -> None:
    assert str(nearest("web-01", ["web-1", "db-1"])) == "Did you mean “web-1”?"
    assert nearest("zzz", ["web-1", "db-1"], "See all.") == "See all."
    assert nearest("x", []) == ""


@pytest.mark.parametrize(
    ("text", "count"),
    [("0", 0), ("512", 512), ("4G", 4 << 30), ("512MiB", 512 << 20), ("1.5T", 3 << 39), (" 2 kb ", 2048)],
)  # fmt: skip
def test_sizes_are_read(text: str, count: int) -> None:
    assert size(text) == count


def test_a_size_without_unit_takes_the_given_one() -> None:
    assert size("4", "G") == 4 << 30
    assert size("4M", "G") == 4 << 20


@pytest.mark.parametrize("text", ["", "G", "-1G", "4X", "four", "1,5G", "4G4"])
def test_what_is_no_size_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size; write for example"):
        size(text)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (100 << 20, "100 MiB"),
        (1 << 30, "1 GiB"),
        (5000 << 40, "5000 TiB"),
        (-(1 << 30), "-1 GiB"),
    ],
)
def test_sizes_are_written_for_people(count: float, text: str) -> None:
    assert bytes_text(count) == text


@given(st.integers(0, 1 << 60))
def test_a_written_size_reads_back_within_what_three_digits_tell(count: int) -> None:
    assert size(bytes_text(count)) == pytest.approx(count, rel=0.006, abs=0.5)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("15m", 900),
        ("24h", 86400),
        ("2d", 172800),
        ("1d12h", 129600),
        ("1 w", 604800),
        ("1H 30M", 5400),
        ("2 hours", 7200),
        ("1 hour and 30 minutes", 5400),
        ("1 hora e 30 minutos", 5400),
        ("2 dias, 1h", 176_400),
        ("2 semanas", 1_209_600),
        ("10 Min", 600),
    ],
)
def test_durations_are_read(text: str, seconds: int) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "h", "5", "-5m", "5x", "1.5h", "soon", "5m and", "2 months", "2 e", "2h ago", "2 mais"],
)
def test_what_is_no_duration_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration; write for example"):
        seconds_of(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.28, "280 ms"),
        (4.2, "4.2 s"),
        (59, "59 s"),
        (60, "1 min"),
        (200, "3 min 20 s"),
        (7500, "2 h 5 min"),
        (86400, "1 d"),
        (90000, "1 d 1 h"),
    ],
)
def test_durations_are_written_for_people(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


@given(st.integers(10, 10**7))
def test_a_written_duration_reads_back_within_its_smaller_unit(seconds: int) -> None:
    written = re.sub(r" min", "m", duration_text(seconds)).replace(" ", "")
    smaller = 3600 if seconds >= 86400 else 60 if seconds >= 3600 else 1
    assert 0 <= seconds - seconds_of(written) < smaller


def test_plurals() -> None:
    assert [plural(n, "VM") for n in (0, 1, 2)] == ["0 VMs", "1 VM", "2 VMs"]
    assert plural(2, "copy", "copies") == "2 copies"
