"""Slack: the only place that knows Bolt, the SDK and Block Kit."""
