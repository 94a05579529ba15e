"""How often Slack lets an app call each method of its Web API.

Sources: docs.slack.dev/apis/web-api/rate-limits for the tiers ("per API method per workspace per
app", measured a minute) and for posting ("one message per second per channel, while also
maintaining a workspace-wide limit", several hundred a minute); the page of each method
(docs.slack.dev/reference/methods/METHOD) for its tier.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

MINUTE = 60.0


@dataclass(frozen=True, slots=True)
class Tier:
    """At most ``calls`` within any ``seconds``."""

    calls: int
    seconds: float = MINUTE


TIER_1, TIER_2, TIER_3, TIER_4 = Tier(1), Tier(20), Tier(50), Tier(100)
POSTS = Tier(300)  # "several hundred messages per minute per workspace"
POSTS_PER_CHANNEL = Tier(1, 1.0)

TIERS: Mapping[str, Tier] = {
    "auth.test": POSTS,  # special: "hundreds of requests per minute"
    "chat.getPermalink": POSTS,  # special: "hundreds of requests per minute"
    "chat.postEphemeral": TIER_4,
    "chat.postMessage": POSTS,
    "chat.update": TIER_3,
    "conversations.history": TIER_3,
    "conversations.info": TIER_3,
    "conversations.replies": TIER_3,
    "files.delete": TIER_3,
    # Files.getUploadURLExternal and files.completeUploadExternal, one of each
    "files.upload.v2": TIER_4,
    "usergroups.list": TIER_2,
    "usergroups.users.list": TIER_2,
    "users.info": TIER_4,
    "views.open": TIER_4,
    "views.publish": TIER_4,
}

PER_PLACE: Mapping[str, Tier] = {"chat.postMessage": POSTS_PER_CHANNEL}

KEPT_FREE = 0.1
"""Part of each limit that is left alone: Slack counts when a call arrives, not when it was sent."""
