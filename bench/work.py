"""What durable work costs on SQLite: start, from enqueue to perform, stop, and the time it takes while idle.

The peer is the same function on a thread of the standard library, which forgets everything when the
process dies.

    ./drover bench work
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

_BEGAN = time.perf_counter()
from bot.adapters.durable import DurableWork  # noqa: E402

_IMPORTED = time.perf_counter() - _BEGAN
from bench.goals import Goal, conclude  # noqa: E402
from bot.domain.operation import open_operation  # noqa: E402
from tests.operations import move, planned, proposal  # noqa: E402

ROUNDS = 20


def ms(seconds: float) -> str:
    """Milliseconds for a line of the table."""
    return f"{seconds * 1000:8.1f} ms"


class Bell:
    """Rings when an operation is performed."""

    def __init__(self) -> None:
        self._rung = threading.Event()

    def __call__(self, _operation_id: str) -> None:
        """Perform."""
        self._rung.set()

    def wait(self) -> None:
        """Until it rings."""
        assert self._rung.wait(60)
        self._rung.clear()


def main() -> None:
    """Measure and print."""
    print("import           ", ms(_IMPORTED))
    with tempfile.TemporaryDirectory() as folder:
        for turn in ("first start", "usual start"):
            bell = Bell()
            work = DurableWork(
                bell, database_url=f"sqlite:///{folder}/work.sqlite", executor_id="bench"
            )
            began = time.perf_counter()
            work.start()
            print(f"{turn:17}", ms(time.perf_counter() - began))
            lags, costs = [], []
            for n in range(ROUNDS):
                operation = open_operation(
                    f"op-{n}-{turn[0]}", proposal(plan=planned(move(source=f"host-{n}")))
                )
                began = time.perf_counter()
                work.enqueue(operation)
                costs.append(time.perf_counter() - began)
                bell.wait()
                lags.append(time.perf_counter() - began)
            began, used = time.perf_counter(), time.process_time()
            time.sleep(5)
            idle = (time.process_time() - used) / (time.perf_counter() - began)
            began = time.perf_counter()
            assert work.stop() == ()
            print("stop             ", ms(time.perf_counter() - began))
        print("enqueue           ", ms(statistics.median(costs)), "median")
        print("enqueue → perform ", ms(statistics.median(lags)), "median,", ms(max(lags)), "most")
        print(f"idle               {idle:8.1%} of one core")
    with ThreadPoolExecutor(1) as pool:
        plain = []
        for _ in range(ROUNDS):
            began = time.perf_counter()
            pool.submit(bell, "op")
            bell.wait()
            plain.append(time.perf_counter() - began)
    ratio = statistics.median(lags) / statistics.median(plain)
    print(
        "a plain thread    ",
        ms(statistics.median(plain)),
        f"median: durable is {ratio:.0f} × slower to begin",
    )
    lag = statistics.median(lags) * 1000
    conclude(
        [
            Goal("ms from enqueue to perform", lag, most=1000.0),
            Goal("of a core while idle", idle, most=0.05),
        ]
    )


if __name__ == "__main__":
    main()
