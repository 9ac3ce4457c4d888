"""Changes of resources, told to others by HTTP: events, signatures, and what is still to tell."""
