"""Reading hosts and VMs."""
