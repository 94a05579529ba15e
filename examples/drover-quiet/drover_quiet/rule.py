"""A placement rule: a VM with a tag ``rack`` runs only on hosts of that rack."""

from bot.domain.cluster import Snapshot, Vm
from bot.domain.message import words
from bot.domain.plan import Objection

CHOOSE = words("Choose a host in that rack.")


def same_rack(seen: Snapshot, vm: Vm, host: str) -> Objection | None:
    """Object to a host in another rack, or in none that is known."""
    wanted, rack = vm.tags.get("rack"), seen.host(host).tags.get("rack")
    if wanted is None or wanted == rack:
        return None
    if rack is None:
        why = words(
            "{vm} must run in rack {wanted}; {host} has no tag rack.",
            vm=vm.name,
            wanted=wanted,
            host=host,
        )
    else:
        why = words(
            "{vm} must run in rack {wanted}; {host} is in rack {rack}.",
            vm=vm.name,
            wanted=wanted,
            host=host,
            rack=rack,
        )
    return Objection("rack", why, CHOOSE)
