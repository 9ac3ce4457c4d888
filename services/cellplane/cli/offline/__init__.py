"""What the services would do, without any of them: their pure packages, on documents."""
