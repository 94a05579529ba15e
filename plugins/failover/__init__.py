"""Failover: a dead host is proven off, and its VMs start elsewhere, each once."""
