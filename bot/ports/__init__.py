"""What the core needs of the world, as protocols; every implementation passes the same contract suite."""

from bot.ports.chat import Chat, MessageRef, Request, Urgency
from bot.ports.clock import Clock
from bot.ports.hypervisor import Hypervisor
from bot.ports.progress import Progress
from bot.ports.store import Store
from bot.ports.work import Perform, Work

__all__ = [
    "Chat",
    "Clock",
    "Hypervisor",
    "MessageRef",
    "Perform",
    "Progress",
    "Request",
    "Store",
    "Urgency",
    "Work",
]
