"""The board of a fleet in a PostgreSQL database."""
