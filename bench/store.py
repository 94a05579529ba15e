"""What the store costs: a request accepted (it is on the way to the ack), a vote stored, an operation read.

The peer is SQLite itself by the standard library: the same row, the same durability, one prepared
statement.

    ./drover bench store
"""

from __future__ import annotations

import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from bench.goals import Goal, conclude  # noqa: E402
from bot.adapters.sql.store import SqlStore  # noqa: E402
from bot.domain import codec  # noqa: E402
from bot.domain.operation import Noted  # noqa: E402
from bot.testing.clock import TickingClock  # noqa: E402
from tests.operations import CODEC, later, proposal, request  # noqa: E402

ROUNDS = 2000


def timed(act: Callable[[int], object], rounds: int = ROUNDS) -> list[float]:
    """Milliseconds of each round, sorted; a tenth is run before to warm up."""
    for n in range(rounds // 10):
        act(-1 - n)
    spent = []
    for n in range(rounds):
        began = time.perf_counter()
        act(n)
        spent.append((time.perf_counter() - began) * 1000)
    return sorted(spent)


def told(what: str, spent: list[float], peer: list[float] | None = None) -> None:
    """One line: median and 99th percentile in milliseconds, and the ratio of medians to the peer's."""
    line = f"{what:34} median {statistics.median(spent):7.3f} ms   p99 {spent[int(len(spent) * 0.99)]:7.3f} ms"
    print(
        line
        + (
            f"   {statistics.median(spent) / statistics.median(peer):5.1f} × sqlite3"
            if peer
            else ""
        )
    )


def plain(folder: str) -> list[float]:
    """The peer."""
    with closing(sqlite3.connect(f"{folder}/peer.sqlite", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(
            "CREATE TABLE r (n INTEGER PRIMARY KEY, key TEXT UNIQUE, kind TEXT, data TEXT, at TEXT)"
        )

        def accept(n: int) -> None:
            kept = request(f"k{n}")
            values = (kept.key, kept.kind, codec.text(kept), kept.at.isoformat())
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(
                "INSERT INTO r (key, kind, data, at) VALUES (?,?,?,?) ON CONFLICT DO NOTHING",
                values,
            )
            connection.execute("COMMIT")

        return timed(accept)


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        store = SqlStore(f"sqlite:///{folder}/drover.sqlite", CODEC, clock=TickingClock())
        print(f"first start, with its migrations   {(time.perf_counter() - began) * 1000:7.1f} ms")
        store.close()
        began = time.perf_counter()
        store = SqlStore(f"sqlite:///{folder}/drover.sqlite", CODEC, clock=TickingClock())
        start = (time.perf_counter() - began) * 1000
        print(f"usual start                        {start:7.1f} ms")
        accepted, peer = timed(lambda n: store.accept(request(f"k{n}"))), plain(folder)
        told("accept", accepted, peer)
        told("accept a duplicate", timed(lambda _: store.accept(request("k1"))))
        told("claim (waits for the disk)", timed(lambda n: store.claim(f"c{n}"), 300))
        told("propose (waits for the disk)", timed(lambda n: store.propose(proposal(f"p{n}")), 300))
        newest = [store.operation("op-1")]

        def append(n: int) -> None:
            newest[0] = store.append(newest[0], Noted(later(n), "drover", "hm"))

        told("append (waits for the disk)", timed(append, 40))
        told("operation of 45 events", timed(lambda _: store.operation("op-1"), 300))
        told("operation of 1 event", timed(lambda _: store.operation("op-2"), 300))
        told("50 operations", timed(lambda _: store.operations(), 100))
        began = time.perf_counter()
        assert store.broken_link() == ""
        print(
            f"whole chain of {store.head()[0]} events verified {(time.perf_counter() - began) * 1000:7.1f} ms"
        )
        store.close()
    ratio = statistics.median(accepted) / statistics.median(peer)
    conclude(
        [
            Goal("ms for a usual start", start, most=250.0),
            Goal("to accept, of sqlite3", ratio, most=5.0),
        ]
    )


if __name__ == "__main__":
    main()
