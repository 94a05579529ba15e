"""Two real bots on one PostgreSQL and 300 hosts: each host is measured by one, and by the other when that one dies."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa

from bench.scale import ask, config
from bot.adapters.slack.manifest import manifest
from bot.stage import BotProcess
from lab.slack import Workspace
from tests import postgres
from tests.waiting import until

pytestmark = [pytest.mark.process, pytest.mark.slow]

HOSTS, VMS = 300, 4
EVERY = 10  # seconds between sweeps


@dataclass
class Replica:
    """A bot, and which hosts its sweeps asked."""

    bot: BotProcess
    log: Path

    def newest(self, count: int = 1) -> list[frozenset[str]]:
        """What each of its newest sweeps asked, oldest first; what was written half is not there yet."""
        lines = self.log.read_text(encoding="utf-8").splitlines(keepends=True)
        return [frozenset(json.loads(each)) for each in lines if each.endswith("\n")][-count:]

    def sweeps(self) -> int:
        return len(self.newest(10_000))


@dataclass
class Site:
    """Two replicas, not started, their workspace and their database."""

    workspace: Workspace
    one: Replica
    two: Replica
    engine: sa.Engine

    def leases(self) -> dict[str, str]:
        """Which replica each host is measured by."""
        with self.engine.connect() as connection:
            rows = connection.execute(sa.text("SELECT host, replica FROM leases")).all()
        return dict(map(tuple, rows))

    def is_divided(self) -> bool:
        """Whether each replica asks its own share and no more, and both together ask all."""
        first, second = self.one.newest()[0], self.two.newest()[0]
        return len(first | second) == HOSTS and not first & second


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    if postgres.missing():
        pytest.skip(postgres.missing())
    with ExitStack() as ends:
        server = ends.enter_context(postgres.running())
        workspace = ends.enter_context(Workspace(manifest=manifest()))
        url = server.database()
        usual = config(workspace, tmp_path, HOSTS, VMS, 86_400)
        found = []
        for name in ("drover-1", "drover-2"):
            log = tmp_path / f"{name}.measured"
            log.touch()
            settings = {
                **usual,
                "replica": name,
                "database": {"url": url},
                "monitor": {"every": EVERY},
                "plugins": {"enabled": ["monitor", "tests.e2e.measure_log"]},
            }
            bot = BotProcess(workspace, tmp_path, settings, {"MEASURE_LOG": str(log)})
            ends.callback(bot.stop)
            found.append(Replica(bot, log))
        engine = sa.create_engine(sa.make_url(url).set(drivername="postgresql+psycopg"))
        ends.callback(engine.dispose)
        yield Site(workspace, found[0], found[1], engine)


def told(workspace: Workspace) -> str:
    """What ``status`` says."""
    return ask(workspace, "/kvm status")[2]


def test_two_replicas_divide_300_hosts_and_the_one_that_is_left_measures_all(site: Site) -> None:
    site.one.bot.start()
    until(lambda: site.one.sweeps() and len(site.one.newest()[0]) == HOSTS, "one measures all")
    site.two.bot.start()
    site.workspace.wait_connected(sockets=2)
    until(lambda: site.two.sweeps() and site.is_divided(), lambda: repr(site.leases()))

    # It stays so: of the sweeps from now on none asks a host of the other replica
    before = site.one.sweeps(), site.two.sweeps()
    until(
        lambda: site.one.sweeps() >= before[0] + 3 and site.two.sweeps() >= before[1] + 3,
        "both went on measuring",
    )
    first, second = (frozenset().union(*each.newest(3)) for each in (site.one, site.two))
    assert (len(first | second), first & second) == (HOSTS, frozenset())
    assert min(len(first), len(second)) > HOSTS // 4
    leases = site.leases()
    assert {host for host, replica in leases.items() if replica == "drover-1"} == first
    assert f"{HOSTS} of {HOSTS} hosts up" in told(site.workspace)

    site.two.bot.kill()
    until(lambda: len(site.one.newest()[0]) == HOSTS, lambda: repr(site.leases()))
    assert f"{HOSTS} of {HOSTS} hosts up" in told(site.workspace)

    # It comes back, and gets its share again
    began = site.two.sweeps()
    site.two.bot.start()
    until(lambda: site.two.sweeps() > began and site.is_divided(), lambda: repr(site.leases()))
