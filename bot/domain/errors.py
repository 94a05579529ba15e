"""The one error root; an error's text and advice are what the person in chat reads."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Remedy:
    """A button that types a command for whoever presses it, with that person's rights."""

    text: str
    command: str


class DroverError(Exception):
    """Anything that went wrong and can be told to the person who asked.

    Args:
        text: what is wrong, one sentence.
        advice: what to do next, one sentence.
    """

    def __init__(self, text: str, advice: str = "") -> None:
        super().__init__(text)
        self.text = text
        self.advice = advice

    def __str__(self) -> str:
        return f"{self.text} {self.advice}".strip()


class UsageError(DroverError):
    """The words of a command make no sense; ``advice`` shows the usage or the nearest right word."""


class UnknownNameError(DroverError):
    """No VM, host or operation has this name."""


class AmbiguousNameError(DroverError):
    """More than one VM has this name."""


class NotAllowedError(DroverError):
    """The person may not do this, or not now."""


class IllegalEventError(DroverError):
    """An event arrived that the operation's state does not take; nothing was changed."""


class ConflictError(DroverError):
    """Somebody else changed the operation first; read it again and decide anew."""


class HypervisorError(DroverError):
    """A hypervisor refused or failed; the text carries what it said."""


class HostUnreachableError(HypervisorError):
    """The host did not answer within the deadline. Unreachable is not dead."""


class PowerError(DroverError):
    """A power controller did not take an order; the text carries what it said."""


class ChatError(DroverError):
    """The chat service refused or failed."""


class SettingsError(DroverError):
    """The configuration is wrong; found at start."""


class CatalogError(DroverError):
    """A plugin declares something that cannot work; found at start."""


class StoreError(DroverError):
    """The database refused or failed."""


class FencedError(StoreError):
    """Another replica took this one for dead and does its work: nothing that it still wants to store is stored."""


class StepCancelledError(DroverError):
    """A step ended because a person asked; the text says how far it had come."""


class StepAsksError(DroverError):
    """A step could not be done, and what to do instead is for people to choose: each choice becomes a button."""

    def __init__(self, text: str, advice: str, remedies: tuple[Remedy, ...]) -> None:
        super().__init__(text, advice)
        self.remedies = remedies


class StepLostError(DroverError):
    """A step's effect cannot be known or mended by the bot; people must look. The advice says where.

    ``remedies``: what is known to be safe to do about it, each offered as a button.
    """

    def __init__(self, text: str, advice: str = "", remedies: tuple[Remedy, ...] = ()) -> None:
        super().__init__(text, advice)
        self.remedies = remedies
