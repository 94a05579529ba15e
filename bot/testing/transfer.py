"""One migration's arithmetic.

Rounds of copying against a guest that goes on writing, as QEMU does it.

Source of the shape: QEMU's ``docs/devel/migration`` (pre-copy rounds, auto-converge from the second
round without progress on, a last round when what is left fits the allowed downtime).
"""

from __future__ import annotations

from bot.domain.cluster import Job, Vm, VmState
from bot.domain.steps import MigrateVm, MigrationPolicy

MIB = 1 << 20


class Transfer:
    """A migration under way. Bytes, bytes a second, seconds.

    Args:
        network: bytes a second that the network carries.
    """

    TICK = 0.25

    def __init__(self, move: MigrateVm, vm: Vm, network: float) -> None:
        self.target = move.target
        self.may_postcopy = move.policy is MigrationPolicy.POSTCOPY
        self.postcopy = False
        self.cancelled = False
        self.done = False
        self.downtime = 0.3
        self._rate = min(network, move.bandwidth * MIB) if move.bandwidth else network
        self._writes = (vm.dirty_rate or 0.0) if vm.state is VmState.RUNNING else 0.0
        self._first, self._more = (40, 20) if move.policy is MigrationPolicy.FAST else (20, 10)
        self._total = vm.memory
        self._remaining = float(vm.memory)
        self._processed = 0.0
        self._dirtied = 0.0
        self._iteration = 1
        self._throttle = 0
        self._elapsed = 0.0

    def advance(self) -> None:
        """Let one tick go by."""
        self._elapsed += self.TICK
        copied = min(self._remaining, self._rate * self.TICK)
        self._processed += copied
        self._remaining -= copied
        if not self.postcopy:
            self._dirtied = min(float(self._total), self._dirtied + self._dirty_rate() * self.TICK)
        if self._remaining <= 0:
            self._next_round()

    def job(self) -> Job:
        """What libvirt would tell of it now; before the first memory is sent it tells no sizes."""
        if not self._elapsed:
            return Job("setup")
        return Job(
            phase="post-copy" if self.postcopy else "copying" if self._remaining else "finishing",
            total=self._total,
            remaining=int(self._remaining),
            processed=int(self._processed),
            rate=float(self._rate),
            dirty_rate=self._dirty_rate(),
            iteration=self._iteration,
            throttle=self._throttle,
            elapsed=self._elapsed,
            expected_downtime=self.downtime,
        )

    def _dirty_rate(self) -> float:
        return 0.0 if self.postcopy else self._writes * (1 - self._throttle / 100)

    def _next_round(self) -> None:
        left, self._dirtied = self._dirtied, 0.0
        if self.postcopy or left <= self._rate * self.downtime:
            self.done = True
            return
        self._remaining = left
        self._iteration += 1
        if self._iteration > 2:
            self._throttle = min(99, self._throttle + self._more if self._throttle else self._first)
