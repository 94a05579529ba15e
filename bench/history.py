"""How large the history grows and how quickly a chart of it is read, at 6000 VMs on 300 hosts.

Writes 30 days of hourly rollups for every VM and host into a SQLite file as Drover's own tables
hold them (made up numbers, all metrics), then asks what commands ask.

Then the history as it is written: minutes of every VM and host, the rollups, and retention, with
the longest time that somebody else (a vote) waited for the lock meanwhile. With ``--postgres`` that
part runs on a PostgreSQL of its own too.

    ./drover bench history [--vms 6000] [--hosts 300] [--days 30] [--minutes 30] [--postgres]

Claims: a 30-day chart in under 200 ms; nobody waits 2 s for the lock; size as printed.
"""

from __future__ import annotations

import argparse
import random
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.goals import Goal, conclude
from bot.adapters.sql import models
from bot.adapters.sql.series import DAY, FIVE, HOUR, SqlSeries
from bot.domain.metrics import Metric, Point, host_entity, vm_entity
from tests import postgres

GOAL_MS = 200.0
GOAL_WAIT = 2000.0  # ms: so long a write waits for another one's lock before it fails
START = datetime(2026, 1, 1, tzinfo=UTC)
YEAR_ROWS = 365 * (DAY // FIVE + DAY // HOUR + 1)


def rows(first: int, count: int, hours: int, seed: random.Random) -> Iterator[tuple[int, ...]]:
    """Rollups of ``count`` things, entity by entity as the key goes; mean ≤ p95 ≤ peak, space only of pools."""
    begin = int(START.timestamp())
    for entity in range(first, first + count):
        load, memory = seed.randrange(20, 4000), seed.randrange(1 << 19, 1 << 24)
        for hour in range(hours):
            cpu, mem, io = (
                load + seed.randrange(200),
                memory + seed.randrange(4096),
                seed.randrange(20000),
            )
            yield (entity, HOUR, begin + hour * HOUR, 60, cpu, cpu + 90, cpu + 300, cpu // 9, cpu // 8, cpu // 7, mem,
                   mem + 99, mem + 999, io, io * 2, io * 3, io // 5, io // 4, io // 3)  # fmt: skip


def filled(file: Path, vms: int, hosts: int, days: int) -> int:
    """Write the rollups; how many."""
    names = [(number + 1, f"vm:{number:036d}") for number in range(vms)]
    names += [(vms + number + 1, f"host:host-{number}") for number in range(hosts)]
    metrics = [
        f"{metric}_{kind}"
        for metric in models.METRICS
        if metric != "space"
        for kind in models.KINDS
    ]
    columns = ["entity", "span", "at", "count", *metrics]
    connection = sqlite3.connect(file)
    connection.execute("PRAGMA synchronous = OFF")
    with connection:
        connection.executemany("INSERT INTO measured (id, entity) VALUES (?, ?)", names)
        made = rows(1, vms + hosts, days * 24, random.Random(7))  # noqa: S311 - made-up loads
        statement = f"INSERT INTO rollups ({', '.join(f'{name!r}' for name in columns)}) VALUES ({', '.join('?' * len(columns))})"  # noqa: S608
        connection.executemany(statement.replace("'", '"'), made)
    connection.close()
    return (vms + hosts) * days * 24


def asked(call: Callable[[], Any], times: int = 7) -> tuple[float, Any]:
    """The median of several in milliseconds, and the answer."""
    walls = []
    for _ in range(times):
        began = time.perf_counter()
        answer = call()
        walls.append((time.perf_counter() - began) * 1e3)
    return median(walls), answer


def lived(kind: str, url: str, vms: int, hosts: int, minutes: int) -> Goal:
    """Write so many minutes, roll up, and drop them; print what each takes, and the longest wait."""
    series = SqlSeries(url)
    load = {Metric.CPU: 1.5, Metric.MEMORY: 2.0**31, Metric.WAIT: 0.1, Metric.DISK: 5e6}
    points = [Point(vm_entity(f"{number:036d}"), load) for number in range(vms)]
    points += [Point(host_entity(f"host-{number}"), load) for number in range(hosts)]
    walls = []
    for number in range(minutes):
        began = time.perf_counter()
        series.write(START + timedelta(minutes=number), points)
        walls.append((time.perf_counter() - began) * 1e3)
    end = START + timedelta(minutes=minutes)
    rolled, _ = asked(lambda: series.roll_up(end), 1)
    waits: list[float] = []
    over = threading.Event()

    def vote() -> None:
        while not over.is_set():
            _, version = series.note("vote")
            waited, _ = asked(partial(series.put_note, "vote", "x", version), 1)
            waits.append(waited)
            time.sleep(0.01)

    voter = threading.Thread(target=vote)
    voter.start()
    dropped, _ = asked(lambda: series.forget(end + timedelta(days=3)), 1)
    over.set()
    voter.join()
    series.close()
    print(
        f"  {kind:10} {len(points):,} rows a minute in {median(walls):.0f} ms, rollups of {minutes} min "
        f"{rolled:.0f} ms, retention {dropped:.0f} ms; the longest wait for its lock {max(waits):.0f} ms"
    )
    return Goal(f"ms that somebody waits for retention on {kind}", max(waits), most=GOAL_WAIT)


def main() -> None:
    """Fill, then ask."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--vms", type=int, default=6000)
    parser.add_argument("--hosts", type=int, default=300)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--minutes", type=int, default=30)
    parser.add_argument("--postgres", action="store_true")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "history.sqlite"
        series = SqlSeries(f"sqlite:///{file}")
        empty = file.stat().st_size
        began = time.perf_counter()
        count = filled(file, chosen.vms, chosen.hosts, chosen.days)
        each = (file.stat().st_size - empty) / count
        print(
            f"{count:,} rollups written in {time.perf_counter() - began:.0f} s, {file.stat().st_size / 2**20:.0f} MiB"
        )
        print(
            f"{each:.0f} bytes a rollup: {each * YEAR_ROWS / 2**20:.1f} MiB a VM and year "
            f"({YEAR_ROWS:,} rollups; without those of 5 minutes {each * 365 * 25 / 2**20:.2f} MiB)"
        )
        end = START + timedelta(days=chosen.days)
        one, hosts = (
            [f"vm:{chosen.vms // 2:036d}"],
            [f"host:host-{number}" for number in range(chosen.hosts)],
        )
        day = end - timedelta(days=3)
        questions: dict[str, Callable[[], Any]] = {
            "30-day chart of one VM": lambda: series.history(one, Metric.CPU, START, end),
            "30-day chart of one host": lambda: series.history(
                hosts[:1], Metric.MEMORY, START, end
            ),
            "30-day chart of six hosts side by side": lambda: series.history(
                hosts[:6], Metric.CPU, START, end
            ),
            "3 days of every VM, for a digest": lambda: series.summary("vm", Metric.CPU, day, end),
        }
        goals = []
        for name, question in questions.items():
            wall, answer = asked(question, 7 if "every" not in name else 3)
            print(f"  {name:38} {wall:8.1f} ms, {len(answer)} series")
            if "chart" in name:
                goals.append(Goal(f"ms for a {name}", wall, most=GOAL_MS))
        series.close()
        live = (chosen.vms, chosen.hosts, chosen.minutes)
        goals.append(lived("SQLite", f"sqlite:///{directory}/live.sqlite", *live))
    if chosen.postgres:
        with postgres.running() as server:
            goals.append(lived("PostgreSQL", server.database(), *live))
    conclude(goals)


if __name__ == "__main__":
    main()
