"""The bot's own socket: people at a terminal, scripts and agents."""
