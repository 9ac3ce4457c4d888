"""State that outlives the process: SQLite in one file, or PostgreSQL by URL."""
