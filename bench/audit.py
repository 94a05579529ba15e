"""How long `/kvm audit` takes to say that the hash chain holds, against a walk over the whole chain.

The trail is a real one in SQLite, of proposals with notes; the answer checks what came after its
last look, which is here one event.

    ./drover bench audit [--events 20000]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from statistics import median

from bench.goals import Goal, conclude
from bot.adapters.sql.store import SqlStore
from bot.domain.operation import Noted
from bot.testing.clock import TickingClock
from tests.operations import CODEC, later, proposal

EACH = 20  # events of an operation
TIMES = 5
GOAL = 100.0  # times quicker than to walk the whole chain; a shorter chain is walked sooner


def filled(store: SqlStore, events: int) -> None:
    """Store so many events."""
    for number in range(events // EACH):
        operation = store.propose(proposal(f"key-{number}"))
        store.append(
            operation,
            *(Noted(later(second), "UENG", "something happened") for second in range(EACH - 1)),
        )


def seconds(store: SqlStore, *, whole: bool) -> float:
    """How long one look takes."""
    began = time.perf_counter()
    fault = store.broken_link(whole=whole)
    assert fault == "", fault
    return time.perf_counter() - began


def main() -> None:
    """Measure and print both and their ratio."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=20_000)
    events = parser.parse_args().events
    with tempfile.TemporaryDirectory() as folder:
        store = SqlStore(f"sqlite:///{folder}/audit.sqlite", CODEC, clock=TickingClock())
        filled(store, events)
        walks, looks = [], []
        for number in range(TIMES):
            walks.append(seconds(store, whole=True))
            store.append(store.operation("op-1"), Noted(later(100 + number), "UENG", "one more"))
            looks.append(seconds(store, whole=False))
        store.close()
    walk, look = median(walks) * 1000, median(looks) * 1000
    print(
        f"{events} events: the whole chain {walk:.0f} ms, what is new {look:.1f} ms, 1 / {walk / look:.0f}"
    )
    conclude(
        [
            Goal(
                "times quicker than the whole chain",
                walk / look,
                least=GOAL * min(1.0, events / 20_000),
            )
        ]
    )


if __name__ == "__main__":
    main()
