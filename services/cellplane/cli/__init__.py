"""The command line: thin verbs over one engine that reads the contracts."""
