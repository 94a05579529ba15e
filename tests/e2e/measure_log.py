"""A plugin without commands that notes which hosts each sweep of its bot asks, a line of JSON each."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Sequence
from pathlib import Path

from bot.adapters.libvirt.read.sampling import LibvirtSampler
from bot.domain.metrics import Sweep
from bot.hookspecs import hookimpl
from bot.plugin_api import Query, Settings

_sweep = LibvirtSampler.sweep


def _note_and_sweep(self: LibvirtSampler, hosts: Collection[str] | None = None) -> Sweep:
    sweep = _sweep(self, hosts)
    with Path(os.environ["MEASURE_LOG"]).open("a", encoding="utf-8") as log:
        log.write(json.dumps([host.name for host in sweep.hosts]) + "\n")
    return sweep


LibvirtSampler.sweep = _note_and_sweep  # type: ignore[method-assign]


@hookimpl
def register_commands(settings: Settings) -> Sequence[Query]:
    """None: it is a plugin so that the bot loads it."""
    return ()
