"""An example plugin for Drover: hooks only."""

from bot.hookspecs import hookimpl
from bot.plugin_api import Action, Query, Settings, Watch
from drover_quiet.action import rest
from drover_quiet.query import quiet
from drover_quiet.rule import same_rack
from drover_quiet.watch import busy_vms


@hookimpl
def register_commands(settings: Settings) -> list[Query | Action]:
    """Declare ``quiet`` and ``rest``."""
    return [quiet, rest]


@hookimpl
def register_placement_rules(settings: Settings) -> list[object]:
    """Declare the rule about racks."""
    return [same_rack]


@hookimpl
def register_jobs(settings: Settings) -> list[Watch]:
    """Declare the watch for busy VMs."""
    return [busy_vms]
