"""Power controllers of hosts: fence agents as programs, and Redfish."""

from bot.adapters.fence.control import FenceControl
from bot.adapters.fence.device import FenceAddress

__all__ = ["FenceAddress", "FenceControl"]
