"""Real Kubernetes clusters on one machine, without containers: a sandbox for users and for tests.

Nothing here is a fake of Kubernetes: the control plane is the real one, compiled once from its own
published modules. Only nodes are: they run no containers, and their pods become Ready at once.
"""
