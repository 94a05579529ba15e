"""A KVM cluster and a Slack workspace on one machine, for the demo and the tests."""

from lab.daemon import LabHost
from lab.errors import LabError
from lab.guests import Guest
from lab.hosts import Lab
from lab.machine import missing

__all__ = ["Guest", "Lab", "LabError", "LabHost", "missing"]
