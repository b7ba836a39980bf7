"""One run on several machines: each runs `pytest --dogfood-fleet RUN`, and they share a PostgreSQL database."""
