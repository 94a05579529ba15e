"""What can be done with a host, by its state and by what a person may."""

from __future__ import annotations

import pytest

from bot.domain.host_menu import host_buttons
from bot.testing import draw_cluster

EVERYTHING = (
    "host drain", "host undrain", "host maintenance", "host check", "failover status",
    "failover drill",
)  # fmt: skip


@pytest.mark.parametrize(
    ("drawn", "lines"),
    [
        ("host-a 8cpu 16G", ["host drain host-a …", "host maintenance host-a on …", "host check host-a"]),
        ("host-a 8cpu 16G maintenance", ["host undrain host-a …", "host check host-a"]),
        ("host-a 8cpu 16G down", ["failover status", "failover drill host-a"]),
    ],
)  # fmt: skip
def test_a_host_offers_what_fits_its_state(drawn: str, lines: list[str]) -> None:
    (host,) = draw_cluster(drawn).hosts
    assert [each.value for each in host_buttons(host, EVERYTHING)] == lines


def test_only_what_a_person_may_use_is_offered() -> None:
    (host,) = draw_cluster("host-a 8cpu 16G").hosts
    assert [each.value for each in host_buttons(host, {"host check"})] == ["host check host-a"]
    assert host_buttons(host, ()) == ()
