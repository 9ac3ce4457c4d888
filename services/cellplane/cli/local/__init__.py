"""A whole control plane on this machine: one process per service, one agent per data plane."""
