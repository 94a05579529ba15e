"""Drover: run a cluster of KVM hosts from chat, safely."""
