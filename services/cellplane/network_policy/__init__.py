"""The network policy service: closes Cells, and opens exactly what they declare."""
