"""A time within rich text, such as a table's cell: each reader sees it in their own zone."""

from __future__ import annotations

from slackblocks import RichText

from bot.adapters.slack.api import Json
from bot.adapters.slack.text import date_format
from bot.domain.message import When


class Moment(RichText):
    """Slack's element ``date``, which slackblocks does not have and takes for text."""

    def __init__(self, at: When) -> None:
        super().__init__(str(at))
        self.at = at

    def _resolve(self) -> Json:
        return {
            "type": "date",
            "timestamp": int(self.at.utc.timestamp()),
            "format": date_format(self.at),
            "fallback": str(self.at),
        }
