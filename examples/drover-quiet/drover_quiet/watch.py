"""An alert for each VM that uses all of its vCPUs."""

from datetime import timedelta
from shlex import quote

from bot.domain.card import Card
from bot.domain.message import words
from bot.plugin_api import Alert, Looked, Remedy, Watch, WatchView


def look(view: WatchView) -> Looked:
    """Alert of what is busy now, and end the alerts of what no longer is."""
    sweep = view.measured.sweep
    if sweep is None:
        return Looked((), view.memory)
    busy = [vm for vm in sweep.vms if vm.cpu is not None and vm.cpu > 0.95 * vm.vcpus]
    alerts = [
        Alert(
            vm.uuid,
            Card(words("{vm} uses all of its vCPUs", vm=vm.name)),
            remedies=(Remedy(words("Show its load"), f"chart {quote(vm.name)}"),),
        )
        for vm in busy
    ]
    before, now = set(view.memory.get("busy", ())), {vm.uuid for vm in busy}
    over = Card(words("The VM has CPU to spare again"))
    alerts += [Alert(uuid, over, over=True) for uuid in sorted(before - now)]
    return Looked(tuple(alerts), {"busy": sorted(now)})


busy_vms = Watch("busy VMs", timedelta(minutes=1), look)
