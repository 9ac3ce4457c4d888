"""Backups: every service's database, and what it keeps in files, in one archive that fits both."""
