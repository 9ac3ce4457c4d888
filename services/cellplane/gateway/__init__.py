"""Opens the four doors of Cells, through Envoy and the Gateway API."""
