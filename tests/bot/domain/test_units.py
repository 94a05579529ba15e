"""Sizes, durations and moments as people and programs write them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from bot.domain.errors import UnitError
from bot.domain.units import moment_of, seconds_of, size


@pytest.mark.parametrize(
    "text", ["36501d", "1000000000d", "9" * 5000 + "d", "9999999999999999999w"]
)
def test_a_duration_that_ends_in_no_year_is_refused(text: str) -> None:
    with pytest.raises(UnitError) as refused:
        seconds_of(text)
    assert "too long: 36500 days at most" in str(refused.value)


def test_the_longest_duration_is_counted() -> None:
    assert seconds_of("36500d") == 36_500 * 86_400


def test_a_size_of_hundreds_of_digits_is_none() -> None:
    with pytest.raises(UnitError):
        size("9" * 400 + "G")


@pytest.mark.parametrize(
    "text",
    [
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "9999-01-01T00:00:00+00:00",
        "1969-12-31T23:59:59+00:00",
        "2026-01-01T00:00:00",
        "soon",
        "",
    ],
)
def test_what_has_no_time_in_every_zone_is_no_moment(text: str) -> None:
    assert moment_of(text) is None


def test_a_moment_is_read_with_its_offset() -> None:
    assert moment_of("2026-11-29T12:00:00-03:00") == datetime(2026, 11, 29, 15, tzinfo=UTC)
