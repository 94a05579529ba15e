"""What runs by the clock: sweeps, watches, incidents, reports and kept definitions."""
