"""The outside world, one vendor a folder or file; nothing of a vendor leaves it."""
