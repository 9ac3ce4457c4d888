"""What reports mean. Pure."""
