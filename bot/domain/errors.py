"""The one error root; an error's text and advice are what the person in chat reads."""

from __future__ import annotations

from dataclasses import dataclass

from bot.domain.message import Message, words


@dataclass(frozen=True, slots=True)
class Remedy:
    """A button that types a command for whoever presses it, with that person's rights."""

    text: Message
    command: str


class DroverError(Exception):
    """Anything that went wrong and can be told to the person who asked.

    Args:
        text: what is wrong, one sentence.
        advice: what to do next, one sentence.
        code: what it is, for code that decides by it; that of the class when '' is given.
        field: the parameter at which a dialog shows it; '' for no certain one.
    """

    code = "error"

    def __init__(
        self, text: Message, advice: Message = "", *, code: str = "", field: str = ""
    ) -> None:
        super().__init__(text)
        self.text = text
        self.advice = advice
        self.field = field
        if code:
            self.code = code

    def __str__(self) -> str:
        """In English, for logs."""
        return f"{self.text} {self.advice}".strip()


MISSING = "argument-missing"
"""The code of a ``UsageError`` that says that something more is to be named.

A dialog can ask for it.
"""


UNEXPECTED = "word-unexpected"
"""The code of a ``UsageError`` of a line with a word for which the command has no place."""

UNKNOWN = "no-such-command"
"""The code of a ``UsageError`` of a line that begins with no command."""

NO_SUBCOMMAND = "subcommand-missing"
"""The code of a ``UsageError`` of a line that begins as several commands do, and is none."""


def word_too_many(word: str) -> Message:
    """What is said of such a word."""
    return words("Unexpected word “{word}”.", word=word)


class UsageError(DroverError):
    """The words of a command make no sense.

    ``advice`` shows the usage or the nearest right word.
    """

    code = "usage"


class UnitError(UsageError, ValueError):
    """A size or a duration cannot be read.

    ``clause``: why, without a final stop.
    """

    code = "unit"

    def __init__(self, clause: Message) -> None:
        super().__init__(words("{error}.", error=clause))
        self.clause = clause


class UnfitError(ValueError):
    """A value from outside does not fit: a setting, or part of a host's answer.

    Whoever reads it says where it stands.

    Args:
        text: what is wrong, without a final stop.
    """

    def __init__(self, text: Message) -> None:
        super().__init__(str(text))
        self.text = text


class UnknownNameError(DroverError):
    """No VM, host or operation has this name."""

    code = "unknown-name"


class AmbiguousNameError(DroverError):
    """More than one VM has this name."""

    code = "ambiguous-name"


class NotAllowedError(DroverError):
    """The person may not do this, or not now."""

    code = "not-allowed"


class IllegalEventError(DroverError):
    """An event arrived that the operation's state does not take; nothing was changed."""

    code = "illegal-event"


class ConflictError(DroverError):
    """Somebody else changed the operation first; read it again and decide anew."""

    code = "conflict"


VOLUME_BUSY = "volume-busy"
"""The code of a ``HypervisorError`` that says: the volume is being made, copied or read."""
VM_GONE = "vm-gone"
"""The code of a ``HypervisorError`` that says: the host does not have the VM (any more)."""


class HypervisorError(DroverError):
    """A hypervisor refused or failed; the text carries what it said.

    Args:
        why: that alone, to stand inside another sentence; the text when '' is given.
    """

    code = "hypervisor"

    def __init__(
        self, text: Message, advice: Message = "", *, code: str = "", why: Message = ""
    ) -> None:
        super().__init__(text, advice, code=code)
        self.why = why or text


class HostUnreachableError(HypervisorError):
    """The host did not answer within the deadline. Unreachable is not dead."""

    code = "host-unreachable"


class PowerError(DroverError):
    """A power controller did not take an order; the text carries what it said."""

    code = "power"


class ChatError(DroverError):
    """The chat service refused or failed."""

    code = "chat"


class ChatRefusedError(ChatError):
    """The chat service refused this for good: asking again is useless.

    ``stays``: the message that was to be changed is still there, and can be changed no more.
    """

    code = "chat-refused"
    stays = False


class SettingsError(DroverError):
    """The configuration is wrong; found at start."""

    code = "settings"


class CatalogError(DroverError):
    """A plugin declares something that cannot work; found at start."""

    code = "catalog"


class StoreError(DroverError):
    """The database refused or failed."""

    code = "store"


class StoreGoneError(StoreError):
    """The database's file was deleted or replaced under a running bot."""

    code = "store-gone"


class FencedError(StoreError):
    """Another replica took this one for dead and does its work.

    Nothing that it still wants to store is stored.
    """

    code = "fenced"


class TooEarlyError(DroverError):
    """An operation was to begin before its time; it is begun when that comes."""

    code = "too-early"


class StepCancelledError(DroverError):
    """A step ended because a person asked; the text says how far it had come."""

    code = "step-cancelled"


class StepAsksError(DroverError):
    """A step could not be done, and what to do instead is for people to choose.

    Each choice becomes a button.
    """

    code = "step-asks"

    def __init__(self, text: Message, advice: Message, remedies: tuple[Remedy, ...]) -> None:
        super().__init__(text, advice)
        self.remedies = remedies


class StepSkippedError(DroverError):
    """A step cannot be done, and the rest of the plan is worth doing without it."""

    code = "step-skipped"


class StepLostError(DroverError):
    """A step's effect cannot be known or mended by the bot; people must look.

    The advice says where.

    ``remedies``: what is known to be safe to do about it, each offered as a button.
    """

    code = "step-lost"

    def __init__(
        self,
        text: Message,
        advice: Message = "",
        remedies: tuple[Remedy, ...] = (),
        *,
        code: str = "",
    ) -> None:
        super().__init__(text, advice, code=code)
        self.remedies = remedies


class NotifierError(DroverError):
    """A message was not taken by another way than the chat."""

    code = "notifier"
