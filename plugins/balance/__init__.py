"""Balancing: even load with few moves."""
