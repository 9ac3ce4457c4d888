"""The server side of the agent link: how a data plane joins, and how it is kept in sync."""
