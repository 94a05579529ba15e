"""Programs run on hosts over SSH."""
