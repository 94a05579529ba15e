"""How many examples a property test tries."""

from __future__ import annotations

from hypothesis import settings


def examples(full: int) -> int:
    """Return ``full`` in a full run, and the same share of it as of hypothesis's 100 in a fast one; at least 2."""
    chosen = settings.default.max_examples if settings.default else 100
    return max(2, full * min(100, chosen) // 100)
