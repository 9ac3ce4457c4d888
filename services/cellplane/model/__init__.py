"""The model service: what is wanted, from organizations to Cells."""
