"""The agent of one data plane: keeps what is wanted there, repairs it, and says how it is."""
