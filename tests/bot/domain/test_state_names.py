"""States of VMs in words."""

from __future__ import annotations

from bot.adapters.libvirt.read.stats import _PAUSED_BY, _RUNNING_WHY
from bot.domain.cluster import POSTCOPY_INCOMING, VmState
from bot.domain.state_names import STATE_REASONS, reason_text, state_text


def test_every_reason_of_libvirt_has_words() -> None:
    assert {*_PAUSED_BY.values(), *_RUNNING_WHY.values()} - {"unknown"} == set(STATE_REASONS)


def test_a_state_is_told_with_its_reason() -> None:
    assert str(state_text(VmState.PAUSED, "user")) == "paused (on request)"
    assert str(state_text(VmState.RUNNING, "")) == "running"
    assert str(state_text(VmState.RUNNING, POSTCOPY_INCOMING)) == (
        "running (post-copy: its memory is still arriving)"
    )
    assert str(reason_text("unknown")) == "no reason given"
