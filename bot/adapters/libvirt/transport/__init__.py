"""Connections to hosts, and errors of libvirt in our words."""
