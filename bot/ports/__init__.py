"""What the core needs of the world, as protocols.

Every implementation passes the same contract suite.

``Hypervisor`` is composed of roles: a function that needs one of them takes that role alone.
"""

from bot.ports.chat import AnswerPlace, Chat, MessageRef, Request, Urgency
from bot.ports.clock import Clock
from bot.ports.cluster import ClusterReader
from bot.ports.hypervisor import Hypervisor
from bot.ports.migrations import Migrations
from bot.ports.power import PowerAccess
from bot.ports.progress import Progress
from bot.ports.readiness import Readiness
from bot.ports.shell import Shell
from bot.ports.store import Store
from bot.ports.vms import (
    CpuLimits,
    VmDefinitions,
    VmDevices,
    VmLookup,
    VmPower,
    VmSnapshots,
    VmViews,
)
from bot.ports.volumes import Volumes
from bot.ports.work import Perform, Work

__all__ = [
    "AnswerPlace",
    "Chat",
    "Clock",
    "ClusterReader",
    "CpuLimits",
    "Hypervisor",
    "MessageRef",
    "Migrations",
    "Perform",
    "PowerAccess",
    "Progress",
    "Readiness",
    "Request",
    "Shell",
    "Store",
    "Urgency",
    "VmDefinitions",
    "VmDevices",
    "VmLookup",
    "VmPower",
    "VmSnapshots",
    "VmViews",
    "Volumes",
    "Work",
]
