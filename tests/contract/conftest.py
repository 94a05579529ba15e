"""The databases that the contracts of what is stored are tried on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.adapters.sql.series import SqlSeries
from tests import postgres


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Postgres]:
    if postgres.missing():
        pytest.skip(postgres.missing())
    with postgres.running() as running:
        yield running


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.process)])
def series(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqlSeries]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/drover.sqlite"
    else:
        server: postgres.Postgres = request.getfixturevalue("server")
        url = server.database()
    opened = SqlSeries(url)
    yield opened
    opened.close()
