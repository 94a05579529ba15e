"""Changing VMs and volumes."""
