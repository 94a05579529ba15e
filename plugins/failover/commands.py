"""Commands that people are told to type."""

from __future__ import annotations

from bot.domain.message import Code
from bot.domain.words import command


def chat(template: str, *names: str) -> Code:
    """Return a command for people to type in chat, whole and with each name quoted."""
    return Code(command(f"/kvm {template}", *names))


def shell(template: str, *names: str) -> Code:
    """Return a command for a host, with each name quoted."""
    return Code(command(template, *names))
