"""A Slack-compatible workspace on this machine.

Web API, Socket Mode, HTTP mode, people and a page.
"""

from lab.slack.faults import Faults
from lab.slack.people import Command
from lab.slack.person import CannotActError, Person
from lab.slack.shown import Ack, Message, View
from lab.slack.site import ApiCall
from lab.slack.workspace import Workspace

__all__ = [
    "Ack",
    "ApiCall",
    "CannotActError",
    "Command",
    "Faults",
    "Message",
    "Person",
    "View",
    "Workspace",
]
