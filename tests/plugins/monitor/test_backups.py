"""How old a backup may be, and what counts as one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from bot.domain.metrics import SnapshotSeen, Sweep
from bot.testing import draw_cluster, uuid_of
from plugins.monitor.backups import Overdue, overdue

NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
LATE = datetime(2026, 1, 1, tzinfo=UTC)


def found(tags: str, days: float = 0, *checkpoints: datetime) -> tuple[Overdue, ...] | None:
    seen = draw_cluster(f"host-a 4cpu 16G | web-1 4G {tags}")
    points = tuple(
        SnapshotSeen("host-a", uuid_of("web-1"), "web-1", str(at), at) for at in checkpoints
    )
    snapshot = SnapshotSeen("host-a", uuid_of("web-1"), "web-1", "no backup", NOW)
    return overdue(days, seen, Sweep(NOW, snapshots=(snapshot,), checkpoints=points), NOW)


@pytest.mark.parametrize(
    ("tags", "days", "last"),
    [
        ("[backup=1d]", 0, None),
        ("[backup=1d backed-up=2026-01-01]", 0, LATE),
        ("[backup=1d backed-up=2026-01-01T00:00+00:00]", 30, LATE),
        ("", 1, None),
    ],
)
def test_without_a_backup_or_with_an_old_one_it_is_overdue(
    tags: str, days: float, last: datetime | None
) -> None:
    assert found(tags, days) == (Overdue("web-1", last),)


@pytest.mark.parametrize(
    ("tags", "days"),
    [
        ("", 0),
        ("[backup=none]", 1),
        ("[backup=7d backed-up=2026-01-01]", 1),
        ("[backed-up=2026-01-05T08:00]", 1),
    ],
)
def test_who_wants_none_or_has_a_new_one_is_not(tags: str, days: float) -> None:
    assert found(tags, days) == ()


def test_the_newest_of_checkpoints_and_tag_counts() -> None:
    old, new = NOW - timedelta(days=3), NOW - timedelta(hours=3)
    assert found("[backup=1d backed-up=2026-01-01]", 0, old, new) == ()
    assert found("[backup=1d backed-up=2026-01-01]", 0, old) == (Overdue("web-1", old),)


@pytest.mark.parametrize(
    "tags",
    [
        "[backup=daily]",
        "[backup=99999999999999999999d]",
        "[backup=1d backed-up=yesterday]",
        "[backup=1d backed-up=0001-01-01]",
        "[backup=1d backed-up=9999-12-31]",
    ],
)
def test_a_tag_that_nobody_can_read_is_told(tags: str) -> None:
    (one,) = found(tags) or ()
    assert one.problem
