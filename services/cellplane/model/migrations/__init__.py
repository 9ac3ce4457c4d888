"""Alembic's versions of the model's database."""
