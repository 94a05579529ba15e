"""The first set-up: `drover init` asks, tries every connection, and writes the configuration."""
