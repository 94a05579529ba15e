"""What the bot writes to its log: lines that hold no secret and order no terminal about."""

from __future__ import annotations

import logging
import re
import sys

import structlog
from structlog.typing import EventDict, Processor

from bot.domain.words import INVISIBLE

_CONTROL = re.compile(f"[\x00-\x09\x0b-\x1f\ud800-\udfff{INVISIBLE}]")


def configure_logging(level: str) -> None:
    """Log lines on stderr, coloured for a terminal, JSON otherwise.

    Vendors' loggers from WARNING on. A traceback never shows the values of variables: tokens are
    among them.
    """
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            *(_for_people() if sys.stderr.isatty() else [structlog.processors.JSONRenderer()]),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    # Each of their errors is told by us
    logging.getLogger("slack_sdk.web.base_client").setLevel(logging.CRITICAL)
    logging.getLogger("paramiko.transport").setLevel(logging.CRITICAL)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_VisibleFormatter("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])


def visible(text: str) -> str:
    """Text with its control and hidden characters written out, but for line ends."""
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)


def _for_people() -> list[Processor]:
    renderer = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    return [_make_visible, renderer]


def _make_visible(_: object, __: str, event: EventDict) -> EventDict:
    """Names of VMs and words of hosts stand in log lines; only a traceback has several lines."""
    for key, value in event.items():
        if isinstance(value, str):
            shown = visible(value)
            event[key] = shown if key == "exception" else shown.replace("\n", "\\n")
    return event


class _VisibleFormatter(logging.Formatter):
    """The same for what vendors log."""

    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record))
