"""The end of every bench: each goal with what was found, then `goals: met` or `goals: missed: …`, and the exit code."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NoReturn


@dataclass(frozen=True, slots=True)
class Goal:
    """A number that was measured, and its limit: ``found`` is to be at most ``most`` and at least ``least``."""

    what: str
    found: float
    most: float | None = None
    least: float | None = None

    @property
    def met(self) -> bool:
        """Whether it is within the limits; what is not a number never is."""
        return (self.most is None or self.found <= self.most) and (
            self.least is None or self.found >= self.least
        )

    def __str__(self) -> str:
        limits = [f"at most {self.most:g}"] if self.most is not None else []
        limits += [f"at least {self.least:g}"] if self.least is not None else []
        return f"  {'met   ' if self.met else 'missed'}  {self.what}: {self.found:.3g} (goal: {', '.join(limits)})"


def conclude(goals: Iterable[Goal]) -> NoReturn:
    """Print what became of the goals and end the program: exit code 0 when all are met, 1 when one is missed."""
    looked = tuple(goals)
    if not looked:
        raise ValueError("a bench without a goal says nothing")
    print("\nGoals", *looked, sep="\n")
    missed = [goal.what for goal in looked if not goal.met]
    print(f"goals: missed: {'; '.join(missed)}" if missed else "goals: met")
    sys.exit(1 if missed else 0)
