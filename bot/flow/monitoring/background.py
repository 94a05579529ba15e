"""What watches gather, each on a thread of its own.

A host that hangs delays no sweep and no other watch.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future


class Gathering:
    """What is being gathered, and what waits to be looked at, by the watch's name.

    For one thread at a time to ask.
    """

    def __init__(self) -> None:
        self._under_way: dict[str, Future[object]] = {}

    def busy(self, name: str) -> bool:
        """Whether something is gathered for this watch, or waits to be taken."""
        return name in self._under_way

    def begin(
        self, name: str, gather: Callable[[], object], then: Callable[[], None] = lambda: None
    ) -> None:
        """Gather on a thread of its own, which does not keep the process from ending.

        ``then`` is called on it as soon as the answer is there.
        """
        answer = self._under_way[name] = Future()

        def run() -> None:
            try:
                answer.set_result(gather())
            except BaseException as error:  # noqa: BLE001 - raised again where the answer is taken
                answer.set_exception(error)
            then()

        threading.Thread(target=run, name=f"gather-{name}", daemon=True).start()

    def is_ready(self, name: str) -> bool:
        """Whether what was gathered is there."""
        answer = self._under_way.get(name)
        return answer is not None and answer.done()

    def take(self, name: str) -> object:
        """What was gathered, once; it raises what gathering raised."""
        return self._under_way.pop(name).result()
