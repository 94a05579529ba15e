"""The balance solver: a library over arrays that knows nothing of hosts, plugins or the bot."""
