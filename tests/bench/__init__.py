"""What the engine costs, beside the least that Celery and Postgres cost for the same work: `make bench`."""
